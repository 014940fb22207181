package export_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/htmlindex"

	"groupimport/pkg/export"
)

// encoded returns text in another encoding.
func encoded(t testing.TB, name string, text []byte) []byte {
	t.Helper()
	e, err := htmlindex.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.NewEncoder().Bytes(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// names are group names by encoding.
var names = map[string]string{
	"gbk":          "产品研发中心 运营支持部 北京销售一组 客户服务群",
	"gb18030":      "产品研发中心 𠮷野家 运营支持部 €",
	"big5":         "產品研發中心 營運支援部 台北業務一組 客戶服務群",
	"shift_jis":    "開発チーム 営業部のグループ ｶﾀｶﾅ お知らせ",
	"euc-jp":       "開発チーム 営業部のグループ お知らせ",
	"euc-kr":       "개발팀 영업부 고객지원 그룹 공지사항",
	"windows-1252": "Équipe Zürich Größe – café",
}

// rowsOf returns the words of a text as names in a CSV.
func rowsOf(text string) string {
	var b strings.Builder
	b.WriteString("Type,Name\r\n")
	for word := range strings.FieldsSeq(text) {
		fmt.Fprintf(&b, "Public,%s\r\n", word)
	}
	return b.String()
}

func TestEncoding_Named(t *testing.T) {
	for encoding, text := range names {
		want := strings.Fields(text)
		object := encoded(t, encoding, []byte(rowsOf(text)))
		for name, object := range map[string][]byte{"a.csv": object, "a.csv.gz": zipped(object)} {
			src := in(name, object)
			src.Encoding = encoding
			got, _ := all(t, src, export.Start)
			if len(got) != len(want) {
				t.Fatalf("%s as %s: got %q, want %q", name, encoding, got, want)
			}
			for i, line := range got {
				if !strings.HasSuffix(line, " valid "+want[i]) {
					t.Errorf("%s as %s: got %q, want %q", name, encoding, line, want[i])
				}
			}
			checkResumeAs(t, name, encoding, object)
		}
	}
}

func TestEncoding_Unnamed(t *testing.T) {
	for encoding, text := range names {
		want := map[string]string{
			"gb18030": "set its encoding",
			"windows-1252": "set its encoding with --encoding NAME (EXPORT_ENCODING), for example windows-1252, or save it " +
				"as UTF-8",
		}[encoding]
		if want == "" {
			want = fmt.Sprintf("it looks like %s: read it with --encoding %s (EXPORT_ENCODING=%[2]s), or convert it: iconv "+
				"-f %[1]s -t UTF-8 a.csv > NEW",
				strings.ToUpper(encoding), encoding)
		}
		if encoding == "gb18030" {
			continue // detected as GBK unless the sample has a character of four bytes
		}
		refused(t, "a.csv", encoded(t, encoding, []byte(rowsOf(text))), "the export is not UTF-8, from line 2 on: "+want)
	}
	// Real exports, with names that are by chance valid UTF-8: 校园 becomes У԰.
	refused(t, "gbkmoji.csv", []byte("GroupId,Type,Name\r\nm1,Public,\xd0\xa3\xd4\xb0\r\nm2,Public,\xcf\xfa\xca\xdb\xb2\xbf\r\nm3,Public,\xd0\xa1\xd1\xa7\xd0\xa3\r\nm4,Public,\xb2\xe2\xca\xd4\r\n"),
		"from line 3 on: it looks like GBK: ")
	refused(t, "gbk.jsonl", []byte("{\"Type\":\"Public\",\"Name\":\"\xcf\xfa\xca\xdb\xb2\xbf\",\"GroupId\":\"gbk3\"}\n{\"Type\":\"Public\",\"Name\":\"ok\",\"GroupId\":\"gbk4\"}\n"),
		"from line 1 on: it looks like GBK: ")
	refused(t, "a.jsonl.gz", zipped(encoded(t, "gbk", []byte(rec("销售部")))), "decompress it, then iconv -f GBK -t UTF-8")
	refused(t, "a.csv", encoded(t, "gbk", []byte("名称,Type\n销售,Public\n")), "from line 1 on: it looks like GBK: ")
}

// refused checks that an export is an error before its first record.
func refused(t *testing.T, name string, object []byte, want string) {
	t.Helper()
	n := 0
	for _, err := range mustRead(t, in(name, object)) {
		if n++; n > 1 || !errors.Is(err, export.ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if n == 0 {
		t.Errorf("%s: got no error, want %q", name, want)
	}
}

// The first Chinese name may be up to 16 MiB from the start.
func TestEncoding_LookAhead(t *testing.T) {
	line := strings.Repeat(" ", 1023) + "\n"
	object := func(size int) []byte {
		return slices.Concat([]byte(rec("first")+"\n"), bytes.Repeat([]byte(line), size/len(line)),
			encoded(t, "gbk", []byte(rec("销售部"))), []byte("\n"+rec("last")))
	}
	refused(t, "a.jsonl", object(15<<20), "from line 15362 on: it looks like GBK: ")
	refused(t, "a.jsonl.gz", zipped(object(15<<20)), "it looks like GBK: ")
	got := read(t, string(object(17<<20)))
	if len(got) != 3 || !strings.HasSuffix(got[0], "valid first") ||
		!strings.Contains(got[1], "Name is not valid UTF-8") || !strings.HasSuffix(got[2], "valid last") {
		t.Errorf("got %q, want the record that is not UTF-8 rejected and the others read", got)
	}
}

// A damaged record does not affect the others if most non-ASCII text is UTF-8, or if no other encoding is likely.
func TestEncoding_DamagedRecords(t *testing.T) {
	good := rec("群组") + "\n" + rec("学校") + "\n"
	for name, text := range map[string]string{
		"a byte that no encoding has":         rec("\xff") + "\n" + rec("b"),
		"such bytes in two lines":             rec("\xff") + "\n" + rec("\xfe\xff") + "\n" + rec("b"),
		"a character that is cut short":       rec("\xe7\xbe") + "\n" + rec("b"),
		"four of them":                        strings.Repeat(rec("a\xe7\xbe")+"\n", 4) + rec("b"),
		"a name in GBK among names in UTF-8":  strings.Repeat(good, 4) + rec("\xb2\xe2\xca\xd4") + "\n" + rec("b"),
		"a byte and a letter":                 rec("\x90A") + "\n" + rec("b"),
		"one byte of Latin-1":                 rec("Caf\xe9") + "\n" + rec("b"),
		"names in GBK in a file with a mark":  utf8Mark + rec("\xb2\xe2\xca\xd4") + "\n" + rec("b"),
		"a text that ends within a character": rec("b") + "\n" + rec("b") + "\xe7\xbe",
	} {
		got := read(t, text)
		if bad := slices.ContainsFunc(got, func(line string) bool {
			return strings.Contains(line, "not valid UTF-8") || strings.Contains(line, "more than one")
		}); !bad ||
			len(got) < 2 || !slices.ContainsFunc(got, func(line string) bool { return strings.HasSuffix(line, " valid b") }) {
			t.Errorf("%s: got %q, want the damaged ones rejected and the others read", name, got)
		}
	}
}

// Invalid bytes in the named encoding reject the record and are never replaced.
func TestEncoding_InvalidBytes(t *testing.T) {
	object := bytes.Replace(encoded(t, "gbk", []byte(rec("群@")+"\n"+rec("组"))), []byte("@"), []byte("\xff"), 1)
	src := in("a.jsonl", object)
	src.Encoding = "gbk"
	got, _ := all(t, src, export.Start)
	if len(got) != 2 || !strings.Contains(got[0], "Name is not valid UTF-8") ||
		!strings.HasSuffix(got[0], "; the export was read as gbk") || !strings.HasSuffix(got[1], "valid 组") {
		t.Errorf("got %q, want the first rejected and the second read", got)
	}
	src = in("a.jsonl", append(encoded(t, "gbk", []byte(rec("群")+"\n"+rec("组"))), 0xc8)) // half of a character
	src.Encoding = "gbk"
	if got, _ := all(t, src, export.Start); len(got) != 2 || !strings.HasSuffix(got[0], "valid 群") ||
		strings.HasSuffix(got[1], "valid 组") {
		t.Errorf("got %q, want the second rejected", got)
	}
}

// The content takes precedence over a named encoding, for example in a dead-letter file or an export with a mark.
func TestEncoding_UTF8DespiteName(t *testing.T) {
	for name, text := range map[string]string{
		"Chinese":       rec("群组"),
		"French":        strings.Repeat(rec("Équipe des élèves")+"\n", 6),
		"with a mark":   utf8Mark + rec("é"),
		"damaged a bit": strings.Repeat(rec("群组")+"\n", 8) + rec("\xb2\xe2"),
		"far after":     rec("群组") + "\n" + strings.Repeat(" ", 100_000) + "\n" + rec("部"),
	} {
		src := in("a.jsonl", []byte(text))
		src.Encoding = "gbk"
		got, _ := all(t, src, export.Start)
		plain := read(t, text)
		if !slices.Equal(got, plain) {
			t.Errorf("%s: got %q, want %q", name, got, plain)
		}
	}
	src := in("a.jsonl", wide(rec("群组"), false))
	src.Encoding = "gbk"
	if got, _ := all(t, src, export.Start); len(got) != 1 || !strings.HasSuffix(got[0], "valid 群组") {
		t.Errorf("got %q, want UTF-16 read", got)
	}
	// A few characters of two bytes are in the named encoding.
	src = in("a.csv", []byte("Type,Name\nPublic,\xd0\xa3\xd4\xb0\n"))
	src.Encoding = "gbk"
	if got, _ := all(t, src, export.Start); len(got) != 1 || !strings.HasSuffix(got[0], "valid 校园") {
		t.Errorf("got %q, want 校园", got)
	}
}

func TestParseEncoding(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "UTF-8": "", "utf8": "", "GBK": "gbk", "gb2312": "gbk", "GB18030": "gb18030", "Big5": "big5",
		"Shift_JIS": "shift_jis",
		"sjis":      "shift_jis", "euc-kr": "euc-kr", "latin1": "windows-1252", "windows-1251": "windows-1251",
	} {
		if got, err := export.ParseEncoding(name); err != nil || got != want {
			t.Errorf("%q: got %q %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"utf-16le", "iso-2022-jp", "replacement", "gbkk"} {
		if _, err := export.ParseEncoding(name); err == nil || !strings.Contains(err.Error(), "must be an encoding: gbk, ") {
			t.Errorf("%q: got %v, want an error that names some", name, err)
		}
	}
}
