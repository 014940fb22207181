package tim

import (
	"sync"
	"time"
)

// A host is one of the two hosts of a region.
type host int

const (
	mainHost host = iota
	backupHost
)

func (h host) other() host { return backupHost - h }

// backupTime is how long the backup host is used before one attempt tries the main host again.
const backupTime = 5 * time.Minute

// A route chooses the host of an attempt. It leaves a host only if connecting fails, so that it never repeats a request
// that may have been received.
type route struct {
	hasBackup bool // otherwise all requests go to the main host

	mu      sync.Mutex
	current host
	again   time.Time // when one attempt tries the main host again, while current is the backup host
	last    host      // the host that was reached last
}

// pick returns the host of the next attempt.
func (r *route) pick() host {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == backupHost && !time.Now().Before(r.again) {
		r.again = time.Now().Add(backupTime) // other attempts wait for the result of this one
		return mainHost
	}
	return r.current
}

// failed records that connecting to h failed, and reports whether to try the other host.
func (r *route) failed(h host) bool {
	if !r.hasBackup {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.use(h.other())
	return true
}

// reached records a request to h, and reports whether the previous request went to the other host.
func (r *route) reached(h host) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.use(h)
	changed = r.last != h
	r.last = h
	return changed
}

// use makes h the current host. mu is held.
func (r *route) use(h host) {
	if h == backupHost && r.current == mainHost {
		r.again = time.Now().Add(backupTime)
	}
	r.current = h
}
