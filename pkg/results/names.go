package results

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"groupimport/pkg/blob"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
)

// Suffixes of the objects beside an export. Triggers must not match them: they match .jsonl, .json and .csv, each
// also with .gz and .zst.
const (
	resultsSuffix  = ".results.ndjson"
	failuresSuffix = ".failures.ndjson"
	reportSuffix   = ".report.html"
	workSuffix     = WorkSuffix
	httpSuffix     = ".http/"

	fileWaiting = "waiting" // folder of markers, in the work folder of the rate

	checkPage   = ".check.html"
	checkFolder = ".check.import/parts/"
)

// WorkSuffix ends the key of a work folder.
const WorkSuffix = ".import/"

// IsOutput reports whether key is the key of an object that this program writes. Such an object is not an export.
func IsOutput(key string) bool {
	for _, suffix := range []string{resultsSuffix, failuresSuffix, reportSuffix} {
		if strings.HasSuffix(key, suffix) {
			return true
		}
	}
	if _, _, ok := ParseMark(key); ok {
		return true
	}
	if slashed := "/" + key; strings.HasSuffix(slashed, "/"+checkPage) || strings.Contains(slashed, "/"+checkFolder) {
		return true
	}
	if i := strings.LastIndex(key, httpSuffix); i >= 0 && isSavedResponse(key[i+len(httpSuffix):]) {
		return true
	}
	i := strings.LastIndex(key, workSuffix)
	if i <= 0 {
		return false
	}
	// The names in a work folder have no suffix. The name of an export in a folder of the same name has one.
	folder, name, _ := strings.Cut(key[i+len(workSuffix):], "/")
	switch folder {
	case "progress", "manifest", controlName, fileEarlier:
		return name == ""
	case "lease", "checkpoint", "parts", fileWaiting:
		return name != "" && !strings.Contains(name, ".")
	}
	return false
}

// A Kind is the kind of an object beside an export.
type Kind int

// The kinds.
const (
	NotSidecar Kind = iota
	SidecarResults
	SidecarFailures
	SidecarReport
	SidecarWork // the work folder itself, with its slash
)

// Sidecar returns the kind of an object beside an export and the key of the export.
func Sidecar(key string) (owner string, kind Kind) {
	for suffix, kind := range map[string]Kind{
		resultsSuffix: SidecarResults, failuresSuffix: SidecarFailures, reportSuffix: SidecarReport, workSuffix: SidecarWork,
	} {
		if owner, ok := strings.CutSuffix(key, suffix); ok && owner != "" {
			return owner, kind
		}
	}
	return "", NotSidecar
}

// A Mark is the content of the name of an empty object beside an export: the import of this version is finished. The
// scheduler needs only the list to skip finished imports, until a round of retries is due.
//
//	exports/acme.jsonl.finished-0123456789ab0123456789ab         no records left to retry
//	exports/acme.jsonl.finished-0123456789ab0123456789ab_hsp2q   failed records, and when they are due
//	exports/acme.jsonl.finished-0123456789ab0123456789ab!hsp2q   unknown records only
//	exports/acme.jsonl.finished-0123456789ab0123456789ab-retry   an earlier form: failed or unknown records
//
// The time is in minutes since 1970, in base 36: a longer name would not fit beside exports with long names.
type Mark struct {
	version, stat string    // see [Export.marks]
	left          string    // retrySuffix, failedSuffix, unknownSuffix or empty
	due           time.Time // zero for the earlier form
}

const (
	finishedSuffix = ".finished-"
	retrySuffix    = "-retry"
	failedSuffix   = "_"
	unknownSuffix  = "!"
	markBase       = 36
	markDigits     = 5
	markBytes      = 6
	tagBytes       = 6 // of the tag of an archived version
)

// ParseMark returns the mark in a key, and the key of the export. ok is false if the key is not a mark.
func ParseMark(key string) (export string, m Mark, ok bool) {
	i := strings.LastIndex(key, finishedSuffix)
	if i <= 0 {
		return "", Mark{}, false
	}
	marks := key[i+len(finishedSuffix):]
	marks, left := marks[:min(len(marks), 4*markBytes)], marks[min(len(marks), 4*markBytes):]
	if raw, err := hex.DecodeString(marks); err != nil || len(raw) != 2*markBytes {
		return "", Mark{}, false
	}
	m = Mark{version: marks[:2*markBytes], stat: marks[2*markBytes:]}
	if left == "" || left == retrySuffix {
		m.left = left
		return key[:i], m, true
	}
	if len(left) != 1+markDigits || left[:1] != failedSuffix && left[:1] != unknownSuffix {
		return "", Mark{}, false
	}
	minutes, err := strconv.ParseUint(left[1:], markBase, 32)
	m.left, m.due = left[:1], time.Unix(int64(minutes)*60, 0)
	return key[:i], m, err == nil
}

// Due reports whether a round of retries may be due, so that the manifest must be read. With now, it ignores the wait.
func (m Mark) Due(p RetryPolicy, now bool) bool {
	hasRecords := m.left == retrySuffix || m.left == failedSuffix || m.left == unknownSuffix && p.Unknown
	return hasRecords && (now || !time.Now().Before(m.due))
}

// IsOf reports whether m is about the listed version of the export.
func (m Mark) IsOf(listed blob.Info) bool {
	if listed.Version != "" {
		return m.version == mark(listed.Version)
	}
	e := Export{Size: listed.Size, Modified: listed.Modified}
	_, stat := e.marks()
	return m.stat == stat
}

// finished returns the key of the mark of a finished version.
func (n Names) finished(m *Manifest) string {
	version, stat := m.Export.marks()
	key := n.Export + finishedSuffix + version + stat
	left := failedSuffix
	switch {
	case m.left(RetryPolicy{Unknown: true}) == 0 || len(m.Rounds) >= maxRounds:
		return key
	case m.Counts.Failed+m.Counts.Incomplete == 0:
		left = unknownSuffix
	}
	due := m.Finished // for unknown records of an import that ended without RETRY_UNKNOWN
	if !m.RetryAt.IsZero() {
		due = m.RetryAt.Add(time.Minute - 1) // the name has whole minutes
	}
	minutes := strconv.FormatInt(max(0, due.Unix()/60), markBase)
	return key + left + strings.Repeat("0", max(0, markDigits-len(minutes))) + minutes
}

// A Dir is a bucket and the names of the objects beside one export in it.
type Dir struct {
	Bucket blob.Bucket
	Names

	// IsNew is set if nothing lies beside the export but what the run in progress writes: no older dead-letter file is
	// removed. With IsListed, only a list showed that there is no dead-letter file and no report. They are then created,
	// so that an object which the list has missed is not replaced.
	IsNew, IsListed bool

	// Memory is held while parts are merged and while large results are written, because each needs up to 16 MiB. The
	// imports of a process share it. Nil does not limit them.
	Memory *semaphore.Weighted

	Log *slog.Logger // nil discards
}

func (d Dir) log() *slog.Logger {
	if d.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Log
}

// tryMemory acquires Memory if nobody holds it.
func (d Dir) tryMemory() bool { return d.Memory == nil || d.Memory.TryAcquire(1) }

// waitMemory waits for Memory. The error is the cause of ctx.
func (d Dir) waitMemory(ctx context.Context) error {
	if d.Memory != nil && d.Memory.Acquire(ctx, 1) != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (d Dir) freeMemory() {
	if d.Memory != nil {
		d.Memory.Release(1)
	}
}

// Names are the keys of the objects that belong to one export.
type Names struct {
	Export string
}

// Results is the key of the results file.
func (n Names) Results() string { return n.Export + resultsSuffix }

// Failures is the key of the dead-letter file.
func (n Names) Failures() string { return n.Export + failuresSuffix }

// Report is the key of the HTML report.
func (n Names) Report() string { return n.Export + reportSuffix }

// Manifest is the key of the manifest.
func (n Names) Manifest() string { return n.Export + workSuffix + "manifest" }

// Progress is the key of the progress.
func (n Names) Progress() string { return n.Export + workSuffix + "progress" }

// Archived returns the names of the archived results of an older version of the export. started is the start of its
// import, zero if the manifest was removed.
func (n Names) Archived(version string, started time.Time) Names {
	text := version
	if !started.IsZero() {
		text += "\n" + started.UTC().Format(time.RFC3339Nano)
	}
	sum := sha256.Sum256([]byte(text))
	return Names{Export: n.Export + "." + hex.EncodeToString(sum[:tagBytes])}
}

// Fits returns an error if the export's name is too long for the names of the objects beside it.
func (d Dir) Fits() error {
	for _, key := range d.Longest() {
		if err := blob.FitsKey(d.Bucket, key); err != nil {
			return fmt.Errorf("name too long for the names of the results: %w: give the export a shorter name", err)
		}
	}
	return nil
}

// Longest returns the longest key of each kind that an import of the export writes.
func (n Names) Longest() []string {
	old := n.Archived("", time.Time{})
	const maxNumber = 999_999
	retries := &Manifest{Counts: outcome.Counts{Unknown: 1}}
	return []string{
		n.finished(retries),
		old.Results(), old.Failures(), old.Report(), old.Manifest(), old.Progress(), old.earlier(),
		lease.Key(n.Work(), maxNumber), n.checkpoint(maxNumber), n.part(partName{maxNumber, maxNumber, true, true}),
		n.ahead(maxNumber),
	}
}

// earlier is the key of the earlier outcomes that an archived import had not carried over.
func (n Names) earlier() string { return n.Export + workSuffix + fileEarlier }

// ArchivedFrom returns the name of the export of an archived version. It returns "" for other names.
func ArchivedFrom(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return ""
	}
	if tag, err := hex.DecodeString(name[i+1:]); err != nil || len(tag) != tagBytes {
		return ""
	}
	return name[:i]
}

// RateNames returns the names for the lease on the rate that all runs below a prefix share.
func RateNames(prefix string) Names { return Names{Export: prefix + ".rate"} }

// WaitingFolder returns the folder of the markers of exports that wait for the rate, with its slash.
func WaitingFolder(prefix string) string { return RateNames(prefix).Work() + fileWaiting + "/" }

// ResponsesFolder returns the folder of the saved responses to requests with an Idempotency-Key, with its slash.
func ResponsesFolder(prefix string) string { return prefix + httpSuffix }

// CheckPage returns the key of the page about the last check below a prefix, see package check.
func CheckPage(prefix string) string { return prefix + checkPage }

// CheckFolder returns the folder of what checks write below a prefix, with its slash. No object in it is an export,
// also if its name ends like that of one: such a name shows whether the triggers work.
func CheckFolder(prefix string) string { return prefix + checkFolder }

// DayFormat is the format of the names of the folders in [ResponsesFolder].
const DayFormat = "20060102"

// isSavedResponse reports whether name is the name of an object in [ResponsesFolder].
func isSavedResponse(name string) bool {
	day, sum, _ := strings.Cut(name, "/")
	_, err := time.Parse(DayFormat, day)
	_, hexErr := hex.DecodeString(sum)
	return err == nil && hexErr == nil && len(sum) == 2*sha256.Size
}

// Work is the key of the work folder, with its slash.
func (n Names) Work() string { return n.Export + workSuffix }

func (n Names) checkpoint(number int) string {
	return fmt.Sprintf("%s%s%06d", n.Work(), checkpointFolder, number)
}

func (n Names) ahead(token int) string {
	return fmt.Sprintf("%s%s%06d-ahead", n.Work(), partsFolder, token)
}

// finishing is the key of the state of a run that writes large results.
func (n Names) finishing(token int) string {
	return fmt.Sprintf("%s%s%06d-finish", n.Work(), partsFolder, token)
}

// token returns the fencing token in the key of a part or checkpoint, 0 if there is none.
func (n Names) token(key string) int {
	_, name, _ := strings.Cut(strings.TrimPrefix(key, n.Work()), "/")
	name, _, _ = strings.Cut(name, "-")
	token, _ := strconv.Atoi(name)
	return token
}

const checkpointFolder = "checkpoint/"
