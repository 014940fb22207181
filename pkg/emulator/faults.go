package emulator

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Fault is what goes wrong with a request. From 10000 on it is itself the ErrorCode that is answered,
// with nothing made.
type Fault int

// In each pair the first leaves nothing made, and the second comes after the request has had its effect.
const (
	None            Fault = iota
	DropBefore            // the connection breaks
	DropAfter             //
	Hang                  // no answer comes until the client goes away
	HangAfter             //
	BadGateway            // HTTP 502 with a page of HTML
	BadGatewayAfter       //
	Internal              // 10002
	InternalAfter         //
	Garbage               // HTTP 200 with something that the document does not know as an answer
	GarbageAfter          //

	// Each of these leaves nothing made. The first three are those of a proxy or a firewall before the service.
	Forbidden   // HTTP 403 with a page of HTML
	TooLarge    // HTTP 413 with a page of HTML
	Unavailable // HTTP 503 with a page of HTML and a Retry-After of [Faults.RetryAfter]
	Disbanded   // from now on the request's GroupId is that of a disbanded group, see [Service.Disband]

	minCode Fault = 10000
)

func (f Fault) before() bool {
	switch f {
	case DropBefore, Hang, BadGateway, Internal, Garbage, Forbidden, TooLarge, Unavailable:
		return true
	default:
		return f >= minCode
	}
}

// Faults says which requests go wrong, and how. The zero value lets all of them go well. Requests that come
// too fast are refused without asking here.
//
// The fields of type float64 are shares of all requests, 0 to 1 and together no more than 1. Which requests
// they hit follows from Seed and the request's ordinal alone.
type Faults struct {
	Seed uint64

	DropBefore, DropAfter       float64
	Hang, HangAfter             float64
	BadGateway, BadGatewayAfter float64
	Internal, InternalAfter     float64
	Garbage, GarbageAfter       float64
	Forbidden, TooLarge         float64
	Unavailable, Disbanded      float64
	Throttle                    float64 // one of the codes that say "too fast", though it was not
	CodeShare                   float64 // those answered with Code
	Code                        int     // 10000 or more

	RetryAfter time.Duration // of Unavailable, sent in whole seconds; if zero, 2 s

	// Plan decides alone if it is set. It may be called concurrently.
	Plan func(Request) Fault
}

// A Request is what a plan for faults can go by.
type Request struct {
	Command string // the last part of the path, such as import_group
	Ordinal int    // from 1, in the order of arrival, all commands together
	GroupID string // as in the body; empty if that has none
	Name    string
}

var throttleCodes = []Fault{60007, 60011, 60018, 60019, 10006}

// A share is one of the shares of a [Faults].
type share struct {
	word  string // in ParseFaults
	fault Fault  // None for those that stand for more than one
	value *float64
}

// shares returns the shares in the order in which they are judged.
func (f *Faults) shares() [16]share {
	return [...]share{
		{"drop-before", DropBefore, &f.DropBefore},
		{"drop-after", DropAfter, &f.DropAfter},
		{"hang", Hang, &f.Hang},
		{"hang-after", HangAfter, &f.HangAfter},
		{"bad-gateway", BadGateway, &f.BadGateway},
		{"bad-gateway-after", BadGatewayAfter, &f.BadGatewayAfter},
		{"internal", Internal, &f.Internal},
		{"internal-after", InternalAfter, &f.InternalAfter},
		{"garbage", Garbage, &f.Garbage},
		{"garbage-after", GarbageAfter, &f.GarbageAfter},
		{"throttle", None, &f.Throttle},
		{"code", None, &f.CodeShare},
		{"forbidden", Forbidden, &f.Forbidden},
		{"too-large", TooLarge, &f.TooLarge},
		{"unavailable", Unavailable, &f.Unavailable},
		{"disbanded", Disbanded, &f.Disbanded},
	}
}

// judge decides what goes wrong with r.
func (f *Faults) judge(r Request, draw *rand.Rand) Fault {
	if f.Plan != nil {
		return f.Plan(r)
	}
	at := draw.Float64()
	for _, s := range f.shares() {
		if at -= *s.value; at >= 0 {
			continue
		}
		switch s.word {
		case "throttle":
			return throttleCodes[draw.IntN(len(throttleCodes))]
		case "code":
			return Fault(f.Code)
		}
		return s.fault
	}
	return None
}

// ParseFaults reads faults from one line, as a command's flag takes them:
//
//	drop-after=0.01,internal=0.02,code=70009:1,seed=7
//
// The words are those of the fields of [Faults]. A share follows, 0 to 1, and after code the code, a colon
// and its share; after retry-after a number of seconds. An empty line is the zero value. An error names every mistake.
func ParseFaults(line string) (Faults, error) {
	var f Faults
	if line == "" {
		return f, nil
	}
	shares := f.shares()
	words := make([]string, 0, len(shares)+1)
	for _, s := range shares {
		words = append(words, s.word)
	}
	words = append(words, "seed", "retry-after")

	var mistakes []error
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(line, ",") {
		word, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if seen[word] {
			mistakes = append(mistakes, fmt.Errorf("%s is there twice", word))
		}
		seen[word] = true
		switch err := f.set(word, value); {
		case errors.Is(err, errUnknownWord):
			mistakes = append(mistakes, fmt.Errorf("fault %q is not known, only %s", word, strings.Join(words, ", ")))
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("%s: %w", word, err))
		}
	}
	sum := 0.0
	for _, s := range f.shares() {
		sum += *s.value
	}
	if sum > 1+1e-9 { // ten times 0.1 is a little more than 1
		mistakes = append(mistakes, fmt.Errorf("the shares sum up to %v, more than 1", sum))
	}
	if mistakes != nil {
		return Faults{}, errors.Join(mistakes...)
	}
	return f, nil
}

var errUnknownWord = errors.New("unknown word")

// set sets what a word of [ParseFaults] stands for.
func (f *Faults) set(word, value string) error {
	if word == "seed" {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number of 0 or more", value)
		}
		f.Seed = n
		return nil
	}
	if word == "retry-after" {
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a number of seconds from 0 to 65535", value)
		}
		f.RetryAfter = time.Duration(n) * time.Second
		return nil
	}
	if word == "code" {
		code, share, _ := strings.Cut(value, ":")
		n, err := strconv.Atoi(code)
		if err != nil || n < int(minCode) {
			return fmt.Errorf("%q is not a code of %d or more, a colon and a share", value, minCode)
		}
		f.Code, value = n, share
	}
	for _, s := range f.shares() {
		if s.word != word {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || !(n >= 0 && n <= 1) {
			return fmt.Errorf("%q is not a share of 0 to 1", value)
		}
		*s.value = n
		return nil
	}
	return errUnknownWord
}

// page returns what a proxy answers with by itself.
func page(status int) answer {
	text := fmt.Sprint(status, " ", http.StatusText(status))
	html := "<html>\r\n<head><title>" + text + "</title></head>\r\n" +
		"<body><center><h1>" + text + "</h1></center></body>\r\n</html>\r\n"
	return answer{status: status, contentType: "text/html", body: []byte(html)}
}

// garbage is what answers with HTTP 200 can be though they are no answers of the service: success is
// ActionStatus OK together with ErrorCode 0, failure FAIL with another code.
var garbage = []string{
	"",
	"<html><body>please log in</body></html>",
	`{"ActionStatus":"OK","ErrorInfo":"","Er`,
	`{}`,
	`[]`,
	`null`,
	`"OK"`,
	`{"ActionStatus":"OK"}`,
	`{"ErrorCode":0}`,
	`{"actionstatus":"OK","errorcode":0,"groupid":"x"}`,
	`{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":0}`,
	`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":10004}`,
}
