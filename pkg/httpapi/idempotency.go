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

// A claim is the saved response to a request with an Idempotency-Key, or says that the request is in progress. It is
// one object in the folder of its day:
//
//	exports/.http/20261122/9f86d0…    SHA-256 of the key
//
// A claim is valid on that day (UTC) and on the next, for 24 to 48 hours. Afterwards it is not read, and a lifecycle
// rule may remove it. The claim is created before the group is sent, and has the response afterwards.
type claim struct {
	Body   string         `json:"body"`  // [digestOf] of the body of the request
	Token  string         `json:"token"` // random; identifies the caller's own claim after a lost response
	Began  time.Time      `json:"began"`
	Until  time.Time      `json:"until"`           // the request has ended by then, even without a response
	Status int            `json:"status,omitzero"` // HTTP status; 0 if the request is in progress, or died
	Text   jsontext.Value `json:"text,omitzero"`   // body of the response

	bucket blob.Bucket
	key    string
}

const maxClaim = 1 << 20 // bytes

// maxSkew is the largest expected difference between the clocks of two instances.
const maxSkew = 5 * time.Minute

// digestOf returns the SHA-256 of a request's body in hex.
func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// claimKey claims an Idempotency-Key for a request with this digest that ends by until. If another request has the
// key, ours is false and c is the claim of that request.
//
// A new key costs one write and one read. Of concurrent requests at most one wins. Around midnight none may win, if
// the clocks disagree about the day.
func claimKey(
	ctx context.Context, b blob.Bucket, prefix, key, digest string, until time.Time,
) (c *claim, ours bool, err error) {
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
		// The create may have succeeded with its response lost.
		there, readErr := readClaim(ctx, b, mine.key)
		switch {
		case readErr != nil:
			return nil, false, fmt.Errorf("save the request: %w", errors.Join(err, readErr))
		case there.Token != mine.Token:
			other = there
		}
	}
	days := []time.Time{now.AddDate(0, 0, -1)}
	if tomorrow := now.Add(maxSkew); tomorrow.UTC().Day() != now.UTC().Day() {
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
			// Remove the new claim, so that requests find the earlier one.
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
	if a.Status != 0 && (a.Status < 200 || a.Status > 599) {
		return nil, fmt.Errorf("read %q: %d is no status of a response: remove the object", key, a.Status)
	}
	a.bucket, a.key = b, key
	return a, nil
}

// takeOver takes over the claim of a request that died. Concurrent calls all succeed, so the record must be safe to
// send twice.
func (a *claim) takeOver(ctx context.Context, until time.Time) error {
	a.Token, a.Began, a.Until = rand.Text(), time.Now().UTC(), until.UTC()
	return a.put(ctx)
}

// keep saves the response.
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
		return fmt.Errorf("save the response: %w", err)
	}
	return nil
}

// forget removes the claim of a request that created no group, so that the key can be used again.
func (a *claim) forget(ctx context.Context) error {
	if err := a.bucket.Delete(ctx, a.key); err != nil {
		return fmt.Errorf("remove the saved request: %w", err)
	}
	return nil
}

// claimName returns the key of the claim of this Idempotency-Key on this day. The name has a hash, because an
// Idempotency-Key may contain any character.
func claimName(prefix string, day time.Time, idempotencyKey string) string {
	sum := sha256.Sum256([]byte(idempotencyKey))
	return results.ResponsesFolder(prefix) + day.UTC().Format(results.DayFormat) + "/" + hex.EncodeToString(sum[:])
}
