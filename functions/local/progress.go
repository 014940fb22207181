package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path"
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

// A meter shows the progress of an import: a bar if standard error is a terminal, and a line every few seconds
// otherwise. Messages are written through the meter too, so that they do not break the bar.
type meter struct {
	manner
	out   io.Writer
	raw   io.Writer  // out as it is, for eraseLine
	width func() int // columns of the terminal, nil if out is none

	mu    sync.Mutex
	drawn bool // the bar is on the cursor's line
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

// Write writes a message of whole lines.
func (m *meter) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drawn {
		fmt.Fprint(m.raw, eraseLine) // the next tick draws the bar again
		m.drawn = false
	}
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

// watch shows the importer's progress until the caller calls stop. name returns the name to show.
func (m *meter) watch(i *importer.Importer, name func(importer.Progress) string) (stop func()) {
	if m.quiet {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(barEvery)
		defer tick.Stop()
		s := &speed{budget: i.Config.Rate}
		written := time.Now()
		for last := false; !last; {
			select {
			case <-done:
				last = true
			case <-tick.C:
			}
			p := i.Progress()
			if p.Export.Key == "" {
				continue // not begun, or nothing to do
			}
			now := time.Now()
			v := view{p, name(p), s.budget, s.add(now, p, i.Client.Attempts())}
			if m.width != nil {
				m.draw(v, last)
			} else if now.Sub(written) >= lineEvery || last && m.json { // the summary ends the lines for people
				m.line(v, now)
				written = now
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// A view is what the meter shows at one moment.
type view struct {
	importer.Progress

	name   string
	budget float64 // calls a second
	pace   pace
}

// draw draws the bar. last says that nothing follows.
func (m *meter) draw(v view, last bool) {
	end := ""
	if last {
		v.pace.left, end = 0, "\n"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// Two columns stay free for the ^C that the terminal echoes: past the last column it would begin a line.
	fmt.Fprintf(m.raw, "%s%s%s", eraseLine, clean([]byte(v.bar(m.width()-2))), end)
	m.drawn = !last
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
		File: v.name, At: now.UTC().Truncate(time.Millisecond), Offset: v.Next.Done(), Size: v.Export.Size,
		Records: v.Counts.Records(), Counts: v.Counts, Budget: v.budget, SecondsLeft: math.Round(v.pace.left.Seconds()),
	}
	if v.pace.known {
		line.Rate = new(math.Round(v.pace.rate*10) / 10)
	}
	writeLine(m.out, line)
}

// keyName is the name of the export under way, for commands that import several.
func keyName(p importer.Progress) string { return shown(path.Base(p.Export.Key)) }

// A progressLine is what --json writes while an import runs.
type progressLine struct {
	File        string         `json:"file"`
	At          time.Time      `json:"at"`
	Offset      int64          `json:"offset"` // of size: how many bytes have outcomes
	Size        int64          `json:"size"`   // bytes
	Records     int64          `json:"records"`
	Counts      outcome.Counts `json:"counts"`        // of all runs
	Rate        *float64       `json:"rate,omitzero"` // calls a second, of the last ten; nil while it is not known
	Budget      float64        `json:"budget"`        // calls a second
	SecondsLeft float64        `json:"secondsLeft,omitzero"`
}
