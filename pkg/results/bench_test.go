package results_test

import (
	"context"
	"io"
	"testing"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/outcome"
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
				if err := w.Append(b.Context(), o, raw, next(o.N), results.Origin{}); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := w.Close(b.Context(), nil, func(cp *results.Checkpoint) { cp.Runs[0].End = time.Now() }); err != nil {
				b.Fatal(err)
			}
		})
	}
}
