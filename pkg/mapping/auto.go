package mapping

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/itchyny/gojq"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// Auto names no mapping: the first records of an export decide which built-in mapping it needs, see [DetectExport].
const Auto = "auto"

// headSize is how many bytes of an export [DetectExport] reads: a record of the maximum length may be the first.
const headSize = export.MaxLine + 64<<10

// NameOf returns the name of the built-in mapping with this text, "" for another text.
func NameOf(text string) string { return nameOf(text) }

// DetectExport returns the name of the built-in mapping for an export, "" if its first records are not those of one
// known system. It opens the export once and reads at most its first 1.1 MB. The error is of the store.
func DetectExport(ctx context.Context, src export.Source) (string, error) {
	head, err := headOf(src)
	if err != nil {
		return "", err
	}
	for i := range systems {
		if s := &systems[i]; s.reads(ctx, src, head) {
			return s.mapping, nil
		}
	}
	return "", nil
}

// headOf returns the first bytes of an export.
func headOf(src export.Source) ([]byte, error) {
	body := src.Open(0)
	defer body.Close()
	head, err := io.ReadAll(io.LimitReader(body, headSize))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head, err
}

// reads reports whether the first records of an export, of which head is the start, are all of s.
func (s *system) reads(ctx context.Context, src export.Source, head []byte) bool {
	probe := &probe{place: places()[s.mapping]}
	src.Map, src.Window = probe, nil
	if !slices.Contains(export.Archives, strings.ToLower(path.Ext(src.Name))) { // which are read by ranges
		src.Open = func(offset int64) io.ReadCloser {
			return io.NopCloser(bytes.NewReader(head[min(offset, int64(len(head))):]))
		}
	}
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		return false
	}
	records := 0
	for e, err := range r.Records(ctx) {
		if err != nil || e.Blank { // also because the head ends within a record; MBs without a record are no export
			break
		}
		if e.Failure != nil || probe.raw == nil {
			return false
		}
		object, ok := objectOf(probe.raw)
		if probe.raw = nil; !ok || !s.matches(object) {
			return false
		}
		if records++; records == maxGuarded {
			break
		}
	}
	return records > 0
}

// A probe is a mapping that keeps the last record.
type probe struct {
	place place
	raw   []byte
}

func (p *probe) Map(raw []byte) (export.Mapped, error) {
	p.raw = raw
	return export.Mapped{Ignored: true}, nil
}

func (*probe) Ignores([]byte) bool { return false }

func (p *probe) Records() []export.Path { return p.place.paths }

func (p *probe) Files() []string { return p.place.files }

func (*probe) InFile(string) {}

// A place is where a built-in mapping finds its records.
type place struct {
	paths []export.Path // in a document
	files []string      // in an archive
}

// places returns the places of each built-in mapping.
var places = sync.OnceValue(func() map[string]place {
	all := map[string]place{}
	for _, name := range Names() {
		text, _ := Builtin(name)
		query, err := gojq.Parse(text)
		if err != nil {
			panic(err) // the tests compile each
		}
		paths, pathErr := recordsOf(query)
		files, fileErr := filesOf(query)
		if err := errors.Join(pathErr, fileErr); err != nil {
			panic(err)
		}
		all[name] = place{paths, files}
	}
	return all
})

// within returns the first record of a document, the value v, at path. It is nil if there is none.
func within(v any, path export.Path) any {
	for i, name := range path {
		object, ok := v.(map[string]any)
		switch {
		case !ok:
			return nil
		case name == "*" && i == len(path)-1:
			for _, value := range object {
				return value // any of them
			}
			return nil
		}
		v = object[name]
	}
	if text, ok := v.(string); ok {
		v, _, _ = decode([]byte(text), replacement) // nil if it is no JSON
	}
	if list, ok := v.([]any); ok && len(list) > 0 {
		return list[0]
	}
	return nil
}

// holds reports whether a document has its first record where the mapping of s expects it.
func (s *system) holds(document record) bool {
	return slices.ContainsFunc(places()[s.mapping].paths, func(path export.Path) bool {
		first, ok := within(map[string]any(document), path).(map[string]any)
		return ok && s.matches(first)
	})
}
