package frugal_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"groupimport/functions/internal/frugal"
)

const program = "FRUGAL_TEST_PROGRAM"

// TestMain is also a program that calms down, settles, and says how it runs.
func TestMain(m *testing.M) {
	if os.Getenv(program) == "" {
		os.Exit(m.Run())
	}
	frugal.Calm()
	frugal.Settle()
	fmt.Println(os.Getpid(), os.Getenv("GODEBUG"), runtime.GOMAXPROCS(0), debug.SetMemoryLimit(-1)>>20, debug.SetGCPercent(100), strings.Join(os.Args[1:], "|"))
}

func TestTheProgramGoesOnInTheSameProcess(t *testing.T) {
	for _, row := range []struct {
		env  []string
		want string
	}{
		{nil, "schedtrace=2147483647 1 26 200 a b|--c=d"},
		{[]string{"GODEBUG=madvdontneed=1"}, "madvdontneed=1,schedtrace=2147483647 1 26 200 a b|--c=d"},
		{[]string{"GODEBUG=schedtrace=2000000000"}, "schedtrace=2000000000 1 26 200 a b|--c=d"}, // whoever asks for lines gets them
		{[]string{"GOMAXPROCS=3"}, "schedtrace=2147483647 3 26 200 a b|--c=d"},
	} {
		cmd := exec.Command(os.Args[0], "a b", "--c=d")
		cmd.Env = append([]string{program + "=1"}, row.env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := fmt.Sprintf("%d %s\n", cmd.Process.Pid, row.want)
		if !calms(t) {
			want = strings.Replace(strings.Replace(want, ",schedtrace=2147483647", "", 1), "schedtrace=2147483647", "", 1)
		}
		if got := string(out); got != want {
			t.Errorf("%v: got %q, want %q", row.env, got, want)
		}
	}
}

// calms reports whether Calm does something here.
func calms(t *testing.T) bool {
	t.Helper()
	if runtime.GOOS != "linux" {
		return false
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	var seconds float64
	if _, err := fmt.Sscan(string(text), &seconds); err != nil {
		t.Fatal(err)
	}
	return seconds < 23*24*60*60
}
