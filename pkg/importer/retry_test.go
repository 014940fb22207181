package importer_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/tim"
)

// TestRetry_KilledAtAnyInstant kills rounds of retries at every operation in turn.
func TestRetry_KilledAtAnyInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := w.Failing()
		w.Put(append(withIDs(300), `{"Type":"Public","Name":""}`)...)
		w.Finish()
		off()
		before := w.Store.Clone()
		for killAfter := int64(1); ; killAfter++ {
			s := &sim{
				rand: rand.New(rand.NewPCG(1, 1)), killed: map[string]bool{}, attempts: map[string]int{}, store: before.Clone(),
			}
			s.service = &emulator.Service{SDKAppID: simApp, Key: simSign, Latency: 20 * time.Millisecond}
			ended := false
			for n := range 3 { // the first is killed
				p := newProcess(s, fmt.Sprint("process ", n), map[bool]int64{true: killAfter}[n == 0])
				isDead := func(owner string) bool { return s.killed[owner] }
				i := &importer.Importer{Config: w.Config, Bucket: p, Owner: p.name, IsDead: isDead}
				if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = p }); err != nil {
					t.Fatal(err)
				}
				_, err := i.RetryRound(p.ctx, simKey, true)
				if n == 0 {
					ended = p.ctx.Err() == nil
				} else if err != nil && !ended {
					t.Fatalf("killed after %d: %v", killAfter, err)
				}
				p.die()
			}
			w2 := *w.World
			w2.Store = s.store
			all := w2.Outcomes(simNames)
			if len(all) != 301 {
				t.Fatalf("killed after %d: got %d results, want 301", killAfter, len(all))
			}
			for n, o := range all {
				if o.N != int64(n+1) || o.Status.HasGroup() == (n == 300) {
					t.Fatalf("killed after %d: got %+v at line %d", killAfter, o, n+1)
				}
			}
			if got := bytes.Count(s.store.Snapshot()[simNames.Failures()], []byte("\n")); got != 1 {
				t.Fatalf("killed after %d: got %d lines of failures, want 1", killAfter, got)
			}
			for name, made := range s.service.Names() {
				if made > 1 {
					t.Fatalf("killed after %d: %s was made %d times", killAfter, name, made)
				}
			}
			if ended {
				t.Logf("%d instants to be killed at", killAfter-1)
				return
			}
		}
	})
}
