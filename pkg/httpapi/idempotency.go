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
//	exports/.http/20261122/9f86d0…    SHA-256 of the caller and the key
//
// A claim is valid on that day (UTC) and on the next, for 24 to 48 hours. Afterwards it is not read, and removed after
// three days. The claim is created before the group is sent, and has the response afterwards.
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

const (
	maxClaim = 1 << 20 // bytes

	// A process removes claims from days more than maxClaimDays ago, at most maxRemoved of them every cleanupInterval.
	// One response waits for that, for cleanupTime at most.
	maxClaimDays    = 3
	maxRemoved      = 100
	cleanupInterval = time.Hour
	cleanupTime     = time.Second
)

// maxSkew is the largest expected difference between the clocks of two instances.
const maxSkew = 5 * time.Minute

// digestOf returns the SHA-256 of a request's body in hex.
func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// claimNames are the names of the claims on an Idempotency-Key.
type claimNames struct {
	own     string   // of a new claim
	earlier []string // of other claims that may be valid
}

// names returns the names of claims for the caller of ctx. Earlier releases had one name for all
// callers: such a claim counts for every caller, or a repetition could create a second group.
func (a *api) names(ctx context.Context, key string) claimNames {
	now, caller := time.Now(), a.caller(ctx)
	name := func(day time.Time, caller string) string { return claimName(a.config.Prefix, day, caller, key) }
	days := []time.Time{now.AddDate(0, 0, -1)}
	if tomorrow := now.Add(maxSkew); tomorrow.UTC().Day() != now.UTC().Day() {
		days = append(days, tomorrow)
	}
	n := claimNames{own: name(now, caller)}
	for _, day := range days {
		n.earlier = append(n.earlier, name(day, caller))
	}
	if caller != "" {
		for _, day := range append(days, now) {
			n.earlier = append(n.earlier, name(day, ""))
		}
	}
	return n
}

// claimKey claims an Idempotency-Key for a request with this digest that ends by until. If another request has the
// key, ours is false and c is the claim of that request.
//
// A new key costs one write and one read, and two more reads if the platform identifies the caller. Of concurrent
// requests at most one wins. Around midnight none may win, if the clocks disagree about the day.
func claimKey(
	ctx context.Context, b blob.Bucket, names claimNames, digest string, until time.Time,
) (c *claim, ours bool, err error) {
	mine := &claim{
		Body: digest, Token: rand.Text(), Began: time.Now().UTC(), Until: until.UTC(), bucket: b, key: names.own,
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
	for _, name := range names.earlier {
		there, err := readClaim(ctx, b, name)
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
	isResponse := a.Status >= 200 && a.Status < 600 && a.Text.Kind() == '{'
	if a.Status != 0 && !isResponse {
		return nil, fmt.Errorf("read %q: the saved response is damaged, HTTP status %d", key, a.Status)
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

// claimName returns the key of the claim of this caller's Idempotency-Key on this day. The name has a hash, because a
// caller and a key may contain any character. A key has no newline, so different callers have different names.
func claimName(prefix string, day time.Time, caller, idempotencyKey string) string {
	text := idempotencyKey
	if caller != "" {
		text = caller + "\n" + idempotencyKey
	}
	sum := sha256.Sum256([]byte(text))
	return results.ResponsesFolder(prefix) + day.UTC().Format(results.DayFormat) + "/" + hex.EncodeToString(sum[:])
}

// cleanUp removes outdated claims if it is time to. Of thousands, later calls remove the others.
func (a *api) cleanUp(ctx context.Context) {
	if _, ok := a.cleanup.due(); !ok {
		return
	}
	oldest := time.Now().UTC().AddDate(0, 0, -maxClaimDays).Format(results.DayFormat)
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	removed, err := removeClaims(ctx, a.bucket, results.ResponsesFolder(a.config.Prefix), oldest)
	if err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "outdated responses not removed", "removed", removed, "err", err)
	}
}

// removeClaims removes up to maxRemoved claims below folder of the days before oldest. It removes no other objects.
func removeClaims(ctx context.Context, b blob.Bucket, folder, oldest string) (removed int, err error) {
	for day, err := range b.List(ctx, folder, "/") {
		if err != nil {
			return removed, err
		}
		if day.Key >= folder+oldest { // days are in order
			return removed, nil
		}
		for info, err := range b.List(ctx, day.Key, "") {
			switch {
			case err != nil:
				return removed, err
			case !results.IsOutput(info.Key):
				continue
			case removed == maxRemoved:
				return removed, nil
			}
			if err := b.Delete(ctx, info.Key); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}
