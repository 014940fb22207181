package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"groupimport/functions/internal/functest"
	"groupimport/pkg/emulator"
)

// The queries of README.md search the log for messages and fields. Each must be in lines that the function logs.
func TestREADME_AlarmsGoByWhatTheFunctionLogs(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sql\n(.*?)```").FindSubmatch(raw)
	if block == nil {
		t.Fatal("README.md has no queries")
	}
	log := logOfAll(t)
	queries := 0
	for line := range strings.Lines(string(block[1])) {
		if strings.HasPrefix(line, "--") {
			if !regexp.MustCompile(`Trigger: \$1\.n (>|>=|<) \d+\n$`).MatchString(line) {
				t.Errorf("got %q, want a trigger at the end", line)
			}
			continue
		}
		queries++
		query := regexp.MustCompile(`^SCF_Message:"([a-z ]+)" \| select .* as n\n$`).FindStringSubmatch(line)
		if query == nil {
			t.Errorf("got %q, want a search for a message", line)
			continue
		}
		field := regexp.MustCompile(`\(SCF_Message, '\$\.([a-z_.]+)'\)`).FindStringSubmatch(line)
		if field == nil {
			field = []string{"", "level"} // the query counts lines
		}
		if !log.has(query[1], strings.Split(field[1], ".")) {
			t.Errorf("%q: the function logs no %q with the field %s:\n%v", line, query[1], field[1], log)
		}
	}
	if queries != 10 {
		t.Errorf("got %d queries, want one for each failure", queries)
	}
}

// The Chinese guide has the same queries.
func TestREADME_AlarmsOfBothLanguages(t *testing.T) {
	queries := func(name string) (all []string) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			switch {
			case strings.HasPrefix(line, "SCF_Message:"):
				all = append(all, line)
			case strings.HasPrefix(line, "-- "): // the sentence differs, the trigger does not
				_, trigger, _ := strings.Cut(line, "$1.n ")
				all = append(all, trigger)
			}
		}
		return all
	}
	if got, want := queries("README.zh-CN.md"), queries("README.md"); !slices.Equal(got, want) || len(want) != 20 {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// lines are the lines of a log.
type lines []map[string]any

// has reports whether there is a line with a message, and every such line has a value at a path.
func (l lines) has(message string, path []string) bool {
	found := false
	for _, line := range l {
		if line["msg"] != message {
			continue
		}
		var v any = line
		for _, name := range path {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		if v == nil {
			return false
		}
		found = true
	}
	return found
}

// logOfAll returns the log of a function that runs imports, passes, requests and failures.
func logOfAll(t *testing.T) lines {
	t.Helper()
	c := newCloud(t)
	const token = "a-token-of-some-length"
	c.env["HTTP_TOKEN"], c.env["MAX_ATTEMPTS"] = token, "1"
	f := c.function(time.Minute, nil)
	c.put("exports/acme.jsonl", functest.Records(3)...)
	for _, event := range [][]byte{
		cosEvent(acme), resumeEvent, []byte(`{"Type":"Timer","TriggerName":"retry","Message":"retry"}`),
	} {
		if _, failure := invoke(t, f, event); failure != nil {
			t.Fatalf("got %+v", failure)
		}
	}
	c.service.SetFaults(emulator.Faults{Internal: 1})
	request, err := json.Marshal(map[string]any{
		"httpMethod": "POST", "path": "/groups", "body": `{"Type":"Public","Name":"x","GroupId":"x"}`,
		"headers": map[string]string{"content-type": "application/json", "authorization": "Bearer " + token},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := replyOf(t, f, request); !strings.Contains(string(r.Response), `"statusCode":502`) {
		t.Fatalf("got %s", r.Response)
	}
	if _, failure := invoke(t, f, []byte(`{"hello":"world"}`)); failure == nil {
		t.Fatal("got no failure from an unknown event")
	}
	f.Close()
	var all lines
	for text := range strings.Lines(c.log.String()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) == nil {
			all = append(all, line)
		}
	}
	return all
}
