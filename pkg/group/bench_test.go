package group_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"groupimport/pkg/group"
)

// sample is a typical record: most fields, two custom fields, some Chinese.
const sample = `{"GroupId":"g-00017","Type":"Public","Owner_Account":"leckie","Name":"项目组 seventeen",` +
	`"Introduction":"Where the seventeenth team talks about what it does and does not do.",` +
	`"Notification":"Meeting on Tuesday at ten, room 4. Bring your own chair.",` +
	`"FaceUrl":"https://img.example.com/faces/17.png","MaxMemberCount":500,"ApplyJoinOption":"FreeAccess",` +
	`"AppDefinedData":[{"Key":"GroupTestData1","Value":"xxxxx"},{"Key":"GroupTestData2","Value":"abc\u0000\u0001"}],` +
	`"CreateTime":1448357837}`

func BenchmarkDecode(b *testing.B) {
	d := group.NewDecoder(group.DocumentLimits)
	raw := []byte(sample)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode_Members decodes a record with 50 members.
func BenchmarkDecode_Members(b *testing.B) {
	d := group.NewDecoder(group.DocumentLimits)
	raw := []byte(sample[:len(sample)-1] + `,"MemberList":[{"Member_Account":"leckie"}`)
	for i := range 50 {
		raw = fmt.Appendf(raw, `,{"Member_Account":"user-%05d","Role":"Admin","JoinTime":%d}`, i, 1448357837+i)
	}
	raw = append(raw, "]}"...)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := d.Decode(raw); err != nil || len(r.Members) != 50 || !r.HasOwner {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkDecodeEncodingJSON decodes the same record with encoding/json, without validation.
func BenchmarkDecodeEncodingJSON(b *testing.B) {
	type datum struct {
		Key   string `json:"Key"`
		Value string `json:"Value"`
	}
	var r struct {
		GroupID         string  `json:"GroupId"`
		Type            string  `json:"Type"`
		OwnerAccount    string  `json:"Owner_Account"`
		Name            string  `json:"Name"`
		Introduction    string  `json:"Introduction"`
		Notification    string  `json:"Notification"`
		FaceURL         string  `json:"FaceUrl"`
		ApplyJoinOption string  `json:"ApplyJoinOption"`
		MaxMemberCount  int64   `json:"MaxMemberCount"`
		CreateTime      int64   `json:"CreateTime"`
		AppDefinedData  []datum `json:"AppDefinedData"`
	}
	raw := []byte(sample)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := json.Unmarshal(raw, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	r, err := group.NewDecoder(group.DocumentLimits).Decode([]byte(sample))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = r.AppendJSON(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

func ExampleDecoder_Decode() {
	raw := []byte(`{"GroupID":"g1","type":"Public","Name":"一二三四五六七八九十十一"}`)
	_, err := group.NewDecoder(group.DocumentLimits).Decode(raw)
	if invalid, ok := errors.AsType[*group.Error](err); ok {
		for _, p := range invalid.Problems {
			fmt.Println(p.Message)
		}
	}
	// Output:
	// unknown field "GroupID", did you mean "GroupId"?
	// unknown field "type", did you mean "Type"?
	// Type is missing
	// Name is 36 bytes, limit 30
}
