package export

import (
	"bytes"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// unwrap returns the outcome that a line of a dead-letter file holds and the record in it. ok says whether it is such
// a line; the problem is that it holds no record. In such a line the record is in import_group's words and is never mapped
// again, but for one that could not be mapped, which stands as {"foreign": …}.
func unwrap(line []byte) (o outcome.Outcome, raw []byte, ok bool, problem *group.Error) {
	if !bytes.Contains(line, []byte(`"status"`)) {
		return outcome.Outcome{}, nil, false, nil
	}
	o, raw, err := outcome.Parse(line)
	switch {
	case err != nil:
		return outcome.Outcome{}, nil, false, nil //nolint:nilerr // any other record
	case raw == nil:
		problem = problemf(group.RuleSize, "this line of a dead-letter file holds no record: the record was too long to be kept")
	}
	return o, raw, true, problem
}
