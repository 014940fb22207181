package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/outcome"
)

// TestImport_ManyKillsLoseNothingAndCreateNothingTwice kills the real program with SIGKILL at random moments and
// starts it again at once. The service fails in every way, except that it always responds or closes the connection.
func TestImport_ManyKillsLoseNothingAndCreateNothingTwice(t *testing.T) {
	t.Parallel()
	const records, maxKills = 3000, 10
	d := newWorkspace(t, records, false)
	d.env = append(d.env, "TIM_RATE=1000", "MAX_ATTEMPTS=20")
	d.service.SetFaults(emulator.Faults{
		Seed: 1, DropBefore: 0.01, DropAfter: 0.01, BadGateway: 0.01, BadGatewayAfter: 0.01,
		Internal: 0.01, InternalAfter: 0.01, Garbage: 0.005, GarbageAfter: 0.005, Throttle: 0.001,
	})
	chance := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for ; kills < maxKills; kills++ {
		p := d.start("import", "--quiet", "a.jsonl")
		ended := make(chan int, 1)
		go func() { ended <- p.end(t) }()
		timer := time.NewTimer(20*time.Millisecond + time.Duration(chance.IntN(400))*time.Millisecond)
		select {
		case <-timer.C:
			p.signal(t, os.Kill)
			<-ended
			continue
		case <-ended: // it finished before it was to be killed
		}
		break
	}
	p := d.start("import", "--quiet", "a.jsonl")
	if got := p.end(t); got != exitNotImported && got != exitOK {
		t.Fatalf("got exit status %d, want it finished\n%s%s", got, p.stdout.String(), p.stderr.String())
	}

	for name, n := range d.service.Names() {
		if n != 1 {
			t.Errorf("got %d groups %q, want 1", n, name)
		}
	}
	text, err := os.ReadFile(filepath.Join(d.dir, "a.jsonl.results.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	names := d.service.Names()
	n, unknown := int64(0), 0
	for line := range bytes.Lines(text) {
		n++
		o, _, err := outcome.Parse(line)
		if err != nil || o.N != n {
			t.Fatalf("got %s, %v at line %d", line, err, n)
		}
		exists := names[nameOf(n)] > 0
		hasID := n%2 == 1 // see newWorkspace
		switch {
		case o.Status == outcome.Unknown && hasID:
			t.Errorf("got %s for a record that has a GroupId", line)
		case o.Status == outcome.Unknown:
			unknown++
		case o.Status.HasGroup() != exists:
			t.Errorf("got %s, but the group exists: %v", line, exists)
		}
	}
	if n != records {
		t.Errorf("got %d results, want %d", n, records)
	}
	t.Logf("%d kills, %d of %d records unknown", kills, unknown, records)
	if limit := 500*kills + records/10; unknown > limit {
		t.Errorf("got %d unknown, want at most %d", unknown, limit)
	}
}
