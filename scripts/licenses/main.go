// Command licenses prints the license texts of everything that is linked into a program: of its modules, of packages
// that have a license of their own, and of Go's standard library.
//
//	go run ./scripts/licenses PACKAGE
//
// GOOS, GOARCH and GOFLAGS say how the program is built. It is an error if a module has no license.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: licenses PACKAGE")
		os.Exit(2)
	}
	if err := write(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

// write writes the texts, ordered by module, each under the name of its module and file.
func write(w io.Writer, pkg string) error {
	files, err := licenses(pkg)
	if err != nil {
		return err
	}
	for _, title := range slices.Sorted(maps.Keys(files)) {
		text, err := os.ReadFile(files[title])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n%s\n\n%s\n\n", title, strings.Repeat("=", len(title)), strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
	}
	return nil
}

// standard is the title of Go's own packages.
const standard = "Go standard library"

// licenses returns the license files of the modules of pkg and its dependencies, by title.
func licenses(pkg string) (map[string]string, error) {
	const format = `{{if .Standard}}` + standard + `{{else}}{{with .Module}}{{.Path}} {{.Version}}{{end}}{{end}}` +
		`|{{.Dir}}|{{if .Standard}}{{.Root}}{{else}}{{with .Module}}{{.Dir}}{{end}}{{end}}`
	list := exec.CommandContext(context.Background(), "go", "list", "-deps", "-f", format)
	list.Args = append(list.Args, "--", pkg)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	files := map[string]string{}
	licensed := map[string]bool{} // modules
	for row := range strings.Lines(string(out)) {
		cells := strings.Split(strings.TrimSuffix(row, "\n"), "|")
		if len(cells) != 3 || cells[2] == "" {
			return nil, fmt.Errorf("go list: %q has no module", row)
		}
		module, root := strings.TrimSpace(cells[0]), cells[2]
		licensed[module] = licensed[module] || false
		// A license holds for its directory and those below.
		for dir := cells[1]; strings.HasPrefix(dir, root); dir = filepath.Dir(dir) {
			names, err := os.ReadDir(dir)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if name.Type().IsRegular() && isLicense.MatchString(name.Name()) {
					file := filepath.Join(dir, name.Name())
					files[module+": "+strings.TrimPrefix(file, root+"/")] = file
					licensed[module] = true
				}
			}
		}
	}
	for module, ok := range licensed {
		if !ok {
			err = errors.Join(err, fmt.Errorf("%s has no license file", module))
		}
	}
	return files, err
}

// isLicense matches the names of the files that have to be passed on with a program.
var isLicense = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)([.-].*)?$`)
