package lease

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"groupimport/pkg/blob"
)

// Guard returns a bucket for what the owner of the lease writes. It writes and deletes nothing once the lease has
// ended by the clock of this process, also if the process was frozen: the error wraps [ErrLost]. The body of a Put
// that is being read then fails, so that nothing is written.
//
// Objects with the fencing token in their names are no exception but for half an hour: they are not those of a
// successor, and the outcomes in them save a run whose lease ended while the store did not respond.
//
// The guarded bucket is a [blob.Uploader], and a [blob.Peeker] if b is one.
func (l *Lease) Guard(b blob.Bucket) blob.Bucket {
	g := &guarded{b, l}
	if p, ok := b.(blob.Peeker); ok {
		return &struct {
			*guarded
			blob.Peeker
		}{g, p}
	}
	return g
}

// mayWrite returns an error if the owner must not write the object at key any more.
func (l *Lease) mayWrite(key string) error {
	err := l.Valid()
	if err == nil || l.hasToken(key) && l.left() > -graceTime {
		return nil
	}
	return fmt.Errorf("write %q: %w", key, err)
}

// hasToken reports whether the name of an object in the work folder has the fencing token.
func (l *Lease) hasToken(key string) bool {
	name, ok := strings.CutPrefix(key, l.folder)
	_, name, _ = strings.Cut(name, "/")
	token, _, _ := strings.Cut(name, "-")
	return ok && token == fmt.Sprintf("%06d", l.Number)
}

// A guarded bucket asks the lease before it writes.
type guarded struct {
	blob.Bucket

	lease *Lease
}

func (g *guarded) Create(ctx context.Context, key string, data []byte) error {
	if err := g.lease.mayWrite(key); err != nil {
		return err
	}
	return g.Bucket.Create(ctx, key, data)
}

func (g *guarded) Put(ctx context.Context, key string, body io.Reader) error {
	if err := g.lease.mayWrite(key); err != nil {
		return err
	}
	guarded := &guardedBody{body, g.lease, key}
	if s, ok := body.(sized); ok { // a store allocates no more than it needs
		return g.Bucket.Put(ctx, key, &struct {
			*guardedBody
			sized
		}{guarded, s})
	}
	return g.Bucket.Put(ctx, key, guarded)
}

func (g *guarded) Delete(ctx context.Context, key string) error {
	if err := g.lease.mayWrite(key); err != nil {
		return err
	}
	return g.Bucket.Delete(ctx, key)
}

// uploader returns the bucket for a step of an upload of the object at key.
func (g *guarded) uploader(key string) (blob.Uploader, error) {
	if err := g.lease.mayWrite(key); err != nil {
		return nil, err
	}
	u, ok := g.Bucket.(blob.Uploader)
	if !ok {
		return nil, fmt.Errorf("write %q: the store has no uploads", key)
	}
	return u, nil
}

func (g *guarded) CreateUpload(ctx context.Context, key string) (string, error) {
	u, err := g.uploader(key)
	if err != nil {
		return "", err
	}
	return u.CreateUpload(ctx, key)
}

func (g *guarded) UploadPart(ctx context.Context, key, id string, number int, data []byte) (string, error) {
	u, err := g.uploader(key)
	if err != nil {
		return "", err
	}
	return u.UploadPart(ctx, key, id, number, data)
}

func (g *guarded) CompleteUpload(ctx context.Context, key, id string, tags []string) error {
	u, err := g.uploader(key)
	if err != nil {
		return err
	}
	return u.CompleteUpload(ctx, key, id, tags)
}

func (g *guarded) AbortUpload(ctx context.Context, key, id string) error {
	u, err := g.uploader(key)
	if err != nil {
		return err
	}
	return u.AbortUpload(ctx, key, id)
}

// FitsKey is that of the bucket, see [blob.KeyFitter].
func (g *guarded) FitsKey(key string) error { return blob.FitsKey(g.Bucket, key) }

// CheckKey is that of the bucket, see [blob.ValidKey].
func (g *guarded) CheckKey(key string) error { return blob.ValidKey(g.Bucket, key) }

// A sized body knows how many bytes are left to read.
type sized interface{ Len() int }

// A guardedBody asks the lease before each read and after the last.
type guardedBody struct {
	io.Reader

	lease *Lease
	key   string
}

func (b *guardedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if lost := b.lease.mayWrite(b.key); lost != nil {
		return 0, lost
	}
	return n, err
}

// A moment is a point in time on the two clocks of a process. Either may stand still while the process is frozen, and
// the wall clock may be set back.
type moment struct {
	wall   time.Time     // without a monotonic reading
	steady time.Duration // since the start of the process
}

var started = time.Now()

func now() moment {
	t := time.Now()
	return moment{wall: t.Round(0), steady: t.Sub(started)}
}

// since returns the time that has passed by the clock that shows more.
func (m moment) since(earlier moment) time.Duration {
	return max(m.wall.Sub(earlier.wall), m.steady-earlier.steady)
}
