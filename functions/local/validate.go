package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// validate reads exports and says what import would reject, without sending anything. It needs no
// credentials.
func (t *tool) validate(ctx context.Context, args []string) error {
	flags := t.flags("validate FILE…")
	if done, err := parse(flags, args); done {
		return err
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return &exit{status: exitUsage}
	}
	limits := group.DocumentLimits
	if v := t.getenv("FIELD_LIMITS"); v != "" {
		var err error
		if limits, err = group.ParseLimits(v); err != nil {
			return usageError("FIELD_LIMITS is %v", err)
		}
	}
	var invalid int64
	for _, file := range flags.Args() {
		n, err := t.validateFile(ctx, file, limits)
		if errors.Is(err, context.Canceled) {
			return &exit{exitUnfinished, file + ": interrupted"}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		invalid += n
	}
	if invalid > 0 {
		return &exit{status: exitNotIn}
	}
	return nil
}

// A finding is a rule that records break.
type finding struct {
	field    string
	count    int64
	examples []string
}

const examplesMost = 3

func (t *tool) validateFile(ctx context.Context, file string, limits group.Limits) (invalid int64, err error) {
	f, err := os.Open(file)
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
			return invalid, ctx.Err()
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
			found.count++
			if len(found.examples) < examplesMost {
				found.examples = append(found.examples, fmt.Sprintf("line %d: %s", e.Pos.Line, p.Message))
			}
		}
	}
	took := time.Since(start)
	fmt.Fprintf(t.stdout, "%s: %s records, %s valid, %s not (%.1f MB in %s)\n", file, thousands(records), thousands(records-invalid),
		thousands(invalid), float64(size)/1e6, took.Round(time.Millisecond))
	t.findings(findings)
	if withoutID > 0 {
		fmt.Fprintf(t.stdout, "note: %s have no GroupId: the service makes one up, and if its answer is lost a person has to look; "+
			"ASSIGN_GROUP_IDS=true avoids that\n", thousands(withoutID))
	}
	if withoutTime > 0 {
		fmt.Fprintf(t.stdout, "note: %s have no CreateTime: those groups are made as of now, and the service refuses members and messages from before\n",
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
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, f := range list {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", f.field, thousands(f.count), f.examples[0])
		for _, e := range f.examples[1:] {
			fmt.Fprintf(w, "  \t\t%s\n", e)
		}
	}
}
