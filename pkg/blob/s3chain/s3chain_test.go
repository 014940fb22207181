package s3chain_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/s3blob"
	"groupimport/pkg/blob/s3chain"
)

// home returns a home folder with the files of two profiles, and an environment that leads there.
func home(t *testing.T) (env map[string]string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config": "[default]\nregion = eu-west-1\n[profile acme]\nregion = ap-southeast-1\n",
		"credentials": "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = secret-of-default\n" +
			"[acme]\naws_access_key_id = AKIAACME\naws_secret_access_key = secret-of-acme\naws_session_token = token\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, ".aws", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{"HOME": dir, "AWS_EC2_METADATA_DISABLED": "true"}
}

func TestFind(t *testing.T) {
	for _, test := range []struct {
		name        string
		set         map[string]string
		region, key string // key is empty if nothing is looked for
		fails       string
	}{
		{"the default profile", nil, "eu-west-1", "AKIADEFAULT", ""},
		{"another profile", map[string]string{"AWS_PROFILE": "acme"}, "ap-southeast-1", "AKIAACME", ""},
		{"an unknown profile", map[string]string{"AWS_PROFILE": "none"}, "", "", "none"},
		{"no files", map[string]string{"HOME": "/nowhere"}, "", "", "AWS_PROFILE"},
		{
			"another file", map[string]string{"AWS_CONFIG_FILE": "/nowhere/config"}, "", "AKIADEFAULT", "",
		},
		{
			"variables", map[string]string{
				"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIAVARIABLE", "AWS_SECRET_ACCESS_KEY": "s", "HOME": "/nowhere",
			},
			"", "", "",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := home(t)
			for name, value := range test.set {
				env[name] = value
			}
			d, err := s3chain.Find(t.Context(), func(name string) string { return env[name] })
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) || strings.Contains(err.Error(), "secret-of") {
					t.Errorf("got %v, want an error with %q", err, test.fails)
				}
				return
			}
			if err != nil || d.Region != test.region || (d.Credentials != nil) != (test.key != "") {
				t.Fatalf("got %+v, %v, want region %q", d, err, test.region)
			}
			if test.key == "" {
				return
			}
			c, err := d.Credentials.Retrieve(t.Context())
			if err != nil || c.AccessKeyID != test.key {
				t.Errorf("got %q, %v, want %q", c.AccessKeyID, err, test.key)
			}
		})
	}
}

// TestFind_ABucket reads a bucket of a real S3 server with the credentials of a file.
func TestFind_ABucket(t *testing.T) {
	server := versitygw.Start(t)
	server.MakeBucket("bucket")
	env := home(t)
	text := "[default]\naws_access_key_id = " + server.Getenv("AWS_ACCESS_KEY_ID") + "\naws_secret_access_key = " +
		server.Getenv("AWS_SECRET_ACCESS_KEY") + "\n"
	if err := os.WriteFile(filepath.Join(env["HOME"], ".aws", "credentials"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env["AWS_ENDPOINT_URL_S3"] = server.Endpoint
	env["AWS_REGION"] = server.Getenv("AWS_REGION") // a variable counts more than a file
	getenv := func(name string) string { return env[name] }
	d, err := s3chain.Find(t.Context(), getenv)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s3blob.OpenWith(getenv, d, "bucket", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), "key", []byte("text")); err != nil {
		t.Error(err)
	}
}
