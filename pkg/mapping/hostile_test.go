package mapping_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"groupimport/pkg/export"
	"groupimport/pkg/mapping"
)

// slow is a program that spends its time in one function of jq, which cannot be interrupted.
const slow = `{Type:"Public",Name:"\(if .x then [.x | match("a";"g")] | length else "ok" end)"}`

// waitForAbandoned waits for programs that took too long. What they allocate until they end counts for other programs.
func waitForAbandoned() {
	for {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !bytes.Contains(stacks, []byte("mapInTime.func1")) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestProgram_SlowFunction(t *testing.T) {
	t.Cleanup(waitForAbandoned)
	p, err := mapping.Compile(slow, document)
	if err != nil {
		t.Fatal(err)
	}
	p.SetMaxTime(10 * time.Millisecond)
	long := fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("a", 20_000)) // about 300 ms
	if _, err := p.Map(long); err == nil || errors.Is(err, export.ErrStop) ||
		!strings.Contains(err.Error(), "the mapping took longer than 10ms for one record of 20008 bytes") {
		t.Errorf("got %v, want the record rejected", err)
	}
	if m, err := p.Map([]byte(`{}`)); err != nil || !strings.Contains(string(m.Record), `"ok"`) {
		t.Errorf("got %s, %v, want the next record mapped", m.Record, err)
	}
	_, err = p.Map(long)
	if !errors.Is(err, export.ErrStop) || !strings.Contains(err.Error(), "for the second time: simplify the program") {
		t.Errorf("got %v, want an error that ends the export", err)
	}
}

func TestProgram_LongStrings(t *testing.T) {
	long := strings.Repeat("a", 64<<10+1)
	const rejected = "a string is longer than a mapping accepts, 65536 bytes"
	for name, row := range map[string]struct{ program, record, want string }{
		"not used":          {`{Type:"Public",Name:.n}`, `{"n":"a","x":"` + long + `"}`, rejected},
		"in a name":         {`{Type:"Public",Name:.n}`, `{"n":"a","` + long + `":1}`, rejected},
		"used":              {slow, `{"x":"` + long + `"}`, rejected},
		"just short enough": {`{Type:"Public",Name:"\(.x|length)"}`, `{"x":"` + long[1:] + `"}`, `"Name":"65536"`},
		"an array that is longer": {
			`{Type:"Public",Name:"\(.x|length)"}`, `{"x":[` + strings.Repeat("1,", 100_000) + `1]}`, `"Name":"100001"`,
		},
		"a number that is longer": {
			`{Type:"Public",Name:"a",CreateTime:.x}`, `{"x":` + strings.Repeat("1", 1_000_000) + `}`, "CreateTime",
		},
		"a long message": {`error("x" * 1000000)`, `{}`, "the mapping failed: error: xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, row.program, "a.jsonl", []byte(row.record))
			if len(got) != 1 || !strings.Contains(got[0], row.want) {
				t.Fatalf("got %.200q, want %q", got, row.want)
			}
			message, _, _ := strings.Cut(got[0], " in {")
			if len(message) > 2<<10 {
				t.Errorf("got a message of %d bytes, want 2 KB at most", len(message))
			}
		})
	}
}

// FuzzMap checks that each built-in program maps any record to JSON, skips it or ignores it, or says why it cannot.
func FuzzMap(f *testing.F) {
	var programs []*mapping.Program
	for _, name := range mapping.Names() {
		text, _ := mapping.Builtin(name)
		p, err := mapping.Compile(text, document)
		if err != nil {
			f.Fatal(err)
		}
		programs = append(programs, p)
	}
	for _, record := range []string{
		`{"id":"C024BE91L","name":"general","created":1448357837,"is_archived":false,"members":["U1"]}`,
		`{"type":"channel","channel":{"team":"t","name":"a","display_name":"A","type":"O","create_at":1500000000000}}`,
		`{"_id":"x","t":"c","name":"a","ts":{"$date":"2024-01-31T09:00:00Z"},"u":{"_id":"u"},"msgs":1}`,
		`{"channel_url":"x","name":"a","is_public":true,"created_at":1500000000,"data":"{}"}`,
		`{"id":"123456789012345678","guild_id":"123456789012345678","type":0,"name":"a","permission_overwrites":[]}`,
		`{"id":"1","name":"a","membersonly":false,"affiliations_count":1,"affiliations":[{"owner":"u"},{"member":"v"}],` +
			`"public":true}`,
		`{"tid":1,"tname":"a","joinmode":0,"owner":{"accid":"u"},"admins":["v",{"accid":"w","createtime":1}],` +
			`"members":[null]}`,
		`{"data":{"team_info":{"team_id":1,"team_type":1,"name":"a","configuration":{"join_mode":0}}}}`,
		`{"groupID":"1","groupName":"a","groupType":2,"needVerification":2,"status":0}`,
		`{"team_id":1,"account_id":"u","member_role":2,"join_time":1729000001000}`,
		`{"groupID":"1","userID":"u","roleLevel":60,"joinTime":1700000000123}`,
		`{"groupId":"1","name":"a","groupProfile":"{\"introduction\":1}","createTime":1,"memberCount":1,` +
			`"users":[{"id":"u"},"v",null]}`,
		`{"type":"channel","item":{"id":"1","type":"team","created_by":{"id":"u"},"members":["v",{"user":{"id":"w"}}]}}`,
		`{"type":"member","item":{"channel_id":"1","channel_type":"team","user_id":"u","channel_role":"channel_moderator"}}`,
		`{"channel":{"id":"1","type":"team","cid":"team:1"},"members":[{"user_id":"u","created_at":"2021-01-02T03:04:05Z"}]}`,
		`{"guid":"1","name":"a","type":"public","createdAt":"1673421419"}`,
		`{"guid":"1","uid":"u","scope":"admin","joinedAt":"1"}`,
		`{"GroupId":"@TGS#1NVTZEAE4","Member_Account":"u","Role":"Admin","JoinTime":1,"MsgSeq":1}`,
		`{"GroupId":"a","Type":"Public","Name":"a","MemberList":[{"Member_Account":"u","Role":"Owner","JoinTime":0},null]}`,
		`{"GroupId":"@TGS#1NVTZEAE4","Type":"Public","Name":"a","ErrorCode":0,"MemberNum":1}`,
		`{"id":"\ud800","name":1e999,"name":null,"created":-1,"topic":[[[[]]]]}`, "[]", "null", `"\u0000"`, "{", "",
	} {
		f.Add([]byte(record))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for i, p := range programs {
			given := bytes.Clone(raw)
			m, err := p.Map(given)
			if !bytes.Equal(given, raw) {
				t.Errorf("%s changed its input to %q", mapping.Names()[i], given)
			}
			if err == nil && m.Skipped == "" && !m.Ignored && !json.Valid(m.Record) {
				t.Errorf("%s: got %q, want JSON", mapping.Names()[i], m.Record)
			}
			first := fmt.Sprintf("%s %s %v %v", m.Record, m.Skipped, m, err)
			again, err := p.Map(raw)
			if second := fmt.Sprintf("%s %s %v %v", again.Record, again.Skipped, again, err); second != first {
				t.Errorf("%s: got %s, then %s", mapping.Names()[i], first, second)
			}
		}
	})
}
