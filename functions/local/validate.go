package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
	"groupimport/pkg/tim"
)

// validate reads exports and says what import would reject, without sending anything. It needs no
// credentials but for -live, which asks the service which groups stand already.
func (t *tool) validate(ctx context.Context, args []string) error {
	flags := newFlags("validate [-json] [-live] [-map MAPPING] [-encoding NAME] FILE…")
	asJSON := flags.Bool("json", false, "write a JSON object for each file, a line each")
	live := flags.Bool("live", false, "ask the service which GroupIds stand already, 50 a call within TIM_RATE; needs TIM_SDKAPPID and TIM_SECRET_KEY")
	mapped := mapFlag(flags)
	encoding := encodingFlag(flags)
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	v := validation{tool: t, limits: group.DocumentLimits}
	if name := t.getenv("FIELD_LIMITS"); name != "" {
		var err error
		if v.limits, err = group.ParseLimits(name); err != nil {
			return usageError("FIELD_LIMITS: %v", err)
		}
	}
	if value := t.getenv("INCLUDE_ARCHIVED"); value != "" {
		var err error
		if v.archived, err = strconv.ParseBool(value); err != nil {
			return usageError("INCLUDE_ARCHIVED is %q, it must be true or false", value)
		}
	}
	var err error
	if v.encoding, err = export.ParseEncoding(strings.TrimSpace(t.getenv("EXPORT_ENCODING"))); err != nil {
		return usageError("EXPORT_ENCODING %v", err)
	}
	if v.encoding, err = encoding.parse(v.encoding); err != nil {
		return err
	}
	if v.program, err = mapped.text(v.limits); err != nil {
		return err
	}
	if *live {
		cfg, _, err := t.config()
		if err != nil {
			return err
		}
		client, err := cfg.Clients(nil, nil)()
		if err != nil {
			return err
		}
		defer client.Close()
		v.client = client
	}
	worst := exitOK
	for _, file := range flags.Args() {
		start := time.Now()
		c, err := v.check(ctx, file)
		status := exitOK
		switch {
		case err != nil && ctx.Err() != nil:
			err = fmt.Errorf("not checked to its end: %w", err)
			status = exitUnfinished
		case err != nil:
			status = exitError
		case c.Invalid > 0 || c.Live != nil && c.Live.Others > 0:
			status = exitNotIn
		}
		if err != nil {
			c.Error = err.Error()
			fmt.Fprintf(t.stderr, "local: %s: %v\n", shown(file), err)
		}
		if *asJSON {
			if err := json.MarshalWrite(t.stdout, c, json.Deterministic(true)); err != nil {
				return err
			}
			fmt.Fprintln(t.stdout)
		} else if err == nil || c.Records > 0 {
			t.verdict(c, time.Since(start))
		}
		if rank[status] > rank[worst] {
			worst = status
		}
		if status == exitUnfinished {
			break
		}
	}
	if worst != exitOK {
		return &exit{status: worst}
	}
	return nil
}

// A validation is what all files are checked with.
type validation struct {
	*tool
	limits   group.Limits
	program  string      // of -map, empty if there is none
	archived bool        // INCLUDE_ARCHIVED
	encoding string      // of files that are not UTF-8, empty if none is named
	client   *tim.Client // of -live, nil without
}

// A checked is what the check of a file came to.
type checked struct {
	File              string           `json:"file"`
	Records           int64            `json:"records"`
	Valid             int64            `json:"valid"`
	Invalid           int64            `json:"invalid"`
	Skipped           int64            `json:"skipped"`          // left out by the mapping
	Ignored           int64            `json:"ignored,omitzero"` // no records of groups, for the mapping; not in Records
	WithoutGroupID    int64            `json:"withoutGroupId"`
	WithoutCreateTime int64            `json:"withoutCreateTime"`
	Rules             []*finding       `json:"rules"`            // most often broken first
	Dropped           map[string]int64 `json:"dropped,omitzero"` // fields of get_group_info, and of how many records
	Twice             *twice           `json:"twice,omitzero"`   // nil if no GroupId stands twice
	Notes             []string         `json:"notes,omitzero"`   // see [export.Reader.Notes]
	Live              *live            `json:"live,omitzero"`
	Error             string           `json:"error,omitzero"` // why the file was not read to its end

	size int64
}

// A finding is a rule that records break.
type finding struct {
	Field    string     `json:"field"` // "(record)" if it is about the record as a whole
	Rule     group.Rule `json:"rule"`
	Count    int64      `json:"count"`
	Examples []*example `json:"examples"` // the first
}

// An example is a message and the records that it is about, the first few of each.
type example struct {
	Message string  `json:"message"`
	Value   string  `json:"value,omitzero"` // of the first line, as JSON, cut short
	Records []int64 `json:"records"`
	Lines   []int64 `json:"lines"`
	more    bool    // there are others
}

const (
	examplesMost = 3
	findingsMost = 1000 // then rules are counted together: unknown fields without end
	valueMost    = 40   // characters
)

func (f *finding) add(at export.Position, message string, raw []byte) {
	f.Count++
	i := slices.IndexFunc(f.Examples, func(e *example) bool { return e.Message == message })
	if i < 0 {
		if len(f.Examples) == examplesMost {
			return
		}
		i = len(f.Examples)
		f.Examples = append(f.Examples, &example{Message: message, Value: valueOf(raw, f.Field)})
	}
	if e := f.Examples[i]; len(e.Lines) < examplesMost {
		e.Records, e.Lines = append(e.Records, at.N), append(e.Lines, at.Line)
	} else {
		e.more = true
	}
}

// valueOf returns the value of a field of a record as JSON, cut short; "" if it has none.
func valueOf(raw []byte, field string) string {
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return ""
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return ""
		}
		wanted := name.String() == field
		value, err := dec.ReadValue()
		if err != nil {
			return ""
		}
		if wanted {
			text := []rune(strings.ToValidUTF8(string(value), "\uFFFD"))
			if len(text) > valueMost {
				text = append(text[:valueMost], '…')
			}
			return string(text)
		}
	}
	return ""
}

// check reads a file to its end.
func (v *validation) check(ctx context.Context, file string) (*checked, error) {
	c := &checked{File: file}
	src, guard, err := v.source(file)
	if err != nil {
		return c, err
	}
	r, err := export.NewReader(src, export.Start, v.limits)
	if err != nil {
		return c, err
	}
	if v.client != nil {
		c.Live = &live{client: v.client}
	}
	findings := map[string]*finding{}
	ids := groupIDs{}
	defer func() {
		c.Twice, c.Notes = ids.twice, r.Notes()
		if ids.full {
			c.Notes = append(c.Notes, "only the first "+thousands(maxIDs)+" GroupIds were looked for once more behind them")
		}
		c.Rules = slices.SortedFunc(maps.Values(findings), func(a, b *finding) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Field, b.Field), cmp.Compare(a.Rule, b.Rule))
		})
		if dropped := r.Dropped(); len(dropped) > 0 {
			c.Dropped = dropped
		}
	}()
	for e, err := range r.Records() {
		if err != nil {
			return c, err
		}
		if (c.Records+c.Ignored)%1024 == 1023 && ctx.Err() != nil {
			return c, context.Cause(ctx)
		}
		if err := guard.See(&e); err != nil {
			return c, err
		}
		c.size = e.Next.Done()
		if e.Ignored {
			c.Ignored++
			continue
		}
		c.Records++
		switch {
		case e.Skipped != "":
			c.Skipped++
		case e.Problem != nil:
			c.Invalid++
			for _, p := range e.Problem.Problems {
				note(findings, p, e.Pos, e.Raw)
			}
		default:
			c.Valid++
			if e.Record.CreateTime == 0 {
				c.WithoutCreateTime++
			}
			if e.Record.GroupID == "" {
				c.WithoutGroupID++
			}
			ids.add(e.Record.GroupID, e.Pos.Line)
			if e.Record.GroupID != "" && c.Live != nil {
				if err := c.Live.add(ctx, e.Pos.Line, e.Record); err != nil {
					return c, err
				}
			}
		}
	}
	if err := guard.End(); err != nil {
		return c, err
	}
	if c.Live != nil {
		return c, c.Live.ask(ctx)
	}
	return c, nil
}

// note adds a problem to those that were found.
func note(findings map[string]*finding, p group.Problem, at export.Position, raw []byte) {
	if p.Rule == "" {
		return // it only counts others
	}
	field := cmp.Or(p.Field, "(record)")
	key := field + "\x00" + string(p.Rule)
	if findings[key] == nil && len(findings) >= findingsMost {
		field = "(others)"
		key = field + "\x00" + string(p.Rule)
	}
	if findings[key] == nil {
		findings[key] = &finding{Field: field, Rule: p.Rule}
	}
	findings[key].add(at, p.Message, raw)
}

// source returns a file as an export, with the mapping for it and the guard of its first records.
func (v *validation) source(file string) (export.Source, *mapping.Guard, error) {
	if err := checkFile(file); err != nil {
		return export.Source{}, nil, err
	}
	src := export.Source{Name: file, Encoding: v.encoding, Open: func(offset int64) io.ReadCloser { return openAt(file, offset) }}
	text := v.program
	if name := v.getenv("MAPPING"); text == "" && name != "" {
		var err error
		text, err = mapping.Find(name, func(key string) ([]byte, error) {
			return os.ReadFile(filepath.Join(filepath.Dir(file), key)) //nolint:gosec // the file that the user names
		})
		if err != nil {
			return src, nil, err
		}
	}
	guard := mapping.NewGuard(text)
	if text == "" {
		return src, guard, nil
	}
	program, err := mapping.Compile(text, mapping.Settings{
		Limits: v.limits, Name: mapping.BaseName(filepath.ToSlash(file)), IncludeArchived: v.archived,
	})
	if err != nil {
		return src, nil, err
	}
	src.Map = program
	return src, guard, nil
}

// openAt returns what a file holds from offset on. That it cannot be opened is an error of the first Read.
func openAt(file string, offset int64) io.ReadCloser {
	f, err := os.Open(file) //nolint:gosec // the file that the user names
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err // the name stands before it
		}
		r, w := io.Pipe()
		w.CloseWithError(err)
		return r
	}
	return f
}

// A twice is the records with the GroupId of an earlier one: import finds their groups standing.
type twice struct {
	Count int64     `json:"count"`
	First []*sameID `json:"examples"`
}

// A sameID is a record with the GroupId of an earlier one.
type sameID struct {
	Line    int64  `json:"line"`
	Earlier int64  `json:"earlier"` // the line of the first record with it
	GroupID string `json:"GroupId"`
}

// maxIDs is how many GroupIds are compared with those behind them, at some 30 bytes each.
const maxIDs = 1_000_000

// A groupIDs finds GroupIds that stand more than once, by a hash of 64 bits. The zero value has seen none.
type groupIDs struct {
	lines map[uint64]int64
	full  bool
	twice *twice
}

// add adds the GroupId of a valid record, which may be empty.
func (g *groupIDs) add(id string, line int64) {
	if id == "" {
		return
	}
	if g.lines == nil {
		g.lines = map[uint64]int64{}
	}
	hash := xxhash.Sum64String(id)
	earlier, ok := g.lines[hash]
	switch {
	case ok:
		if g.twice == nil {
			g.twice = &twice{}
		}
		g.twice.Count++
		if len(g.twice.First) < examplesMost {
			g.twice.First = append(g.twice.First, &sameID{line, earlier, id})
		}
	case len(g.lines) < maxIDs:
		g.lines[hash] = line
	default:
		g.full = true
	}
}

// A live is what the service says of the GroupIds of a file.
type live struct {
	Asked  int64        `json:"asked"`
	Free   int64        `json:"free"`
	Same   int64        `json:"same"`   // stand and are the record's
	Others int64        `json:"others"` // stand and are not
	First  []*otherOnes `json:"examples,omitzero"`

	client *tim.Client
	batch  []standing
}

// An otherOnes is a record whose GroupId another group has.
type otherOnes struct {
	Line    int64  `json:"line"`
	GroupID string `json:"GroupId"`
	Differs string `json:"differs"`
}

// A standing is a record whose GroupId the service is asked for.
type standing struct {
	line   int64
	record group.Record
	group  tim.Group
	err    error
}

// liveBatch is how many GroupIds are asked for at a time: ten calls of 50.
const liveBatch = 500

func (l *live) add(ctx context.Context, line int64, rec group.Record) error {
	l.batch = append(l.batch, standing{line: line, record: rec})
	if len(l.batch) < liveBatch {
		return nil
	}
	return l.ask(ctx)
}

// ask asks for the batch.
func (l *live) ask(ctx context.Context) error {
	var wg sync.WaitGroup
	for i := range l.batch {
		s := &l.batch[i]
		wg.Go(func() { s.group, s.err = l.client.LookUp(ctx, s.record.GroupID) })
	}
	wg.Wait()
	for _, s := range l.batch {
		if s.err != nil {
			if stop := l.client.Stopped(); stop != nil {
				return stop
			}
			return fmt.Errorf("ask for group %q: %w", s.record.GroupID, s.err)
		}
		l.Asked++
		differs := s.group.Differences(&s.record)
		switch {
		case !s.group.Found:
			l.Free++
		case differs == "":
			l.Same++
		default:
			l.Others++
			if len(l.First) < examplesMost {
				l.First = append(l.First, &otherOnes{s.line, s.record.GroupID, differs})
			}
		}
	}
	l.batch = l.batch[:0]
	return nil
}

// verdict writes what the check of a file came to, for people.
func (t *tool) verdict(c *checked, took time.Duration) {
	left := ""
	if c.Skipped > 0 {
		left = ", left out " + thousands(c.Skipped)
	}
	if c.Ignored > 0 {
		left += ", no groups " + thousands(c.Ignored)
	}
	fmt.Fprintf(t.stdout, "%s: records %s, valid %s, not valid %s%s (%.1f MB in %s)\n", shown(c.File), thousands(c.Records), thousands(c.Valid),
		thousands(c.Invalid), left, float64(c.size)/1e6, took.Round(time.Millisecond))
	t.findings(c.Rules)
	if l := c.Live; l != nil {
		fmt.Fprintf(t.stdout, "  live: asked for %s, free %s, the record's own %s, another group's %s\n", thousands(l.Asked), thousands(l.Free),
			thousands(l.Same), thousands(l.Others))
		for _, o := range l.First {
			fmt.Fprintf(t.stdout, "    line %d: another group has GroupId %q: %s\n", o.Line, o.GroupID, o.Differs)
		}
	}
	if c.Records == 0 && c.Error == "" {
		fmt.Fprintln(t.stdout, "note: the export is empty, there is no record in it")
	}
	for _, note := range c.Notes {
		fmt.Fprintf(t.stdout, "note: %s\n", note)
	}
	t.dropped(c.Dropped)
	t.twice(c)
	if c.WithoutGroupID > 0 {
		fmt.Fprintf(t.stdout, "note: without a GroupId: %s; the service makes one up, and if its answer is lost a person has to look; "+
			"ASSIGN_GROUP_IDS=true avoids that\n", thousands(c.WithoutGroupID))
	}
	if c.WithoutCreateTime > 0 {
		fmt.Fprintf(t.stdout, "warning: without a CreateTime: %s of %s; these groups are created as of the import, "+
			"and members and messages from before it can never be imported with their dates\n", thousands(c.WithoutCreateTime), thousands(c.Valid))
	}
}

// twice says which records have the GroupId of an earlier one.
func (t *tool) twice(c *checked) {
	if c.Twice == nil {
		return
	}
	fmt.Fprintf(t.stdout, "warning: with the GroupId of an earlier record: %s; "+
		"import finds the group of the first there, and creates none\n", thousands(c.Twice.Count))
	for _, s := range c.Twice.First {
		fmt.Fprintf(t.stdout, "  line %d has that of line %d: %q\n", s.Line, s.Earlier, s.GroupID)
	}
}

// dropped says what of an answer of get_group_info import_group does not know.
func (t *tool) dropped(fields map[string]int64) {
	if len(fields) == 0 {
		return
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		texts = append(texts, fmt.Sprintf("%s %s", name, thousands(fields[name])))
	}
	fmt.Fprintf(t.stdout, "note: dropped, because import_group does not know it, and of how many records: %s\n", strings.Join(texts, ", "))
}

// findings writes which rules are broken, how often, and the first examples.
func (t *tool) findings(list []*finding) {
	if len(list) == 0 {
		return
	}
	rows := [][4]string{{"field", "rule", "count", "first examples"}}
	for _, f := range list {
		row := [4]string{shown(f.Field), string(f.Rule), thousands(f.Count)}
		for _, e := range f.Examples {
			row[3] = e.text(f.Rule)
			rows = append(rows, row)
			row = [4]string{}
		}
	}
	var wide [3]int
	for _, row := range rows {
		for i := range wide {
			wide[i] = max(wide[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		fmt.Fprintf(t.stdout, "  %-*s  %-*s  %*s  %s\n", wide[0], row[0], wide[1], row[1], wide[2], row[2], row[3])
	}
}

// text says an example in a line.
func (e *example) text(rule group.Rule) string {
	var b strings.Builder
	what, places := "line", e.Lines
	if e.Records[len(e.Records)-1] > e.Lines[len(e.Lines)-1] { // several share a line
		what, places = "record", e.Records
	}
	b.WriteString(what)
	if len(places) > 1 {
		b.WriteString("s")
	}
	for i, line := range places {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %d", line)
	}
	if e.more {
		b.WriteString(", …")
	}
	b.WriteString(": " + e.Message)
	if rule == group.RuleLength && e.Value != "" { // the other messages show it
		b.WriteString(": " + e.Value)
	}
	return b.String()
}
