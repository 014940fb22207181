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
)

// maxGroupID is the longest GroupId, in bytes (tencentcloud.com/document/product/1047/34967).
const maxGroupID = 48

// alter returns what a function that alters its input returns: the altered value, and the input itself in a run that
// must not alter anything.
func (p *Program) alter(from, to any) any {
	if gojq.Compare(from, to) == 0 {
		return to
	}
	p.altered = true
	if p.exact {
		return from
	}
	return to
}

// cutBytes is cut_bytes(n).
func (p *Program) cutBytes(v any, args []any) any {
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

// fits is fits(n).
func (p *Program) fits(v any, args []any) any {
	text, n, err := textAndLength("fits", v, args)
	if err != nil || v == nil {
		return orNil(err)
	}
	if len(text) > n {
		return p.alter(text, nil)
	}
	return text
}

// change is change(f).
func (p *Program) change(v any, args []any) any { return p.alter(v, args[0]) }

// orNil makes of an error what gojq takes for one, and of none null.
func orNil(err error) any {
	if err != nil {
		return err
	}
	return nil
}

func textAndLength(name string, v any, args []any) (string, int, error) {
	n, ok := args[0].(int)
	if !ok || n < 0 {
		return "", 0, fmt.Errorf("%s(%v): a length in bytes is wanted", name, args[0])
	}
	text, ok := v.(string)
	if !ok && v != nil {
		return "", 0, fmt.Errorf("%s is for texts, not for %s", name, gojq.TypeOf(v))
	}
	return text, n, nil
}

// fitID is fit_id.
func (p *Program) fitID(v any, _ []any) any {
	if v == nil {
		return nil
	}
	text, ok := v.(string)
	if n, isInt := v.(int); isInt {
		text, ok = strconv.Itoa(n), true
	}
	if !ok {
		return fmt.Errorf("fit_id is for texts and whole numbers, not for %s", gojq.TypeOf(v))
	}
	return p.alter(text, fitted(text))
}

// fitted returns a text as a GroupId.
func fitted(text string) string {
	fit := strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return -1
		}
		return c
	}, text)
	for strings.HasPrefix(fit, "@TGS#") { // only the service may give such an ID
		fit = fit[len("@TGS#"):]
	}
	if fit == text && len(fit) <= maxGroupID {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	const hashed = 16 // hexadecimal digits: with a billion groups one chance in forty that two are alike
	return fit[:min(len(fit), maxGroupID-hashed-1)] + "-" + hex.EncodeToString(sum[:hashed/2])
}

// sourceOf returns the member "source" of what a program yields: without what cannot be printed, cut to maxSource.
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
		return "", fmt.Errorf("source must be a text or a whole number, not %s", gojq.TypeOf(v))
	}
	printable := []rune(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, text))
	return string(printable[:min(len(printable), maxSource)]), nil
}

// seconds is for times of any kind that exports have.
func seconds(v any, _ []any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		if date, ok := v["$date"]; ok {
			return seconds(date, nil)
		}
		if long, ok := v["$numberLong"]; ok {
			return seconds(long, nil)
		}
	case int:
		return secondsOf(float64(v))
	case float64:
		return secondsOf(v)
	case string:
		if v == "" {
			return nil
		}
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return secondsOf(n)
		}
		for _, layout := range []string{
			time.RFC3339, "2006-01-02T15:04:05.999999999-0700", time.DateTime, "2006-01-02T15:04:05",
		} {
			if at, err := time.Parse(layout, v); err == nil {
				return int(at.Unix())
			}
		}
		return fmt.Errorf("seconds: %.40q is no time", v)
	}
	return fmt.Errorf("seconds: %s is no time", gojq.TypeOf(v))
}

// secondsOf tells the unit by the size: 100,000,000,000 seconds are the year 5138, as many milliseconds 1973.
func secondsOf(n float64) any {
	for n >= 1e11 && n <= 1e18 {
		n /= 1000
	}
	if math.IsNaN(n) || n < 0 || n > 1e11 {
		return fmt.Errorf("seconds: %v is no time", n)
	}
	return int(math.Floor(n))
}

// errIgnored leaves out a record that is about something else than a group.
var errIgnored = errors.New("ignored")

// A skipError leaves a record out.
type skipError struct{ why string }

func (e *skipError) Error() string { return "skipped: " + e.why }

// skip is skip(why).
func skip(_ any, args []any) any {
	why := fmt.Sprint(args[0])
	if len(why) > 200 {
		why = strings.ToValidUTF8(why[:200], "") + "…"
	}
	if why == "" {
		why = "the mapping leaves it out"
	}
	return &skipError{why}
}
