package export

import (
	"bytes"

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
	switch {
	case err != nil:
		return outcome.Outcome{}, nil, false, nil //nolint:nilerr // any other record
	case raw == nil:
		problem = problemf(group.RuleSize, "the dead-letter line has no record: the record was too long to store")
	}
	return o, raw, true, problem
}
