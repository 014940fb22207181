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

func TestSpeed_CallsOfTheLastSeconds(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	type second struct{ attempts, records int64 }
	for _, row := range []struct {
		name       string
		seconds    []second // a record has 100 bytes, and the export 100,000
		rate, left string
	}{
		{"nothing is known at the beginning", []second{{0, 0}}, "", ""},
		{"after a second", []second{{0, 0}, {190, 190}}, "190/s of 190", "4s left"},
		{"outcomes of an earlier run do not count", []second{{0, 500}, {190, 690}}, "190/s of 190", "2s left"},
		{"outcomes that are carried over do not count", []second{{0, 0}, {19, 500}}, "19/s of 190", "1s left"},
		{"a response that hangs holds outcomes back, not calls", []second{{190, 100}, {380, 100}}, "190/s of 190", ""},
		{"a call at both ends of the second", []second{{0, 0}, {191, 180}}, "190/s of 190", "5s left"},
		{"an outage of ten seconds", []second{
			{0, 0},
			{190, 190},
			{190, 190},
			{190, 190},
			{190, 190},
			{190, 190},
			{190, 190},
			{190, 190},
			{190, 190},
			{190, 190},
			{190, 190},
			{190, 190},
		}, "0/s of 190", ""},
		{"a pause counts while it is recent", []second{{0, 0}, {100, 100}, {100, 100}}, "50/s of 190", "18s left"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := speed{budget: 190}
			var is pace
			for i, n := range row.seconds {
				is = s.add(start.Add(time.Duration(i)*time.Second), progress(n.records, 100*n.records, 100_000), n.attempts)
			}
			if rate, left := is.rateText(190), is.leftText(); rate != row.rate || left != row.left {
				t.Errorf("got %q and %q, want %q and %q", rate, left, row.rate, row.left)
			}
		})
	}
}

func TestPace_LowRatesHaveADecimal(t *testing.T) {
	if got, want := (pace{known: true, rate: 0.5}).rateText(0.5), "0.5/s of 0.5"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPace_TimeLeft(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                      "",
		400 * time.Millisecond: "0s left",
		59 * time.Second:       "59s left",
		61 * time.Second:       "1m01s left",
		26*time.Hour + 5*time.Minute + 40*time.Second: "26h05m left",
	} {
		if got := (pace{left: d}).leftText(); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestBar_FitsTheTerminal(t *testing.T) {
	p := progress(12_345_678, 450, 1000)
	p.Counts.Rejected, p.Counts.Failed, p.Counts.Unknown = 1_234_567, 1_234_567, 1_234_567
	is := pace{known: true, rate: 190, left: time.Hour + 2*time.Minute}
	for _, width := range []int{0, 1, 5, 10, 20, 39, 79, 119, 300} {
		for _, name := range []string{
			"a.jsonl", "群组群组群组.jsonl",
			"/a/very/long/path/with-a-very-long-name-of-an-export-of-groups-2026-11-22.jsonl",
		} {
			text := view{p, name, 190, is}.bar(width)
			if n := pb.CellCount(text); n > width {
				t.Errorf("%s in %d: got %d columns %q", name, width, n, text)
			}
		}
	}
	for width, want := range map[int]string{
		137: "a.jsonl [========>          ] 45%, 12,345,678 imported, 1,234,567 rejected, 1,234,567 failed, " +
			"1,234,567 unknown, 190/s of 190, 1h02m left",
		66: "45% 12,345,678 imported, 3,703,701 not 190/s of 190 1h02m left",
		40: "45% 12,345,678 imported, 3,703,701 not",
	} {
		if got := (view{p, "a.jsonl", 190, is}).bar(width); got != want {
			t.Errorf("in %d: got %q, want %q", width, got, want)
		}
	}
}

func TestPercent_100AtTheEndOnly(t *testing.T) {
	for offset, want := range map[int64]string{0: "0%", 999: "99%", 1000: "100%"} {
		if got := percent(progress(1, offset, 1000)); got != want {
			t.Errorf("at %d of 1000: got %q, want %q", offset, got, want)
		}
	}
	p := progress(100, 1000, 1000)
	p.Counts.Members = outcome.Members{Added: 99, Already: 1, Pending: 100}
	if got := percent(p); got != "66%" {
		t.Errorf("with pending members: got %q, want 66%%", got)
	}
	if got := (view{p, "a.jsonl", 190, pace{}}).bar(50); got != "66% 100 imported, 0 not, 100 of 200 members" {
		t.Errorf("with pending members: got %q", got)
	}
}
