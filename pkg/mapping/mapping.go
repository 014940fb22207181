// Package mapping makes import_group's records of other systems' with jq programs
// (https://jqlang.org/manual, as github.com/itchyny/gojq runs them).
//
// A program gets one record, and yields one object in import_group's words. If it yields nothing the record is
// left out; [skip] does that with a word of its own. Beside jq's own functions it has:
//
//	cut_bytes(n)   a text, cut to at most n bytes of UTF-8 without splitting a character; null stays null
//	fits(n)        a text if it has at most n bytes, otherwise null: for what is of no use when cut, as a URL
//	fit_id         a text as a GroupId: itself if it may be one, otherwise what may stand of it and a hash of all
//	seconds        a time as Unix seconds: seconds, milliseconds or microseconds, as a number or in a text;
//	               RFC 3339; MongoDB's {"$date": …}; null stays null
//	skip(why)      leaves the record out and says why
//	$limits        the limits in force: .Name .Introduction .Notification .FaceUrl, in bytes
//
// There is no input but the record, no environment, and there are no modules.
package mapping

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"path"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/itchyny/gojq"

	"groupimport/pkg/group"
)

const (
	// MaxProgram is how long a program may be, in bytes. It is kept with the import that it belongs to.
	MaxProgram = 64 << 10

	// What a program may do for one record: operations, of which the built-in ones need some hundred, and
	// bytes it may allocate. A single operation can allocate as much again, and a string times a number up to
	// 2 GB: that much the author of a program is trusted.
	mostSteps = 2_000_000
	mostBytes = 32 << 20
	lookEvery = 16 // operations between two looks at the bytes

	mostGroupID = 48 // bytes a GroupId may have
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

// A Program makes import_group's records of another system's. It may not be used concurrently.
type Program struct {
	code   *gojq.Code
	limits any
	out    []byte
}

// Compile returns the program of a text. The error says where it is wrong.
func Compile(text string, limits group.Limits) (*Program, error) {
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
	code, err := gojq.Compile(query,
		gojq.WithVariables([]string{"$limits"}),
		gojq.WithFunction("cut_bytes", 1, 1, cutBytes),
		gojq.WithFunction("fits", 1, 1, fits),
		gojq.WithFunction("fit_id", 0, 0, fitID),
		gojq.WithFunction("seconds", 0, 0, seconds),
		gojq.WithFunction("skip", 1, 1, skip),
		gojq.WithEnvironLoader(func() []string { return nil }),
	)
	if err != nil {
		return nil, fmt.Errorf("the mapping is no jq program: %w", err)
	}
	return &Program{code: code, limits: map[string]any{
		"Name": limits.Name, "Introduction": limits.Introduction, "Notification": limits.Notification, "FaceUrl": limits.FaceURL,
	}}, nil
}

// Map makes a record of raw, a JSON value. If it is left out, skipped says why. An error says what is wrong with the
// record or the program. mapped is valid until the next call.
func (p *Program) Map(raw []byte) (mapped []byte, skipped string, err error) {
	in, err := decode(raw)
	if err != nil {
		if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			err = fmt.Errorf("%w at byte %d", s.Err, s.ByteOffset)
		}
		return nil, "", fmt.Errorf("not a JSON value: %w", err)
	}
	ctx := newBudget()
	results := p.code.RunWithContext(ctx, in, p.limits)
	v, ok := results.Next()
	if !ok {
		return nil, "the mapping yields nothing for it", nil
	}
	if err, ok := v.(error); ok {
		if out, ok := errors.AsType[*skipError](err); ok {
			return nil, out.why, nil
		}
		if ctx.spent != nil {
			err = ctx.spent
		}
		return nil, "", fmt.Errorf("the mapping fails: %w", err)
	}
	switch more, ok := results.Next(); {
	case !ok:
	case ctx.spent != nil:
		return nil, "", fmt.Errorf("the mapping fails: %w", ctx.spent)
	default:
		if err, ok := more.(error); ok {
			return nil, "", fmt.Errorf("the mapping fails: %w", err)
		}
		return nil, "", errors.New("the mapping yields more than one record: it must yield one for each")
	}
	if p.out, err = gojq.Marshal(v); err != nil {
		return nil, "", fmt.Errorf("the mapping fails: %w", err)
	}
	return p.out, "", nil
}

// A budget is a context that ends when a program has done too much: gojq asks it before each operation. So
// the same record comes to the same on a busy machine.
type budget struct {
	context.Context //nolint:containedctx // it is one
	steps           int
	bytes           uint64
	sample          [1]metrics.Sample
	spent           error
}

var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func newBudget() *budget {
	b := &budget{Context: context.TODO()}
	b.sample[0].Name = "/gc/heap/allocs:bytes"
	b.bytes = b.allocated() + mostBytes
	return b
}

func (b *budget) allocated() uint64 {
	metrics.Read(b.sample[:])
	return b.sample[0].Value.Uint64()
}

// Done implements [context.Context].
func (b *budget) Done() <-chan struct{} {
	b.steps++
	switch {
	case b.spent != nil:
	case b.steps > mostSteps:
		b.spent = fmt.Errorf("it does not end within %d operations", mostSteps)
	case b.steps%lookEvery == 0 && b.allocated() > b.bytes:
		b.spent = fmt.Errorf("it needs more than %d MiB", mostBytes>>20)
	default:
		return nil
	}
	return closed
}

// Err implements [context.Context].
func (b *budget) Err() error { return b.spent }

// decode reads JSON as gojq wants it: whole numbers stay exact.
func decode(raw []byte) (any, error) {
	dec := jsontext.NewDecoder(strings.NewReader(string(raw)))
	v, err := value(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something follows at byte %d", dec.InputOffset())
	}
	return v, nil
}

func value(dec *jsontext.Decoder) (any, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case 'n':
		return nil, nil //nolint:nilnil // that is what null is
	case 't', 'f':
		return tok.Bool(), nil
	case '"':
		return tok.String(), nil
	case '0':
		return number(tok.String()), nil
	case '[':
		list := []any{}
		for dec.PeekKind() != ']' {
			v, err := value(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.ReadToken()
		return list, err
	default:
		object := map[string]any{}
		for dec.PeekKind() != '}' {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String() // before the token is gone
			if object[key], err = value(dec); err != nil {
				return nil, err
			}
		}
		_, err := dec.ReadToken()
		return object, err
	}
}

func number(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	if len(text) < 1000 {
		if n, ok := new(big.Int).SetString(text, 10); ok {
			return n
		}
	}
	n, _ := strconv.ParseFloat(text, 64) // too large is infinite, as in jq
	return n
}

// cutBytes is cut_bytes(n).
func cutBytes(v any, args []any) any {
	text, n, err := textAndLength("cut_bytes", v, args)
	if err != nil || v == nil {
		return orNil(err)
	}
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// fits is fits(n).
func fits(v any, args []any) any {
	text, n, err := textAndLength("fits", v, args)
	if err != nil || v == nil || len(text) > n {
		return orNil(err)
	}
	return text
}

// orNil makes of an error what gojq takes for one, and of none null.
func orNil(err error) any {
	if err != nil {
		return err
	}
	return nil
}

func textAndLength(name string, v any, args []any) (string, int, error) {
	n, ok := args[0].(int)
	if !ok || n < 0 {
		return "", 0, fmt.Errorf("%s(%v): a length in bytes is wanted", name, args[0])
	}
	text, ok := v.(string)
	if !ok && v != nil {
		return "", 0, fmt.Errorf("%s is for texts, not for %s", name, gojq.TypeOf(v))
	}
	return text, n, nil
}

// fitID is fit_id.
func fitID(v any, _ []any) any {
	if v == nil {
		return nil
	}
	text, ok := v.(string)
	if n, isInt := v.(int); isInt {
		text, ok = strconv.Itoa(n), true
	}
	if !ok {
		return fmt.Errorf("fit_id is for texts and whole numbers, not for %s", gojq.TypeOf(v))
	}
	fit := strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return -1
		}
		return c
	}, text)
	for strings.HasPrefix(fit, "@TGS#") { // the service's own to give
		fit = fit[len("@TGS#"):]
	}
	if fit == text && len(fit) <= mostGroupID {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	const hashed = 16 // hexadecimal digits: with a billion groups one chance in forty that two are alike
	return fit[:min(len(fit), mostGroupID-hashed-1)] + "-" + hex.EncodeToString(sum[:hashed/2])
}

// seconds is for times of any kind that exports have.
func seconds(v any, _ []any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		if date, ok := v["$date"]; ok {
			return seconds(date, nil)
		}
		if long, ok := v["$numberLong"]; ok {
			return seconds(long, nil)
		}
	case int:
		return secondsOf(float64(v))
	case float64:
		return secondsOf(v)
	case string:
		if v == "" {
			return nil
		}
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return secondsOf(n)
		}
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999999-0700", time.DateTime, "2006-01-02T15:04:05"} {
			if at, err := time.Parse(layout, v); err == nil {
				return int(at.Unix())
			}
		}
		return fmt.Errorf("seconds: %.40q is no time", v)
	}
	return fmt.Errorf("seconds: %s is no time", gojq.TypeOf(v))
}

// secondsOf tells the unit by the size: 100,000,000,000 seconds are the year 5138, as many milliseconds 1973.
func secondsOf(n float64) any {
	for n >= 1e11 && n <= 1e18 {
		n /= 1000
	}
	if math.IsNaN(n) || n < 0 || n > 1e11 {
		return fmt.Errorf("seconds: %v is no time", n)
	}
	return int(math.Floor(n))
}

// A skipError leaves a record out.
type skipError struct{ why string }

func (e *skipError) Error() string { return "skipped: " + e.why }

func skip(_ any, args []any) any {
	why := fmt.Sprint(args[0])
	if len(why) > 200 {
		why = strings.ToValidUTF8(why[:200], "") + "…"
	}
	if why == "" {
		why = "the mapping leaves it out"
	}
	return &skipError{why}
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
	return "", fmt.Errorf("there is no mapping %q: name one of %s, or a jq program whose name ends in .jq", name, strings.Join(Names(), ", "))
}
