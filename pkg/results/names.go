package results

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
)

// Names of what is written beside an export. None of them ends in what a trigger listens to (.jsonl,
// .json, .csv, and those with .gz and .zst).
const (
	resultsSuffix  = ".results.ndjson"
	failuresSuffix = ".failures.ndjson"
	reportSuffix   = ".report.html"
	workSuffix     = ".import/"
	httpSuffix     = ".http/"
)

// Own reports whether key names something that this program wrote, so that it is no export. It is the
// only place that tells.
func Own(key string) bool {
	for _, suffix := range []string{resultsSuffix, failuresSuffix, reportSuffix} {
		if strings.HasSuffix(key, suffix) {
			return true
		}
	}
	if _, _, ok := ParseMark(key); ok {
		return true
	}
	if i := strings.LastIndex(key, httpSuffix); i >= 0 && ownAnswer(key[i+len(httpSuffix):]) {
		return true
	}
	i := strings.LastIndex(key, workSuffix)
	if i <= 0 {
		return false
	}
	// The names in a work folder have no ending; an export that somebody keeps in a folder of such a name
	// has one.
	folder, name, _ := strings.Cut(key[i+len(workSuffix):], "/")
	switch folder {
	case "progress", "manifest", fileEarlier:
		return name == ""
	case "lease", "checkpoint", "parts":
		return name != "" && !strings.Contains(name, ".")
	}
	return false
}

// A Kind says what a key that lies beside an export is.
type Kind int

// The kinds.
const (
	NotBeside Kind = iota
	BesideResults
	BesideFailures
	BesideReport
	BesideWork // the work folder itself, with its slash
)

// Beside returns of what lies beside an export that export's key, and what it is.
func Beside(key string) (owner string, kind Kind) {
	for suffix, kind := range map[string]Kind{
		resultsSuffix: BesideResults, failuresSuffix: BesideFailures, reportSuffix: BesideReport, workSuffix: BesideWork,
	} {
		if owner, ok := strings.CutSuffix(key, suffix); ok && owner != "" {
			return owner, kind
		}
	}
	return "", NotBeside
}

// A Mark is what the name of an empty object beside an export says: this version was imported. So a list alone
// tells the scheduler that there is nothing to do.
//
//	exports/acme.jsonl.finished-0123456789ab0123456789ab         nothing is left to retry
//	exports/acme.jsonl.finished-0123456789ab0123456789ab-retry   failed or unknown records are left
type Mark struct {
	version, stat string // see [Export.marks]
	Retry         bool
}

const (
	finishedSuffix = ".finished-"
	retrySuffix    = "-retry"
	markBytes      = 6
)

// ParseMark returns what a key says, and the export that it says it of. ok is false if the key is no such name.
func ParseMark(key string) (owner string, f Mark, ok bool) {
	i := strings.LastIndex(key, finishedSuffix)
	if i <= 0 {
		return "", Mark{}, false
	}
	marks, retry := strings.CutSuffix(key[i+len(finishedSuffix):], retrySuffix)
	if raw, err := hex.DecodeString(marks); err != nil || len(raw) != 2*markBytes {
		return "", Mark{}, false
	}
	return key[:i], Mark{marks[:2*markBytes], marks[2*markBytes:], retry}, true
}

// IsOf reports whether f is about the version of the export that a list shows.
func (f Mark) IsOf(listed blob.Info) bool {
	if listed.Version != "" {
		return f.version == mark(listed.Version)
	}
	e := Export{Size: listed.Size, Modified: listed.Modified}
	_, stat := e.marks()
	return f.stat == stat
}

// finished returns the key that says that a version was imported.
func (n Names) finished(m *Manifest) string {
	version, stat := m.Export.marks()
	key := n.Export + finishedSuffix + version + stat
	if m.Counts.Failed+m.Counts.Unknown > 0 {
		key += retrySuffix
	}
	return key
}

// A Dir is everything that is written beside one export.
type Dir struct {
	Bucket blob.Bucket
	Names
}

// A Names is the keys of what belongs to one export.
type Names struct {
	Export string
}

// Results is the key of every record's outcome.
func (n Names) Results() string { return n.Export + resultsSuffix }

// Failures is the key of the records that are not in.
func (n Names) Failures() string { return n.Export + failuresSuffix }

// Report is the key of the page for people.
func (n Names) Report() string { return n.Export + reportSuffix }

// Manifest is the key of what the import came to.
func (n Names) Manifest() string { return n.Export + workSuffix + "manifest" }

// Progress is the key of how the import is doing.
func (n Names) Progress() string { return n.Export + workSuffix + "progress" }

// Archived returns the names under which the results of an older version of the export lie that was imported from a
// time on. The zero time is for results whose manifest is gone.
func (n Names) Archived(version string, started time.Time) Names {
	text := version
	if !started.IsZero() {
		text += "\n" + started.UTC().Format(time.RFC3339Nano)
	}
	sum := sha256.Sum256([]byte(text))
	return Names{Export: n.Export + "." + hex.EncodeToString(sum[:6])}
}

// Longest returns a key of each kind that an import of the export writes, with the longest numbers and those of a version
// that was archived.
func (n Names) Longest() []string {
	old := n.Archived("", time.Time{})
	const most = 999_999
	retries := &Manifest{Counts: outcome.Counts{Failed: 1}}
	return []string{
		n.finished(retries),
		old.Results(), old.Failures(), old.Report(), old.Manifest(), old.Progress(), old.earlier(),
		lease.Key(n.Work(), most), n.checkpoint(most), n.part(most, most), n.ahead(most),
	}
}

// earlier is the key of the earlier outcomes that an archived import had not taken over.
func (n Names) earlier() string { return n.Export + workSuffix + fileEarlier }

// ArchivedFrom returns of the name of an archived version that of the export, and "" of others.
func ArchivedFrom(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return ""
	}
	if tag, err := hex.DecodeString(name[i+1:]); err != nil || len(tag) != 6 {
		return ""
	}
	return name[:i]
}

// RateNames returns the names of no export but of the lease on the rate that all runs below a prefix share.
func RateNames(prefix string) Names { return Names{Export: prefix + ".rate"} }

// AnswersFolder returns the folder, with its slash, that remembers what requests with an Idempotency-Key came
// to, for a prefix.
func AnswersFolder(prefix string) string { return prefix + httpSuffix }

// DayFormat names the folders in [AnswersFolder].
const DayFormat = "20060102"

// ownAnswer reports whether name is one in a folder of answers.
func ownAnswer(name string) bool {
	day, sum, _ := strings.Cut(name, "/")
	_, err := time.Parse(DayFormat, day)
	_, hexErr := hex.DecodeString(sum)
	return err == nil && hexErr == nil && len(sum) == 2*sha256.Size
}

// Work is the key of the folder that holds the work, with its slash.
func (n Names) Work() string { return n.Export + workSuffix }

func (n Names) checkpoint(number int) string {
	return fmt.Sprintf("%s%scheckpoint/%06d", n.Export, workSuffix, number)
}

func (n Names) part(token, number int) string {
	return fmt.Sprintf("%s%sparts/%06d-%06d", n.Export, workSuffix, token, number)
}

func (n Names) ahead(token int) string {
	return fmt.Sprintf("%s%sparts/%06d-ahead", n.Export, workSuffix, token)
}
