package export

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// A line of a failures file is an outcome, whose members "n" and "status" every outcome has, and
// behind it the record as it came under one of these names:
//
//	"record"  the JSON value itself, if it is one
//	"text"    a string, if the line was no JSON but UTF-8
//	"bytes"   a string in base64, if it was neither
//
// and none of them if the record was too long to be kept. In a line of a failures file a record is in import_group's
// words and is never mapped again, but for one that could not be mapped, which stands as {"foreign": …}.
type failure struct {
	N      int64          `json:"n"`
	Status string         `json:"status"`
	Record jsontext.Value `json:"record"`
	Text   *string        `json:"text"`
	Bytes  []byte         `json:"bytes"`
}

// AppendRecord appends to an outcome, a JSON object in dst that lacks its closing brace, the record as
// it came, and the brace. raw is nil if the record was not kept.
func AppendRecord(dst, raw []byte) []byte {
	switch {
	case raw == nil:
	case jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true)):
		value := jsontext.Value(bytes.TrimSpace(raw))
		if bytes.ContainsAny(value, "\r\n") {
			value = value.Clone()
			_ = value.Compact(jsontext.AllowDuplicateNames(true)) // errs on what is not valid only
		}
		dst = append(append(dst, `,"record":`...), value...)
	case utf8.Valid(raw):
		dst = append(dst, `,"text":`...)
		dst, _ = jsontext.AppendQuote(dst, raw) // errs on invalid UTF-8 only
	default:
		dst = append(dst, `,"bytes":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, raw), '"')
	}
	return append(dst, '}')
}

// appendForeign appends a record that could not be mapped as a failures file has it, if it is JSON.
func appendForeign(dst, raw []byte) []byte {
	if !jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true)) {
		return append(dst, raw...)
	}
	return append(append(append(dst, `{"foreign":`...), raw...), '}')
}

// foreignOf returns the record that [appendForeign] has put into raw.
func foreignOf(raw []byte) ([]byte, bool) {
	var f struct {
		Foreign jsontext.Value `json:"foreign"`
	}
	err := json.Unmarshal(raw, &f, jsontext.AllowDuplicateNames(true), json.RejectUnknownMembers(true))
	return f.Foreign, err == nil && f.Foreign != nil
}

// unwrap returns the record that a line of a failures file holds. ok says whether it is such a line;
// the problem is that it holds none.
func unwrap(line []byte) (raw []byte, ok bool, problem *group.Error) {
	if !bytes.Contains(line, []byte(`"status"`)) {
		return nil, false, nil
	}
	var f failure
	// The record inside may hold doubled names: that is what is wrong with it.
	err := json.Unmarshal(line, &f, jsontext.AllowDuplicateNames(true))
	if isOutcome := err == nil && f.N > 0 && f.Status != ""; !isOutcome {
		return nil, false, nil
	}
	switch {
	case f.Record != nil:
		return f.Record, true, nil
	case f.Text != nil:
		return []byte(*f.Text), true, nil
	case f.Bytes != nil:
		return f.Bytes, true, nil
	}
	return nil, true, problemf(group.RuleSize, "this line of a failures file holds no record: the record was too long to be kept")
}

// RecordOf returns the record that a line of a failures file holds; ok says whether it holds one.
func RecordOf(line []byte) (raw []byte, ok bool) {
	raw, ok, problem := unwrap(line)
	return raw, ok && problem == nil
}
