package httpapi

import (
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// What it means to send the same request again.
const (
	retrySafe    = "safe"    // it makes nothing twice
	retryUnsafe  = "unsafe"  // it may make a second group
	retryUseless = "useless" // it will be answered in the same way
)

// A problem is the body of an answer that is not 2xx: RFC 9457, with members of this program's own from Code
// on.
type problem struct {
	Type    string         `json:"type"`  // set from Status if empty
	Title   string         `json:"title"` // likewise
	Status  int            `json:"status"`
	Detail  string         `json:"detail"`
	Code    int            `json:"code,omitzero"`    // the service's
	Outcome outcome.Status `json:"outcome,omitzero"` // of the record, as in a results file
	GroupID string         `json:"GroupId,omitzero"` // the record's
	Retry   string         `json:"retry,omitzero"`   // what it means to send the request again
	Errors  []fieldError   `json:"errors,omitzero"`  // the rules that the record breaks, all of them
}

// A fieldError is one rule that the record breaks.
type fieldError struct {
	Pointer string     `json:"pointer"` // to the field, a JSON Pointer in a fragment; "#" is the record as a whole
	Detail  string     `json:"detail"`
	Rule    group.Rule `json:"rule,omitzero"` // a word for programs, see [group.Rule]
}

func (p problem) answer() answer {
	if p.Type == "" {
		p.Type = "about:blank"
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // text that is not UTF-8, of which there is none here; the caller gets a 500
	}
	return answer{status: p.Status, kind: "application/problem+json", body: append(body, '\n')}
}

// invalid is the problem of a record that breaks rules.
func invalid(e *group.Error) problem {
	p := problem{
		Type: "urn:groupimport:invalid", Title: "The group breaks rules of the document", Status: http.StatusUnprocessableEntity,
		Detail: e.Error(), Code: e.Code(), Outcome: outcome.Rejected, GroupID: e.GroupID, Retry: retryUseless,
	}
	for _, broken := range e.Problems {
		pointer := "#"
		if broken.Field != "" {
			pointer = "#/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(broken.Field)
		}
		p.Errors = append(p.Errors, fieldError{Pointer: pointer, Detail: broken.Message, Rule: broken.Rule})
	}
	return p
}
