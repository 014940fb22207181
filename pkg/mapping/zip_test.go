package mapping_test

import (
	"archive/zip"
	"bytes"
	"slices"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
)

// slackZip returns the samples of a Slack export as the archive that Slack writes.
func slackZip(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{
		"users.json", "mpims.json", "dms.json", "groups.json", "channels.json", "general/2024-01-01.json",
	} {
		out, err := w.Create(name)
		if err == nil {
			_, err = out.Write(sample(t, "slack/"+name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Of a Slack export only the channels are read, and those of groups.json stay private: also if reading resumes there,
// and with any name of the archive.
func TestBuiltIn_SlackZip(t *testing.T) {
	object := slackZip(t)
	want := slices.Concat(samples["slack/channels.json"], samples["slack/groups.json"])
	program, _ := mapping.Builtin("slack")
	for _, name := range []string{"acme.zip", "channels.json.zip", "Acme Slack export Jan 1 2024.ZIP"} {
		read := func(at export.Position) (lines []string, next []export.Position) {
			p, err := mapping.Compile(program, mapping.Settings{Limits: group.DocumentLimits, Name: mapping.BaseName(name)})
			if err != nil {
				t.Fatal(err)
			}
			src := sourceOf(name, object)
			src.Size, src.Map = int64(len(object)), p
			r, err := export.NewReader(src, at, group.DocumentLimits)
			if err != nil {
				t.Fatal(err)
			}
			for e, err := range r.Records(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				lines, next = append(lines, lineOf(&e)), append(next, e.Next)
			}
			return lines, next
		}
		whole, next := read(export.Start)
		if !slices.Equal(whole, want) {
			t.Errorf("%s: got %q, want %q", name, whole, want)
		}
		for i, at := range next {
			if rest, _ := read(at); !slices.Equal(rest, want[i+1:]) {
				t.Errorf("%s from %+v: got %q, want %q", name, at, rest, want[i+1:])
			}
		}
		src := sourceOf(name, object)
		src.Size = int64(len(object))
		if got, err := mapping.DetectExport(t.Context(), src); got != "slack" || err != nil {
			t.Errorf("%s: got %q %v, want slack", name, got, err)
		}
	}
}

func TestCompile_Files(t *testing.T) {
	for _, files := range []string{`"a.json"`, `[1]`, `[""]`, `["a/b.json"]`, `["a","a"]`, `null`} {
		if _, err := mapping.Compile("module {files: "+files+"}; .", document); err == nil {
			t.Errorf("%s: got no error", files)
		}
	}
}
