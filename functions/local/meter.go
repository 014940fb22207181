package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"
	"github.com/go-json-experiment/json"
	"golang.org/x/term"

	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
)

const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 5 * time.Second

	// The rate that is shown is that of the last rateOver: the mean of a run would speak of the time
	// before an outage, and of outcomes that an earlier run left.
	rateOver  = 10 * time.Second
	rateLeast = time.Second // before that there is no rate

	barLeast = 60 // columns; in fewer the numbers are more use than a bar
)

// A manner is how a command speaks.
type manner struct {
	quiet bool // no progress
	json  bool // progress, messages and summaries are JSON, one object a line
}

// A meter shows how an import is doing: a bar where standard error is a terminal, and otherwise a line
// every few seconds. Messages are written through it too, so that they do not tear the bar.
type meter struct {
	manner
	out   io.Writer
	width func() int // columns of the terminal, nil if out is none

	mu    sync.Mutex
	drawn bool // the bar stands on the cursor's line
}

func newMeter(out io.Writer, how manner) *meter {
	m := &meter{out: out, manner: how}
	if f, ok := out.(*os.File); ok && !how.json && term.IsTerminal(int(f.Fd())) {
		m.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width <= 0 {
				return 80
			}
			return width
		}
	}
	return m
}

// eraseLine moves to the beginning of a terminal's line and empties it.
const eraseLine = "\r\x1b[K"

// Write writes a message of whole lines.
func (m *meter) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drawn {
		fmt.Fprint(m.out, eraseLine) // the bar is drawn anew at the next tick
		m.drawn = false
	}
	if m.json && !bytes.HasPrefix(p, []byte("{")) { // lines of the log are JSON already
		writeLine(m.out, struct {
			Message string `json:"message"`
		}{strings.TrimSpace(string(p))})
		return len(p), nil
	}
	return m.out.Write(p)
}

// logger returns a log that is written through the meter.
func (m *meter) logger(level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if m.json {
		return slog.New(slog.NewJSONHandler(m, options))
	}
	return slog.New(slog.NewTextHandler(m, options))
}

// writeLine writes v as a line of JSON. Where that fails there is nobody to tell.
func writeLine(w io.Writer, v any) {
	if data, err := json.Marshal(v, json.Deterministic(true)); err == nil {
		_, _ = w.Write(append(data, '\n'))
	}
}

// watch shows the importer's progress until the function that it returns is called.
func (m *meter) watch(i *importer.Importer, name string) (stop func()) {
	if m.quiet {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(barEvery)
		defer tick.Stop()
		s := &speed{told: time.Now()}
		for {
			select {
			case <-done:
				m.show(i.Progress(), name, i.Config.Rate, s, true)
				return
			case <-tick.C:
				m.show(i.Progress(), name, i.Config.Rate, s, false)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// show draws the bar or writes a line. last says that nothing follows.
func (m *meter) show(p importer.Progress, name string, budget float64, s *speed, last bool) {
	if p.Export.Key == "" {
		return // not begun, or nothing to do
	}
	now := time.Now()
	pace := s.add(now, p)
	rate, left := pace.text(budget)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.json:
		if !last && now.Sub(s.told) < lineEvery {
			return
		}
		s.told = now
		line := progressLine{
			File: name, At: now.UTC().Truncate(time.Millisecond), Offset: p.Next.Done(), Size: p.Export.Size, Records: p.Counts.Records(), Counts: p.Counts,
			Budget: budget, SecondsLeft: math.Round(pace.left.Seconds()),
		}
		if pace.known {
			line.Rate = new(math.Round(pace.rate*10) / 10)
		}
		writeLine(m.out, line)
	case m.width != nil:
		end := ""
		if last {
			left, end = "", "\n"
		}
		// Two columns stay free for the ^C that the terminal shows: behind its edge it would begin a line.
		fmt.Fprint(m.out, eraseLine, barText(p, name, rate, left, m.width()-2), end)
		m.drawn = !last
	case !last && now.Sub(s.told) >= lineEvery: // at the end the summary says it
		s.told = now
		fmt.Fprintf(m.out, "%s: %s\n", name, lineText(p, rate, left))
	}
}

// A progressLine is what -json says while an import runs.
type progressLine struct {
	File        string         `json:"file"`
	At          time.Time      `json:"at"`
	Offset      int64          `json:"offset"` // of size: how many bytes have outcomes
	Size        int64          `json:"size"`   // bytes
	Records     int64          `json:"records"`
	Counts      outcome.Counts `json:"counts"`        // of all runs
	Rate        *float64       `json:"rate,omitzero"` // records a second, of the last ten; nil if that cannot be told yet
	Budget      float64        `json:"budget"`        // attempts a second
	SecondsLeft float64        `json:"secondsLeft,omitzero"`
}

// lineText says how an import is doing in one line.
func lineText(p importer.Progress, rate, left string) string {
	text := percent(p) + ", " + countsText(p.Counts)
	if rate != "" {
		text += ", " + rate
	}
	if left != "" {
		text += ", " + left
	}
	return text
}

// barText says it in at most width columns, with a bar where there is room for one. Where there is
// none, the name goes first, and then what follows from the rest.
func barText(p importer.Progress, name, rate, left string, width int) string {
	name = filepath.Base(name)
	text := lineText(p, rate, left)
	if room := width - len("[=========>]  ") - pb.CellCount(text); width >= barLeast && room >= 8 {
		// The bar counts bytes, because how many records an export holds is known at its end only.
		return pb.ProgressBarTemplate(`{{string . "name"}} {{bar . "[" "=" ">" " " "]"}} {{string . "text"}}`).New(0).
			SetTotal(p.Export.Size).SetCurrent(p.Next.Done()).Set("name", clip(name, room)).Set("text", text).SetWidth(width).String()
	}
	short := fmt.Sprintf("%s in, %s not", thousands(p.Counts.Imported+p.Counts.Exists), thousands(p.Counts.Missing()))
	for _, t := range []string{
		text,
		percent(p) + " " + short + " " + rate + " " + left,
		percent(p) + " " + short + " " + left,
		percent(p) + " " + short,
	} {
		if pb.CellCount(t) <= width {
			return t
		}
	}
	return clip(percent(p), width)
}

// clip shortens text to width columns by taking out its middle: names differ at their ends. A Chinese
// character takes two columns.
func clip(text string, width int) string {
	if pb.CellCount(text) <= width {
		return text
	}
	runes := []rune(text)
	for n := len(runes) - 1; n > 0; n-- {
		short := string(runes[:n/2]) + "…" + string(runes[len(runes)-(n-n/2):])
		if pb.CellCount(short) <= width {
			return short
		}
	}
	return ""
}

// percent is how much of the export has been read and has its outcome. It says 100 only at the end.
func percent(p importer.Progress) string {
	if p.Export.Size == 0 {
		return "100%"
	}
	return fmt.Sprintf("%d%%", p.Work().Percent())
}

// countsText says the counts that are not zero.
func countsText(c outcome.Counts) string {
	text := ""
	for _, m := range meanings {
		if n := m.count(c); n > 0 || m.status == outcome.Imported {
			if text != "" {
				text += ", "
			}
			text += thousands(n) + " " + string(m.status)
		}
	}
	return text
}

// A speed follows how fast an import is.
type speed struct {
	marks []mark    // of the last rateOver, oldest first
	told  time.Time // when a line was last written
}

type mark struct {
	at      time.Time
	records int64
	offset  int64
}

// A pace is how fast an import is. What cannot be told is zero.
type pace struct {
	known bool
	rate  float64       // records a second
	left  time.Duration // until the end
}

// add notes where an import stands and says how fast it is and how long it will take.
func (s *speed) add(now time.Time, p importer.Progress) pace {
	s.marks = append(s.marks, mark{now, p.Counts.Records(), p.Next.Done()})
	for len(s.marks) > 2 && now.Sub(s.marks[1].at) >= rateOver {
		s.marks = s.marks[1:]
	}
	first, last := s.marks[0], s.marks[len(s.marks)-1]
	over := last.at.Sub(first.at)
	if over < rateLeast {
		return pace{}
	}
	is := pace{known: true, rate: float64(last.records-first.records) / over.Seconds()}
	is.left = p.Work().Remaining(last.offset-first.offset, over)
	return is
}

// text says the rate, against the budget, and the time left, each empty while that cannot be told.
func (p pace) text(budget float64) (rate, left string) {
	if p.known {
		rate = fmt.Sprintf("%.0f/s of %g", p.rate, budget)
	}
	if p.left > 0 {
		left = leftText(p.left)
	}
	return rate, left
}

// leftText says a time left as exactly as it can be known.
func leftText(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds left", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds left", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%dh%02dm left", d/time.Hour, d%time.Hour/time.Minute)
	}
}
