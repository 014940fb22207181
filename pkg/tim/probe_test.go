package tim_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"groupimport/pkg/emulator"
	"groupimport/pkg/pacer"
	"groupimport/pkg/tim"
)

// A probe gets the code of the service, sends one request, and creates nothing.
func TestProbe_Codes(t *testing.T) {
	for _, test := range []struct {
		command, body string
		fault         emulator.Fault
		code          int
		says          string // of the error
	}{
		{command: "get_group_info", body: `{"GroupIdList":["g"]}`},
		{command: "import_group", body: `{}`, code: 10004},
		{command: "import_group_member", body: `{"GroupId":"g","MemberList":[{"Member_Account":"u"}]}`, code: 10010},
		{command: "account_check", body: `{"CheckItem":[{"UserID":"u"}]}`},
		{command: "import_group", body: `{}`, fault: 10007, code: 10007},
		{command: "import_group", body: `{}`, fault: emulator.Forbidden, says: "import_group: HTTP 403"},
		{command: "destroy_group", says: "unknown command"},
	} {
		synctest.Test(t, func(t *testing.T) {
			service := &emulator.Service{SDKAppID: 1400000000, Key: "key"}
			service.Faults.Plan = func(emulator.Request) emulator.Fault { return test.fault }
			c, err := tim.New(tim.Config{
				SDKAppID: 1400000000, Admin: "administrator", SecretKey: "key", Endpoint: "https://im.invalid",
				Transport: http.RoundTripper(service), Rate: 10, Pacer: pacer.New(10),
			})
			if err != nil {
				t.Fatal(err)
			}
			code, err := c.Probe(t.Context(), test.command, []byte(test.body))
			if code != test.code || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s %s: got %d, %v, want %d and %q", test.command, test.body, code, err, test.code, test.says)
			}
			if s := service.Stats(); s.Requests > 1 || s.Created != 0 {
				t.Errorf("%s: got %+v, want one request and no group", test.command, s)
			}
		})
	}
}
