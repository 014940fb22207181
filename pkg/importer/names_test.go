package importer_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// TestRun_NameTooLong imports an export whose name is too long for the names of its results. Import, an event and a
// pass reject it before anything is written or sent. The event and the pass return no error.
func TestRun_NameTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		longest := 0
		for _, key := range simNames.Longest() {
			longest = max(longest, len(key))
		}
		w.Put(withIDs(3)...)
		w.Store.MaxKey = longest - 1
		const reason = "name too long for the names of the results: key "
		if _, err := w.mapped("").Import(t.Context(), simKey); err == nil || !strings.HasPrefix(err.Error(), reason) ||
			!strings.HasSuffix(err.Error(), ": give the export a shorter name") {
			t.Errorf("got %v, want %q", err, reason)
		}
		time.Sleep(time.Hour)
		pass, err := importertest.Scheduler(w.mapped("")).Pass(t.Context(), scheduler.Action{Resume: true, Retry: true})
		if err != nil || len(pass.Done) != 1 || pass.Done[0].What != scheduler.Skip ||
			!strings.HasPrefix(pass.Done[0].Reason, reason) || pass.Err() != nil {
			t.Errorf("got %+v %v, want it left out", pass, err)
		}
		pass = importertest.Scheduler(w.mapped("")).HandleEvent(t.Context(), []string{simKey})
		if len(pass.Done) != 1 || pass.Done[0].What != scheduler.Skip ||
			!strings.HasPrefix(pass.Done[0].Reason, reason) || pass.Err() != nil {
			t.Errorf("got %+v, want it left out", pass)
		}
		if n, keys := len(w.Service.Names()), len(w.Store.Snapshot()); n != 0 || keys != 1 {
			t.Errorf("got %d groups and %d objects, want none and the export", n, keys)
		}

		w.Store.MaxKey = longest
		if s, err := w.mapped("").Import(t.Context(), simKey); err != nil || s.Counts.Imported != 3 {
			t.Errorf("got %+v %v, want all imported where they fit", s, err)
		}
		for key := range w.Store.Snapshot() {
			if len(key) > longest {
				t.Errorf("got key %q of %d bytes, longer than all of Longest", key, len(key))
			}
		}
	})
}

// TestRun_KeepsToItsEncoding checks that an import keeps the encoding that it began with. A stopped import without
// outcomes begins with the encoding that is set later.
func TestRun_KeepsToItsEncoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lines := make([]string, 0, 2000)
		for range cap(lines) {
			lines = append(lines, `{"Type":"Public","Name":"销售部"}`)
		}
		text, err := simplifiedchinese.GBK.NewEncoder().String(strings.Join(lines, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		w.Put(text)
		run := func(ctx context.Context, encoding string) (importer.Summary, error) {
			w.Config.Encoding = encoding
			return w.mapped("").Import(ctx, simKey)
		}
		if s, err := run(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "the export is not UTF-8") ||
			s.State != results.Stopped {
			t.Fatalf("got %+v %v, want it refused", s, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if s, err := run(ctx, "gbk"); err != nil || s.State != results.Waiting || s.Counts.Imported == 0 {
			t.Fatalf("got %+v %v, want a part imported", s, err)
		}
		if s, err := run(t.Context(), "big5"); err != nil || s.Counts != (outcome.Counts{Imported: 2000}) {
			t.Fatalf("got %+v %v, want all imported", s, err)
		}
		if n := w.Service.Names()["销售部"]; n != 2000 {
			t.Errorf("got %d groups of that name, want 2,000", n)
		}
	})
}

// A dead-letter file is UTF-8 in any case.
func TestRetry_IsNotDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Config.MaxAttempts = 1
		w.Config.Encoding = "gbk"
		text, err := simplifiedchinese.GBK.NewEncoder().String(`{"Type":"Public","Name":"销售部","GroupId":"a"}`)
		if err != nil {
			t.Fatal(err)
		}
		w.Put(text)
		failing := true
		w.Service.Faults = emulator.Faults{Plan: func(emulator.Request) emulator.Fault {
			if failing {
				return emulator.Internal
			}
			return emulator.None
		}}
		if s, err := w.mapped("").Import(t.Context(), simKey); err != nil || s.Counts != (outcome.Counts{Failed: 1}) {
			t.Fatalf("got %+v %v, want it failed", s, err)
		}
		failing = false
		time.Sleep(time.Hour)
		if s, err := w.mapped("").RetryRound(t.Context(), simKey, false); err != nil ||
			s.Counts != (outcome.Counts{Imported: 1}) || w.Service.Names()["销售部"] != 1 {
			t.Errorf("got %+v %v, want it imported under its name", s, err)
		}
	})
}
