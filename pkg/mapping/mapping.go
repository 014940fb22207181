// Package mapping converts records of other systems to import_group's with jq programs
// (https://jqlang.org/manual, as github.com/itchyny/gojq runs them).
//
// A program gets one record and yields one object in import_group's words. It skips the record if it yields nothing.
// Beside import_group's fields the object may have a member "source": the group's ID in the system that it comes from,
// a text or a whole number. Beside jq's own functions a program has:
//
//	cut_bytes(n)      a text, cut to at most n bytes of UTF-8 without splitting a character; null stays null
//	fits(n)           a text if it has at most n bytes, otherwise null: for what is of no use when cut, such as a URL
//	fit_id            a text as a GroupId: itself if it is a valid one, otherwise its valid characters and a hash
//	change(f)         the value of f, noted as a change of its input
//	seconds           a time as Unix seconds: seconds, milliseconds or microseconds, as a number or in a text;
//	                  RFC 3339; MongoDB's {"$date": …}; null stays null
//	skip(why)         leaves the record out and says why
//	ignore            leaves out a record that is about something else than a group: it gets no outcome
//	$limits           the limits in force: .Name .Introduction .Notification .FaceUrl, in bytes
//	$name             the export's name without folder and compression, such as "groups.json"
//	$include_archived whether archived groups are imported
//
// [export.Mapped.Changed] names the fields whose value cut_bytes, fits, fit_id or change altered.
//
// A program may begin with jq's module directive. Records whose member of that name is another text are then ignored
// without running the program, whatever else they hold:
//
//	module {only: {type: "channel"}};
//
// A program has no input but the record, no environment and no modules.
package mapping

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/itchyny/gojq"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

const (
	// MaxProgram is the longest program, in bytes. It is kept with the import that it belongs to.
	MaxProgram = 64 << 10

	// maxSource is the longest source ID that is kept, in characters: Mattermost's "team.channel" has up to
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
		panic(err) // it is part of the program
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

// nameOf returns the name of the built-in program with this text, "" of any other.
func nameOf(text string) string {
	for _, name := range Names() {
		if known, _ := Builtin(name); known == text {
			return name
		}
	}
	return ""
}

// deadLetter is the name of a dead-letter file, also renamed so that it can be imported, and what an archived version
// of the export has in its name.
var deadLetter = regexp.MustCompile(`^(.+?)(\.[0-9a-f]{12})?\.failures\.(ndjson|jsonl)$`)

// BaseName returns the $name of the export at key: without folders and the ending of a compression. A dead-letter
// file has the name of the export that it belongs to.
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

// Settings are the values of a program's variables. An import keeps to those that it began with.
type Settings struct {
	Limits          group.Limits
	Name            string // of the export, see [BaseName]
	IncludeArchived bool
}

// A Program converts another system's records to import_group's. It may not be used concurrently.
type Program struct {
	code      *gojq.Code
	variables []any
	only      map[string]string // see the package's comment

	exact   bool // the functions that alter values return them as they are
	altered bool // one of them has altered a value
	out     []byte
}

// Compile returns the program of a text. The error says where it is wrong.
func Compile(text string, s Settings) (*Program, error) {
	if len(text) > MaxProgram {
		return nil, fmt.Errorf("the mapping has %d bytes, at most %d are read", len(text), MaxProgram)
	}
	query, err := gojq.Parse(text)
	if err != nil {
		at := ""
		if parse, ok := errors.AsType[*gojq.ParseError](err); ok {
			at = fmt.Sprintf("in line %d: ", 1+strings.Count(text[:min(parse.Offset, len(text))], "\n"))
		}
		return nil, fmt.Errorf("the mapping is no jq program: %s%w", at, err)
	}
	p := &Program{variables: []any{
		map[string]any{
			"Name": s.Limits.Name, "Introduction": s.Limits.Introduction, "Notification": s.Limits.Notification,
			"FaceUrl": s.Limits.FaceURL,
		},
		s.Name, s.IncludeArchived,
	}}
	if p.only, err = onlyOf(query); err != nil {
		return nil, err
	}
	p.code, err = gojq.Compile(query,
		gojq.WithVariables([]string{"$limits", "$name", "$include_archived"}),
		gojq.WithFunction("cut_bytes", 1, 1, p.cutBytes),
		gojq.WithFunction("fits", 1, 1, p.fits),
		gojq.WithFunction("fit_id", 0, 0, p.fitID),
		gojq.WithFunction("change", 1, 1, p.change),
		gojq.WithFunction("seconds", 0, 0, seconds),
		gojq.WithFunction("skip", 1, 1, skip),
		gojq.WithFunction("ignore", 0, 0, func(any, []any) any { return errIgnored }),
		gojq.WithEnvironLoader(func() []string { return nil }),
	)
	if err != nil {
		return nil, fmt.Errorf("the mapping is no jq program: %w", err)
	}
	return p, nil
}

// onlyOf returns the member "only" of the module directive that a program begins with.
func onlyOf(query *gojq.Query) (map[string]string, error) {
	value, ok := query.Meta.ToValue()["only"]
	if !ok {
		return nil, nil //nolint:nilnil // nothing is declared
	}
	members, ok := value.(map[string]any)
	only := map[string]string{}
	for name, value := range members {
		text, isText := value.(string)
		only[name], ok = text, ok && isText
	}
	if !ok {
		return nil, errors.New(`the mapping is no jq program: "only" must be an object of texts, such as {type: "channel"}`)
	}
	return only, nil
}

// Map implements [export.Mapping].
func (p *Program) Map(raw []byte) (export.Mapped, error) {
	if len(p.only) > 0 {
		if other, err := p.isOther(raw); other || err != nil {
			return export.Mapped{Ignored: other}, err
		}
	}
	in, damaged, err := decode(raw, replacement)
	if err != nil {
		return export.Mapped{}, invalid(err)
	}
	v, err := p.run(in)
	altered := p.altered
	if damaged && p.usesDamage(raw, v, err) {
		return export.Mapped{}, errors.New(
			"a text that the mapping uses is not valid UTF-8, or holds half of a surrogate pair")
	}
	if err != nil {
		return left(err)
	}
	var changed []string
	if altered {
		changed = p.changed(in, v)
	}
	return p.mapped(v, changed)
}

// Ignores implements [export.Mapping].
func (p *Program) Ignores(head []byte) bool { return len(p.only) > 0 && p.hasOther(head) }

// invalid says why a record is no JSON.
func invalid(err error) error {
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		err = fmt.Errorf("%w at byte %d", s.Err, s.ByteOffset)
	}
	return fmt.Errorf("not a JSON value: %w", err)
}

// run runs the program once. The error is a [*skipError] or errIgnored if it leaves the record out.
func (p *Program) run(in any) (any, error) {
	p.altered = false
	ctx := newBudget()
	results := p.code.RunWithContext(ctx, in, p.variables...)
	fails := func(err error) error {
		if ctx.spent != nil {
			err = ctx.spent
		}
		return fmt.Errorf("the mapping fails: %w", err)
	}
	v, ok := results.Next()
	if !ok {
		return nil, &skipError{"the mapping yields nothing for it"}
	}
	if err, ok := v.(error); ok {
		if _, skipped := errors.AsType[*skipError](err); skipped || errors.Is(err, errIgnored) {
			return nil, err
		}
		return nil, fails(err)
	}
	more, ok := results.Next()
	if err, isErr := more.(error); ok && (isErr || ctx.spent != nil) {
		return nil, fails(err)
	}
	if ok {
		return nil, errors.New("the mapping yields more than one record: it must yield one for each")
	}
	return v, nil
}

// left returns what an error of run says about the record.
func left(err error) (export.Mapped, error) {
	if s, ok := errors.AsType[*skipError](err); ok {
		return export.Mapped{Skipped: s.why}, nil
	}
	if errors.Is(err, errIgnored) {
		return export.Mapped{Ignored: true}, nil
	}
	return export.Mapped{}, err
}

// usesDamage reports whether the texts that are not valid UTF-8 make a difference: the program runs again with
// another character in the place of the damage. This holds for any program and any function.
func (p *Program) usesDamage(raw []byte, v any, err error) bool {
	in, _, decodeErr := decode(raw, replacement+"?")
	if decodeErr != nil {
		return true
	}
	again, againErr := p.run(in)
	if err != nil || againErr != nil {
		return fmt.Sprint(err) != fmt.Sprint(againErr)
	}
	return gojq.Compare(v, again) != 0
}

// changed returns the fields that would have another value if no function had altered any: the program runs again
// with functions that alter nothing. A program that fails then may have changed any field.
func (p *Program) changed(in, v any) []string {
	p.exact = true
	full, err := p.run(in)
	p.exact = false
	got, _ := v.(map[string]any)
	want, _ := full.(map[string]any)
	var names []string
	for _, name := range group.Fields() {
		if err != nil && got[name] != nil || err == nil && gojq.Compare(got[name], want[name]) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// mapped returns the record that a program has yielded.
func (p *Program) mapped(v any, changed []string) (export.Mapped, error) {
	m := export.Mapped{Changed: changed}
	if object, ok := v.(map[string]any); ok {
		source, err := sourceOf(object["source"])
		if err != nil {
			return export.Mapped{}, fmt.Errorf("the mapping fails: %w", err)
		}
		m.Source = source
		delete(object, "source")
	}
	var err error
	if p.out, err = gojq.Marshal(v); err != nil {
		return export.Mapped{}, fmt.Errorf("the mapping fails: %w", err)
	}
	m.Record = p.out
	return m, nil
}

// Find returns the text of the program that a configuration names: a built-in one, or what read returns for a
// name that ends in .jq.
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
	return "", fmt.Errorf("there is no mapping %q: name one of %s, or a jq program whose name ends in .jq",
		name, strings.Join(Names(), ", "))
}
