package main

import (
	"context"
	"fmt"
	"sync"

	"groupimport/pkg/group"
	"groupimport/pkg/tim"
)

// lookups is what the service says of the GroupIds of a file. A nil lookups asks nothing.
type lookups struct {
	Asked  int64         `json:"asked"`
	Free   int64         `json:"free"`
	Same   int64         `json:"same"`   // exist and match the record
	Others int64         `json:"others"` // exist and do not match
	First  []*otherGroup `json:"examples,omitzero"`

	client *tim.Client
	batch  []lookup
}

// An otherGroup is a record whose GroupId another group has.
type otherGroup struct {
	Line    int64  `json:"line"`
	GroupID string `json:"GroupId"`
	Differs string `json:"differs"`
}

// A lookup is a record whose GroupId is looked up.
type lookup struct {
	line   int64
	record group.Record
	group  tim.Group
	err    error
}

// lookupBatch is how many GroupIds are looked up together: ten calls of 50.
const lookupBatch = 500

// add looks the record's GroupId up, together with others.
func (l *lookups) add(ctx context.Context, line int64, rec group.Record) error {
	if l == nil {
		return nil
	}
	l.batch = append(l.batch, lookup{line: line, record: rec})
	if len(l.batch) < lookupBatch {
		return nil
	}
	return l.flush(ctx)
}

// flush looks up what was added.
func (l *lookups) flush(ctx context.Context) error {
	if l == nil {
		return nil
	}
	var wg sync.WaitGroup
	for i := range l.batch {
		s := &l.batch[i]
		wg.Go(func() { s.group, s.err = l.client.LookUp(ctx, s.record.GroupID) })
	}
	wg.Wait()
	for _, s := range l.batch {
		if s.err != nil {
			if stop := l.client.Fatal(); stop != nil {
				return stop
			}
			return fmt.Errorf("look up group %q: %w", s.record.GroupID, s.err)
		}
		l.count(&s)
	}
	l.batch = l.batch[:0]
	return nil
}

func (l *lookups) count(s *lookup) {
	l.Asked++
	differs := s.group.Differences(&s.record)
	switch {
	case !s.group.Found:
		l.Free++
	case differs == "":
		l.Same++
	default:
		l.Others++
		if len(l.First) < maxExamples {
			l.First = append(l.First, &otherGroup{s.line, s.record.GroupID, differs})
		}
	}
}
