package mapping

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Bounds of a [Users]. Together they need about 8 MiB of memory, while an import stays within 64 MB.
const (
	MaxUsers      = 200_000 // rows
	maxUsersBytes = 6 << 20 // IDs and accounts together

	maxUserID  = 256 // bytes of an ID in the other system
	maxAccount = 32  // bytes of an account (tencentcloud.com/document/product/1047/34967, 2022-07-06)
)

// A Users is a table of the users of another system and their accounts in the app. It implements [export.Users] and is
// safe for concurrent use.
type Users struct {
	text  []byte   // for each user the lengths of ID and account as varints, the ID, the account; after one unused byte
	slots []uint32 // open addressing: offsets in text by the hash of the ID, 0 for none
	count int
	sum   string
}

// ReadUsers reads CSV with two columns: the ID in the other system, and the account in the app. There is no header; a
// row of two names does no harm. The separator is comma, semicolon or tab. The error names the line.
func ReadUsers(r io.Reader) (*Users, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(4 << 10)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	const mark = "\xef\xbb\xbf"
	if bytes.HasPrefix(head, []byte(mark)) {
		_, _ = buffered.Discard(len(mark)) // it is in the buffer
	}
	rows := csv.NewReader(buffered)
	rows.ReuseRecord, rows.FieldsPerRecord, rows.LazyQuotes = true, -1, true
	line, _, _ := bytes.Cut(head, []byte("\n"))
	for _, c := range ";\t" {
		if bytes.ContainsRune(line, c) && !bytes.ContainsRune(line, ',') {
			rows.Comma = c
		}
	}
	u := &Users{text: []byte{0}, slots: make([]uint32, 1<<10)}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the table of users: %w", err)
		}
		n, _ := rows.FieldPos(0)
		if err := u.add(row); err != nil {
			return nil, fmt.Errorf("line %d of the table of users: %w", n, err)
		}
	}
	if u.count == 0 {
		return nil, errors.New("the table of users is empty: each row must be an ID of the other system and an account of the app")
	}
	sum := sha256.Sum256(u.text)
	u.sum = hex.EncodeToString(sum[:8])
	return u, nil
}

// Sum identifies the content of the table: two tables with the same rows in the same order have the same Sum.
func (u *Users) Sum() string { return u.sum }

// add adds a row.
func (u *Users) add(row []string) error {
	for i, cell := range row {
		row[i] = strings.TrimSpace(cell)
	}
	switch {
	case len(row) != 2:
		return fmt.Errorf("got %d cells, want 2: an ID of the other system and an account of the app", len(row))
	case row[0] == "" || row[1] == "":
		return errors.New("an ID or an account is empty")
	case len(row[0]) > maxUserID:
		return fmt.Errorf("the ID is %d bytes, limit %d", len(row[0]), maxUserID)
	case len(row[1]) > maxAccount:
		return fmt.Errorf("the account is %d bytes, limit %d", len(row[1]), maxAccount)
	}
	if i := strings.IndexFunc(row[1], func(c rune) bool { return c < 0x20 || c > 0x7e }); i >= 0 {
		return fmt.Errorf("the account must be printable ASCII, is not at byte %d: %q", i, row[1])
	}
	slot, account := u.find(row[0])
	if u.slots[slot] != 0 {
		if account != row[1] {
			return fmt.Errorf("%q has the account %q in an earlier row, and %q in this one", row[0], account, row[1])
		}
		return nil
	}
	if u.count >= MaxUsers || len(u.text)+len(row[0])+len(row[1]) > maxUsersBytes {
		return fmt.Errorf("there are more than %d users, or more than %d MiB of IDs and accounts: "+
			"leave out those that are in no group, or split the export and the table", MaxUsers, maxUsersBytes>>20)
	}
	u.slots[slot] = uint32(len(u.text)) // at most maxUsersBytes
	u.text = binary.AppendUvarint(u.text, uint64(len(row[0])))
	u.text = binary.AppendUvarint(u.text, uint64(len(row[1])))
	u.text = append(append(u.text, row[0]...), row[1]...)
	if u.count++; u.count*4 > len(u.slots)*3 {
		u.grow()
	}
	return nil
}

// grow doubles the number of slots.
func (u *Users) grow() {
	old := u.slots
	u.slots = make([]uint32, 2*len(old))
	for _, at := range old {
		if at != 0 {
			id, _ := u.at(at)
			slot, _ := u.find(id)
			u.slots[slot] = at
		}
	}
}

// at returns the user at an offset in text.
func (u *Users) at(offset uint32) (id, account string) {
	text := u.text[offset:]
	idLen, n := binary.Uvarint(text)
	accountLen, m := binary.Uvarint(text[n:])
	text = text[n+m:]
	return string(text[:idLen]), string(text[idLen : idLen+accountLen])
}

// find returns the slot of an ID, and its account if the slot is not empty.
func (u *Users) find(id string) (slot int, account string) {
	mask := uint64(len(u.slots) - 1) //nolint:gosec // a power of two
	for i := xxhash.Sum64String(id) & mask; ; i = (i + 1) & mask {
		if u.slots[i] == 0 {
			return int(i), "" // less than the number of slots
		}
		if known, account := u.at(u.slots[i]); known == id {
			return int(i), account // likewise
		}
	}
}

// Account returns the account of a user. ok is false if the table does not have the user.
func (u *Users) Account(id string) (account string, ok bool) {
	slot, account := u.find(id)
	return account, u.slots[slot] != 0
}

// Len returns the number of users.
func (u *Users) Len() int { return u.count }
