package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite_Functions(t *testing.T) {
	for pkg, sdk := range map[string]string{
		"groupimport/functions/lambda": "github.com/aws/aws-lambda-go",
		"groupimport/functions/scf":    "github.com/tencentyun/cos-go-sdk-v5",
	} {
		var b strings.Builder
		if err := write(&b, pkg); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			standard + ": LICENSE\n====", "\n" + sdk + " v", "\ngroupimport: LICENSE\n", "\ngithub.com/itchyny/gojq v",
			": zstd/internal/xxhash/LICENSE.txt\n", "Permission is hereby granted", "Apache License",
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: got no %q", pkg, want)
			}
		}
	}
}

func TestWrite_ModuleWithoutLicense(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/free\n\ngo 1.26\n",
		"main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println() }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	var b strings.Builder
	if err := write(&b, "."); err == nil || err.Error() != "example.com/free has no license file" {
		t.Errorf("got %v, want the module named", err)
	}
	if err := os.WriteFile("COPYING", []byte("do as you like"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(&b, "."); err != nil || !strings.Contains(b.String(), "example.com/free: COPYING\n") {
		t.Errorf("got %v, %q", err, b.String()[:min(300, b.Len())])
	}
}
