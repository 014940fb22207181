package mapping_test

import (
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/mapping"
)

// The flags and the file's name decide whether a Slack record is a direct message. A missing name does not.
func TestSlack_Nameless(t *testing.T) {
	const direct = "skipped: a direct message, not a channel"
	program, _ := mapping.Builtin("slack")
	for _, row := range []struct{ file, member, want string }{
		{"dms.json", ``, direct},
		{"mpims.json", ``, direct},
		{"a.json", `,"is_im":true`, direct},
		{"a.json", `,"is_mpim":true`, direct},
		{"channels.json", ``, "the channel has no name"},
		{"groups.json", `,"name":null`, "the channel has no name"},
		{"channels.json", `,"name":""`, "the channel has no name"},
		{"a.json", `,"is_channel":true`, "the channel has no name"},
		{"a.json", `,"is_group":true`, "the channel has no name"},
		{"a.json", ``, "the record has no name, and no flag says whether it is a channel or a direct message"},
	} {
		record := `{"id":"C1","created":1493960964,"members":["U1"]` + row.member + `}`
		lines, _ := entriesOf(t, program, row.file, record, export.Start)
		if got := strings.Join(lines, "\n"); !strings.Contains(got, row.want) {
			t.Errorf("%s, %s: got %s, want %q", row.file, record, got, row.want)
		}
	}
}
