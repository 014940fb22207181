package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"
	"golang.org/x/term"

	"groupimport/pkg/importer"
	"groupimport/pkg/results"
)

const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 5 * time.Second
)

// A meter shows how an import is doing: a bar where standard error is a terminal, and otherwise a line
// every few seconds. Messages that are written to it meanwhile do not tear the bar.
type meter struct {
	out   io.Writer
	quiet bool
	bar   bool

	mu      sync.Mutex
	current *pb.ProgressBar
}

func newMeter(out io.Writer, quiet bool) *meter {
	f, ok := out.(*os.File)
	return &meter{out: out, quiet: quiet, bar: ok && term.IsTerminal(int(f.Fd()))}
}

// Write writes a message.
func (m *meter) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current != nil {
		fmt.Fprint(m.out, "\r\x1b[K") // the bar draws itself anew at its next tick
	}
	return m.out.Write(p)
}

// barTemplate is in the terms of package pb. The bar counts bytes, because how many records an export
// holds is known at its end only.
const barTemplate = `{{string . "name"}} {{bar . "[" "=" ">" " " "]"}} {{percent . "%.0f%%"}} {{string . "counts"}} {{rtime . "%s left" "" "time left: ?"}}`

// watch shows the importer's progress until the function that it returns is called.
func (m *meter) watch(i *importer.Importer, name string) (stop func()) {
	if m.quiet {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		every := lineEvery
		if m.bar {
			every = barEvery
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				m.show(i, name, true)
				return
			case <-tick.C:
				m.show(i, name, false)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func (m *meter) show(i *importer.Importer, name string, last bool) {
	p := i.Progress()
	if p.Export.Key == "" {
		return // not begun, or nothing to do
	}
	elapsed := time.Since(p.Began).Seconds()
	rate := float64(p.Run.Records()) / max(elapsed, 0.001)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.bar {
		if last {
			return // the summary says it
		}
		left := "?"
		if done := p.Next.Offset; done > 0 && p.Run.Records() > 0 && p.Counts.Records() > 0 {
			perRecord := float64(done) / float64(p.Counts.Records()) // bytes
			left = time.Duration(float64(p.Export.Size-done) / perRecord / rate * float64(time.Second)).Round(time.Second).String()
		}
		fmt.Fprintf(m.out, "%s: %s, %.0f%%, %.0f a second, %s left\n",
			name, countsText(p.Counts), percent(p.Next.Offset, p.Export.Size), rate, left)
		return
	}
	if m.current == nil {
		m.current = pb.ProgressBarTemplate(barTemplate).New(0).SetWriter(m.out).Set("name", name)
		m.current.SetTotal(p.Export.Size).SetCurrent(p.Next.Offset)
		m.current.Start()
	}
	m.current.SetTotal(p.Export.Size).SetCurrent(p.Next.Offset).
		Set("counts", fmt.Sprintf("%s, %.0f/s", countsText(p.Counts), rate))
	if last {
		m.current.Finish()
		m.current = nil
	}
}

func percent(n, of int64) float64 {
	if of == 0 {
		return 100
	}
	return 100 * float64(n) / float64(of)
}

// countsText says the counts that are not zero.
func countsText(c results.Counts) string {
	text := ""
	for _, m := range meanings {
		if n := m.count(c); n > 0 || m.status == results.Imported {
			if text != "" {
				text += ", "
			}
			text += thousands(n) + " " + string(m.status)
		}
	}
	return text
}
