package results

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"groupimport/pkg/blob"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
)

const (
	// A run that writes large results saves its state at this interval: that much work is lost if it is killed.
	saveEvery = 3 * time.Second

	maxState = 64 << 20 // bytes of a saved state: two parts of uploads, and the state of the report
)

// A Reporter gathers the HTML report from the lines while they are written. It must not retain a line. An error of the
// report is logged and never fails the import.
type Reporter interface {
	Result(line []byte)                            // the next line of the results, without the newline
	Failure(line []byte)                           // the next line of the dead-letter file, with its record
	Write(w io.Writer, n Names, m *Manifest) error // the report, after all lines

	// State returns the state after the lines so far. Restore replaces the state. It fails if the state is of
	// another version of the program; the Reporter is empty then.
	State() ([]byte, error)
	Restore(state []byte) error
}

// Finish writes the results and the dead-letter file from the parts that cp counts, and then the manifest. page may be
// nil, else it is empty. Finish is idempotent.
//
// Finish writes the files and the report at the same time, then the manifest, and then the progress and the mark.
//
// Finish reads each part once, and takes outcomes that are in no part from cp. Files of more than 8 MiB are written by
// uploads, whose state it saves every few seconds under the name of l's fencing token. Another run resumes from the
// state of cp.
func (d Dir) Finish(
	ctx context.Context, l *lease.Lease, cp Checkpoint, p RetryPolicy, page Reporter,
) (Manifest, error) {
	return d.finishAs(ctx, l, d.Names, cp, p, page)
}

// finishAs is Finish under the names of to. If these are not the names of d, it archives an older version.
func (d Dir) finishAs(
	ctx context.Context, l *lease.Lease, to Names, cp Checkpoint, p RetryPolicy, page Reporter,
) (Manifest, error) {
	m := Manifest{
		Export: cp.Export, Complete: cp.IsComplete(), Replaced: d.Names != to, Counts: cp.Total(), Runs: cp.Runs,
		Ignored: cp.Ignored, Settings: cp.Settings, Carry: cp.Carry, Started: cp.Runs[0].Start, Finished: time.Now().UTC(),
	}
	archiving := d.Names != to
	dst := d
	dst.Names = to
	outOfOrder, err := d.LoadAhead(ctx, &cp)
	if err != nil {
		return m, err
	}
	rest := cp.following(outOfOrder) // of an import that will not resume
	for _, line := range rest {
		o := outcome.Scan(line)
		m.Counts.Add(&o)
		m.ahead++
	}
	if isLarge(cp.final()) {
		if err := d.waitMemory(ctx); err != nil {
			return m, err
		}
		defer d.freeMemory()
	}
	f, err := d.newFinisher(ctx, l, dst, cp, page)
	if err != nil {
		return m, err
	}
	err = f.write(ctx, rest)
	if errors.Is(err, blob.ErrNoUpload) { // a lifecycle rule has removed it
		f.discard(ctx)
		f.reset()
		err = f.write(ctx, rest)
	}
	if err != nil {
		return m, err
	}
	switch counts := f.state.Counts; {
	case archiving:
		m.Counts = counts
	case counts != m.Counts:
		return m, fmt.Errorf("the parts of %q have %d outcomes, the checkpoint counts %d: was a part changed?",
			d.Export, counts.Records(), m.Counts.Records())
	}
	m.Files = f.files()
	m.schedule(p)
	completing := errgroup.Group{}
	completing.Go(func() error { return f.complete(ctx) })
	if page != nil {
		// In this goroutine, whose caller recovers from a panic.
		dst.PutReport(ctx, func(w io.Writer) error { return page.Write(w, to, &m) })
	}
	if err := completing.Wait(); err != nil {
		return m, err
	}
	if err := writeJSON(ctx, d.Bucket, to.Manifest(), m); err != nil {
		return m, err
	}
	return m, dst.saveFinished(ctx, &m, &cp)
}

// FinishPart writes the results and the dead-letter file of a cancelled import from the outcomes so far, without a
// manifest: the import is not finished, and may be resumed. It returns the counts of the results.
func (d Dir) FinishPart(
	ctx context.Context, l *lease.Lease, cp Checkpoint, page Reporter,
) (outcome.Counts, error) {
	outOfOrder, err := d.LoadAhead(ctx, &cp)
	if err != nil {
		return outcome.Counts{}, err
	}
	rest := cp.following(outOfOrder)
	if isLarge(cp.final()) {
		if err := d.waitMemory(ctx); err != nil {
			return outcome.Counts{}, err
		}
		defer d.freeMemory()
	}
	cp.Finishing = 0
	f, err := d.newFinisher(ctx, l, d, cp, page)
	if err != nil {
		return outcome.Counts{}, err
	}
	f.isPart = true
	if err = f.write(ctx, rest); err == nil {
		_ = f.files()
		err = f.complete(ctx)
	}
	if err != nil {
		f.discard(ctx)
	}
	return f.state.Counts, err
}

// following returns the out-of-order outcomes that cp does not count, in order.
func (cp *Checkpoint) following(outOfOrder map[int64][]byte) (lines [][]byte) {
	for _, n := range slices.Sorted(maps.Keys(outOfOrder)) {
		if n >= cp.Next.N {
			lines = append(lines, outOfOrder[n])
		}
	}
	return lines
}

// saveFinished writes what follows the manifest: the progress and, unless m is archived, the mark. If the outcomes of
// cp are in no part, it replaces the run's checkpoint, if there is one. The last checkpoint names a part that does not
// exist, like every checkpoint whose parts were removed: it says how many outcomes there were, should an operator
// remove the results.
func (d Dir) saveFinished(ctx context.Context, m *Manifest, cp *Checkpoint) error {
	saving := errgroup.Group{}
	if cp.isHeld && cp.isSaved {
		last := *cp
		token := cp.Runs[len(cp.Runs)-1].Lease
		last.Parts = appendPart(nil, partName{token: token, number: 1})
		saving.Go(func() error { return writeJSON(ctx, d.Bucket, d.checkpoint(token), last) })
	}
	saving.Go(func() error { return d.SaveProgress(ctx, Finished, "", "", cp) })
	if !m.Replaced {
		saving.Go(func() error { return m.putMark(ctx, d) })
	}
	return saving.Wait()
}

// isLarge reports whether results from these parts need much memory to write.
func isLarge(parts []Parts) bool {
	const maxSmall = 4 // MiB at most: a part that is not merged has up to 1 MiB
	total := 0
	for _, p := range parts {
		total += p.Count
		if p.Merged {
			return true
		}
	}
	return total > maxSmall
}

// A finisher writes the results and the dead-letter file.
type finisher struct {
	dir   Dir
	dst   Dir
	lease *lease.Lease
	cp    Checkpoint
	page  Reporter // or nil

	// isPart is set if the import may resume: the state is not saved, because the next one is of other parts.
	isPart bool

	state   finishState
	results *output
	letters *output // the dead-letter file
	saved   time.Time
}

// A finishState is the durable state of a finisher. The pending bytes of both files follow it.
type finishState struct {
	To      string    `json:"to"`      // [Names.Export] of the files
	Started time.Time `json:"started"` // when the import started
	Parts   int       `json:"parts"`   // number of parts

	// Part and Offset are the position after the last line: the number of parts that were read, and the offset in the
	// next part. IsEnd is set after all lines.
	Part   int   `json:"part"`
	Offset int64 `json:"offset"`
	IsEnd  bool  `json:"isEnd,omitzero"`

	Last int64 `json:"last,omitzero"` // the last record

	Counts  outcome.Counts `json:"counts"`
	Results outputState    `json:"results"`
	Letters outputState    `json:"failures"`
	Page    []byte         `json:"page,omitzero"` // see [Reporter]
}

// newFinisher returns a finisher that resumes from the state of cp, if that has one of the same files and parts.
func (d Dir) newFinisher(
	ctx context.Context, l *lease.Lease, dst Dir, cp Checkpoint, page Reporter,
) (*finisher, error) {
	f := &finisher{dir: d, dst: dst, lease: l, cp: cp, page: page, saved: time.Now()}
	f.reset()
	if cp.Finishing == 0 {
		return f, nil
	}
	data, err := blob.ReadAll(ctx, d.Bucket, d.finishing(cp.Finishing), maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil // an operator or a lifecycle rule removed the state
	}
	if err != nil {
		return nil, err
	}
	if err := f.load(data); err != nil {
		f.discard(ctx)
		f.reset()
	}
	return f, nil
}

func (f *finisher) reset() {
	f.state = finishState{To: f.dst.Export, Started: f.cp.Runs[0].Start, Parts: count(f.cp.final())}
	f.results = &output{bucket: f.dst.Bucket, key: f.dst.Results(), hash: sha256.New()}
	f.letters = &output{bucket: f.dst.Bucket, key: f.dst.Failures(), hash: sha256.New()}
}

// discard aborts the uploads and empties the report. It ignores errors: a lifecycle rule removes the rest.
func (f *finisher) discard(ctx context.Context) {
	if f.page != nil {
		_ = f.page.Restore(nil)
	}
	f.results.abort(ctx)
	f.letters.abort(ctx)
}

// load restores a saved state. After an error, the outputs have the uploads of the state, to be aborted.
func (f *finisher) load(data []byte) error {
	header, tail, _ := bytes.Cut(data, []byte("\n"))
	var s finishState
	if err := json.Unmarshal(header, &s); err != nil {
		return err
	}
	want := f.state
	if s.To != "" {
		to := Names{Export: s.To}
		f.results.key, f.letters.key = to.Results(), to.Failures()
	}
	f.results.state, f.letters.state = s.Results, s.Letters
	isSame := s.To == want.To && s.Started.Equal(want.Started) && s.Parts == want.Parts
	if !isSame || s.Part < 0 || s.Part > s.Parts || s.Offset < 0 || s.Last < 0 || s.Counts.Check() != nil {
		return errors.New("the state is of other files")
	}
	tail, err := f.results.restore(s.Results, tail)
	if err == nil {
		tail, err = f.letters.restore(s.Letters, tail)
	}
	if err == nil && len(tail) > 0 {
		err = errors.New("the state has more bytes than it says")
	}
	if err == nil && f.page != nil {
		err = f.page.Restore(s.Page)
	}
	f.state = s
	return err
}

// write writes the lines after the position of the state, and then rest. It leaves the files to be completed.
func (f *finisher) write(ctx context.Context, rest [][]byte) error {
	if f.state.IsEnd {
		return nil
	}
	sizes, err := f.dir.sizesAhead(ctx, f.cp.final())
	if err != nil {
		return err
	}
	first := f.state.Part
	sources := f.dir.sources(parts(f.cp.final()), first, f.state.Offset, sizes)
	archiving := f.dir.Names != f.dst.Names
	for l, err := range readLines(ctx, f.dir.Bucket, sources, archiving) {
		if err != nil {
			return err
		}
		f.state.Part, f.state.Offset = first+l.source, l.end
		if err := f.add(ctx, l.text); err != nil {
			return err
		}
		if f.isSaveDue() {
			if err := f.save(ctx); err != nil {
				return err
			}
		}
	}
	for text := range bytes.Lines(bytes.Clone(f.cp.held)) {
		if err := f.add(ctx, bytes.TrimSuffix(text, []byte("\n"))); err != nil {
			return err
		}
	}
	for _, text := range rest {
		if err := f.add(ctx, text); err != nil {
			return err
		}
	}
	f.state.Part, f.state.Offset, f.state.IsEnd = f.state.Parts, 0, true
	if !f.hasUpload() {
		return nil
	}
	if err := f.results.seal(ctx); err != nil {
		return err
	}
	if err := f.letters.seal(ctx); err != nil || f.isPart {
		return err
	}
	return f.save(ctx)
}

// add adds the line of a part to the files. It changes the line.
func (f *finisher) add(ctx context.Context, text []byte) error {
	o := outcome.Scan(text)
	if f.cp.isRewritten(o.N, f.state.Last) {
		return nil
	}
	f.state.Last = o.N
	f.state.Counts.Add(&o)
	if !o.IsDone() {
		if f.page != nil {
			f.page.Failure(text)
		}
		if err := f.letters.add(ctx, text); err != nil {
			return err
		}
	}
	text = outcome.Bare(text)
	if f.page != nil {
		f.page.Result(text)
	}
	return f.results.add(ctx, text)
}

// isSaveDue reports whether to save the state now. After an upload of the results, few bytes are pending.
func (f *finisher) isSaveDue() bool {
	since := time.Since(f.saved)
	return !f.isPart && since >= saveEvery && f.hasUpload() && (len(f.results.pending) < 1<<20 || since >= 2*saveEvery)
}

func (f *finisher) hasUpload() bool {
	return f.results.state.Upload != "" || f.letters.state.Upload != ""
}

// save writes the state, and names it in the checkpoint.
func (f *finisher) save(ctx context.Context) (err error) {
	if f.state.Results, err = f.results.save(); err != nil {
		return err
	}
	if f.state.Letters, err = f.letters.save(); err != nil {
		return err
	}
	if f.page != nil {
		if f.state.Page, err = f.page.State(); err != nil {
			return err
		}
	}
	header, err := json.Marshal(f.state)
	if err != nil {
		return err
	}
	token := f.lease.Number
	body := slices.Concat(header, []byte("\n"), f.results.pending, f.letters.pending)
	if err := f.dir.Bucket.Put(ctx, f.dir.finishing(token), bytes.NewReader(body)); err != nil {
		return fmt.Errorf("save the state of writing the results: %w", err)
	}
	if err := f.lease.Check(ctx); err != nil {
		return err
	}
	if f.cp.Finishing != token {
		f.cp.Finishing = token
		if err := writeJSON(ctx, f.dir.Bucket, f.dir.checkpoint(token), f.cp); err != nil {
			return err
		}
	}
	f.saved = time.Now()
	return nil
}

// files describes the files, before or after they are completed.
func (f *finisher) files() []File {
	files := []File{f.results.file()}
	if f.hasLetters() {
		files = append(files, f.letters.file())
	}
	return files
}

// hasLetters reports whether there is a dead-letter file.
func (f *finisher) hasLetters() bool { return hasLetters(&f.state.Counts) }

// complete completes the files at the same time. If every record is imported, it removes the dead-letter file of an
// earlier version or round instead.
func (f *finisher) complete(ctx context.Context) error {
	completing := errgroup.Group{}
	completing.Go(func() error { return f.results.complete(ctx, f.results.put) })
	completing.Go(func() error {
		switch {
		case f.hasLetters():
			return f.letters.complete(ctx, f.dst.putLetters)
		case f.dst.IsNew:
			return nil
		}
		if err := f.dst.Bucket.Delete(ctx, f.dst.Failures()); err != nil {
			return fmt.Errorf("remove %q: %w", f.dst.Failures(), err)
		}
		return nil
	})
	return completing.Wait()
}

// An output is a file that is written by lines: by one request if it is small, else by an upload.
type output struct {
	bucket  blob.Bucket
	key     string
	state   outputState
	hash    hash.Hash // of the uploaded parts
	pending []byte    // not uploaded
}

// An outputState is the durable state of an output.
type outputState struct {
	Upload  string   `json:"upload,omitzero"` // ID; empty if no part was uploaded
	Tags    []string `json:"tags,omitzero"`   // of the uploaded parts
	Size    int64    `json:"size,omitzero"`   // bytes of the uploaded parts
	Hash    []byte   `json:"hash,omitzero"`   // state of the SHA-256 of the uploaded parts
	Pending int      `json:"pending,omitzero"`
}

func (o *output) save() (outputState, error) {
	m, ok := o.hash.(encoding.BinaryMarshaler)
	if !ok {
		return o.state, errors.New("the state of SHA-256 cannot be saved")
	}
	var err error
	o.state.Hash, err = m.MarshalBinary()
	o.state.Pending = len(o.pending)
	return o.state, err
}

// restore restores a state. It returns tail without the pending bytes of the output.
func (o *output) restore(s outputState, tail []byte) ([]byte, error) {
	u, ok := o.hash.(encoding.BinaryUnmarshaler)
	isUpload := s.Upload != ""
	isConsistent := isUpload == (len(s.Tags) > 0) && len(s.Tags) <= blob.MaxUploadParts && isUpload == (s.Size > 0)
	if !ok || s.Pending < 0 || s.Pending > len(tail) || !isConsistent {
		return nil, errors.New("the state of a file is invalid")
	}
	o.state = s
	o.pending = bytes.Clone(tail[:s.Pending])
	return tail[s.Pending:], u.UnmarshalBinary(s.Hash)
}

// add adds a line.
func (o *output) add(ctx context.Context, text []byte) error {
	if need := len(o.pending) + len(text) + 1; need > cap(o.pending) {
		const minSize, spare = 64 << 10, 64 << 10
		grown := make([]byte, len(o.pending), max(need, min(max(minSize, 4*cap(o.pending)), blob.UploadPartSize+spare)))
		copy(grown, o.pending)
		o.pending = grown
	}
	o.pending = append(append(o.pending, text...), '\n')
	for len(o.pending) >= blob.UploadPartSize {
		if err := o.upload(ctx, blob.UploadPartSize); err != nil {
			return err
		}
	}
	return nil
}

// upload uploads the first n pending bytes as a part.
func (o *output) upload(ctx context.Context, n int) error {
	u, err := o.uploader()
	if err != nil {
		return err
	}
	if len(o.state.Tags) >= blob.MaxUploadParts {
		return fmt.Errorf("write %q: the file has more than %d MiB: split the export",
			o.key, blob.MaxUploadParts*blob.UploadPartSize>>20)
	}
	if o.state.Upload == "" {
		id, err := u.CreateUpload(ctx, o.key)
		if err != nil {
			return fmt.Errorf("write %q: %w", o.key, err)
		}
		o.state.Upload = id
	}
	part := o.pending[:n]
	tag, err := u.UploadPart(ctx, o.key, o.state.Upload, len(o.state.Tags)+1, part)
	if err != nil {
		return fmt.Errorf("write %q: %w", o.key, err)
	}
	o.hash.Write(part)
	o.state.Tags = append(o.state.Tags, tag)
	o.state.Size += int64(n)
	o.pending = o.pending[:copy(o.pending, o.pending[n:])]
	return nil
}

// uploader returns the bucket for a step of an upload.
func (o *output) uploader() (blob.Uploader, error) {
	u, ok := o.bucket.(blob.Uploader)
	if !ok {
		return nil, fmt.Errorf("write %q: the store has no uploads", o.key)
	}
	return u, nil
}

// seal uploads the last part of an upload.
func (o *output) seal(ctx context.Context) error {
	if o.state.Upload == "" || len(o.pending) == 0 {
		return nil
	}
	return o.upload(ctx, len(o.pending))
}

// file describes the file. No line may be added any more.
func (o *output) file() File {
	o.hash.Write(o.pending)
	size := o.state.Size + int64(len(o.pending))
	return File{Key: o.key, Size: size, SHA256: hex.EncodeToString(o.hash.Sum(nil))}
}

// complete completes the upload, or writes a small file with put.
func (o *output) complete(ctx context.Context, put func(ctx context.Context, data []byte) error) error {
	if o.state.Upload == "" {
		if err := put(ctx, o.pending); err != nil {
			return fmt.Errorf("write %q: %w", o.key, err)
		}
		return nil
	}
	u, err := o.uploader()
	if err != nil {
		return err
	}
	if err := u.CompleteUpload(ctx, o.key, o.state.Upload, o.state.Tags); err != nil {
		return fmt.Errorf("write %q: %w", o.key, err)
	}
	return nil
}

func (o *output) put(ctx context.Context, data []byte) error {
	return o.bucket.Put(ctx, o.key, bytes.NewReader(data))
}

// abort aborts the upload, if there is one.
func (o *output) abort(ctx context.Context) {
	if u, err := o.uploader(); err == nil && o.state.Upload != "" {
		_ = u.AbortUpload(ctx, o.key, o.state.Upload) // see [finisher.discard]
	}
}
