package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/importer"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// says fails the test if the report of names lacks one of the texts.
func (w *world) says(names results.Names, texts ...string) {
	w.T.Helper()
	page := string(w.Store.Snapshot()[names.Report()])
	for _, text := range texts {
		if !strings.Contains(page, text) {
			w.T.Errorf("%q is not in the report of %d bytes: %.200s", text, len(page), page[strings.Index(page, "<h1")+1:])
		}
	}
}

func TestReport_AfterEachRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := w.Failing()
		w.Put(append(withIDs(3000), `{"Type":"Public","Name":""}`)...)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if s, err := w.Run(ctx); err != nil || s.State != results.Waiting {
			t.Fatalf("got %+v, %v, want it waiting", s, err)
		}
		w.says(simNames, "groups were imported so far.", "Waiting: the working time ended.")
		s := w.Finish()
		n := s.Counts.Imported
		w.says(simNames, fmt.Sprintf("%d,%03d of 3,001 groups were imported.", n/1000, n%1000),
			"1 was rejected", "failed and will be retried", "<bdi>Name</bdi> is missing or empty",
			"the budget: <bdi>190</bdi> attempts a second")
		off()
		if p := w.Pass(scheduler.Action{Retry: true, Now: true}); len(p.Done) != 1 {
			t.Fatalf("got %+v, want a round", p)
		}
		w.says(simNames, "3,000 of 3,001 groups were imported.", "Round 1 of retries")

		// The report says the same when it is made from what lies there.
		var made bytes.Buffer
		if err := importer.WriteReport(t.Context(), results.Dir{Bucket: w.Store, Names: simNames}, &made,
			report.Options{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made.Bytes(), w.Store.Object(simNames.Report())) {
			t.Errorf("got another report of %d bytes when it is made again", made.Len())
		}

		// Of a version that was replaced, one is kept that names the files that are kept.
		w.Put(withIDs(1)...)
		w.Finish()
		kept := w.archived()
		w.says(simNames, "The one group was imported.")
		w.says(kept, "3,000 of 3,001 groups were imported.", "A newer version of the export has replaced this one.",
			"./"+kept.Results()[strings.LastIndexByte(kept.Results(), '/')+1:])
	})
}

func TestReport_NotWritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(10)...)
		w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
			isWrite := op.Method == blobtest.Put || op.Method == blobtest.Create
			if isWrite && op.Key == simNames.Report() {
				return blobtest.Fault{Err: fs.ErrPermission}
			}
			return blobtest.Fault{}
		}
		if s := w.Finish(); s.Counts.Imported != 10 {
			t.Errorf("got %+v, want 10 imported", s.Counts)
		}
		if _, ok := w.Store.Snapshot()[simNames.Report()]; ok {
			t.Error("there is a report")
		}
		// The next run writes the report.
		w.Store.Fail = nil
		if s := w.Finish(); !s.Already {
			t.Errorf("got %+v, want nothing done", s)
		}
		w.says(simNames, "All 10 groups were imported.")
		before := w.Store.Counts().Calls[blobtest.Put]
		w.Finish()
		if after := w.Store.Counts().Calls[blobtest.Put]; after != before {
			t.Errorf("got %d writes for a report that is there, want none", after-before)
		}
	})
}

func TestReport_StoppedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(10)...)
		w.Config.SecretKey = "wrong"
		if s, err := w.Run(t.Context()); err != nil || s.State != results.Stopped {
			t.Fatalf("got %+v, %v, want it stopped", s, err)
		}
		w.says(simNames, "No group was imported yet.", "Stopped: ",
			"check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app", "Fix what stopped it")
	})
}

func TestRunCause_IsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(6000)...)
		last := func() results.Run {
			t.Helper()
			p, err := results.Dir{Bucket: w.Store, Names: simNames}.LoadProgress(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return p.Run
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		w.Run(ctx)
		if r := last(); r.Cause != results.CauseTimeUp {
			t.Errorf("got cause %q at the deadline", r.Cause)
		}
		ctx, interrupt := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { interrupt(errors.New("interrupt signal received")) })
		w.Run(ctx)
		if r := last(); r.Cause != results.CauseInterrupted || r.Why != "interrupt signal received" {
			t.Errorf("got cause %q, %q after a signal", r.Cause, r.Why)
		}
		w.Config.SecretKey = "wrong"
		w.Run(t.Context())
		if r := last(); r.Cause != results.CauseService || r.Code == 0 {
			t.Errorf("got cause %q, code %d for a wrong key", r.Cause, r.Code)
		}
	})
}

func TestWriteReport_NoImport(t *testing.T) {
	w := newWorld(t)
	if err := importer.WriteReport(t.Context(), results.Dir{Bucket: w.Store, Names: simNames}, &bytes.Buffer{},
		report.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}
