package mapping_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"groupimport/pkg/mapping"
)

func TestReadUsers(t *testing.T) {
	for name, text := range map[string]string{
		"commas":              "U1,ann\nU2,ben\n",
		"semicolons":          "U1;ann\r\nU2;ben",
		"tabs":                "U1\tann\nU2\tben\n",
		"a mark and a header": "\ufeffid there,id here\nU1,ann\nU2,ben\n",
		"quotes and spaces":   "\"U1\", ann \n\nU2,\"ben\"\n",
		"a row twice":         "U1,ann\nU2,ben\nU1,ann\n",
	} {
		u, err := mapping.ReadUsers(iotest.OneByteReader(strings.NewReader(text)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for id, want := range map[string]string{"U1": "ann", "U2": "ben", "U3": "", "": "", "U": "", "ann": ""} {
			if got, ok := u.Account(id); got != want || ok != (want != "") {
				t.Errorf("%s: got %q, %v for %q, want %q", name, got, ok, id, want)
			}
		}
	}
	for text, want := range map[string]string{
		"": "the table of users is empty: each row must be an ID of the other system and an " +
			"account of the app",
		"U1\n": "line 1 of the table of users: got 1 cells, want 2: an ID of the other system " +
			"and an account of the app",
		"U1,a\n\nU2,b,c\n": "line 3 of the table of users: got 3 cells, want 2: an ID of the other system " +
			"and an account of the app",
		"U1,\n": "line 1 of the table of users: an ID or an account is empty",
		"U1,é\n": `line 1 of the table of users: the account must be printable ASCII, is not at ` +
			`byte 0: "é"`,
		"U1,a\nU1,b\n": `line 2 of the table of users: "U1" has the account "a" in an earlier row, and ` +
			`"b" in this one`,
		strings.Repeat("x", 257) + ",a": "line 1 of the table of users: the ID is 257 bytes, limit 256",
		"U1," + strings.Repeat("x", 33): "line 1 of the table of users: the account is 33 bytes, limit 32",
	} {
		if _, err := mapping.ReadUsers(strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%.20q: got  %v\nwant %s", text, err, want)
		}
	}
	failing := errors.New("hung up")
	for _, text := range []string{"", "U1,a\n", strings.Repeat("U1,a\n", 50_000)} {
		r := io.MultiReader(strings.NewReader(text), iotest.ErrReader(failing))
		if _, err := mapping.ReadUsers(r); !errors.Is(err, failing) {
			t.Errorf("got %v, want the reader's error", err)
		}
	}
}

// rowsReader yields n rows of users without keeping them in memory.
func rowsReader(n int, format string) io.Reader {
	r, w := io.Pipe()
	go func() {
		for i := range n {
			if _, err := fmt.Fprintf(w, format, i, i); err != nil {
				return
			}
		}
		w.Close()
	}()
	return r
}

// users keeps a table in memory.
var users *mapping.Users

func TestReadUsers_Bounds(t *testing.T) {
	memory := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := memory()
	var err error
	if users, err = mapping.ReadUsers(rowsReader(mapping.MaxUsers, "U%09d,user-%06d\n")); err != nil {
		t.Fatal(err)
	}
	if held := memory() - before; held > 10<<20 {
		t.Errorf("got %d KiB in memory, want 10 MiB at most", held>>10)
	}
	for _, i := range []int{0, 1, 1234, mapping.MaxUsers - 1} {
		if got, _ := users.Account(fmt.Sprintf("U%09d", i)); got != fmt.Sprintf("user-%06d", i) {
			t.Errorf("got %q for %d", got, i)
		}
	}
	if _, ok := users.Account(fmt.Sprintf("U%09d", mapping.MaxUsers)); ok || users.Len() != mapping.MaxUsers {
		t.Errorf("got an account of nobody, or %d users", users.Len())
	}
	users = nil
	const want = "there are more than 200000 users, or more than 6 MiB of IDs and accounts: leave out those"
	for format, n := range map[string]int{"U%09d,user-%06d\n": mapping.MaxUsers + 1, "%0200d,u%d\n": 40_000} {
		if _, err := mapping.ReadUsers(rowsReader(n, format)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
