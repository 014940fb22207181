package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/itchyny/gojq"

	"groupimport/pkg/export"
)

// maxGroupID is the maximum length of a GroupId in bytes (tencentcloud.com/document/product/1047/34967, 2022-07-06).
const maxGroupID = 48

// alter returns the result of a function that alters its input: to, or from in an exact run. It records the change.
func (p *engine) alter(from, to any) any {
	if gojq.Compare(from, to) == 0 {
		return to
	}
	p.altered = true
	if p.exact {
		return from
	}
	return to
}

// cutBytes implements cut_bytes(n).
func (p *engine) cutBytes(v any, args []any) any {
	text, n, err := textAndLength("cut_bytes", v, args)
	if err != nil || v == nil {
		return orNil(err)
	}
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return p.alter(text, text[:n])
}

// fits implements fits(n).
func (p *engine) fits(v any, args []any) any {
	text, n, err := textAndLength("fits", v, args)
	if err != nil || v == nil {
		return orNil(err)
	}
	if len(text) > n {
		return p.alter(text, nil)
	}
	return text
}

// change implements change(f).
func (p *engine) change(v any, args []any) any { return p.alter(v, args[0]) }

// orNil returns err as a gojq value: null if err is nil.
func orNil(err error) any {
	if err != nil {
		return err
	}
	return nil
}

func textAndLength(name string, v any, args []any) (string, int, error) {
	n, ok := args[0].(int)
	if !ok || n < 0 {
		return "", 0, fmt.Errorf("%s(%v): the argument must be a length in bytes", name, args[0])
	}
	text, ok := v.(string)
	if !ok && v != nil {
		return "", 0, fmt.Errorf("%s: the input must be a string, not %s", name, gojq.TypeOf(v))
	}
	return text, n, nil
}

// fitID implements fit_id.
func (p *engine) fitID(v any, _ []any) any {
	if v == nil {
		return nil
	}
	text, ok := v.(string)
	if n, isInt := v.(int); isInt {
		text, ok = strconv.Itoa(n), true
	}
	if !ok {
		return fmt.Errorf("fit_id: the input must be a string or an integer, not %s", gojq.TypeOf(v))
	}
	if text == "" {
		return errors.New("fit_id: the ID is empty: without it, each import creates another group")
	}
	return p.alter(text, fitted(text))
}

// fitted converts text to a valid GroupId. It keeps what a spreadsheet has damaged, a formula or a rounded number: the
// group's own ID is lost, and the decoder rejects the record.
func fitted(text string) string {
	fit := strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return -1
		}
		return c
	}, text)
	for strings.HasPrefix(fit, "@TGS#") { // reserved for IDs that the service assigns
		fit = fit[len("@TGS#"):]
	}
	if fit == text && len(fit) <= maxGroupID {
		return text
	}
	fit = strings.TrimLeft(fit, "=") // or it looks like a formula
	sum := sha256.Sum256([]byte(text))
	const hashed = 16 // hexadecimal digits: the probability of a collision among a billion groups is 1 in 40
	return fit[:min(len(fit), maxGroupID-hashed-1)] + "-" + hex.EncodeToString(sum[:hashed/2])
}

// sourceOf returns the member "source" of a program's result: without non-printable characters, cut to maxSource.
func sourceOf(v any) (string, error) {
	var text string
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		text = v
	case int:
		text = strconv.Itoa(v)
	case *big.Int:
		text = v.String()
	default:
		return "", fmt.Errorf("source must be a string or an integer, not %s", gojq.TypeOf(v))
	}
	printable := []rune(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, text))
	return string(printable[:min(len(printable), maxSource)]), nil
}

// seconds implements seconds.
func (p *engine) seconds(v any, _ []any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		if date, ok := v["$date"]; ok {
			return p.seconds(date, nil)
		}
		if long, ok := v["$numberLong"]; ok {
			return p.seconds(long, nil)
		}
	case int:
		return secondsOf(float64(v))
	case float64:
		return secondsOf(v)
	case string:
		if v == "" {
			return nil
		}
		if export.IsCompactDate(v) {
			return fmt.Errorf("seconds: %q is a date of eight digits, or a day in 1970: write it with hyphens", v)
		}
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			if strings.ContainsAny(v, "eE") {
				return fmt.Errorf("seconds: %.40q is a number that a spreadsheet has rounded", v)
			}
			return secondsOf(n)
		}
		for _, layout := range []string{
			time.RFC3339, "2006-01-02T15:04:05.999999999-0700",
		} {
			if at, err := time.Parse(layout, v); err == nil {
				return int(at.Unix())
			}
		}
		if unix, ok := export.ParseDate(v, p.zone); ok {
			return int(unix)
		}
		return fmt.Errorf("seconds: %.40q is not a time", v)
	}
	return fmt.Errorf("seconds: %s is not a time", gojq.TypeOf(v))
}

// member implements member(account; role; time). It leaves out what is null. A time that is none stays as it is: it
// rejects the member, and not its group.
func (p *engine) member(_ any, args []any) any {
	entry := map[string]any{}
	if args[0] != nil {
		entry["Member_Account"] = args[0]
	}
	if args[1] != nil {
		entry["Role"] = args[1]
	}
	switch joined := p.seconds(args[2], nil).(type) {
	case error:
		entry["JoinTime"] = args[2]
	case nil:
	default:
		entry["JoinTime"] = joined
	}
	return entry
}

// secondsOf converts a number to seconds. The magnitude determines the unit: 1e11 seconds are in the year 5138, 1e11
// milliseconds in 1973.
func secondsOf(n float64) any {
	for n >= 1e11 && n <= 1e18 {
		n /= 1000
	}
	if math.IsNaN(n) || n < 0 || n > 1e11 {
		return fmt.Errorf("seconds: %v is not a time", n)
	}
	return int(math.Floor(n))
}

// errIgnored is the result of ignore: the record is not a group.
var errIgnored = errors.New("ignored")

// A skipError is the result of skip(why).
type skipError struct{ why string }

func (e *skipError) Error() string { return "skipped: " + e.why }

// skip implements skip(why).
func skip(_ any, args []any) any {
	why := fmt.Sprint(args[0])
	if len(why) > 200 {
		why = strings.ToValidUTF8(why[:200], "") + "…"
	}
	if why == "" {
		why = "skipped by the mapping"
	}
	return &skipError{why}
}
