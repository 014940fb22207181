package main

import "github.com/cespare/xxhash/v2"

// duplicates are the records with the GroupId of an earlier record: import finds that the group exists already.
type duplicates struct {
	Count int64        `json:"count"`
	First []*duplicate `json:"examples"`
}

// A duplicate is a record with the GroupId of an earlier record.
type duplicate struct {
	Line    int64  `json:"line"`
	Earlier int64  `json:"earlier"` // the line of the first record with it
	GroupID string `json:"GroupId"`
}

// maxIDs is how many GroupIds are compared with later ones, at some 30 bytes each.
const maxIDs = 1_000_000

// idsHeap is the limit of the heap of a dry run, in bytes.
const idsHeap = 48 << 20

// groupIDs finds duplicates by a hash of 64 bits. The zero value has seen no GroupId.
type groupIDs struct {
	lines      map[uint64]int64
	full       bool
	duplicates *duplicates // nil if there are none
}

// add adds the GroupId of a valid record.
func (g *groupIDs) add(id string, line int64) {
	if g.lines == nil {
		g.lines = map[uint64]int64{}
	}
	hash := xxhash.Sum64String(id)
	earlier, ok := g.lines[hash]
	switch {
	case ok:
		if g.duplicates == nil {
			g.duplicates = &duplicates{}
		}
		g.duplicates.Count++
		if len(g.duplicates.First) < maxExamples {
			g.duplicates.First = append(g.duplicates.First, &duplicate{line, earlier, id})
		}
	case len(g.lines) < maxIDs:
		g.lines[hash] = line
	default:
		g.full = true
	}
}
