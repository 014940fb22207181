package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuides_CommandsRun runs the commands of both guides, word for word and in their order, as a newcomer does: in a
// folder of its own with serverless.yml, .env.example and a program, and with the keys in the environment.
func TestGuides_CommandsRun(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(root, "functions/scf", name))
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
				for line := range strings.Lines(block[1]) {
					lines = append(lines, strings.TrimSpace(line))
				}
			}
			a := newOperator(t)
			t.Chdir(a.dir)
			a.copy(filepath.Join(root, "serverless.yml"), "serverless.yml")
			a.copy(filepath.Join(root, ".env.example"), ".env.example")
			environment := map[string]string{}
			getenv := func(name string) string { return environment[name] }
			var printed []string
			for _, line := range lines {
				switch command, rest, _ := strings.Cut(line, " "); {
				case line == "cp .env.example .env":
					a.copy(".env.example", ".env")
				case line == `"${EDITOR:-vi}" .env`: // what the guide says to fill in
					a.fillIn(string(raw))
				case line == "sed 's/^stage: prod/stage: test/' serverless.yml > test.yml":
					a.copyWith("serverless.yml", "test.yml", "\nstage: prod\n", "\nstage: test\n")
				case line == "cp .env .env.test":
					a.copy(".env", ".env.test")
				case line == `"${EDITOR:-vi}" .env.test`:
					a.copyWith(".env.test", ".env.test", "\nRole=groupimport\n", "\nRole=test\n",
						"\nHttpRole=groupimport-http\n", "\nHttpRole=test-http\n",
						"\nBucketName=groups-1250000000\n", "\nBucketName=others-1250000000\n")
				case line == "scripts/build":
					if err := os.Mkdir("dist", 0o700); err != nil {
						t.Fatal(err)
					}
					a.copy("scf.zip", "dist/scf.zip")
				case command == "export":
					environment["TENCENTCLOUD_SECRET_ID"], environment["TENCENTCLOUD_SECRET_KEY"] = "id", accountKey
					if rest != "TENCENTCLOUD_SECRET_ID=AKID... TENCENTCLOUD_SECRET_KEY=..." {
						t.Errorf("got %q", line)
					}
				case strings.HasPrefix(line, "go run ./scripts/deploy"):
					args := strings.Fields(strings.TrimPrefix(line, "go run ./scripts/deploy"))
					var out strings.Builder
					err := run(t.Context(), append(args, "--endpoint", strings.TrimPrefix(a.server.URL, "http://")), getenv, &out)
					if err != nil {
						t.Fatalf("%s: %v\n%s", line, err, out.String())
					}
					printed = append(printed, out.String())
					if strings.HasSuffix(line, "--plan") && len(a.changes) > 0 {
						t.Errorf("%s: made %v", line, a.changes)
					}
				case line != "" && command != "coscli" && line != "go run ./scripts/scf DIR":
					t.Errorf("the test does not know how to run %q", line)
				}
			}
			if len(printed) != 5 || !strings.Contains(printed[0], "cam:PassRole") || !strings.Contains(printed[1], "create") ||
				!strings.Contains(printed[2], "curl") || !strings.Contains(printed[3], "curl") ||
				!strings.Contains(printed[4], "delete") || len(a.problems) > 0 {
				t.Errorf("got %q, %v", printed, a.problems)
			}
			// The second deployment is left, and nothing of the first one.
			if len(a.functions) != 3 || len(a.topics) != 1 || strings.Contains(a.snapshot(), "groupimport-prod") {
				t.Errorf("got %s left at the end", a.snapshot())
			}
		})
	}
}

func (a *operator) copy(from, to string) {
	a.t.Helper()
	raw, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, raw, 0o600)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// copyWith copies a file, with texts replaced that must be in it.
func (a *operator) copyWith(from, to string, pairs ...string) {
	a.t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		a.t.Fatal(err)
	}
	text := string(raw)
	for n := 0; n < len(pairs); n += 2 {
		if !strings.Contains(text, pairs[n]) {
			a.t.Errorf("%s lacks %q", from, pairs[n])
		}
		text = strings.Replace(text, pairs[n], pairs[n+1], 1)
	}
	a.write(to, text)
}

// fillIn fills in what the guide says, and nothing else. The keys of the account are in the environment.
func (a *operator) fillIn(guide string) {
	a.t.Helper()
	said, _, _ := strings.Cut(guide, "cp .env.example")
	raw, err := os.ReadFile(".env")
	if err != nil {
		a.t.Fatal(err)
	}
	text := string(raw)
	for name, value := range map[string]string{
		"BucketName": "groups-1250000000", "SdkAppId": "1400000000", "SecretKey": secretKey, "HttpToken": token,
	} {
		if !strings.Contains(said, "`"+name+"`") {
			a.t.Errorf("the guide does not say to fill in %s", name)
		}
		text = strings.Replace(text, "\n"+name+"=\n", "\n"+name+"="+value+"\n", 1)
	}
	a.write(".env", text)
}

// TestOptions_AreInBothGuides compares the options with the tables of the guides.
func TestOptions_AreInBothGuides(t *testing.T) {
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		raw, err := os.ReadFile("../../functions/scf/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, option := range []string{
			"plan", "remove", "rights", "one-rule", "http-memory", "log-days", "logset", "topic", "domain",
		} {
			if !strings.Contains(string(raw), "--"+option) {
				t.Errorf("%s lacks --%s", name, option)
			}
		}
		if n := suffixes(t); n != 8 {
			t.Errorf("%s says that eight suffixes take a rule each, and serverless.yml has %d", name, n)
		}
	}
	if _, err := parse([]string{"--log-days", "4000"}); err == nil {
		t.Error("a topic that keeps logs for 4,000 days is accepted")
	}
}
