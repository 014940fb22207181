package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob"
)

const (
	cleanupTime = 20 * time.Second // of all deletes
	deleters    = 8                // at a time

	markerSuffix = "-running"
	markEvery    = 30 * time.Second

	// silence is how long a check that runs may leave its marker alone: markEvery, and one check of the service at the
	// lowest rate.
	silence  = 5 * time.Minute
	staleAge = time.Hour // of objects without a marker
)

// A marker is an object that a check has in the bucket while it runs. It tells the next check whether this one was
// killed, and which uploads to abort then.
type marker struct {
	Owner   string            `json:"owner,omitzero"`   // see [Env]
	Uploads map[string]string `json:"uploads,omitzero"` // IDs by key
}

// mark writes the marker. Over HTTP there is none: the HTTP function removes what is outdated.
func (s *session) mark(ctx context.Context) error {
	if s.Place == HTTP || s.isDenied {
		return nil
	}
	data, err := json.Marshal(marker{s.Owner, s.uploads})
	if err == nil {
		err = s.Bucket.Put(ctx, s.markerKey(s.token), strings.NewReader(string(data)))
	}
	if err == nil {
		s.marked = time.Now()
	}
	return err
}

func (s *session) markerKey(token string) string { return s.folder + token + markerSuffix }

// cleanUp removes what the checks wrote, also if ctx has ended, and what killed checks have left. Its error names what
// may be left.
func (s *session) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if s.Place == HTTP {
		return s.remove(ctx, s.keys(), false)
	}
	keys, uploads, err := s.abandoned(ctx)
	for key, id := range s.uploads {
		uploads = append(uploads, upload{key, id})
	}
	if u, isUploader := s.Bucket.(blob.Uploader); isUploader {
		for _, upload := range uploads {
			err = errors.Join(err, u.AbortUpload(ctx, upload.key, upload.id))
		}
	}
	if err := errors.Join(err, s.remove(ctx, append(s.keys(), keys...), false)); err != nil {
		return err
	}
	if s.marked.IsZero() {
		return nil
	}
	return s.Bucket.Delete(ctx, s.markerKey(s.token)) // last, so that a kill before is healed
}

// An upload is a multipart upload that may exist.
type upload struct{ key, id string }

// abandoned returns what checks have left that were killed: the marker of one has not been written for a while, or its
// process is known to have ended.
func (s *session) abandoned(ctx context.Context) (keys []string, uploads []upload, err error) {
	type remains struct {
		keys   []string
		newest time.Time
		marker bool
	}
	now := time.Now()
	checks := map[string]*remains{} // by token, and by key if that has none
	for info, err := range s.Bucket.List(ctx, s.folder, "") {
		if err != nil {
			return nil, nil, err
		}
		token, hasToken := tokenOf(s.folder, info.Key)
		if token == s.token {
			if info.Key == s.markerKey(token) {
				now = info.Modified // the store's clock, a little late
			}
			continue
		}
		if !hasToken {
			token = info.Key
		}
		if checks[token] == nil {
			checks[token] = &remains{}
		}
		c := checks[token]
		c.keys = append(c.keys, info.Key)
		c.marker = c.marker || info.Key == s.markerKey(token)
		if info.Modified.After(c.newest) {
			c.newest = info.Modified
		}
	}
	for token, c := range checks {
		var m marker
		if c.marker {
			data, err := blob.ReadAll(ctx, s.Bucket, s.markerKey(token), maxObject)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has ended meanwhile
			}
			if err != nil {
				return nil, nil, err
			}
			_ = json.Unmarshal(data, &m) // then it is that of an unknown owner
		}
		age := now.Sub(c.newest)
		isDead := s.IsDead != nil && m.Owner != "" && s.IsDead(m.Owner)
		if !isDead && age < staleAge && (!c.marker || age < silence) {
			continue
		}
		for key, id := range m.Uploads {
			if strings.HasPrefix(key, s.folder+token) {
				uploads = append(uploads, upload{key, id})
			}
		}
		keys = append(keys, c.keys...)
	}
	return keys, uploads, nil
}

// tokenOf returns the token of the check that wrote an object.
func tokenOf(folder, key string) (string, bool) {
	name, isBelow := strings.CutPrefix(key, folder)
	if !isBelow || len(name) <= tokenChars ||
		strings.Trim(name[:tokenChars], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return "", false
	}
	return name[:tokenChars], true
}

// remove removes objects, those of probes first, see [Answer]. With verify, an object that is still there is an error.
func (s *session) remove(ctx context.Context, keys []string, verify bool) error {
	probes := 0
	for probes < len(keys) && isProbe(keys[probes]) {
		probes++
	}
	return errors.Join(s.removeAll(ctx, keys[:probes], verify), s.removeAll(ctx, keys[probes:], verify))
}

// removeAll removes objects in any order. A store may take half a second for each.
func (s *session) removeAll(ctx context.Context, keys []string, verify bool) error {
	slots := make(chan struct{}, deleters)
	errs := make([]error, len(keys))
	var deletes sync.WaitGroup
	for n, key := range keys {
		slots <- struct{}{}
		deletes.Go(func() {
			defer func() { <-slots }()
			if errs[n] = s.Bucket.Delete(ctx, key); errs[n] != nil || !verify {
				return
			}
			if _, err := s.Bucket.Stat(ctx, key); !errors.Is(err, fs.ErrNotExist) {
				errs[n] = &leftError{key, err}
			}
		})
	}
	deletes.Wait()
	return errors.Join(errs...)
}

// A leftError says that an object was deleted and is still there, or that this is unknown because of err.
type leftError struct {
	key string
	err error
}

func (e *leftError) Error() string {
	return fmt.Sprintf("the object %q was deleted and is still there, error %v", e.key, e.err)
}
