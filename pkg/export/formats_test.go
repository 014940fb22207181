package export_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// wide returns text as UTF-16 with a byte-order mark.
func wide(text string, bigEndian bool) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune("\ufeff" + text)) {
		if bigEndian {
			b = append(b, byte(c>>8), byte(c))
		} else {
			b = append(b, byte(c), byte(c>>8))
		}
	}
	return b
}

func TestJSON(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		want []string
	}{
		"an empty array": {"[]", nil},
		"an array":       {"[" + rec("a") + "," + rec("b") + "]", []string{"1 1 1 valid a", "2 1 30 valid b"}},
		"over several lines": {
			"\n[\r\n {\"Type\":\"Public\",\n \"Name\":\"a\"}\n ,\n\t" + rec("b") + "\n]\n\n",
			[]string{"1 3 5 valid a", "2 6 40 valid b"},
		},
		"after a mark": {"\xef\xbb\xbf[" + rec("a") + "]", []string{"1 1 4 valid a"}},
		"brackets in a text": {
			"[" + rec(`]},{\"[\\`) + "," + rec("b") + "]",
			[]string{`1 1 1 valid ]},{"[\`, "2 1 38 valid b"},
		},
		"under groups": {
			`{"total":2,"x":[1,{"groups":[1]}],"groups":[` + rec("a") + "," + rec("b") + `],"next":null}`,
			[]string{"1 1 44 valid a", "2 1 73 valid b"},
		},
		"under Groups":        {`{"Groups":[` + rec("a") + "]}", []string{"1 1 11 valid a"}},
		"a name with escapes": {`{"g\u0072oups":[` + rec("a") + "]}", []string{"1 1 16 valid a"}},
		"only the first name counts": {
			`{"groups":[` + rec("a") + `],"rooms":[` + rec("b") + `],"groups":[` + rec("c") + "]}",
			[]string{"1 1 11 valid a", "2 1 90 valid c"},
		},
		"arrays in sequence": {"[" + rec("a") + "]\n[] [" + rec("b") + "]", []string{"1 1 1 valid a", "2 2 35 valid b"}},
		"objects in sequence": {
			`{"groups":[` + rec("a") + `]}` + "\n" + `{"groups":[` + rec("b") + `]}`,
			[]string{"1 1 11 valid a", "2 2 53 valid b"},
		},
		"an object a line": {
			rec("a") + "\nnonsense\n" + rec("c"),
			[]string{
				"1 1 0 valid a",
				"2 2 29 not a JSON object: invalid character 'o' in literal null (expecting 'u') at byte 1", "3 3 38 valid c",
			},
		},
		"one object on one line": {rec("a"), []string{"1 1 0 valid a"}},

		"a scalar is a bad record": {
			`[1,null,"x",` + rec("a") + `]`,
			[]string{
				"1 1 1 not a JSON object: found the number 1", "2 1 3 not a JSON object: found null",
				`3 1 8 not a JSON object: found the string "x"`, "4 1 12 valid a",
			},
		},
		"a bad escape costs itself": {
			`[{"Name":"\x"},` + rec("b") + `]`,
			[]string{"1 1 1 not a JSON object: invalid escape sequence `\\x` in string at byte 9", "2 1 15 valid b"},
		},
		"a bad number costs itself": {
			`[{"CreateTime":01},` + rec("b") + `]`,
			[]string{
				`1 1 1 not a JSON object: invalid character '1' after object value (expecting ',' or '}') at byte 15`,
				"2 1 19 valid b",
			},
		},
		"a wrong bracket costs itself": {
			`[{"AppDefinedData":[}],` + rec("b") + `]`,
			[]string{"1 1 1 not a JSON object: invalid character '}' at start of value at byte 19", "2 1 23 valid b"},
		},
		"a doubled name costs itself": {
			`[{"Type":"Public","Name":"a","Name":"b"},` + rec("b") + `]`,
			[]string{"1 1 1 duplicate field Name", "2 1 41 valid b"},
		},
		"a line end in a text costs it": {
			"[{\"Name\":\"a\nb\"}," + rec("b") + "]",
			[]string{
				`1 1 1 not a JSON object: invalid character '\n' in string (expecting non-control character) at byte 10`,
				"2 2 16 valid b",
			},
		},
		"no such word": {
			`[nul,` + rec("b") + `]`,
			[]string{"1 1 1 not a JSON object: unexpected end after 3 bytes", "2 1 5 valid b"},
		},
		"nothing":               {"", nil},
		"blank":                 {" \n ", nil},
		"only byte-order marks": {"\xef\xbb\xbf\n\xef\xbb\xbf", nil},
		"no array in the object": {
			"{\"ActionStatus\":\"FAIL\",\n\"ErrorCode\":10002}",
			[]string{"cannot parse the export beyond line 1, byte 0: the object that starts here has no array named " +
				"GroupInfo, groups, Groups, channels, group_channels, rooms: name the place of the records with --records " +
				"(RECORDS), convert another array with jq -c '.NAME[]' FILE > OUT.jsonl, or objects that are records with jq " +
				"-c . FILE > OUT.jsonl; earlier records were read; fix the file and import it again"},
		},
		"cut off in a record": {
			"[" + rec("a") + ",\n{\"Type\":",
			[]string{
				"1 1 1 valid a",
				"cannot parse the export beyond line 2, column 1, byte 31: unexpected end inside the record that starts here; " +
					"earlier records were read; fix the file and import it again",
			},
		},
		"cut off after a record": {
			"[" + rec("a"),
			[]string{
				"1 1 1 valid a",
				"cannot parse the export beyond line 1, column 30, byte 29: unexpected end inside the JSON value that starts on line 1; " +
					"earlier records were read; fix the file and import it again",
			},
		},
		"cut off after a comma": {
			"[" + rec("a") + ",",
			[]string{
				"1 1 1 valid a",
				"cannot parse the export beyond line 1, column 31, byte 30: unexpected end, expected a record; earlier records " +
					"were read; fix the file and import it again",
			},
		},
		"a comma too many": {"[" + rec("a") + ",\n]", []string{"1 1 1 valid a"}},
		"a comma too many, and more after": {
			"[" + rec("a") + ",] [" + rec("b") + "]", []string{"1 1 1 valid a", "2 1 33 valid b"},
		},
		"commas too many in an object": {`{"groups":[` + rec("a") + `,],}`, []string{"1 1 11 valid a"}},
		"two commas": {
			"[" + rec("a") + ",,]",
			[]string{
				"1 1 1 valid a",
				"cannot parse the export beyond line 1, column 31, byte 30: unexpected ',', expected a record; earlier records " +
					"were read; fix the file and import it again",
			},
		},
		"a comma only": {
			"[,]",
			[]string{"cannot parse the export beyond line 1, column 2, byte 1: unexpected ',', expected a record; earlier " +
				"records were read; fix the file and import it again"},
		},
		"a comma too many, and no end": {
			"[" + rec("a") + ",\n",
			[]string{
				"1 1 1 valid a",
				"cannot parse the export beyond line 2, column 1, byte 31: unexpected end, expected a record; earlier records " +
					"were read; fix the file and import it again",
			},
		},
		"byte-order marks between": {"\xef\xbb\xbf[" + rec("a") + "]\n\xef\xbb\xbf[\xef\xbb\xbf" + rec("b") +
			",\xef\xbb\xbf" + rec("c") + "]", []string{"1 1 4 valid a", "2 2 41 valid b", "3 2 73 valid c"}},
		"objects over several lines": {
			pretty("a") + pretty("b") + "\xef\xbb\xbf" + rec("c") + rec("d"),
			[]string{"1 1 0 valid a", "2 5 34 valid b", "3 9 71 valid c", "4 9 99 valid d"},
		},
		"one object over several lines": {pretty("a"), []string{"1 1 0 valid a"}},
		"a broken one of them": {
			pretty(`\x`) + pretty("b"),
			[]string{"1 1 0 not a JSON object: invalid escape sequence `\\x` in string at byte 29", "2 5 35 valid b"},
		},
		"one of them that does not end": {
			pretty("a") + "{\"Type\":",
			[]string{
				"1 1 0 valid a",
				"cannot parse the export beyond line 5, column 1, byte 34: unexpected end inside the record that starts here; " +
					"earlier records were read; fix the file and import it again",
			},
		},
		"commas between them": {
			pretty("a") + "," + pretty("b"),
			[]string{
				"1 1 0 valid a",
				"cannot parse the export beyond line 5, column 1, byte 34: unexpected ',', expected a record, which starts with " +
					"'{'; earlier records were read; fix the file and import it again",
			},
		},
		"an array under another name": {
			`{"data":[` + rec("a") + "]}",
			[]string{"cannot parse the export beyond line 1, column 1, byte 0: the object that starts here has no array " +
				"named GroupInfo, groups, Groups, channels, group_channels, rooms: name the place of the records with --records " +
				"(RECORDS), convert another array with jq -c '.data[]' FILE > OUT.jsonl, or objects that are records with jq " +
				"-c . FILE > OUT.jsonl; earlier records were read; fix the file and import it again"},
		},
		"an array under no plain name": {
			`{"a b'":[` + rec("a") + "]}",
			[]string{`cannot parse the export beyond line 1, column 1, byte 0: the object that starts here has no array ` +
				`named GroupInfo, groups, Groups, channels, group_channels, rooms: name the place of the records with --records ` +
				`(RECORDS), convert another array with jq -c '.["a b'\''"][]' FILE > OUT.jsonl, or objects that are records ` +
				`with jq -c . FILE > OUT.jsonl; earlier records were read; fix the file and import it again`},
		},
		"no comma": {
			"[" + rec("a") + " " + rec("b") + "]",
			[]string{
				"1 1 1 valid a",
				"cannot parse the export beyond line 1, column 31, byte 30: unexpected '{' after a record, expected ',' or ']'; " +
					"earlier records were read; fix the file and import it again",
			},
		},
		"something after the end": {
			"[" + rec("a") + "]x",
			[]string{
				"1 1 1 valid a",
				"cannot parse the export beyond line 1, column 31, byte 30: unexpected 'x' after the JSON value; earlier " +
					"records were read; fix the file and import it again",
			},
		},
		"a text": {
			`"groups"`,
			[]string{"cannot parse the export beyond line 1, column 1, byte 0: unexpected '\"', expected an array or an " +
				"object; earlier records were read; fix the file and import it again"},
		},
		"brackets without end": {
			strings.Repeat("[", 100000),
			[]string{"cannot parse the export beyond line 1, column 2, byte 1: unexpected end inside the record that starts " +
				"here; earlier records were read; fix the file and import it again"},
		},
		"brackets without end, but within": {
			"[" + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "]",
			[]string{"1 1 1 not a JSON object: exceeded max depth at byte 10000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := all(t, in("a.json", []byte(row.text)), export.Start)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
			checkResume(t, "a.json", []byte(row.text))
			single, _ := all(t, bySingleBytes("a.json", row.text), export.Start)
			if fmt.Sprintf("%q", single) != fmt.Sprintf("%q", row.want) {
				t.Errorf("by single bytes: got  %q\nwant %q", single, row.want)
			}
		})
	}
}

// pretty is a record over four lines, the last one with its end.
func pretty(name string) string { return "{\n \"Type\":\"Public\",\n \"Name\":\"" + name + "\"\n}\n" }

// JSON is read as its first value shows it, under the names of JSONL too. A damaged first line shows nothing.
func TestJSONL_OtherShapes(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		want []string
	}{
		"objects over several lines": {
			pretty("a") + "\n" + pretty("b"),
			[]string{"1 1 0 valid a", "2 6 35 valid b"},
		},
		"lines of a failures file over lines": {
			"{\n\"n\":1,\n\"status\":\"failed\",\"record\":" + rec("a") + "\n}\n", []string{"1 1 0 valid a"},
		},
		"an array": {
			"[\n" + rec("a") + ",\n" + rec("b") + "\n]",
			[]string{"1 2 2 valid a", "2 3 32 valid b"},
		},
		"an array on one line": {
			"[" + rec("a") + "," + rec("b") + "]\n",
			[]string{"1 1 1 valid a", "2 1 30 valid b"},
		},
		"an empty array":               {"[]\n", nil},
		"an object of them over lines": {"{\n\"groups\":[" + rec("a") + "]}", []string{"1 2 12 valid a"}},
		"a damaged first line": {"{\"Type\":\n" + rec("b"), []string{
			"1 1 0 not a JSON object: unexpected end after 8 bytes", "2 2 9 valid b",
		}},
		"a first line with half a string": {"{\"Type\":\"Pub\n" + rec("b") + "\n}", []string{
			"1 1 0 not a JSON object: unexpected end after 12 bytes", "2 2 13 valid b",
			"3 3 42 not a JSON object: invalid character '}' at start of value at byte 0",
		}},
		"a first line with a line end in a string": {"{\"Type\":\"Pub\nlic\"}\n" + rec("b"), []string{
			"1 1 0 not a JSON object: unexpected end after 12 bytes",
			"2 2 13 not a JSON object: invalid character 'l' at start of value at byte 0", "3 3 19 valid b",
		}},
		"a first line that is another array": {
			"[1,2]\n" + rec("b"), []string{"1 1 0 not a JSON object: found an array", "2 2 6 valid b"},
		},
		"half an array in the first line": {
			"[1,\n" + rec("b"),
			[]string{"1 1 0 not a JSON object: unexpected end after 3 bytes", "2 2 4 valid b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := all(t, in("a.jsonl", []byte(row.text)), export.Start)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
			checkResume(t, "a.jsonl", []byte(row.text))
		})
	}
	if got := read(t, "{\n\"data\":["+rec("a")+"]}"); len(got) != 1 ||
		!strings.Contains(got[0], "jq -c '.data[]' FILE > OUT.jsonl") {
		t.Errorf("got %q, want the command that writes the records a line each", got)
	}
}

// A pretty-printed object of another system is a record if it can be nothing else.
func TestJSON_ForeignObjects(t *testing.T) {
	src := in("a.json", []byte("{\n\"title\":\"a\",\"members\":[\"u\"]}\n{\n\"title\":\"b\"}"))
	src.Map = mapFunc(func(raw []byte) (export.Mapped, error) {
		return export.Mapped{Record: []byte(rec(strings.Trim(string(raw[10:13]), `"`)))}, nil
	})
	if got, _ := all(t, src, export.Start); !slices.Equal(got, []string{"1 1 0 valid a", "2 3 31 valid b"}) {
		t.Errorf("got %q", got)
	}
	envelope := in("a.json", []byte("{\n\"data\":[{\"title\":\"a\"}]}"))
	envelope.Map = src.Map
	if got, _ := all(t, envelope, export.Start); len(got) != 1 || !strings.Contains(got[0], "jq -c '.data[]' FILE") {
		t.Errorf("got %q, want the command that writes the records a line each", got)
	}
}

func TestJSON_GetGroupInfoResponse(t *testing.T) {
	answer := `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"GroupInfo":[
	 {"GroupId":"@TGS#1NVTZEAE4","ErrorCode":0,"ErrorInfo":"","Type":"Public","Name":"MyFirstGroup","Appid":1400001001,
	  "Introduction":"TestGroup","Owner_Account":"leckie","CreateTime":1426976500,"LastInfoTime":1426976500,"MemberNum":2,"MaxMemberNum":50,
	  "ApplyJoinOption":"FreeAccess","ShutUpAllMember":"Off","AppDefinedData":[{"Key":"a","Value":"b"}],"MemberList":[{"Member_Account":"leckie","Role":"Owner"},
	   {"Member_Account":"peter","JoinTime":1426976501,"Role":"Admin","MsgSeq":1233,"MsgFlag":"AcceptNotNotify"},{"Member_Account":"x","MsgSeq":1}]},
	 {"GroupId":"gone","ErrorCode":10010,"ErrorInfo":"group not exist"},
	 {"GroupId":"closed","ErrorCode":10007,"ErrorInfo":"no permission"},
	 {"GroupId":"@TGS#_c1","ErrorCode":0,"Type":"Community","Name":"C","MaxMemberNum":0,"MemberList":null},
	 {"GroupId":"bad","ErrorCode":0,"Type":"Public","Name":""}
	]}`
	r, err := export.NewReader(in("answer.json", []byte(answer)), export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range r.Records(t.Context()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Problem != nil:
			got = append(got, e.Problem.Error()+" in "+string(e.Raw))
		case e.Skipped != "":
			got = append(got, "skipped: "+e.Skipped)
		default:
			got = append(got, string(e.Record.AppendJSON(nil)))
			for i := range e.Record.Members {
				got[len(got)-1] += " " + string(e.Record.Members[i].AppendJSON(nil))
			}
		}
	}
	want := []string{
		`{"Type":"Public","GroupId":"1NVTZEAE4","Owner_Account":"leckie","Name":"MyFirstGroup","Introduction":"TestGroup",` +
			`"MaxMemberCount":50,"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"a","Value":"b"}],` +
			`"CreateTime":1426976500} {"Member_Account":"peter","Role":"Admin","JoinTime":1426976501} {"Member_Account":"x"}`,
		"skipped: get_group_info reported that the group does not exist (10010)",
		`get_group_info reported ErrorCode 10007 for this group in {"GroupId":"closed","ErrorCode":10007,"ErrorInfo":"no ` +
			`permission"}`,
		`{"Type":"Community","GroupId":"@TGS#_c1","Name":"C"}`,
		`Name is missing or empty in {"GroupId":"bad","Type":"Public","Name":""}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := fmt.Sprint(r.Dropped()), "map[Appid:1 ErrorCode:3 ErrorInfo:1 LastInfoTime:1 MemberList.MsgFlag:1 "+
		"MemberList.MsgSeq:1 MemberNum:1 ShutUpAllMember:1 the prefix @TGS# of GroupId:1]"; got != want {
		t.Errorf("got dropped %s, want %s", got, want)
	}
}

// What is said about numbers that are none.
const (
	datesToo  = "; or write dates like 2024-01-31 09:00 and state their time zone with --tz (EXPORT_TIME_ZONE)"
	dateForms = "use Unix time in seconds, such as 1448357837; in a spreadsheet, =(A2-DATE(1970,1,1))*86400 converts " +
		"a UTC date in A2"
	lostDigits = "a spreadsheet has rounded this number: format the column as text, enter the original values and " +
		"export again"
	ungrouped = "remove thousands separators and decimals"
)

func TestCSV(t *testing.T) {
	const head = "Name,Type,GroupId\n"
	for name, row := range map[string]struct {
		text string
		want []string
	}{
		"a header only":           {head, nil},
		"rows":                    {head + "a,Public,g1\nb,Public,\n", []string{"1 2 18 valid a", "2 3 30 valid b"}},
		"without a last line end": {head + "a,Public,g1\nb,Public,", []string{"1 2 18 valid a", "2 3 30 valid b"}},
		"Windows line ends":       {"Name,Type\r\na,Public\r\nb,Public\r\n", []string{"1 2 11 valid a", "2 3 21 valid b"}},
		"after a mark":            {"\xef\xbb\xbfName,Type\na,Public", []string{"1 2 13 valid a"}},
		"semicolons":              {"Name;Type\na,b;Public", []string{"1 2 10 valid a,b"}},
		"tabs":                    {"Name\tType\na,b\tPublic", []string{"1 2 10 valid a,b"}},
		"as Excel names it":       {"sep=;\nName;Type\na;Public", []string{"1 3 16 valid a"}},
		"quotes": {
			head + "\"a,\"\"b\"\"\",\"Public\",\"\"\nc,Public,",
			[]string{`1 2 18 valid a,"b"`, "2 3 40 valid c"},
		},
		"line ends in quotes": {
			head + "\"a\r\nb\",Public,\nc,Public,",
			[]string{"1 2 18 valid a\r\nb", "2 4 33 valid c"},
		},
		"a quote within a cell": {head + "5\" pipe,Public,\nc,Public,", []string{`1 2 18 valid 5" pipe`, "2 3 34 valid c"}},
		"blank rows are none":   {"\n" + head + "\n,,\n \na,Public,g", []string{"1 6 25 valid a"}},
		"columns without a name": {
			"Name,Type,,\na,Public,,\nb,Public\nc,Public,,x",
			[]string{"1 2 12 valid a", "2 3 23 valid b", "3 4 32 the row has 4 cells, the header has 2"},
		},
		"too few cells": {
			head + "a,Public\nb,Public,g",
			[]string{"1 2 18 the row has 2 cells, the header has 3", "2 3 27 valid b"},
		},
		"too many cells": {
			head + "a,Public,g,\nb,Public,g",
			[]string{"1 2 18 the row has 4 cells, the header has 3", "2 3 30 valid b"},
		},
		"text after a quote": {
			head + "\"a\"b,Public,\nb,Public,g",
			[]string{"1 2 18 cell 1 has text after its closing quote", "2 3 31 valid b"},
		},
		"an empty cell is absent": {head + "a,,", []string{"1 2 18 Type is missing"}},
		"numbers": {"Name,Type,MaxMemberCount,CreateTime\na,Public,500.0,1448357837.000\nb,Public, 5 ,x", []string{
			"1 2 36 valid a", `2 3 66 CreateTime must be a number, not the string "x": ` + dateForms + datesToo,
		}},
		"numbers that are shown otherwise": {"Name;Type;MaxMemberCount;CreateTime\na;Public;1.000;1,44836E+09\nb;Public;1,000;1.4E9\nc;Public;500.5;2015-11-24 17:37\nd;Public;=A1;42332\n", []string{
			`1 2 36 MaxMemberCount must be a number, not the string "1.000": ` + ungrouped +
				`; CreateTime must be a number, not the string "1,44836E+09": ` + lostDigits + datesToo,
			`2 3 63 MaxMemberCount must be a number, not the string "1,000": ` + ungrouped +
				`; CreateTime must be a number, not the string "1.4E9": ` + lostDigits + datesToo,
			`3 4 84 MaxMemberCount must be an integer, not 500.5; CreateTime must be a number, not the string "2015-11-24 ` +
				`17:37": ` + dateForms + datesToo,
			`4 5 116 MaxMemberCount must be a number, not the string "=A1": this is a formula, export its value; CreateTime ` +
				`is 42332, a spreadsheet's date serial number: ` + dateForms,
		}},
		"IDs that a spreadsheet has changed": {head +
			"a,Public,1.00123E+11\nb,Public,1E5\nc,Public,=\"00123\"\nd,Public,\"=\"\"00123\"\"\"\ne,Public,=A2\n", []string{
			"1 2 18 GroupId is 1.00123E+11: " + lostDigits, "2 3 39 valid b",
			`3 4 52 GroupId is a formula, ="00123": format the column as text and export its values`,
			`4 5 70 GroupId is a formula, ="00123": format the column as text and export its values`,
			`5 6 92 GroupId is a formula, =A2: format the column as text and export its values`,
		}},
		"a formula in a name": {
			head + "=\"a\",Public,g\n=b=,Public,g\n",
			[]string{`1 2 18 Name is a formula, ="a": format the column as text and export its values`, "2 3 32 valid =b="},
		},
		"not UTF-8": {
			"Name,Type\n\xff,Public",
			[]string{`1 2 10 Name is not valid UTF-8 (or contains a lone surrogate): "\"\xff\""`},
		},
		"nothing":                {"", nil},
		"only a byte-order mark": {"\xef\xbb\xbf", nil},
		"only blank rows":        {" \r\n,,\n", nil},
		"CR CR LF": {
			"GroupId,Type,Name\r\r\nq2,Public,x\r\r\nq3,\"Public\",\"y\"\r\r\n\r\r\n",
			[]string{"1 2 20 valid x", "2 3 34 valid y"},
		},
		"CR CR LF after a type": {"Name,GroupId,Type\r\r\nx,crq1,Public\r\r\n", []string{"1 2 20 valid x"}},
		"marks before rows": {
			head + "a,Public,g1\n\xef\xbb\xbfb,Public,g2\n\xef\xbb\xbf\"c,\",Public,g3",
			[]string{"1 2 18 valid a", "2 3 33 valid b", "3 4 48 valid c,"},
		},
		"marks before cells": {
			"Type,Name\nPublic,\xef\xbb\xbfa\nPublic,\xef\xbb\xbf\xef\xbb\xbf\"b\nb\"\nPublic,\"\xef\xbb\xbfc\"",
			[]string{"1 2 10 valid a", "2 3 22 valid b\nb", "3 5 41 valid c"},
		},
		"half a mark before a quote": {
			"Type,Name\nPublic,\xef\xbb\"a\nPublic,b",
			[]string{`1 2 10 Name is not valid UTF-8 (or contains a lone surrogate): "\"\xef\xbb\\\"a\""`, "2 3 22 valid b"},
		},
		"the header once more": {
			head + "a,Public,g1\n\xef\xbb\xbf" + head + "b,Public,g2",
			[]string{"1 2 18 valid a", "2 4 51 valid b"},
		},
		"an unknown column": {
			"Nam,Type\n",
			[]string{`unknown format: the CSV header, line 1: unknown column "Nam", did you mean "Name"?; known columns are ` +
				`GroupId, Type, Owner_Account, Name, Introduction, Notification, FaceUrl, MaxMemberCount, ApplyJoinOption, ` +
				`CreateTime, SupportTopic, MemberList, Member_Account, Role, JoinTime, UnreadMsgNum and AppDefinedData.KEY; ` +
				`use a mapping for other columns`},
		},
		"a column twice": {
			"Name,Type,Name\n",
			[]string{`unknown format: the CSV header, line 1: duplicate column "Name"; known columns are GroupId, Type, ` +
				`Owner_Account, Name, Introduction, Notification, FaceUrl, MaxMemberCount, ApplyJoinOption, CreateTime, ` +
				`SupportTopic, MemberList, Member_Account, Role, JoinTime, UnreadMsgNum and AppDefinedData.KEY; use a mapping ` +
				`for other columns`},
		},
		"a quote that never closes": {
			head + "a,Public,g\n\"b,Public,\nc,Public,",
			[]string{
				"1 2 18 valid a",
				"cannot parse the export beyond line 3, byte 29: unterminated quoted cell in the row that starts here; earlier " +
					"records were read; fix the file and import it again",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := all(t, in("a.csv", []byte(row.text)), export.Start)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
			checkResume(t, "a.csv", []byte(row.text))
			single, _ := all(t, bySingleBytes("a.csv", row.text), export.Start)
			if fmt.Sprintf("%q", single) != fmt.Sprintf("%q", row.want) {
				t.Errorf("by single bytes: got  %q\nwant %q", single, row.want)
			}
		})
	}
}

// After the first buffer, rows are read byte by byte, with the same result.
func TestCSV_SmallReads(t *testing.T) {
	text := "Type,Name\nPublic," + strings.Repeat("x", 100_000) + "\n" +
		"Public,\xef\xbb\xbf\xef\xbb\xbf\"b\nb\"\nPublic,\"\xef\xbb\xbfc\"\r\r\n\xef\xbb\xbf\"Public\",\"d\"\"\"\r\r\n" +
		"Public,\xef\xbb\"e\nPublic,\xef\"f\nPublic,g\xef\xbb\xbf\nPublic,h\n"
	got, next := all(t, bySingleBytes("a.csv", text), export.Start)
	want := []string{"b\nb", "c", `d"`, `"\"\xef\xbb\\\"e\""`, `"\"\xef\\\"f\""`, "g\ufeff", "h"}
	if len(got) != len(want)+1 {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i, line := range got[1:] {
		if !strings.HasSuffix(line, want[i]) {
			t.Errorf("got %q, want %q", line, want[i])
		}
	}
	for i, at := range next {
		if rest, _ := all(t, bySingleBytes("a.csv", text), at); !slices.Equal(rest, got[i+1:]) {
			t.Errorf("from %+v: got %q, want %q", at, rest, got[i+1:])
		}
	}
}

func TestCSV_AllFields(t *testing.T) {
	text := "AppDefinedData.k2,SupportTopic,Introduction,Notification,FaceUrl,ApplyJoinOption,CreateTime,MaxMemberCount,Owner_Account,AppDefinedData.k1,GroupId,Type,Name\n" +
		"v2,1,i,n,f,FreeAccess,1400000000,500,o,\"v\"\"1\n\x01\",@TGS#_g,Community,a\\b\n"
	for e, err := range mustRead(t, in("a.csv", []byte(text))) {
		if err != nil || e.Problem != nil {
			t.Fatal(err, e.Problem)
		}
		want := `{"Type":"Community","GroupId":"@TGS#_g","Owner_Account":"o","Name":"a\\b","Introduction":"i",` +
			`"Notification":"n","FaceUrl":"f","MaxMemberCount":500,"ApplyJoinOption":"FreeAccess",` +
			`"AppDefinedData":[{"Key":"k2","Value":"v2"},{"Key":"k1","Value":"v\"1\n\u0001"}],"CreateTime":1400000000,` +
			`"SupportTopic":1}`
		if got := string(e.Record.AppendJSON(nil)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		// The dead-letter file contains it as JSON and is an export itself.
		o := outcome.Outcome{N: 1, Line: 2, Status: outcome.Failed}
		line := o.AppendRecordLine(nil, e.Raw)
		for e, err := range mustRead(t, in("f.ndjson", line)) {
			if err != nil || e.Problem != nil || string(e.Record.AppendJSON(nil)) != want {
				t.Errorf("got %v %v %s, want the record", err, e.Problem, e.Raw)
			}
		}
	}
}

func mustRead(t *testing.T, src export.Source) func(func(export.Entry, error) bool) {
	t.Helper()
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	return r.Records(t.Context())
}

func TestCompression_DetectedFromContent(t *testing.T) {
	text := []byte(rec("a") + "\n" + rec("b") + "\n")
	want := []string{"1 1 0 valid a", "2 2 29 valid b"}
	for name, object := range map[string][]byte{
		"a.jsonl.gz": zipped(text), "a.jsonl.zst": zstded(text),
		"b.jsonl": zipped(text), "c.jsonl": zstded(text), "d.jsonl.GZ": zstded(text),
		"members.jsonl.gz": append(zipped(text[:40]), zipped(text[40:])...),
		"frames.jsonl.zst": append(append([]byte("\x50\x2a\x4d\x18\x02\x00\x00\x00xy"), zstded(text[:40])...),
			zstded(text[40:])...),
		"wide.jsonl.gz":   zipped(wide(string(text), false)),
		"marked.jsonl.gz": zipped(text),
	} {
		if got, _ := all(t, in(name, object), export.Start); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestCompression_DamagedStream(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		b.WriteString(rec(fmt.Sprint("n", i*7919)) + "\n")
	}
	text := []byte(b.String())
	for name, row := range map[string]struct {
		object []byte
		want   string
	}{
		"a.jsonl.gz": {zipped(text)[:20000], "the gzip stream is truncated after byte 20000, "},
		"b.jsonl.gz": {
			append(zipped(text), "\x1f\x8bsome garbage like a member"...),
			"the gzip stream is corrupt (gzip: invalid header) ",
		},
		"d.jsonl.gz":  {append(zipped(text), 0x1f), "the gzip stream is truncated after byte "},
		"b.jsonl.zst": {append(zstded(text), 0, 0, 0, 0), "the zstd stream is corrupt "}, // zstd -t rejects it too
		"c.jsonl.gz":  {zipped(text)[:len(zipped(text))-3], "the gzip stream is truncated "},
		"a.jsonl.zst": {zstded(text)[:10000], "the zstd stream is truncated after byte 10000, "},
	} {
		got, _ := all(t, in(name, row.object), export.Start)
		if last := got[len(got)-1]; !strings.HasPrefix(last, row.want) {
			t.Errorf("%s: got end %q, want %q", name, last, row.want)
		}
		for i, line := range got[:len(got)-1] {
			if !strings.HasSuffix(line, fmt.Sprint(" valid n", i*7919)) {
				t.Fatalf("%s: got %q for record %d", name, line, i)
			}
		}
	}
	// A bit in the middle that turns over.
	object := zipped(text)
	object[len(object)/2] ^= 4
	got, _ := all(t, in("a.jsonl.gz", object), export.Start)
	if !strings.HasPrefix(got[len(got)-1], "the gzip stream is ") {
		t.Errorf("got end %q, want the stream to be called corrupt", got[len(got)-1])
	}
}

func TestReader_UnsupportedFile(t *testing.T) {
	for name, row := range map[string]struct{ object, want string }{
		"utf-32":       {"\xff\xfe\x00\x00{\x00\x00\x00", "the export is UTF-32: save it as UTF-8"},
		"gb18030":      {"\x84\x31\x95\x33{}", "the export is GB18030"},
		"bare utf-16":  {"{\x00}\x00", "looks like UTF-16 without a byte-order mark"},
		"zip":          {"PK\x03\x04....", "it is a zip archive: unpack it"},
		"bzip2":        {"BZh91AY", "it is compressed with bzip2"},
		"xz":           {"\xfd7zXZ\x00", "it is compressed with xz"},
		"excel":        {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "it is an Excel workbook: save it as CSV UTF-8"},
		"zipped twice": {string(zipped(zipped([]byte("{}")))), "the export is compressed twice"},
		"tar in gzip": {
			string(zipped([]byte(strings.Repeat("\x00a", 128) + "\x00ustar\x00" + strings.Repeat(" ", 300)))),
			"it is a tar archive",
		},
	} {
		for _, file := range []string{"a.jsonl", "a.json", "a.csv"} {
			r, err := export.NewReader(in(file, []byte(row.object)), export.Start, group.DocumentLimits)
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range r.Records(t.Context()) {
				if !errors.Is(err, export.ErrFormat) || !strings.Contains(err.Error(), row.want) {
					t.Errorf("%s as %s: got %v, want %q", name, file, err, row.want)
				}
			}
		}
	}
	for name, object := range map[string]string{
		"a.jsonl.gz": "\x1e\x8b\xff\n\xfe\n\xfd\n", "a.csv.zst": "\xff\xff\n\xfe\n\xfd\n",
	} {
		for _, err := range mustRead(t, in(name, []byte(object))) {
			if !errors.Is(err, export.ErrFormat) || !strings.Contains(err.Error(), "the name says that it is compressed") {
				t.Errorf("%s: got %v, want it to say that it is not compressed", name, err)
			}
		}
	}
}

// The names of compressed exports are for those that are not compressed too.
func TestCompression_PlainContent(t *testing.T) {
	for name, text := range map[string]string{
		"a.jsonl.gz": rec("a") + "\n" + rec("b"), "a.jsonl.zst": rec("a") + "\n" + rec("b"), "a.json.gz": "[" + rec("a") +
			"," + rec("b") + "]",
		"a.csv.GZ": "Name,Type\na,Public\nb,Public",
	} {
		got, _ := all(t, in(name, []byte(text)), export.Start)
		if len(got) != 2 || !strings.HasSuffix(got[0], "valid a") || !strings.HasSuffix(got[1], "valid b") {
			t.Errorf("%s: got %q, want both records", name, got)
		}
		checkResume(t, name, []byte(text))
	}
	for _, name := range []string{"a.jsonl.gz", "a.jsonl.zst"} {
		for _, cut := range []string{"\x1f", "\x28\xb5\x2f"} {
			if got, _ := all(t, in(name, []byte(cut)), export.Start); len(got) != 1 ||
				!strings.Contains(got[0], " stream is truncated after byte ") {
				t.Errorf("%s of %d bytes: got %q, want it cut off", name, len(cut), got)
			}
		}
	}
}

// Trailing data is treated as by gzip: zero bytes are padding, other bytes are ignored.
func TestGzip_TrailingData(t *testing.T) {
	text := []byte(rec("a") + "\n" + rec("b") + "\n")
	zeros := make([]byte, 70_000)
	for name, row := range map[string]struct {
		object []byte
		note   string
	}{
		"zeros":                     {append(zipped(text), zeros...), ""},
		"one zero":                  {append(zipped(text), 0), ""},
		"zeros between two members": {append(append(zipped(text[:30]), zeros...), zipped(text[30:])...), ""},
		"an empty member":           {append(zipped(text), zipped(nil)...), ""},
		"garbage": {
			append(zipped(text), "garbage"...),
			fmt.Sprintf("from about byte %d", len(zipped(text))),
		},
		"zeros and garbage": {
			append(append(zipped(text), zeros...), "garbage"...),
			fmt.Sprintf("from about byte %d", len(zipped(text))+len(zeros)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := export.NewReader(in("a.jsonl.gz", row.object), export.Start, group.DocumentLimits)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for e, err := range r.Records(t.Context()) {
				if err != nil || e.Problem != nil {
					t.Fatal(err, e.Problem)
				}
				n++
			}
			if notes := fmt.Sprint(r.Notes()); n != 2 || row.note == "" && notes != "[]" || !strings.Contains(notes, row.note) {
				t.Errorf("got %d records and notes %s, want 2 and %q", n, notes, row.note)
			}
			checkResume(t, "a.jsonl.gz", row.object)
		})
	}
	// A store that fails after the last member does not end the export.
	failing := errors.New("hung up")
	src := from("a.jsonl.gz",
		func() io.Reader { return io.MultiReader(bytes.NewReader(zipped(text)), iotest.ErrReader(failing)) })
	got, _ := all(t, src, export.Start)
	if want := "hung up"; !strings.HasSuffix(got[len(got)-1], want) {
		t.Errorf("got %q, want it to end with %q", got, want)
	}
}

// An empty export has no records and is not an error, in every format.
func TestReader_EmptyExports(t *testing.T) {
	for _, name := range []string{"a.json", "a.csv", "a.jsonl", "a.ndjson"} {
		for _, text := range []string{"", " \r\n\n", "\xef\xbb\xbf", "\xef\xbb\xbf\r\n"} {
			for wrapping, object := range map[string][]byte{
				"": []byte(text), ".gz": []byte(text), ".zst": []byte(text), ".gz ": zipped([]byte(text)),
				".zst ": zstded([]byte(text)),
			} {
				if got, _ := all(t, in(name+strings.TrimSpace(wrapping), object), export.Start); got != nil {
					t.Errorf("%s%s of %q: got %q, want no records and no error", name, wrapping, text, got)
				}
			}
		}
	}
	for name, text := range map[string]string{
		"a.json": "[]", "b.json": `{"groups":[]}`, "a.csv": "Name,Type", "b.csv": "sep=;\nName;Type\n;\n",
	} {
		if got, _ := all(t, in(name, []byte(text)), export.Start); got != nil {
			t.Errorf("%s: got %q, want no records and no error", name, got)
		}
	}
}

func TestEntry_SameID(t *testing.T) {
	line := func(id string) string { return `{"Type":"Public","Name":"n","GroupId":"` + id + `"}` + "\n" }
	text := line("a") + line("b") + "{}\n" + line("a") + line("") + line("") + line("a") + `{"Name":"n","GroupId":"c"}` +
		"\n" + line("c")
	var got []int64
	for e, err := range mustRead(t, in("a.jsonl", []byte(text))) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.SameID)
	}
	if want := []int64{0, 0, 0, 1, 0, 0, 4, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	// The Reader remembers 50,000.
	var b strings.Builder
	for n := range 50_000 {
		b.WriteString(line(fmt.Sprint("g", n)))
	}
	last := int64(0)
	for e, err := range mustRead(t, in("a.jsonl", []byte(b.String()+line("g0")))) {
		if err != nil {
			t.Fatal(err)
		}
		last = e.SameID
	}
	if last != 1 {
		t.Errorf("got line %d, want 1", last)
	}
}

func TestUTF16_LoneSurrogates(t *testing.T) {
	for _, bigEndian := range []bool{false, true} {
		text := rec("群组 😀") + "\n" + rec("b")
		got, _ := all(t, in("a.jsonl", wide(text, bigEndian)), export.Start)
		if want := []string{"1 1 0 valid 群组 😀", "2 2 39 valid b"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	halves := wide(rec("@")+"\n"+rec("b"), false)
	for _, half := range []string{"\x00\xd8", "\x00\xdc"} {
		object := bytes.Replace(halves, []byte("@\x00"), []byte(half), 1)
		got, _ := all(t, in("a.jsonl", object), export.Start)
		if len(got) != 2 || !strings.Contains(got[0], "Name is not valid UTF-8") || !strings.HasSuffix(got[1], "valid b") {
			t.Errorf("got %q, want the first record rejected", got)
		}
	}
	got, _ := all(t, in("a.jsonl", halves[:len(halves)-1]), export.Start)
	if last := got[len(got)-1]; !strings.Contains(last, "the UTF-16 text ends inside a character") {
		t.Errorf("got %q, want it to say that half a character is missing", got)
	}
}

// A zstd frame declares its window size. A too large window is an error before any memory is allocated for it.
func TestZstd_WindowLimit(t *testing.T) {
	text := []byte(strings.Repeat(rec("a")+"\n", 2<<20/29))
	for window, ok := range map[int]bool{8 << 20: true, 16 << 20: true, 32 << 20: false, 128 << 20: false} {
		var b bytes.Buffer
		w,
			err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithSingleSegment(false), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(text) // in pieces, so that the frame does not tell its size
		w.Flush()
		w.Close()
		got, next := all(t, in("a.jsonl.zst", b.Bytes()), export.Start)
		if ok != (len(got) == len(next)) || !ok && !strings.Contains(got[0], "compress it again without --long") {
			t.Errorf("a window of %d MiB: got %d records and %q, want it read: %v", window>>20, len(next), got[len(got)-1], ok)
		}
	}
}

// An endless record must not accumulate in memory, in any format.
func TestReader_EndlessRecord(t *testing.T) {
	const size = 64 << 20
	for name, row := range map[string]struct {
		head, piece, tail string
		want              int
	}{
		"a.jsonl": {"{", " ", "}\n" + rec("b"), 2},
		"a.json":  {"[{", " ", "}," + rec("b") + "]", 2},
		"b.json":  {`[{"a":"`, "x", `"},` + rec("b") + "]", 2},
		"c.json":  {"[", " ", rec("b") + "]", 1},
		"d.json":  {`{"x":"`, "x", `","groups":[` + rec("b") + "]}", 1},
		"a.csv":   {"Name,Type\n\"", "x", "\",Public\nb,Public", 2},
		"b.csv":   {"Name,Type\n", "\n", "b,Public", 1},
	} {
		piece := strings.Repeat(row.piece, 1<<16)
		open := func() io.Reader {
			parts := []io.Reader{strings.NewReader(row.head)}
			for range size / len(piece) {
				parts = append(parts, strings.NewReader(piece))
			}
			return io.MultiReader(append(parts, strings.NewReader(row.tail))...)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, _ := all(t, from(name, open), export.Start)
		runtime.ReadMemStats(&after)
		if len(got) != row.want || !strings.HasSuffix(got[row.want-1], "valid b") {
			t.Errorf("%s: got %q, want %d entries, the last valid", name, got, row.want)
		}
		if row.want == 2 && !strings.Contains(got[0], "limit 1048576") {
			t.Errorf("%s: got %q, want it to be too long", name, got[0])
		}
		if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 8 {
			t.Errorf("%s: got %d MiB allocated, want 8 at most", name, got)
		}
	}
}

// FuzzCSV checks that the Reader finds the same rows as encoding/csv.
func FuzzCSV(f *testing.F) {
	f.Add("a,b\n\"x\"\"y\",\"1\n2\"\n,\n")
	f.Add("\r\n\"a\r\nb\",c\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\r") || !utf8.ValidString(text) || strings.Contains(text, utf8Mark) ||
			strings.Contains(text, "Name,Type") || strings.Contains(text, `="`) {
			return // encoding/csv converts \r\n in cells and ignores byte-order marks, repeated headers and formulas
		}
		var want, got []string
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord = 2
		for begin := int64(0); ; begin = r.InputOffset() {
			row, err := r.Read()
			if err == io.EOF {
				break
			} else if err != nil {
				return
			}
			isBlank := strings.Trim(row[0]+row[1], " ") == ""
			if isBlank && !strings.Contains(text[begin:r.InputOffset()], `"`) {
				continue // quoted, it is a row
			}
			want = append(want, fmt.Sprintf("%q", row))
		}
		src := in("a.csv", []byte("Name,Type\n"+text))
		src.Map = mapFunc(func(raw []byte) (export.Mapped, error) {
			got = append(got, string(raw))
			return export.Mapped{Record: []byte("{}")}, nil
		})
		for _, err := range mustRead(t, src) {
			if err != nil {
				t.Fatalf("got %v, want %q", err, want)
			}
		}
		if len(got) != len(want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
