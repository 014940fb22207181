package httpapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/blob"
	"groupimport/pkg/results"
)

// A claim is the outcome of a request with an Idempotency-Key, or says that the request is under way. It is one
// object in a folder of its day:
//
//	exports/.http/20261122/9f86d0…    the SHA-256 of the key
//
// It counts on that day, of UTC, and on the next: 24 to 48 hours. Afterwards nobody looks at it, and a rule
// of the bucket may remove it. The object is created before anything is sent and holds the answer
// afterwards.
type claim struct {
	Body   string         `json:"body"`  // [digestOf] of the request's
	Token  string         `json:"token"` // random, tells one's own request from another's
	Began  time.Time      `json:"began"`
	Until  time.Time      `json:"until"`           // the request is over by then, also if it could not say what it came to
	Status int            `json:"status,omitzero"` // of HTTP; 0 if it is under way, or has died
	Text   jsontext.Value `json:"text,omitzero"`   // the body of the answer

	bucket blob.Bucket
	key    string
}

const maxClaim = 1 << 20 // bytes

// skew is by how much the clocks of two instances may differ.
const skew = 5 * time.Minute

// digestOf is the SHA-256 of a request's body in hex: what is kept of it.
func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// claimKey takes an Idempotency-Key for a request whose body has this digest, which will be over at the given time. If
// another request has it, ours is false and the claim is that one's.
//
// It costs a write and a read if the key is new. Of requests at the same time one wins; around midnight, where
// their clocks may disagree about the day, perhaps none.
func claimKey(ctx context.Context, b blob.Bucket, prefix, key, digest string, until time.Time) (c *claim, ours bool, err error) {
	now := time.Now()
	mine := &claim{
		Body: digest, Token: rand.Text(), Began: now.UTC(), Until: until.UTC(),
		bucket: b, key: claimName(prefix, now, key),
	}
	data, err := json.Marshal(mine)
	if err != nil {
		return nil, false, err
	}
	var other *claim
	if err := b.Create(ctx, mine.key, data); err != nil {
		// The answer to one's own success may have been lost.
		there, readErr := readClaim(ctx, b, mine.key)
		switch {
		case readErr != nil:
			return nil, false, fmt.Errorf("remember the request: %w", errors.Join(err, readErr))
		case there.Token != mine.Token:
			other = there
		}
	}
	days := []time.Time{now.AddDate(0, 0, -1)}
	if tomorrow := now.Add(skew); tomorrow.UTC().Day() != now.UTC().Day() {
		days = append(days, tomorrow)
	}
	for _, day := range days {
		there, err := readClaim(ctx, b, claimName(prefix, day, key))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil && other == nil:
			return nil, false, errors.Join(fmt.Errorf("look for an earlier request: %w", err), mine.forget(ctx))
		case err != nil:
			return nil, false, fmt.Errorf("look for an earlier request: %w", err)
		}
		if other == nil {
			// It goes out of the way, so that the earlier one is found from now on.
			if err := mine.forget(ctx); err != nil {
				return nil, false, err
			}
		}
		if other == nil || there.Status != 0 {
			other = there
		}
	}
	if other != nil {
		return other, false, nil
	}
	return mine, true, nil
}

func readClaim(ctx context.Context, b blob.Bucket, key string) (*claim, error) {
	a := &claim{}
	data, err := blob.ReadAll(ctx, b, key, maxClaim)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, a); err != nil {
		return nil, fmt.Errorf("read %q: %w", key, err)
	}
	a.bucket, a.key = b, key
	return a, nil
}

// takeOver makes the claim of a request that has died one's own. Of two who do so at the same time both
// succeed: it is for what may be sent twice.
func (a *claim) takeOver(ctx context.Context, until time.Time) error {
	a.Token, a.Began, a.Until = rand.Text(), time.Now().UTC(), until.UTC()
	return a.put(ctx)
}

// keep remembers the answer.
func (a *claim) keep(ctx context.Context, status int, text []byte) error {
	a.Status, a.Text = status, text
	return a.put(ctx)
}

func (a *claim) put(ctx context.Context) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := a.bucket.Put(ctx, a.key, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("remember the answer: %w", err)
	}
	return nil
}

// forget gives the key back, for a request that has made nothing and may come again.
func (a *claim) forget(ctx context.Context) error {
	if err := a.bucket.Delete(ctx, a.key); err != nil {
		return fmt.Errorf("forget the request: %w", err)
	}
	return nil
}

// claimName returns the key at which what the request with this Idempotency-Key came to is remembered if it
// came on this day. The key itself is anything and is not shown.
func claimName(prefix string, day time.Time, idempotencyKey string) string {
	sum := sha256.Sum256([]byte(idempotencyKey))
	return results.ResponsesFolder(prefix) + day.UTC().Format(results.DayFormat) + "/" + hex.EncodeToString(sum[:])
}
