package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// validate reads exports and says what import would reject, without sending anything. It needs no
// credentials.
func (t *tool) validate(ctx context.Context, args []string) error {
	flags := newFlags("validate FILE…")
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	limits := group.DocumentLimits
	if v := t.getenv("FIELD_LIMITS"); v != "" {
		var err error
		if limits, err = group.ParseLimits(v); err != nil {
			return usageError("FIELD_LIMITS: %v", err)
		}
	}
	worst := exitOK
	for _, file := range flags.Args() {
		status := exitOK
		invalid, err := t.validateFile(ctx, file, limits)
		switch {
		case err != nil && ctx.Err() != nil:
			fmt.Fprintf(t.stderr, "local: %s: not checked to its end: %v\n", file, err)
			return &exit{status: exitUnfinished}
		case err != nil:
			fmt.Fprintf(t.stderr, "local: %s: %v\n", file, err)
			status = exitError
		case invalid > 0:
			status = exitNotIn
		}
		if rank[status] > rank[worst] {
			worst = status
		}
	}
	if worst != exitOK {
		return &exit{status: worst}
	}
	return nil
}

// A finding is a rule that records break.
type finding struct {
	field    string
	count    int64
	examples []example
}

// An example is a message and the lines that it is about, the first few of each.
type example struct {
	message string
	lines   []string
}

const examplesMost = 3

func (f *finding) add(line int64, message string) {
	f.count++
	i := slices.IndexFunc(f.examples, func(e example) bool { return e.message == message })
	if i < 0 {
		if len(f.examples) == examplesMost {
			return
		}
		i = len(f.examples)
		f.examples = append(f.examples, example{message: message})
	}
	switch e := &f.examples[i]; {
	case len(e.lines) < examplesMost:
		e.lines = append(e.lines, fmt.Sprint(line))
	case len(e.lines) == examplesMost:
		e.lines = append(e.lines, "…")
	}
}

func (t *tool) validateFile(ctx context.Context, file string, limits group.Limits) (invalid int64, err error) {
	if err := checkFile(file); err != nil {
		return 0, err
	}
	f, err := os.Open(file) //nolint:gosec // the file that the user names
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err
		}
		return 0, err
	}
	defer f.Close()
	r, err := export.NewReader(file, f, export.Start, limits)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	var records, withoutID, withoutTime, size int64
	findings := map[string]*finding{}
	for e, err := range r.Records() {
		if err != nil {
			return invalid, err
		}
		if records++; records%1024 == 0 && ctx.Err() != nil {
			return invalid, context.Cause(ctx)
		}
		size = e.Next.Offset
		if e.Problem == nil {
			if e.Record.GroupID == "" {
				withoutID++
			}
			if e.Record.CreateTime == 0 {
				withoutTime++
			}
			continue
		}
		invalid++
		for _, p := range e.Problem.Problems {
			name := p.Field
			if name == "" {
				name = "(record)"
			}
			found := findings[name]
			if found == nil {
				if len(findings) >= 1000 { // unknown fields without end
					name = "(others)"
					if found = findings[name]; found == nil {
						found = &finding{field: name}
						findings[name] = found
					}
				} else {
					found = &finding{field: name}
					findings[name] = found
				}
			}
			found.add(e.Pos.Line, p.Message)
		}
	}
	took := time.Since(start)
	fmt.Fprintf(t.stdout, "%s: records %s, valid %s, not valid %s (%.1f MB in %s)\n", file, thousands(records), thousands(records-invalid),
		thousands(invalid), float64(size)/1e6, took.Round(time.Millisecond))
	t.findings(findings)
	if withoutID > 0 {
		fmt.Fprintf(t.stdout, "note: without a GroupId: %s; the service makes one up, and if its answer is lost a person has to look; "+
			"ASSIGN_GROUP_IDS=true avoids that\n", thousands(withoutID))
	}
	if withoutTime > 0 {
		fmt.Fprintf(t.stdout, "note: without a CreateTime: %s; those groups are made as of now, and the service refuses members and messages from before\n",
			thousands(withoutTime))
	}
	return invalid, nil
}

// findings writes what is wrong by field, most frequent first.
func (t *tool) findings(found map[string]*finding) {
	if len(found) == 0 {
		return
	}
	var list []*finding
	for _, f := range found {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *finding) int {
		if a.count != b.count {
			return int(b.count - a.count)
		}
		return strings.Compare(a.field, b.field)
	})
	var rows [][]string
	for _, f := range list {
		field, count := f.field, thousands(f.count)
		for _, e := range f.examples {
			word := "lines"
			if len(e.lines) == 1 {
				word = "line"
			}
			rows = append(rows, []string{field, count, fmt.Sprintf("%s %s: %s", word, strings.Join(e.lines, ", "), e.message)})
			field, count = "", ""
		}
	}
	writeTable(t.stdout, rows)
}
