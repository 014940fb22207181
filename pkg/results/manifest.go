package results

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"groupimport/pkg/blob"
	"groupimport/pkg/outcome"
)

// A Manifest is the summary of a finished import. It is written last: if it exists, the results are complete.
type Manifest struct {
	Export   Export         `json:"export"`
	Complete bool           `json:"complete"`          // false if a newer version replaced the export before the end
	Replaced bool           `json:"replaced,omitzero"` // a newer version has replaced the export
	Counts   outcome.Counts `json:"counts"`
	Files    []File         `json:"files"`
	Runs     []Run          `json:"runs"`
	Rounds   []Round        `json:"rounds,omitzero"`   // of retries, in order
	RetryAt  time.Time      `json:"retryAt,omitzero"`  // when the next round is due; zero if no records are left to retry
	GivenUp  int64          `json:"givenUp,omitzero"`  // records that failed after the last round
	Ignored  int64          `json:"ignored,omitzero"`  // entries that are not groups by the mapping
	Settings Settings       `json:"settings,omitzero"` // of the import; zero in a manifest of version 1
	Carry    *Carry         `json:"carry,omitzero"`    // nil if there are no outcomes of earlier versions
	Started  time.Time      `json:"started"`
	Finished time.Time      `json:"finished"`

	ahead int64 // out-of-order outcomes that are not in the parts
}

// A File is an object that was written beside the export.
type File struct {
	Key    string `json:"key"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// LoadManifest returns the manifest of the import. The error wraps [fs.ErrNotExist] if the import is not finished.
func (d Dir) LoadManifest(ctx context.Context) (Manifest, error) {
	var m Manifest
	err := readJSON(ctx, d.Bucket, d.Manifest(), &m, func() error { return m.check() })
	if errors.Is(err, ErrUnusable) {
		return Manifest{}, fmt.Errorf("the manifest %w: restore it, or remove it: the next run then carries the outcomes "+
			"of the results file over", err)
	}
	return m, err
}

// RemoveWork removes the objects that no run needs after the manifest is written: parts, out-of-order outcomes, the
// state of writing the results, and all checkpoints but the last. It ignores errors, because remaining objects do no
// harm. It keeps the leases, because their numbers are fencing tokens.
func (d Dir) RemoveWork(ctx context.Context, cp *Checkpoint) {
	last := len(cp.Runs) - 1
	var keys []string
	for info, err := range d.Bucket.List(ctx, d.Work()+partsFolder, "") {
		if err != nil {
			break
		}
		if n := d.token(info.Key); n > 0 && n <= cp.Runs[last].Lease {
			keys = append(keys, info.Key)
		}
	}
	for _, run := range cp.Runs[:last] {
		keys = append(keys, d.checkpoint(run.Lease))
	}
	d.remove(ctx, keys)
}

// remove removes objects. It ignores errors.
func (d Dir) remove(ctx context.Context, keys []string) {
	const atOnce = 64 // at 20 ms a request, 3,000 a second
	removing := errgroup.Group{}
	removing.SetLimit(atOnce)
	for _, key := range keys {
		if ctx.Err() != nil {
			break
		}
		removing.Go(func() error {
			_ = d.Bucket.Delete(ctx, key)
			return nil
		})
	}
	_ = removing.Wait() // its functions return no error
}

// Mark creates the object whose name marks the version as finished, see [Mark]. It does not remove other marks.
func (m *Manifest) Mark(ctx context.Context, d Dir) error {
	if _, err := d.Bucket.Stat(ctx, d.finished(m)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return m.putMark(ctx, d)
}

// putMark writes the mark.
func (m *Manifest) putMark(ctx context.Context, d Dir) error {
	key := d.finished(m)
	if err := d.Bucket.Put(ctx, key, strings.NewReader("")); err != nil {
		return fmt.Errorf("write %q: %w", key, err)
	}
	return nil
}

// ReplaceMark is Mark, and removes the mark at key if it is another one.
func (m *Manifest) ReplaceMark(ctx context.Context, d Dir, key string) error {
	if err := m.Mark(ctx, d); err != nil || key == d.finished(m) {
		return err
	}
	if err := d.Bucket.Delete(ctx, key); err != nil {
		return fmt.Errorf("remove %q: %w", key, err)
	}
	return nil
}

// removeMarks removes the mark of the manifest, also one of the earlier form.
func (m *Manifest) removeMarks(ctx context.Context, d Dir) error {
	version, stat := m.Export.marks()
	for _, key := range []string{d.finished(m), d.Export + finishedSuffix + version + stat + retrySuffix} {
		if err := d.Bucket.Delete(ctx, key); err != nil {
			return fmt.Errorf("remove %q: %w", key, err)
		}
	}
	return nil
}

// putFailures writes the dead-letter file from lines and adds it to m.Files. If every record is imported, it removes
// the dead-letter file of an earlier version or round instead.
func (m *Manifest) putFailures(ctx context.Context, d Dir, lines iter.Seq2[[]byte, error], page Reporter) error {
	if !hasLetters(&m.Counts) {
		if err := d.Bucket.Delete(ctx, d.Failures()); err != nil {
			return fmt.Errorf("remove %q: %w", d.Failures(), err)
		}
		return nil
	}
	failures, err := put(ctx, d.Bucket, d.Failures(), lines, func(line []byte) []byte {
		line = failuresOnly(line)
		if page != nil && line != nil {
			page.Failure(line)
		}
		return line
	})
	if err != nil {
		return err
	}
	m.Files = append(m.Files, failures)
	return nil
}

// put writes lines to the object at key, each after edit. It leaves out lines that edit makes empty.
func put(
	ctx context.Context, b blob.Bucket, key string, lines iter.Seq2[[]byte, error], edit func([]byte) []byte,
) (File, error) {
	body := &lineReader{edit: edit}
	var stop func()
	body.next, stop = iter.Pull2(lines)
	defer stop()
	hash := sha256.New()
	size := &counter{}
	if err := b.Put(ctx, key, io.TeeReader(body, io.MultiWriter(hash, size))); err != nil {
		return File{}, fmt.Errorf("write %q: %w", key, err)
	}
	return File{Key: key, Size: size.n, SHA256: hex.EncodeToString(hash.Sum(nil))}, nil
}

// A lineReader reads edited lines.
type lineReader struct {
	next func() ([]byte, error, bool)
	edit func([]byte) []byte
	buf  []byte
	rest []byte // of buf
}

func (r *lineReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		r.buf = r.buf[:0]
		for len(r.buf) < 32<<10 { // coalesce lines into larger reads
			line, err, ok := r.next()
			if err != nil {
				return 0, err
			}
			if !ok {
				if len(r.buf) == 0 {
					return 0, io.EOF
				}
				break
			}
			if edited := r.edit(line); len(edited) > 0 {
				r.buf = append(append(r.buf, edited...), '\n')
			}
		}
		r.rest = r.buf
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// failuresOnly returns the line of a part if it belongs into the dead-letter file, else nil.
func failuresOnly(line []byte) []byte {
	if o := outcome.Scan(line); o.IsDone() {
		return nil
	}
	return line
}

// hasLetters reports whether an import with these counts has a dead-letter file.
func hasLetters(c *outcome.Counts) bool {
	return !c.IsWhole() || c.Pending > 0 || c.Members.Pending > 0
}

// LoadAhead returns the outcomes of an earlier run that the checkpoint does not count, as lines by ordinal: the
// out-of-order outcomes, some of which may be before the checkpoint's Next; or those of a run that was killed after it
// had written the results from memory, see [Dir.NewWriter].
func (d Dir) LoadAhead(ctx context.Context, cp *Checkpoint) (map[int64][]byte, error) {
	ahead := map[int64][]byte{}
	if cp.mayHaveResults() {
		return ahead, d.loadWritten(ctx, ahead)
	}
	if cp.Ahead == 0 {
		return ahead, nil
	}
	for line, err := range Lines(ctx, d.Bucket, d.ahead(cp.Ahead)) {
		if err != nil {
			return nil, fmt.Errorf("read out-of-order outcomes: %w", err)
		}
		n := outcome.Scan(line).N
		ahead[n] = bytes.Clone(line)
	}
	return ahead, nil
}

// loadWritten adds the outcomes of results without a manifest to ahead. The outcomes of records that are not imported
// are in the dead-letter file, with their records.
func (d Dir) loadWritten(ctx context.Context, ahead map[int64][]byte) error {
	for _, key := range []string{d.Results(), d.Failures()} {
		for line, err := range ignoreMissing(Lines(ctx, d.Bucket, key)) {
			if err != nil {
				return fmt.Errorf("read the results of a run that was killed: %w", err)
			}
			o := outcome.Scan(line)
			if o.N > 0 && o.IsDone() == (key == d.Results()) {
				ahead[o.N] = bytes.Clone(line)
			}
		}
	}
	return nil
}
