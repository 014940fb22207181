package importer_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// An import of records within a document resumes there, also if the setting has changed in between. A round of retries
// reads the dead-letter file, which has no such place.
func TestImport_RecordsPath(t *testing.T) {
	documents := map[string]string{}
	var list, object, text []string
	for n := range 2000 {
		record := fmt.Sprintf(`{"Type":"Public","Name":"g","GroupId":"g%d"}`, n)
		list = append(list, record)
		object = append(object, fmt.Sprintf(`"k%d":%s`, n, record))
		text = append(text, strings.ReplaceAll(record, `"`, `\"`))
	}
	documents["data.groups"] = `{"code":0,"data":{"n":1,"groups":[` + strings.Join(list, ",\n") + `]}}`
	documents["groups.*"] = `{"groups":{` + strings.Join(object, ",\n") + `}}`
	documents["tinfos"] = `{"tinfos":"[` + strings.Join(text, ",") + `]"}`
	for path, document := range documents {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Config.MaxAttempts = 1
			w.Put(document)
			failing := true
			w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
				if failing && r.GroupID == "g1999" {
					return emulator.Internal
				}
				return emulator.None
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			w.Config.Records = path
			if s, err := w.mapped("").Import(ctx, simKey); err != nil || s.State != results.Waiting || s.Counts.Imported == 0 {
				t.Fatalf("%s: got %+v %v, want a part imported", path, s, err)
			}
			w.Config.Records = "elsewhere"
			s, err := w.mapped("").Import(t.Context(), simKey)
			if err != nil || s.Counts != (outcome.Counts{Imported: 1999, Failed: 1}) {
				t.Fatalf("%s: got %+v %v, want all but one imported", path, s, err)
			}
			failing = false
			time.Sleep(time.Hour)
			w.Config.Records = path
			s, err = w.mapped("").RetryRound(t.Context(), simKey, false)
			if err != nil || s.Counts != (outcome.Counts{Imported: 2000}) || w.Service.Names()["g"] != 2000 {
				t.Errorf("%s: got %+v %v and %d groups, want the last one imported", path, s, err, w.Service.Names()["g"])
			}
		})
	}
}

// With auto, the first records decide which mapping an import has, and it keeps to it. A finished import is not read
// again.
func TestImport_DetectsItsMapping(t *testing.T) {
	const easemob = `{"action":"get","data":[{"id":"66","name":"a","owner":"u","public":true,"membersonly":true,` +
		`"affiliations_count":1,"created":1542542403088}]}`
	for text, want := range map[string]string{
		easemob: "easemob", `{"Type":"Public","Name":"a","GroupId":"66"}`: results.NoMapping,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Config.Mapping = "auto"
			w.Put(text)
			for _, already := range []bool{false, true} {
				s, err := w.mapped("").Import(t.Context(), simKey)
				if err != nil || s.Counts != (outcome.Counts{Imported: 1}) || s.Already != already ||
					!already && s.Manifest.Settings.Mapping != want {
					t.Errorf("got %+v %v, want it imported as %s", s, err, want)
				}
			}
			for _, o := range w.Outcomes(results.Names{Export: simKey}) {
				if (o.Source == "66") != (want == "easemob") {
					t.Errorf("got %+v, want the source's ID", o)
				}
			}
		})
	}
}

// A Slack export is imported as it comes, and resumed in the middle of its private channels, which stay private.
func TestImport_SlackZip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Config.Mapping = "slack"
		var object bytes.Buffer
		archive := zip.NewWriter(&object)
		for _, name := range []string{"groups.json", "channels.json", "mpims.json"} {
			out, err := archive.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			var list []string
			for n := range 1000 {
				list = append(list, fmt.Sprintf(`{"id":"%.2s%d","name":"%[1]s","created":1456789012,"members":[]}`, name, n))
			}
			fmt.Fprintf(out, "[%s]", strings.Join(list, ",\n"))
		}
		if err := archive.Close(); err != nil {
			t.Fatal(err)
		}
		const key = "exports/acme.zip"
		if err := w.Store.Put(t.Context(), key, bytes.NewReader(object.Bytes())); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if s, err := w.mapped("").Import(ctx, key); err != nil || s.State != results.Waiting || s.Counts.Imported < 1000 {
			t.Fatalf("got %+v %v, want a part imported", s, err)
		}
		if s, err := w.mapped("").Import(t.Context(), key); err != nil || s.Counts != (outcome.Counts{Imported: 2000}) {
			t.Fatalf("got %+v %v, want all imported", s, err)
		}
		for g := range w.Service.Groups() {
			isPublic := g.Name == "channels.json"
			if (g.Type == "Public") != isPublic || (g.ApplyJoinOption == "FreeAccess") != isPublic {
				t.Fatalf("got %+v, want only channels public", g)
			}
		}
	})
}
