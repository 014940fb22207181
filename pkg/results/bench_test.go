package results_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"syscall"
	"testing"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

// A discardBucket reads and discards what is put, so that the benchmark measures the writer.
type discardBucket struct{ *blobtest.Bucket }

func (discardBucket) Put(_ context.Context, _ string, body io.Reader) error {
	_, err := io.Copy(io.Discard, body)
	return err
}

// BenchmarkWriter measures Append, with the parts and checkpoints.
func BenchmarkWriter(b *testing.B) {
	raw := []byte(`{"GroupId":"g-00017","Type":"Public","Owner_Account":"leckie",` +
		`"Name":"Team 17","MaxMemberCount":500,"ApplyJoinOption":"FreeAccess"}`)
	good := imported(17)
	rejected := &outcome.Outcome{
		Line: 17, Status: outcome.Rejected, GroupID: "g-00017", Field: "Name",
		Error: "Name is 31 bytes, limit 30", At: at,
	}
	for name, o := range map[string]*outcome.Outcome{"imported": good, "rejected": rejected} {
		b.Run(name, func(b *testing.B) {
			w := writer(b, discardBucket{&blobtest.Bucket{}})
			b.ReportAllocs()
			for b.Loop() {
				o.N++
				if err := w.Append(o, raw, next(o.N), results.Origin{}); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := w.Close(results.RunEnd{}); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// A largeBucket has the same 8 MiB at the key of every part, and discards uploads, all at 20 ms a request.
type largeBucket struct {
	*blobtest.Bucket

	part []byte
}

func (l largeBucket) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	if !strings.Contains(key, "/parts/") {
		return l.Bucket.ReadRange(ctx, key, version, off, n, buf)
	}
	time.Sleep(20 * time.Millisecond)
	size := int64(len(l.part))
	return append(buf, l.part[off:min(size, off+n)]...), blob.Info{Key: key, Version: "1", Size: size}, nil
}

func (l largeBucket) List(_ context.Context, prefix, _ string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for n := range largeParts {
			if !yield(blob.Info{Key: fmt.Sprintf("%s000001-m%06d", prefix, n+1), Size: int64(len(l.part))}, nil) {
				return
			}
		}
	}
}

func (largeBucket) UploadPart(_ context.Context, _, _ string, _ int, _ []byte) (string, error) {
	time.Sleep(20 * time.Millisecond)
	return "tag", nil
}

func (largeBucket) CompleteUpload(context.Context, string, string, []string) error { return nil }

const (
	largeParts   = 400
	largeRecords = 20_000_000
)

// BenchmarkFinish writes the results of 20 million records without GroupIds from merged parts, with the HTML report.
// Run it with -benchtime 1x.
func BenchmarkFinish(b *testing.B) {
	var part []byte
	digest := group.Record{Name: "a"}
	for n := int64(1); n <= largeRecords/largeParts; n++ {
		o := outcome.Outcome{
			N: n, Line: n, Status: outcome.Imported, GroupID: "@TGS#2J4SZEAEL", Attempts: 1, MS: 43, At: at,
			ID: digest.Identity(), Sum: digest.Sum(),
		}
		part = append(o.AppendPartLine(part, nil), '\n')
	}
	store := &blobtest.Bucket{}
	bucket := largeBucket{store, part}
	l := held(b, store, 1)
	ctx, stop := l.Keep(b.Context())
	defer stop()
	cp := results.Checkpoint{
		Export: results.Export{Key: names.Export, Version: "v1"}, Done: true,
		Runs:   []results.Run{{Lease: 1, Start: at}},
		Parts:  []results.Parts{{Lease: 1, Count: largeParts, Merged: true}},
		Counts: outcome.Counts{Imported: largeRecords},
	}
	for b.Loop() {
		var before, after syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
		page := report.New(report.Options{})
		d := results.Dir{Bucket: bucket, Names: names}
		if _, err := d.Finish(ctx, l, cp, results.RetryPolicy{}, page); err != nil {
			b.Fatal(err)
		}
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
		b.ReportMetric(cpu.Seconds(), "cpu-s")
		b.ReportMetric(float64(after.Maxrss)/1024, "rss-MB")
	}
}
