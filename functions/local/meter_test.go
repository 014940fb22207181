package main

import (
	"testing"
	"time"

	"github.com/cheggaaa/pb/v3"

	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

func progress(records, offset, size int64) importer.Progress {
	return importer.Progress{
		Export: results.Export{Key: "a.jsonl", Size: size},
		Next:   export.Position{Offset: offset},
		Counts: outcome.Counts{Imported: records},
	}
}

func TestSpeedIsThatOfTheLastSeconds(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name       string
		records    []int64 // one a second; a record has 100 bytes, and the export 100,000
		rate, left string
	}{
		{"at the beginning nothing can be told", []int64{0}, "", ""},
		{"after a second", []int64{0, 190}, "190/s of 190", "4s left"},
		{"after going on, what was done before is not this run's", []int64{500, 690}, "190/s of 190", "2s left"},
		{"an outage of ten seconds", []int64{0, 190, 190, 190, 190, 190, 190, 190, 190, 190, 190, 190}, "0/s of 190", ""},
		{"a stall counts while it is recent", []int64{0, 100, 100}, "50/s of 190", "18s left"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var s speed
			var rate, left string
			for i, n := range row.records {
				rate, left = s.add(start.Add(time.Duration(i)*time.Second), progress(n, 100*n, 100_000)).text(190)
			}
			if rate != row.rate || left != row.left {
				t.Errorf("got %q and %q, want %q and %q", rate, left, row.rate, row.left)
			}
		})
	}
}

func TestTimeLeft(t *testing.T) {
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0s left",
		59 * time.Second:       "59s left",
		61 * time.Second:       "1m01s left",
		26*time.Hour + 5*time.Minute + 40*time.Second: "26h05m left",
	} {
		if got := leftText(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestBarFitsItsTerminal(t *testing.T) {
	p := progress(12_345_678, 450, 1000)
	p.Counts.Rejected, p.Counts.Failed, p.Counts.Unknown = 1_234_567, 1_234_567, 1_234_567
	for _, width := range []int{0, 1, 5, 10, 20, 39, 79, 119, 300} {
		for _, name := range []string{"a.jsonl", "/a/very/long/path/with-a-very-long-name-of-an-export-of-groups-2026-11-22.jsonl", "群组群组群组.jsonl"} {
			text := barText(p, name, "190/s", "1h02m left", width)
			if n := pb.CellCount(text); n > width {
				t.Errorf("%s in %d: got %d columns %q", name, width, n, text)
			}
		}
	}
	for width, want := range map[int]string{
		130: "a.jsonl [========>          ] 45%, 12,345,678 imported, 1,234,567 rejected, 1,234,567 failed, 1,234,567 unknown, 190/s, 1h02m left",
		60:  "45% 12,345,678 in, 3,703,701 not 190/s 1h02m left",
		40:  "45% 12,345,678 in, 3,703,701 not",
	} {
		if got := barText(p, "a.jsonl", "190/s", "1h02m left", width); got != want {
			t.Errorf("in %d: got %q, want %q", width, got, want)
		}
	}
}

func TestOnlyTheEndIsAHundredPercent(t *testing.T) {
	for offset, want := range map[int64]string{0: "0%", 999: "99%", 1000: "100%"} {
		if got := percent(progress(1, offset, 1000)); got != want {
			t.Errorf("at %d of 1000: got %q, want %q", offset, got, want)
		}
	}
}
