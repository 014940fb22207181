package httpapi

import (
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// The values of [problem.Retry]: the effect of sending the same request again.
const (
	retrySafe    = "safe"    // creates no second group
	retryUnsafe  = "unsafe"  // may create a second group
	retryUseless = "useless" // gets the same response
)

// A problem is the body of a response that is not 2xx: RFC 9457, with extension members from Code on.
type problem struct {
	Type    string         `json:"type"`  // set from Status if empty
	Title   string         `json:"title"` // likewise
	Status  int            `json:"status"`
	Detail  string         `json:"detail"`
	Code    int            `json:"code,omitzero"`    // ErrorCode of the service
	Outcome outcome.Status `json:"outcome,omitzero"` // status of the record, as in a results file
	GroupID string         `json:"GroupId,omitzero"` // of the record
	Retry   string         `json:"retry,omitzero"`   // effect of sending the request again
	Errors  []fieldError   `json:"errors,omitzero"`  // all rules that the record violates
}

// A fieldError is one rule that the record violates.
type fieldError struct {
	Pointer string     `json:"pointer"` // JSON Pointer to the field, as a URI fragment; "#" is the whole record
	Detail  string     `json:"detail"`
	Rule    group.Rule `json:"rule,omitzero"` // machine-readable, see [group.Rule]
}

func (p problem) response() response {
	if p.Type == "" {
		p.Type = "about:blank"
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // text that is not UTF-8; the caller gets a 500
	}
	return response{status: p.Status, kind: "application/problem+json", body: append(body, '\n'), problem: &p}
}

// invalid is the problem of an invalid record.
func invalid(e *group.Error) problem {
	p := problem{
		Type: "urn:groupimport:invalid", Title: "The group is invalid", Status: http.StatusUnprocessableEntity,
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
