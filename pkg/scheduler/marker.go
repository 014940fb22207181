package scheduler

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"groupimport/pkg/blob"
	"groupimport/pkg/results"
)

// A marker is a small object that says which job waits while another process uses the shared rate. A process that
// cannot acquire the rate writes a marker for each of its jobs. The owner of the rate runs these jobs:
//
//   - The owner lists the markers every lookEvery, and once more when it has released the rate. If there are markers
//     then, it acquires the rate again.
//   - A process writes its markers first, and then tries once more to acquire the rate.
//
// So no marker is missed: if the second try of its writer fails, some owner had the rate after the marker was
// written. That owner lists the markers after it has released the rate. If the owner dies, or a store lists new objects
// late, the next scheduler pass finds the marker.
//
// An owner removes a marker when its job has ended. If the owner dies before, the next owner finds the marker and
// resumes the import. Each marker of an event has a new name: the marker of a version that arrives during the import of
// the previous version is a new object, and remains.
type marker struct {
	Key  string `json:"key"`
	What string `json:"what"` // see [JobResult.What]
	Size int64  `json:"size"` // of the export, in bytes
}

const (
	lookEvery   = 3 * time.Second
	maxMarker   = 4 << 10 // bytes
	maxMarkers  = 1000    // that a process knows at the same time
	maxFromPass = 16      // markers that a pass writes
	leaveWithin = 5 * time.Second
)

// leave writes markers for jobs without markers, unless a run works on them, and adds their keys to the jobs. The jobs
// of an event get markers with new names. A pass finds the same jobs every minute: its markers get the same names
// again, and only the first maxFromPass jobs get one.
func (s *Scheduler) leave(ctx context.Context, jobs []job, a Action) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	group := errgroup.Group{}
	group.SetLimit(maxConcurrent)
	if !a.isEvent {
		jobs = jobs[:min(len(jobs), maxFromPass)]
	}
	for n := range jobs {
		j := &jobs[n]
		if j.markers != nil || j.running {
			continue
		}
		group.Go(func() error {
			suffix := "pass"
			if a.isEvent {
				suffix = rand.Text()
			}
			sum := sha256.Sum256([]byte(j.key))
			name := results.WaitingFolder(s.Importer.Config.Prefix) + hex.EncodeToString(sum[:12]) + "-" + suffix
			data, err := json.Marshal(marker{Key: j.key, What: j.what, Size: j.info.Size})
			if err == nil {
				err = s.Importer.Bucket.Create(ctx, name, data)
			}
			if err == nil || errors.Is(err, fs.ErrExist) {
				j.markers = []string{name}
				return nil
			}
			s.log().WarnContext(ctx, "marker not written: the scheduler finds the export later", "key", j.key, "err", err)
			return nil
		})
	}
	_ = group.Wait() // its functions return no error
}

// waiting returns the jobs of the markers whose keys are not in known, and adds them there.
func (s *Scheduler) waiting(ctx context.Context, known map[string]bool) ([]job, error) {
	var jobs []job
	for info, err := range s.Importer.Bucket.List(ctx, results.WaitingFolder(s.Importer.Config.Prefix), "") {
		if err != nil {
			return jobs, fmt.Errorf("list the markers of waiting exports: %w", err)
		}
		if len(known) >= maxMarkers {
			break // the other markers are read when known markers are removed
		}
		if known[info.Key] {
			continue
		}
		m, err := s.readMarker(ctx, info.Key)
		if err != nil {
			s.log().WarnContext(ctx, "marker not readable", "key", info.Key, "err", err)
			continue
		}
		known[info.Key] = true
		jobs = append(jobs, job{
			entry: entry{key: m.Key, info: blob.Info{Key: m.Key, Size: m.Size}}, due: due{what: m.What},
			markers: []string{info.Key}, joined: true,
		})
	}
	return jobs, nil
}

// readMarker reads a marker. It removes an object that is not a valid marker, because nothing else removes it.
func (s *Scheduler) readMarker(ctx context.Context, key string) (marker, error) {
	var m marker
	data, err := blob.ReadAll(ctx, s.Importer.Bucket, key, maxMarker)
	if err != nil && !errors.Is(err, blob.ErrTooLarge) {
		return m, err
	}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err == nil {
		if reason := s.unfit(m.Key); reason != "" {
			err = errors.New(reason)
		}
	}
	if err == nil && m.What != doStart && m.What != doResume && m.What != doRetry {
		err = fmt.Errorf("unknown job %q", m.What)
	}
	if err != nil {
		_ = s.Importer.Bucket.Delete(ctx, key)
	}
	return m, err
}

// removeMarkers removes the markers with these keys, also from known.
func (s *Scheduler) removeMarkers(known map[string]bool, keys []string) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	for _, key := range keys {
		if err := s.Importer.Bucket.Delete(ctx, key); err != nil {
			s.log().WarnContext(ctx, "marker not removed: its job is checked again", "key", key, "err", err)
		}
		delete(known, key)
	}
}
