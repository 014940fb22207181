package export

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

func TestRecentIDs_LikeMaps(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var r recentIDs
	young, old := map[string]int64{}, map[string]int64{}
	line := int64(0)
	for n := range 10 * maxRecentIDs {
		line += random.Int64N(3)
		if n%70_000 == 69_999 {
			line = 0 // the next file of an archive
		}
		id := fmt.Sprint("group-", random.Int64N(3*maxRecentIDs))
		want, ok := young[id]
		if !ok {
			want = old[id]
		}
		if got := r.note(id, line); got != want {
			t.Fatalf("ID %d: got line %d, want %d", n, got, want)
		}
		if len(young) >= maxRecentIDs {
			young, old = map[string]int64{}, young
		}
		young[id] = line
	}
	if got := r.note("", 7); got != 0 {
		t.Errorf("got line %d for an empty ID", got)
	}
}

func TestRecentIDs_Memory(t *testing.T) {
	ids := make([]string, 3*maxRecentIDs)
	for i := range ids {
		ids[i] = fmt.Sprint("group-", i)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var r recentIDs
	for i, id := range ids {
		r.note(id, int64(i))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(&r)
	runtime.KeepAlive(ids)
	if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > 1_300_000 {
		t.Errorf("got %d bytes, want at most 1.3 MB", got)
	}
}
