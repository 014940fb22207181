package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"groupimport/pkg/mapping"
)

// Systems with members in the record of a group have at most 10,000 in one, as Yunxin and Easemob: all are mapped.
func TestBuiltIn_ManyMembers(t *testing.T) {
	for system, row := range map[string]struct{ head, member string }{
		"easemob":   {`{"id":"1","name":"a","affiliations_count":1,"created":1542542403000,"affiliations":[`, `{"member":"u%07d"}`},
		"yunxin":    {`{"tid":1,"tname":"a","createtime":1542542403000,"members":[`, `"u%07d"`},
		"rongcloud": {`{"groupId":"1","name":"a","users":[`, `{"id":"u%07d"}`},
		"stream":    {`{"type":"channel","item":{"type":"t","id":"1","members":[`, `{"user_id":"u%07d"}`},
		"tencent":   {`{"GroupId":"1","Type":"Public","Name":"a","MemberList":[`, `{"Member_Account":"u%07d","Role":"Member"}`},
	} {
		var list []string
		for n := range 10_000 {
			list = append(list, fmt.Sprintf(row.member, n))
		}
		text, _ := mapping.Builtin(system)
		p, err := mapping.Compile(text, document)
		if err != nil {
			t.Fatal(err)
		}
		end := "]}"
		if system == "stream" {
			end = "]}}"
		}
		m, err := p.Map([]byte(row.head + strings.Join(list, ",") + end))
		if n := strings.Count(string(m.Record), `"Member_Account"`); err != nil || n != len(list) {
			t.Errorf("%s: got %d members and %v, want %d", system, n, err, len(list))
		}
	}
}
