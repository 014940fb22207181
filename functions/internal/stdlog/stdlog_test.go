package stdlog_test

import (
	"bytes"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"groupimport/functions/internal/functest"
	"groupimport/functions/internal/stdlog"
	"groupimport/pkg/group"
	"groupimport/pkg/pacer"
	"groupimport/pkg/tim"
)

func redirect(t *testing.T, w io.Writer) {
	t.Helper()
	flags, prefix, out := log.Flags(), log.Prefix(), log.Writer()
	t.Cleanup(func() {
		log.SetFlags(flags)
		log.SetPrefix(prefix)
		log.SetOutput(out)
	})
	stdlog.Redirect(slog.New(slog.NewJSONHandler(w, nil)))
}

func TestRedirect_UnsolicitedResponse(t *testing.T) {
	var out functest.Log
	redirect(t, &out)
	hostile := &functest.Unsolicited{Body: `{"ActionStatus":"OK","ErrorCode":0,"GroupId":"g"}`}
	server := httptest.NewServer(hostile)
	t.Cleanup(server.Close)
	client, err := tim.New(tim.Config{
		SDKAppID: 1400000000, Admin: "administrator", SecretKey: functest.SecretKey, Endpoint: server.URL,
		Pacer: pacer.New(100), Rate: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	rec := &group.Record{GroupID: "g", Type: group.Public, Name: "n"}
	if got := client.ImportGroup(t.Context(), rec).Wait(); got.End != tim.Imported {
		t.Fatalf("got %+v", got)
	}
	hostile.Check(t, &out)
}

func TestRedirect_Messages(t *testing.T) {
	var out bytes.Buffer
	redirect(t, &out)
	for _, test := range []struct{ message, want string }{
		{"plain", `"text":"plain"`},
		{`quotes "a \"secret\" text" and more`, `"text":"quotes \"…\" and more"`},
		{`quotes "without an end`, `"text":"quotes \"…\""`},
		{"POST /?usersig=abcdef&x=1", `"text":"POST /?usersig=(secret)&x=1"`},
		{"signed eJwtzNEKgkAQBdB-mefQcVl3V*jBpJKQQqWgt2I3HUqzdUuM-r1MH*4c7", `"text":"signed (secret)"`},
		{"signed eAEAsABP-3siVExTLnZlciI6IjIuMCIsIlRMUy5p", `"text":"signed (secret)"`},
	} {
		out.Reset()
		log.Print(test.message)
		if got := out.String(); !strings.Contains(got, test.want) || !strings.Contains(got, `"level":"WARN"`) {
			t.Errorf("%s: got %s, want %s", test.message, got, test.want)
		}
	}
}
