// Command skipped shows what "go test -json" writes as go test would, and ends with one line about the tests that were
// skipped, by reason: go test does not show them.
//
//	go test -json ./... | go run ./scripts/skipped
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := show(os.Stdout, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "skipped:", err)
		os.Exit(1)
	}
}

// An event is a line of go test -json, see "go doc test2json".
type event struct{ Action, Package, Test, Output, ImportPath string }

// errFailed says that a test, a package or a build failed. Its output shows why.
var errFailed = errors.New("tests failed")

// show copies what packages and failing tests wrote from events to w, and sums up what was skipped.
func show(w io.Writer, events io.Reader) error {
	outputs := map[[2]string][]string{} // of tests under way, by package and test
	reasons := map[string]int{}
	var failed error
	for dec := json.NewDecoder(events); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read the output of go test -json: %w", err)
		}
		test := [2]string{e.Package, e.Test}
		switch {
		case e.Action == "output" && e.Test == "" && e.Output == "PASS\n": // go test shows it with -v only
		case e.Action == "build-output", e.Action == "output" && e.Test == "":
			fmt.Fprint(w, e.Output)
		case e.Action == "output":
			outputs[test] = append(outputs[test], e.Output)
		case e.Action == "fail":
			failed = errFailed
			fmt.Fprint(w, strings.Join(outputs[test], ""))
		case e.Action == "skip" && e.Test != "":
			reasons[reason(outputs[test])]++
		}
		if e.Action == "pass" || e.Action == "fail" || e.Action == "skip" {
			delete(outputs, test)
		}
	}
	fmt.Fprintln(w, summary(reasons))
	return failed
}

// reason returns what a skipped test wrote, without the place in its source.
func reason(output []string) string {
	for _, line := range output {
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			_, text, _ = strings.Cut(text, ": ")
			return strings.TrimSpace(text)
		}
	}
	return "no reason"
}

// summary returns one line about the skipped tests, the most frequent reason first.
func summary(reasons map[string]int) string {
	total := 0
	var parts []string
	byCount := func(a, b string) int { return cmp.Or(reasons[b]-reasons[a], strings.Compare(a, b)) }
	for _, text := range slices.SortedFunc(maps.Keys(reasons), byCount) {
		total += reasons[text]
		parts = append(parts, fmt.Sprintf("%d: %s", reasons[text], text))
	}
	if total == 0 {
		return "no test was skipped"
	}
	return fmt.Sprintf("%d tests were skipped: %s", total, strings.Join(parts, "; "))
}
