package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
)

const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 5 * time.Second
)

// maxBars is the largest number of imports with a bar each, so that all bars fit on a terminal of 24 lines.
const maxBars = 16

// A meter shows the progress of imports: a bar each if standard error is a terminal, with a line about all below, and
// a line every few seconds otherwise. Messages are written through the meter too, so that they do not break the bars.
type meter struct {
	manner
	out   io.Writer
	raw   io.Writer  // out as it is, for eraseLine
	width func() int // columns of the terminal, nil if out is none

	mu    sync.Mutex
	drawn int // lines of the bars, the last is the cursor's

	watchedMu sync.Mutex // held while watched are shown, so that nothing shows an import after its end
	watched   []*watched // in the order in which they began
	ticking   bool       // show is called every barEvery
	total     speed
}

// A watched is an import that the meter shows.
type watched struct {
	i       *importer.Importer
	key     string
	name    string
	speed   speed
	written time.Time // when its last line was written
}

func newMeter(out io.Writer, how manner) *meter {
	m := &meter{out: out, raw: out, manner: how}
	if c, ok := out.(cleanWriter); ok {
		m.raw = c.w
	}
	if f, ok := m.raw.(*os.File); ok && !how.json && term.IsTerminal(int(f.Fd())) {
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

// erase erases the bars. The next tick draws them again. The caller holds mu.
func (m *meter) erase() {
	if m.drawn > 1 {
		fmt.Fprintf(m.raw, "\r\x1b[%dA\x1b[J", m.drawn-1) // to the first line, and empty the rest of the terminal
	} else if m.drawn == 1 {
		fmt.Fprint(m.raw, eraseLine)
	}
	m.drawn = 0
}

// print calls write, which writes whole lines to standard output, without the bars in between. Calls do not overlap.
func (m *meter) print(write func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
	write()
}

// Write writes a message of whole lines.
func (m *meter) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
	if m.json && !bytes.HasPrefix(p, []byte("{")) { // the log writes JSON itself
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

// watch shows the progress of the import of the export at key, under a name, until the caller calls stop. Several
// imports may be watched at once.
func (m *meter) watch(i *importer.Importer, key, name string) (stop func()) {
	if m.quiet {
		return func() {}
	}
	w := &watched{i: i, key: key, name: name, speed: speed{budget: i.Config.Rate}, written: time.Now()}
	m.watchedMu.Lock()
	defer m.watchedMu.Unlock()
	m.watched = append(m.watched, w)
	if !m.ticking {
		m.ticking = true
		m.total = speed{budget: i.Config.Rate}
		go m.tick()
	}
	return func() {
		m.watchedMu.Lock()
		defer m.watchedMu.Unlock()
		m.watched = slices.DeleteFunc(m.watched, func(other *watched) bool { return other == w })
		v, ok := w.view(time.Now())
		switch {
		case !ok:
		case m.width != nil:
			m.draw([]string{v.last().bar(m.barWidth())}, true)
		case m.json: // the summary ends the lines for people
			m.line(v, time.Now())
		}
	}
}

// tick shows the watched imports every barEvery until there are none.
func (m *meter) tick() {
	tick := time.NewTicker(barEvery)
	defer tick.Stop()
	for range tick.C {
		m.watchedMu.Lock()
		if len(m.watched) == 0 {
			m.ticking = false
			m.watchedMu.Unlock()
			return
		}
		m.show(time.Now())
		m.watchedMu.Unlock()
	}
}

// show shows all watched imports. The caller holds watchedMu.
func (m *meter) show(now time.Time) {
	var bars []string
	var sum importer.Progress
	for _, w := range m.watched {
		v, ok := w.view(now)
		if !ok {
			continue
		}
		sum.Counts.Plus(&v.Counts)
		if m.width != nil {
			bars = append(bars, v.bar(m.barWidth()))
		} else if now.Sub(w.written) >= lineEvery {
			m.line(v, now)
			w.written = now
		}
	}
	all := m.total.add(now, sum, m.watched[0].i.Client.Attempts())
	if m.width == nil || len(bars) == 0 {
		return
	}
	if n := len(bars); n > 1 {
		bars = bars[:min(n, maxBars)]
		bars = append(bars, totalText(n, sum.Counts, all.rateText(m.total.budget), m.barWidth()))
	}
	m.draw(bars, false)
}

// barWidth is the largest number of columns of a bar. Two columns stay free for the ^C that the terminal echoes: past
// the last column it would begin a line.
func (m *meter) barWidth() int { return m.width() - 2 }

// view returns what to show of an import now. ok is false if it has not begun, or if there is nothing to do.
func (w *watched) view(now time.Time) (v view, ok bool) {
	p := w.i.Progress(w.key)
	if p.Export.Key == "" {
		return view{}, false
	}
	return view{p, w.name, w.speed.budget, w.speed.add(now, p, p.Attempts)}, true
}

// A view is what the meter shows at one moment.
type view struct {
	importer.Progress

	name   string
	budget float64 // calls a second
	pace   pace
}

// last returns what to show of an import at its end.
func (v view) last() view {
	v.pace.left = 0
	return v
}

// draw draws bars, one a line. last says that they stay as they are.
func (m *meter) draw(bars []string, last bool) {
	for n, bar := range bars {
		bars[n] = string(clean([]byte(bar)))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drawn > 1 {
		m.erase()
	}
	fmt.Fprint(m.raw, eraseLine, strings.Join(bars, "\n"+eraseLine))
	if m.drawn = len(bars); last {
		fmt.Fprintln(m.raw)
		m.drawn = 0
	}
}

// line writes a line for people, or one of JSON.
func (m *meter) line(v view, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.json {
		fmt.Fprintf(m.out, "%s: %s\n", v.name, v.text())
		return
	}
	line := progressLine{
		File: v.name, At: now.UTC().Truncate(time.Millisecond), Offset: v.Work().Done, Size: v.Export.Size,
		Records: v.Counts.Records(), Counts: v.Counts, Budget: v.budget, SecondsLeft: math.Round(v.pace.left.Seconds()),
	}
	if v.pace.known {
		line.Rate = new(math.Round(v.pace.rate*10) / 10)
	}
	writeLine(m.out, line)
}

// keyName is the name of the export at key, for commands that import several.
func keyName(key string) string { return shown(path.Base(key)) }

// A progressLine is what --json writes while an import runs.
type progressLine struct {
	File        string         `json:"file"`
	At          time.Time      `json:"at"`
	Offset      int64          `json:"offset"` // of size: how many bytes have outcomes, less while members are pending
	Size        int64          `json:"size"`   // bytes
	Records     int64          `json:"records"`
	Counts      outcome.Counts `json:"counts"`        // of all runs
	Rate        *float64       `json:"rate,omitzero"` // calls a second, of the last ten; nil while it is not known
	Budget      float64        `json:"budget"`        // calls a second
	SecondsLeft float64        `json:"secondsLeft,omitzero"`
}
