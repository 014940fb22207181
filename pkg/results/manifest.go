package results

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
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
	return m, readJSON(ctx, d.Bucket, d.Manifest(), &m)
}

// A Reporter builds the HTML report from the lines while they are written. It must not retain a line. It logs its own
// errors: an error of the report never fails the import.
type Reporter interface {
	Result(line []byte)                     // the next line of the results, without the newline
	Failure(line []byte)                    // the next line of the dead-letter file, with its record
	Report(ctx context.Context, m Manifest) // after all lines, before the manifest is written
}

// Finish writes the results and the dead-letter file from the parts that cp counts, and then the manifest, under the
// names of to. If to differs from the names of d, Finish archives an older version. page may be nil. Finish is
// idempotent.
func (d Dir) Finish(ctx context.Context, to Names, cp Checkpoint, p RetryPolicy, page Reporter) (Manifest, error) {
	m := Manifest{
		Export: cp.Export, Complete: cp.Done, Replaced: d.Names != to, Counts: cp.Counts, Runs: cp.Runs,
		Ignored: cp.Ignored, Settings: cp.Settings, Carry: cp.Carry, Started: cp.Runs[0].Start, Finished: time.Now().UTC(),
	}
	archiving := d.Names != to
	dst := Dir{d.Bucket, to}
	ahead, err := d.LoadAhead(ctx, &cp)
	if err != nil {
		return m, err
	}
	var behind [][]byte // out-of-order outcomes of an import that will not resume
	for _, n := range slices.Sorted(maps.Keys(ahead)) {
		if n >= cp.Next.N {
			behind = append(behind, ahead[n])
			_, status := outcome.Scan(ahead[n])
			m.Counts.Add(status)
			m.ahead++
		}
	}
	lines := func() iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for line, err := range d.partLines(ctx, cp, archiving) {
				if !yield(line, err) || err != nil {
					return
				}
			}
			for _, line := range behind {
				if !yield(bytes.Clone(line), nil) {
					return
				}
			}
		}
	}
	var counts outcome.Counts
	results, err := put(ctx, d.Bucket, to.Results(), lines(), func(line []byte) []byte {
		_, status := outcome.Scan(line)
		counts.Add(status)
		line = outcome.Bare(line)
		if page != nil {
			page.Result(line)
		}
		return line
	})
	if err != nil {
		return m, err
	}
	if archiving {
		m.Counts = counts
	} else if counts != m.Counts {
		return m, fmt.Errorf("the parts of %q have %d outcomes, the checkpoint counts %d: was a part changed?",
			d.Export, counts.Records(), m.Counts.Records())
	}
	m.Files = append(m.Files, results)
	if err := m.putFailures(ctx, dst, lines(), page); err != nil {
		return m, err
	}
	m.schedule(p)
	if page != nil {
		page.Report(ctx, m)
	}
	if err := writeJSON(ctx, d.Bucket, to.Manifest(), m); err != nil {
		return m, err
	}
	if err := dst.SaveProgress(ctx, Finished, "", &cp); err != nil || archiving {
		return m, err
	}
	return m, m.Mark(ctx, dst)
}

// RemoveWork removes the objects that no run needs after the manifest is written: parts, out-of-order outcomes, and
// all checkpoints but the last. It ignores errors, because remaining objects do no harm. It keeps the leases, because
// their numbers are fencing tokens.
func (d Dir) RemoveWork(ctx context.Context, cp *Checkpoint) {
	var keys []string
	for _, run := range cp.Parts {
		for n := 1; n <= run.Count; n++ {
			keys = append(keys, d.part(run.Lease, n))
		}
	}
	for _, run := range cp.Runs[:len(cp.Runs)-1] {
		keys = append(keys, d.ahead(run.Lease), d.checkpoint(run.Lease))
	}
	const atOnce = 16
	removing := errgroup.Group{}
	removing.SetLimit(atOnce)
	for _, key := range keys {
		if ctx.Err() != nil {
			break
		}
		removing.Go(func() error {
			_ = d.Bucket.Delete(ctx, key) // see above
			return nil
		})
	}
	_ = removing.Wait() // its functions return no error
}

// Mark creates the object whose name marks the version as finished, see [Mark]. It does not remove other marks.
func (m *Manifest) Mark(ctx context.Context, d Dir) error {
	key := d.finished(m)
	if _, err := d.Bucket.Stat(ctx, key); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
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
	if m.Counts.Missing() == 0 {
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

// PartLines yields the lines of all parts that cp counts, in order. A line is valid until the next iteration.
func (d Dir) PartLines(ctx context.Context, cp *Checkpoint) iter.Seq2[[]byte, error] {
	return d.partLines(ctx, *cp, false)
}

// partLines is PartLines. With skipMissing, removed parts count as empty.
func (d Dir) partLines(ctx context.Context, cp Checkpoint, skipMissing bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, run := range cp.Parts {
			for n := 1; n <= run.Count; n++ {
				for line, err := range Lines(ctx, d.Bucket, d.part(run.Lease, n)) {
					if skipMissing && errors.Is(err, fs.ErrNotExist) {
						break
					}
					if !yield(line, err) || err != nil {
						return
					}
				}
			}
		}
	}
}

// Lines yields the lines of an object without the newlines. A line is valid until the next iteration.
func Lines(ctx context.Context, b blob.Bucket, key string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := blob.NewReader(ctx, b, key, "", 0, -1)
		defer r.Close()
		lines := bufio.NewReaderSize(r, 64<<10)
		var long []byte
		for {
			line, err := lines.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				long = append(long, line...)
				continue
			}
			if len(long) > 0 {
				long = append(long, line...)
				line = long
			}
			if err != nil && !errors.Is(err, io.EOF) {
				yield(nil, fmt.Errorf("read %q: %w", key, err))
				return
			}
			if len(line) > 0 && !yield(bytes.TrimSuffix(line, []byte("\n")), nil) || err != nil {
				return
			}
			long = long[:0]
		}
	}
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
	if _, status := outcome.Scan(line); status.IsDone() {
		return nil
	}
	return line
}

// LoadAhead returns the out-of-order outcomes of an earlier run, as lines by ordinal. Some may be before the
// checkpoint's Next.
func (d Dir) LoadAhead(ctx context.Context, cp *Checkpoint) (map[int64][]byte, error) {
	ahead := map[int64][]byte{}
	if cp.Ahead == 0 {
		return ahead, nil
	}
	for line, err := range Lines(ctx, d.Bucket, d.ahead(cp.Ahead)) {
		if err != nil {
			return nil, fmt.Errorf("read out-of-order outcomes: %w", err)
		}
		n, _ := outcome.Scan(line)
		ahead[n] = bytes.Clone(line)
	}
	return ahead, nil
}
