package blob_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
)

func TestReadSlice(t *testing.T) {
	const text = "0123456789"
	for name, fail := range map[string]func(blobtest.Op) blobtest.Fault{
		"no fault":         nil,
		"short responses":  func(blobtest.Op) blobtest.Fault { return blobtest.Fault{EOFAfter: 2} },
		"broken responses": func(blobtest.Op) blobtest.Fault { return blobtest.Fault{CutAfter: 3} },
		"one failed request": func(op blobtest.Op) blobtest.Fault {
			if op.N == 1 {
				return blobtest.Fault{Err: errors.New("unavailable")}
			}
			return blobtest.Fault{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &blobtest.Bucket{}
				if err := b.Put(t.Context(), "a", strings.NewReader(text)); err != nil {
					t.Fatal(err)
				}
				b.Fail = fail
				for _, row := range []struct {
					off, n int64
					want   string
				}{{0, 10, text}, {0, 100, text}, {3, 4, "3456"}, {8, 5, "89"}, {10, 5, ""}} {
					for _, buf := range [][]byte{nil, make([]byte, 3), make([]byte, 100)} {
						got, info, err := blob.ReadSlice(t.Context(), b, "a", "", row.off, row.n, buf)
						if err != nil || string(got) != row.want || info.Size != 10 {
							t.Errorf("%d bytes from %d: got %q of %d, %v, want %q of 10", row.n, row.off, got, info.Size, err, row.want)
						}
					}
				}
				if _, _, err := blob.ReadSlice(t.Context(), b, "missing", "", 0, 1, nil); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("got %v, want fs.ErrNotExist", err)
				}
			})
		})
	}
}
