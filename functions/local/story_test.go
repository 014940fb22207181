package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"groupimport/pkg/emulator"
)

var update = flag.Bool("update", false, "write what the stories' cmp finds into them")

// binaryDir is the folder of the command that tests with processes run; see binary.
var binaryDir string

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"groupimport": main})
}

type tests struct{ *testing.M }

// Run removes the files that the tests built, which os.Exit would leave.
func (t tests) Run() int {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["test.parallel"] {
		// Most tests wait for processes that wait for each other, so more tests than cores run at the same time.
		_ = flag.Set("test.parallel", strconv.Itoa(max(16, runtime.GOMAXPROCS(0))))
	}
	var err error
	if binaryDir, err = os.MkdirTemp("", "groupimport-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaryDir)
	return t.M.Run()
}

// TestStories runs testdata/*.txtar. Beside testscript's own commands there are:
//
//	service [-key KEY] [-faults FAULTS] [-extended] [-accounts ACCOUNT,…]   a new IM service; sets TIM_*
//	down                             closes its port; up opens it again, with the groups it has
//	up
//	seen REQUESTS GROUPS             compares the numbers of its requests and groups
//	status N groupimport ARGUMENT…         runs a command that must end with this exit status
//	blank FILE…                      blanks what differs from run to run; of stdout, into the file summary
func TestStories(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			s := &story{}
			env.Setenv("PARALLEL_IMPORTS", "1") // so that the order of what is written is always the same
			env.Values[storyKey{}] = s
			env.Defer(s.down)
			return s.serve(env.Setenv, &emulator.Service{SDKAppID: 1400000000, Key: "key"})
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"service": func(ts *testscript.TestScript, _ bool, args []string) {
				fs := flag.NewFlagSet("service", flag.ContinueOnError)
				key := fs.String("key", "key", "")
				faults := fs.String("faults", "", "")
				extended := fs.Bool("extended", false, "")
				accounts := fs.String("accounts", "", "")
				ts.Check(fs.Parse(args))
				fail, err := emulator.ParseFaults(*faults)
				ts.Check(err)
				s := storyOf(ts)
				s.down()
				set := func(name, value string) { ts.Setenv(name, value) }
				service := &emulator.Service{SDKAppID: 1400000000, Key: *key, Faults: fail, ExtendedLengths: *extended}
				if *accounts != "" {
					service.OnlyAccounts = true
					service.AddAccounts(strings.Split(*accounts, ",")...)
				}
				ts.Check(s.serve(set, service))
				ts.Setenv("TIM_SECRET_KEY", "key")
			},
			"down": func(ts *testscript.TestScript, _ bool, _ []string) { storyOf(ts).down() },
			"up": func(ts *testscript.TestScript, _ bool, _ []string) {
				s := storyOf(ts)
				ts.Check(s.serve(func(name, value string) { ts.Setenv(name, value) }, s.service))
			},
			"seen": func(ts *testscript.TestScript, _ bool, args []string) {
				stats := storyOf(ts).service.Stats()
				if got, want := fmt.Sprint(stats.Requests, stats.Created), strings.Join(args, " "); got != want {
					ts.Fatalf("got %s requests and groups, want %s", got, want)
				}
			},
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				got := 0
				if err := ts.Exec(args[1], args[2:]...); err != nil {
					exit, ok := errors.AsType[*exec.ExitError](err)
					if !ok {
						ts.Fatalf("%v", err)
					}
					got = exit.ExitCode()
				}
				if strconv.Itoa(got) != args[0] {
					ts.Fatalf("got exit status %d, want %s", got, args[0])
				}
			},
			"blank": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					text := ts.ReadFile(name)
					for _, v := range volatile {
						text = v.ReplaceAllString(text, `${1}0`)
					}
					if name == "stdout" {
						name = "summary"
					}
					ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o666))
				}
			},
		},
	})
}

var volatile = []*regexp.Regexp{
	regexp.MustCompile(`("ms":)\d+`),
	regexp.MustCompile(`("at":")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`),
	regexp.MustCompile(`((?m:^\S+: finished in |^\S+: .* MB in ))\d[^\s)]*`),
	regexp.MustCompile(`("seconds":)[\d.]+`),
	regexp.MustCompile(`((?m:^  file://)).*`),
	regexp.MustCompile(`(busiest second: )\d+`),
	regexp.MustCompile(`(finished at ).*`),
	regexp.MustCompile(`("GroupId":"@TGS#)[^"]+`),
}

type storyKey struct{}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// A story has one IM service at a time.
type story struct {
	service *emulator.Service
	addr    string
	stop    func()
}

func (s *story) serve(setenv func(name, value string), service *emulator.Service) error {
	if service != s.service || s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	service.Latency = 2 * time.Millisecond
	url, stop, err := serveEmulator(context.Background(), service, s.addr, nil)
	if err != nil {
		return err
	}
	s.service, s.addr, s.stop = service, strings.TrimPrefix(url, "http://"), stop
	setenv("TIM_ENDPOINT", url)
	setenv("TIM_SDKAPPID", "1400000000")
	setenv("TIM_SECRET_KEY", service.Key)
	return nil
}

func (s *story) down() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}
