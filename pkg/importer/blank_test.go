package importer_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"groupimport/pkg/results"
)

// A run that ends in a long stretch of blank lines leaves its position there. The next run does not read them again.
func TestImport_EndsAmongBlankLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const key = "exports/blank.json"
		text := `[{"Type":"Public","Name":"a"},` + strings.Repeat("\n", 20<<20) // cut off
		if err := w.store.Put(t.Context(), key, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if s, err := w.importer().Import(t.Context(), key); err == nil || s.Counts.Imported != 1 {
			t.Fatalf("got %+v %v, want an export that is cut off", s, err)
		}
		cp, err := (results.Dir{Bucket: w.store, Names: results.Names{Export: key}}).LoadCheckpoint(t.Context(), 2)
		if err != nil || cp == nil || cp.Next.N != 2 || cp.Next.Offset < 16<<20 || cp.Next.In != "comma" {
			t.Errorf("got %+v %v, want a position among the blank lines", cp, err)
		}
	})
}
