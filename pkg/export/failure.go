package export

import (
	"bytes"
	"slices"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// unwrap parses a line of a dead-letter file: the outcome and the record. ok reports whether it is such a line. The
// problem reports a line without a record. The record is in import_group's format and is not mapped again, except a
// record that could not be mapped, {"foreign": …}.
func unwrap(line []byte) (o outcome.Outcome, raw []byte, ok bool, problem *group.Error) {
	if !bytes.Contains(line, []byte(`"status"`)) {
		return outcome.Outcome{}, nil, false, nil
	}
	o, raw, err := outcome.Parse(line)
	isFailure := err == nil // not any other record
	if isFailure && raw == nil {
		problem = problemf(group.RuleSize, "the dead-letter line has no record: the record was too long to store")
	}
	bound(&o)
	return o, raw, isFailure, problem
}

// bound bounds the strings of an outcome. This program writes none that are longer, but anybody can edit a line.
func bound(o *outcome.Outcome) {
	const maxGroupID, maxSource = 48, 4 * 129 // bytes, see packages group and mapping
	if len(o.GroupID) > maxGroupID {
		o.GroupID, o.Assigned = "", false
	}
	o.Error, o.Source, o.Field = cut(o.Error, maxMessage), cut(o.Source, maxSource), cut(o.Field, maxName)
	o.Changed = slices.DeleteFunc(o.Changed, func(name string) bool { return !group.IsField(name) })
	o.Changed = o.Changed[:min(len(o.Changed), len(group.Fields()))]
}
