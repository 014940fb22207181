package scheduler_test

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

// A foreign bucket lists objects beside its own whose keys the store cannot read.
type foreign struct {
	blob.Bucket

	keys []string // in one folder
}

func (f foreign) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		var all []blob.Info
		for info, err := range f.Bucket.List(ctx, prefix, delimiter) {
			if err != nil {
				yield(info, err)
				return
			}
			all = append(all, info)
		}
		for _, key := range f.keys {
			if rest, ok := strings.CutPrefix(key, prefix); ok && rest != "" {
				if common, ok := blob.CommonPrefix(key, prefix, delimiter); ok {
					all = append(all, blob.Info{Key: common})
					continue
				}
				all = append(all, blob.Info{Key: key, Size: 1, Modified: time.Now().Add(-time.Hour)})
			}
		}
		slices.SortFunc(all, func(a, b blob.Info) int { return strings.Compare(a.Key, b.Key) })
		for _, info := range slices.CompactFunc(all, func(a, b blob.Info) bool { return a.Key == b.Key }) {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// A broad bucket takes other keys than most, as S3 does.
type broad struct{ *blobtest.Bucket }

func (broad) CheckKey(key string) error {
	if key == "" {
		return errors.New("key is empty")
	}
	return nil
}

func TestPass_UnreadableKey(t *testing.T) {
	unreadable := []string{
		`exports/back\slash.jsonl`, "exports/new\nline.jsonl", "exports//empty.jsonl", "exports/./dot.jsonl",
		"exports/../up.jsonl", "exports/\xff.jsonl",
	}
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.Prefix = "exports/"
		w.Put(importertest.WithIDs(3)...)
		time.Sleep(time.Hour)
		i := &importer.Importer{Config: w.Config, Bucket: foreign{w.Store, unreadable}, BucketName: "bucket"}
		if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = w.Service }); err != nil {
			t.Fatal(err)
		}
		skipped := func(p scheduler.Result) (n int) {
			for _, d := range p.Done {
				if d.What != "skip" {
					continue
				}
				if n++; !strings.Contains(d.Reason, "key ") || !strings.Contains(d.Reason, "another key") {
					t.Errorf("%q: got reason %q, want what is wrong with the key and what to do", d.Key, d.Reason)
				}
			}
			if _, err := json.Marshal(p); err != nil || p.Err() != nil {
				t.Errorf("got %v, %v, want a pass that is JSON and no error", err, p.Err())
			}
			return n
		}

		for range 2 { // each pass skips them again
			p, err := importertest.Scheduler(i).Pass(t.Context(), scheduler.Action{Resume: true, Retry: true})
			if err != nil || skipped(p) != len(unreadable) || p.Left != 0 {
				t.Errorf("schedule: got %+v, %v, want each key skipped", p, err)
			}
		}
		for _, key := range unreadable {
			if p := importertest.Scheduler(i).HandleEvent(t.Context(), []string{key}); skipped(p) != 1 {
				t.Errorf("event of %q: got %+v, want it skipped", key, p)
			}
			if _, err := importertest.Scheduler(i).Status(t.Context(), key); !errors.Is(err, fs.ErrNotExist) ||
				!strings.Contains(err.Error(), "another key") {
				t.Errorf("look at %q: got %v, want that it cannot be there, and why", key, err)
			}
		}
		imports, next, err := importertest.Scheduler(i).List(t.Context(), "exports/", false, scheduler.Place{}, 10)
		if err != nil || next != (scheduler.Place{}) ||
			len(imports) != len(unreadable) { // without the one that JSON cannot hold, and with the good one
			t.Fatalf("list: got %+v, %v, %v", imports, next, err)
		}
		for _, im := range imports {
			if good := im.Key == acme; good != (im.State == results.Finished) || !good &&
				(im.State != results.Stopped || im.Reason == "") {
				t.Errorf("list: got %+v, want the good one finished and others stopped with a reason", im)
			}
		}
	})
}

func TestPass_KeyReadableByThisStoreOnly(t *testing.T) {
	i := &importer.Importer{Bucket: broad{&blobtest.Bucket{}}}
	if err := blob.ValidKey(i.Bucket, "exports//a.jsonl"); err != nil {
		t.Errorf("got %v, want what the store says itself", err)
	}
	if err := blob.ValidKey(&blobtest.Bucket{}, "exports//a.jsonl"); err == nil {
		t.Error("got no error, want what most stores say")
	}
}

func TestHandleEvent_ExportReplacedDuringTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.ReadRange && op.Key == acme && op.N == 1 {
				return blobtest.Fault{CutAfter: 60_000} // so that another request is needed
			}
			return blobtest.Fault{}
		}
		w.Put(importertest.WithIDs(3000)...)
		time.AfterFunc(10*time.Millisecond, func() { w.Put(`{"Type":"Public","Name":"new","GroupId":"new"}`) })
		p := w.Event([]string{acme})
		if len(p.Done) != 1 || p.Done[0].State != results.Waiting || p.Done[0].Error != "" ||
			!strings.Contains(p.Done[0].Reason, "replaced") || p.Err() != nil {
			t.Errorf("got %+v, %v, want it waiting for the new version, and no error", p, p.Err())
		}
		p = w.Event([]string{acme}) // of the new version
		if len(p.Done) != 1 || p.Done[0].State != results.Finished || p.Done[0].Counts.Imported != 1 {
			t.Errorf("got %+v, want the new version imported", p)
		}
	})
}
