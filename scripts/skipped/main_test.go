package main

import (
	"strings"
	"testing"
)

func TestShow(t *testing.T) {
	const skip = `{"Action":"output","Package":"p","Test":"TestS","Output":"=== RUN   TestS\n"}
{"Action":"output","Package":"p","Test":"TestS","Output":"    s_test.go:3: no browser: install one\n"}
{"Action":"skip","Package":"p","Test":"TestS"}
`
	const pass = `{"Action":"output","Package":"p","Test":"TestP","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestP"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	const fail = `{"Action":"output","Package":"p","Test":"TestF","Output":"--- FAIL: TestF\n"}
{"Action":"fail","Package":"p","Test":"TestF"}
`
	for _, row := range []struct {
		name, events, want string
		err                error
	}{
		{"nothing skipped", pass, "ok  \tp\t0.1s\nno test was skipped\n", nil},
		{
			"skipped tests, by reason", skip + skip + pass,
			"ok  \tp\t0.1s\n2 tests were skipped: 2: no browser: install one\n", nil,
		},
		{"a failure", fail, "--- FAIL: TestF\nno test was skipped\n", errFailed},
		{
			"a package that cannot be built",
			`{"ImportPath":"p","Action":"build-output","Output":"p.go:1: syntax error\n"}` + "\n" +
				`{"Action":"fail","Package":"p"}`,
			"p.go:1: syntax error\nno test was skipped\n", errFailed,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out strings.Builder
			if err := show(&out, strings.NewReader(row.events)); err != row.err || out.String() != row.want {
				t.Errorf("got  %q, %v\nwant %q, %v", out.String(), err, row.want, row.err)
			}
		})
	}
}
