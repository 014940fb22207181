package tim_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/tim"
)

func FuzzResponse(f *testing.F) {
	for _, body := range []string{
		`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"GroupId":"g"}`,
		`{"ActionStatus":"FAIL","ErrorInfo":"throttled","ErrorCode":60007}`,
		`{"ActionStatus":"FAIL","ErrorInfo":"in use","ErrorCode":10021}`,
		`{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"g","ErrorCode":0,"Type":"Public","Name":"n"}]}`,
		`{"ActionStatus":"OK","ErrorCode":10004}`,
		`{"ActionStatus":"FAIL","ErrorCode":0}`,
		`{"ErrorCode":0}`,
		`{"ActionStatus":"OK"}`,
		`{"ActionStatus":"OK","ErrorCode":null}`,
		`{"ActionStatus":"OK","ErrorCode":"0"}`,
		`{"ActionStatus":"OK","ErrorCode":0}{}`,
		`{"ActionStatus":"OK","ErrorCode":0.0}`,
		`{"ActionStatus":"OK","ErrorCode":1e-400}`,
		`{"ActionStatus":"OK","ErrorCode":-0}`,
		`{"actionstatus":"OK","errorcode":0}`,
		`{"ActionStatus":"OK","ErrorCode":0,"ErrorCode":10004}`,
		`[]`, `null`, ``, "\xff", `{"`,
		`{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"` + "\xff\x00" + `"}`,
	} {
		f.Add(200, []byte(body))
	}
	f.Add(502, []byte(`{"ActionStatus":"OK","ErrorCode":0}`))
	f.Add(429, []byte(``))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c := newClient(t, transport(func(*http.Request) (*http.Response, error) {
				return respond(status, string(body)), nil
			}), maxAttempts(2))
			for _, id := range []string{"g", ""} {
				r := c.ImportGroup(ctx, record(id, "n")).Wait()
				if r.End == tim.Exists || r.End == tim.Imported && !saysOK(status, body) || r.End == tim.Unknown && id != "" {
					t.Errorf("GroupId %q: got %s of %d %q", id, short(r), status, body)
				}
				if r.Message == "" && r.End != tim.Imported || strings.ContainsAny(r.Message, "\r\n\x00") {
					t.Errorf("GroupId %q: got %s with message %q", id, short(r), r.Message)
				}
				if g, err := c.LookUp(ctx, "g"); err == nil && g.Found && !saysOK(status, body) {
					t.Errorf("got %+v of %d %q", g, status, body)
				}
			}
		})
	})
}

// saysOK reads a response with another package than the client.
func saysOK(status int, body []byte) bool {
	var fields map[string]any
	if status != http.StatusOK || json.Unmarshal(body, &fields) != nil {
		return false
	}
	return fields["ActionStatus"] == "OK" && fields["ErrorCode"] == 0.
}
