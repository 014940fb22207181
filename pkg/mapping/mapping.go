// Package mapping converts records of other systems to import_group's format with jq programs
// (https://jqlang.org/manual, run by github.com/itchyny/gojq).
//
// The input of a program is one record. The output is one object in import_group's format, or nothing to skip the
// record. The object may have an additional member "source": the group's ID in its source system, a string or an
// integer. A program can use jq's own functions and:
//
//	cut_bytes(n)      truncates a string to at most n bytes of UTF-8 at a character boundary; null stays null
//	fits(n)           a string of at most n bytes, otherwise null: for values that cannot be truncated, such as a URL
//	fit_id            converts a string to a GroupId: itself if it is valid, otherwise its valid characters and a hash
//	change(f)         the value of f, recorded as a change of the input
//	seconds           converts a time to Unix seconds: seconds, milliseconds or microseconds, as a number or a string;
//	                  RFC 3339; a date with the year first, in [Settings.Zone]; MongoDB's {"$date": …}; null stays null
//	member(a; r; t)   an entry of MemberList: account, role and time of joining, the latter as for seconds, or null
//	skip(why)         skips the record with a reason
//	ignore            ignores a record that is not a group: it gets no outcome
//	$limits           the length limits in bytes: .Name .Introduction .Notification .FaceUrl
//	$name             the export's name without folder and compression, such as "groups.json"
//	$include_archived whether to import archived groups
//
// [export.Mapped.Changed] lists the fields whose values cut_bytes, fits, fit_id or change altered.
//
// Instead of one object, the output may be any number of member records of groups, such as those of a user with the
// groups of that user.
//
// A program may start with jq's module directive. The member "only" declares strings, or arrays of strings. A record in
// which a member with a declared name is another string is ignored, and the program does not run:
//
//	module {only: {type: ["channel", "user"]}};
//
// The member "records" is the path of the records in a JSON document, see [export.ParsePath], or an array of paths, the
// first of which that the document has counts. Documents without any are read as usual:
//
//	module {records: ["data.groups", "groups.*"]};
//
// The member "files" are the names of the files of a zip archive that have records:
//
//	module {files: ["channels.json", "groups.json"]};
//
// A program cannot read other input, the environment or modules.
package mapping

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/itchyny/gojq"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

const (
	// MaxProgram is the maximum length of a program in bytes. Each import stores its program.
	MaxProgram = 64 << 10

	// maxSource is the maximum length of a source ID in characters: Mattermost's "team.channel" has up to
	// 64 + 1 + 64, Sendbird's channel_url up to 100.
	maxSource = 129
)

//go:embed *.jq
var builtin embed.FS

// Names returns the names of the built-in programs.
func Names() []string {
	var names []string
	files, err := builtin.ReadDir(".")
	if err != nil {
		panic(err) // embedded files are always readable
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".jq"))
	}
	return names
}

// Builtin returns the text of a built-in program.
func Builtin(name string) (text string, ok bool) {
	data, err := builtin.ReadFile(path.Base(name) + ".jq")
	return string(data), err == nil
}

// nameOf returns the name of the built-in program with this text, "" for another program.
func nameOf(text string) string {
	for _, name := range Names() {
		if known, _ := Builtin(name); known == text {
			return name
		}
	}
	return ""
}

// deadLetter matches the name of a dead-letter file, also renamed for an import, also of an archived version of an
// export.
var deadLetter = regexp.MustCompile(`^(.+?)(\.[0-9a-f]{12})?\.failures\.(ndjson|jsonl)$`)

// BaseName returns the $name of the export at key: the name without folders and the extension of a compression. For a
// dead-letter file, it is the name of its export.
func BaseName(key string) string {
	name := path.Base(key)
	if m := deadLetter.FindStringSubmatch(name); m != nil {
		name = m[1]
	}
	for _, ending := range export.Compressions {
		if len(name) > len(ending) && strings.EqualFold(name[len(name)-len(ending):], ending) {
			return name[:len(name)-len(ending)]
		}
	}
	return name
}

// Settings are the values of a program's variables. They must not change during an import.
type Settings struct {
	Limits          group.Limits
	Name            string // of the export, see [BaseName]
	IncludeArchived bool
	Zone            *time.Location // of times without one, nil for UTC
}

// maxTime is the time that a program may take for one record. The built-in programs need less than a millisecond. A
// single function of jq can take minutes, such as gsub on a long string, and cannot be interrupted.
const maxTime = 10 * time.Second

// A Program is a compiled mapping. It is not safe for concurrent use.
type Program struct {
	text     string
	settings Settings
	engine   *engine // replaced after a record that took too long: its goroutine still uses the old one
	maxTime  time.Duration
	slow     bool // a record has taken longer than maxTime
}

// Compile compiles a program. The error includes the line of a syntax error.
func Compile(text string, s Settings) (*Program, error) {
	e, err := newEngine(text, s)
	if err != nil {
		return nil, err
	}
	return &Program{text: text, settings: s, engine: e, maxTime: maxTime}, nil
}

// errSlow is the error of [Program.mapInTime].
var errSlow = errors.New("the mapping took too long")

// Map runs the program on one record. The first record that takes longer than 10 s twice is rejected, because it may be
// an unusual one. The error of the second such record wraps [export.ErrStop]: the program would take longer than the
// import may.
func (p *Program) Map(raw []byte) (export.Mapped, error) {
	if len(p.engine.only) > 0 {
		if other, err := p.engine.isOther(raw); other || err != nil {
			return export.Mapped{Ignored: other}, err
		}
	}
	m, err := p.mapInTime(raw)
	if errors.Is(err, errSlow) {
		m, err = p.mapInTime(raw) // the process may have been frozen
	}
	if !errors.Is(err, errSlow) {
		return m, err
	}
	err = fmt.Errorf("the mapping took longer than %v for one record of %d bytes", p.maxTime, len(raw))
	if p.slow {
		return export.Mapped{}, fmt.Errorf("%w: %w, for the second time: simplify the program, such as regular "+
			"expressions on long strings, and start the import again", export.ErrStop, err)
	}
	p.slow = true
	return export.Mapped{}, err
}

// mapInTime runs the program once, for at most maxTime.
func (p *Program) mapInTime(raw []byte) (export.Mapped, error) {
	type result struct {
		mapped export.Mapped
		err    error
	}
	done := make(chan result, 1)
	e := p.engine
	go func(raw []byte) {
		m, err := e.convert(raw)
		done <- result{m, err}
	}(bytes.Clone(raw)) // the caller reuses raw, also while an abandoned goroutine still reads it
	timer := time.NewTimer(p.maxTime)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.mapped, r.err
	case <-timer.C:
	}
	e.abandoned.Store(true)
	var err error
	if p.engine, err = newEngine(p.text, p.settings); err != nil {
		return export.Mapped{}, err // it has compiled before
	}
	return export.Mapped{}, errSlow
}

// An engine runs a program. Only one goroutine may use it.
type engine struct {
	code      *gojq.Code
	variables []any
	only      map[string][]string // see the package comment
	records   []export.Path       // see the package comment
	files     []string            // see the package comment
	zone      *time.Location

	exact     bool // functions return their inputs unaltered
	altered   bool // a function has altered a value
	out       []byte
	abandoned atomic.Bool // nobody waits for the result
}

func newEngine(text string, s Settings) (*engine, error) {
	if len(text) > MaxProgram {
		return nil, fmt.Errorf("the mapping is %d bytes, limit %d", len(text), MaxProgram)
	}
	query, err := gojq.Parse(text)
	if err != nil {
		at := ""
		if parse, ok := errors.AsType[*gojq.ParseError](err); ok {
			at = fmt.Sprintf("line %d: ", 1+strings.Count(text[:min(parse.Offset, len(text))], "\n"))
		}
		return nil, fmt.Errorf("the mapping is not a valid jq program: %s%w", at, err)
	}
	p := &engine{variables: []any{
		map[string]any{
			"Name": s.Limits.Name, "Introduction": s.Limits.Introduction, "Notification": s.Limits.Notification,
			"FaceUrl": s.Limits.FaceURL,
		},
		s.Name, s.IncludeArchived,
	}}
	if p.zone = s.Zone; p.zone == nil {
		p.zone = time.UTC
	}
	if p.only, err = onlyOf(query); err != nil {
		return nil, err
	}
	if p.records, err = recordsOf(query); err != nil {
		return nil, err
	}
	if p.files, err = filesOf(query); err != nil {
		return nil, err
	}
	p.code, err = gojq.Compile(query,
		gojq.WithVariables([]string{"$limits", "$name", "$include_archived"}),
		gojq.WithFunction("cut_bytes", 1, 1, p.cutBytes),
		gojq.WithFunction("fits", 1, 1, p.fits),
		gojq.WithFunction("fit_id", 0, 0, p.fitID),
		gojq.WithFunction("change", 1, 1, p.change),
		gojq.WithFunction("seconds", 0, 0, p.seconds),
		gojq.WithFunction("member", 3, 3, p.member),
		gojq.WithFunction("skip", 1, 1, skip),
		gojq.WithFunction("ignore", 0, 0, func(any, []any) any { return errIgnored }),
		gojq.WithEnvironLoader(func() []string { return nil }),
	)
	if err != nil {
		return nil, fmt.Errorf("the mapping is not a valid jq program: %w", err)
	}
	return p, nil
}

// onlyOf returns the member "only" of a program's module directive.
func onlyOf(query *gojq.Query) (map[string][]string, error) {
	value, ok := query.Meta.ToValue()["only"]
	if !ok {
		return nil, nil // nothing is declared
	}
	members, ok := value.(map[string]any)
	only := map[string][]string{}
	for name, value := range members {
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, v := range list {
			text, isText := v.(string)
			only[name], ok = append(only[name], text), ok && isText
		}
	}
	if !ok {
		return nil, errors.New(`the mapping is not a valid jq program: "only" must be an object of strings, ` +
			`such as {type: "channel"}, or of arrays of strings`)
	}
	return only, nil
}

// recordsOf returns the paths of the member "records" of a program's module directive.
func recordsOf(query *gojq.Query) ([]export.Path, error) {
	value, ok := query.Meta.ToValue()["records"]
	if !ok {
		return nil, nil
	}
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	var paths []export.Path
	for _, v := range list {
		text, _ := v.(string)
		path, err := export.ParsePath(text)
		if err != nil || path == nil {
			return nil, errors.New(`the mapping is not a valid jq program: "records" must be names with dots between them, ` +
				`such as "data.groups" or "groups.*", or an array of them`)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// filesOf returns the names of the member "files" of a program's module directive.
func filesOf(query *gojq.Query) ([]string, error) {
	value, ok := query.Meta.ToValue()["files"]
	if !ok {
		return nil, nil
	}
	list, ok := value.([]any)
	var names []string
	for _, v := range list {
		name, isText := v.(string)
		ok = ok && isText && name != "" && !strings.Contains(name, "/") && !slices.Contains(names, name)
		names = append(names, name)
	}
	if !ok {
		return nil, errors.New(`the mapping is not a valid jq program: "files" must be an array of names without folders, ` +
			`such as ["channels.json"]`)
	}
	return names, nil
}

// convert runs the program on one record.
func (p *engine) convert(raw []byte) (m export.Mapped, err error) {
	defer func() {
		if v := recover(); v != nil { // a fault of gojq must not end the process
			err = fmt.Errorf("the mapping failed: panic: %v", v)
		}
	}()
	in, damaged, err := decode(raw, replacement)
	if err != nil {
		return export.Mapped{}, invalid(err)
	}
	v, err := p.run(in)
	altered := p.altered
	if damaged && p.usesDamage(raw, v, err) {
		return export.Mapped{}, errors.New(
			"a string that the mapping uses is not valid UTF-8, or contains a lone surrogate")
	}
	if err != nil {
		if place := p.placeIn(in); place != nil {
			return export.Mapped{}, fmt.Errorf("the mapping left out an object with records at %s, which are read only in a "+
				"file that begins with such an object: take the objects out of their array (jq -c '.[]' FILE), or remove what "+
				"is before them", place)
		}
		return notMapped(err)
	}
	if !altered {
		return p.mapped(v, nil)
	}
	return p.mapped(v, p.changed(in, v))
}

// placeIn returns the path of the module directive at which a record that the program leaves out has records of its
// own.
func (p *engine) placeIn(in any) export.Path {
	i := slices.IndexFunc(p.records, func(path export.Path) bool {
		_, ok := within(in, path).(map[string]any)
		return ok
	})
	if i < 0 {
		return nil
	}
	return p.records[i]
}

// Ignores reports whether the module directive excludes a record with these first bytes.
func (p *Program) Ignores(head []byte) bool { return len(p.engine.only) > 0 && p.engine.hasOther(head) }

// Records returns the paths of the module directive, see [export.Mapping].
func (p *Program) Records() []export.Path { return p.engine.records }

// Files returns the names of the module directive, see [export.FileMapping].
func (p *Program) Files() []string { return p.engine.files }

// InFile sets $name for the records of a file of an archive.
func (p *Program) InFile(name string) {
	p.settings.Name = name
	p.engine.variables = slices.Clone(p.engine.variables)
	p.engine.variables[1] = name
}

// invalid returns the error of a record that is not JSON, or has too long a string.
func invalid(err error) error {
	if errors.Is(err, errLongText) {
		return err
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		err = fmt.Errorf("%w at byte %d", s.Err, s.ByteOffset)
	}
	return fmt.Errorf("not a JSON value: %w", err)
}

// A several is the results of a program that are more than one: member records.
type several []any

// maxResults is the maximum number of results for one record.
const maxResults = 10_000

// each returns the results in v.
func each(v any) []any {
	if list, ok := v.(several); ok {
		return list
	}
	return []any{v}
}

func isMember(v any) bool {
	object, ok := v.(map[string]any)
	return ok && object[fieldMemberAccount] != nil
}

const fieldMemberAccount = "Member_Account"

// run runs the program. The result may be [several]. The error is a [*skipError] if the record is skipped and
// errIgnored if it is ignored.
func (p *engine) run(in any) (any, error) {
	const tries = 3 // other goroutines of a busy process may allocate as much
	for try := 1; ; try++ {
		v, err := p.runOnce(in)
		if try == tries || !errors.Is(err, errMemory) {
			return v, err
		}
	}
}

func (p *engine) runOnce(in any) (any, error) {
	p.altered = false
	ctx := newBudget(&p.abandoned)
	results := p.code.RunWithContext(ctx, in, p.variables...)
	fails := func(err error) error {
		if ctx.spent != nil {
			err = ctx.spent
		}
		return fmt.Errorf("the mapping failed: %w", err)
	}
	v, ok := results.Next()
	if !ok {
		return nil, &skipError{"the mapping returned no record"}
	}
	if err, ok := v.(error); ok {
		if _, skipped := errors.AsType[*skipError](err); skipped || errors.Is(err, errIgnored) {
			return nil, err
		}
		return nil, fails(err)
	}
	list := several{v}
	for {
		more, ok := results.Next()
		if err, isErr := more.(error); ok && (isErr || ctx.spent != nil) {
			return nil, fails(err)
		}
		switch {
		case !ok && len(list) == 1:
			return v, nil
		case !ok:
			return list, nil
		case len(list) == maxResults:
			return nil, fmt.Errorf("the mapping returned more than %d records", maxResults)
		case !isMember(v) || !isMember(more):
			return nil, errors.New("the mapping returned more than one record, and not all are members")
		}
		list = append(list, more)
	}
}

// notMapped converts an error of run.
func notMapped(err error) (export.Mapped, error) {
	if s, ok := errors.AsType[*skipError](err); ok {
		return export.Mapped{Skipped: s.why}, nil
	}
	if errors.Is(err, errIgnored) {
		return export.Mapped{Ignored: true}, nil
	}
	return export.Mapped{}, err
}

// usesDamage reports whether the result depends on strings with invalid UTF-8. It runs the program again with another
// replacement, which is correct for all programs and functions.
func (p *engine) usesDamage(raw []byte, v any, err error) bool {
	in, _, decodeErr := decode(raw, replacement+"?")
	if decodeErr != nil {
		return true
	}
	again, againErr := p.run(in)
	if err != nil || againErr != nil {
		return fmt.Sprint(err) != fmt.Sprint(againErr)
	}
	return gojq.Compare(each(v), each(again)) != 0
}

// changed returns, for each result, the fields that functions have altered. It runs the program again with functions
// that alter nothing and compares the results. If that run fails, or has another number of results, it returns all
// fields.
func (p *engine) changed(in, v any) [][]string {
	p.exact = true
	full, err := p.run(in)
	p.exact = false
	results, originals := each(v), each(full)
	fails := err != nil || len(results) != len(originals)
	changed := make([][]string, len(results))
	for i, result := range results {
		got, _ := result.(map[string]any)
		var want map[string]any
		if !fails {
			want, _ = originals[i].(map[string]any)
		}
		for _, name := range group.Fields() {
			if fails && got[name] != nil || !fails && gojq.Compare(got[name], want[name]) != 0 {
				changed[i] = append(changed[i], name)
			}
		}
	}
	return changed
}

// mapped converts the results of a program. changed has the altered fields of each result, or is nil if there are none.
func (p *engine) mapped(v any, changed [][]string) (export.Mapped, error) {
	var all []export.Mapped
	for i, result := range each(v) {
		var names []string
		if changed != nil {
			names = changed[i]
		}
		m, err := p.mappedOne(result, names)
		if err != nil {
			return export.Mapped{}, err
		}
		all = append(all, m)
	}
	all[0].More = all[1:]
	return all[0], nil
}

func (p *engine) mappedOne(v any, changed []string) (export.Mapped, error) {
	m := export.Mapped{Changed: changed}
	if object, ok := v.(map[string]any); ok {
		source, err := sourceOf(object["source"])
		if err != nil {
			return export.Mapped{}, fmt.Errorf("the mapping failed: %w", err)
		}
		m.Source = source
		delete(object, "source")
	}
	var err error
	if p.out, err = gojq.Marshal(v); err != nil {
		return export.Mapped{}, fmt.Errorf("the mapping failed: %w", err)
	}
	m.Record = p.out
	return m, nil
}

// Find returns the text of a program: the result of read for a name that ends in .jq, otherwise a built-in program.
func Find(name string, read func(name string) ([]byte, error)) (string, error) {
	if strings.HasSuffix(name, ".jq") {
		data, err := read(name)
		if err != nil {
			return "", fmt.Errorf("read the mapping %q: %w", name, err)
		}
		return string(data), nil
	}
	if text, ok := Builtin(name); ok && slices.Contains(Names(), name) {
		return text, nil
	}
	return "", fmt.Errorf("unknown mapping %q: use one of %s, or a jq program with a name that ends in .jq",
		name, strings.Join(Names(), ", "))
}
