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

// A Fault is a failure of a request. A value of 10000 or more is the ErrorCode of the response; such a request has no
// effect.
type Fault int

// The faults in pairs. The first one of a pair occurs before the effect, the second one after it.
const (
	None            Fault = iota
	DropBefore            // the connection breaks
	DropAfter             //
	Hang                  // no response until the client disconnects
	HangAfter             //
	BadGateway            // HTTP 502 with an HTML page
	BadGatewayAfter       //
	Internal              // 10002
	InternalAfter         //
	Garbage               // HTTP 200 with a body that is not a documented response
	GarbageAfter          //

	// These faults occur before the effect. A proxy or a firewall causes the first three.
	Forbidden   // HTTP 403 with an HTML page
	TooLarge    // HTTP 413 with an HTML page
	Unavailable // HTTP 503 with an HTML page and a Retry-After of [Faults.RetryAfter]
	Disbanded   // from now on the request's GroupId belongs to a disbanded group, see [Service.Disband]

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

// Faults selects the requests that fail, and how. The zero value has no faults. Requests over the limit are throttled
// and never get a fault.
//
// The fields of type float64 are shares of all requests, from 0 to 1. Their sum is at most 1. The choice of requests
// depends only on Seed and the request's ordinal.
type Faults struct {
	Seed uint64

	DropBefore, DropAfter       float64
	Hang, HangAfter             float64
	BadGateway, BadGatewayAfter float64
	Internal, InternalAfter     float64
	Garbage, GarbageAfter       float64
	Forbidden, TooLarge         float64
	Unavailable, Disbanded      float64
	Throttle                    float64 // a code that means throttled, although the limit is not exceeded
	CodeShare                   float64 // responses with Code
	Code                        int     // 10000 or more

	RetryAfter time.Duration // of Unavailable, sent in whole seconds; if zero, 2 s

	// Plan, if set, replaces the shares. It must be safe for concurrent use.
	Plan func(Request) Fault
}

// A Request is the argument of [Faults.Plan].
type Request struct {
	Command string // such as import_group, empty for an unknown one
	Ordinal int    // from 1, in the order of arrival, for all commands together
	GroupID string // of the body, empty if the body has none
	Name    string
}

var throttleCodes = []Fault{60007, 60011, 60018, 60019, 10006}

// A share is one of the shares of a [Faults].
type share struct {
	word  string // in ParseFaults
	fault Fault  // None for a share with several codes
	value *float64
}

// shares returns the shares in the order of evaluation.
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

// choose returns the fault of r.
func (f *Faults) choose(r Request, draw *rand.Rand) Fault {
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

// ParseFaults parses faults from one line, the value of a flag:
//
//	drop-after=0.01,internal=0.02,code=70009:1,seed=7
//
// The words are the fields of [Faults]. The value is a share from 0 to 1; for code, the code, a colon and the share;
// for retry-after, a number of seconds. An empty line is the zero value. The error lists all mistakes.
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
			mistakes = append(mistakes, fmt.Errorf("duplicate fault %s", word))
		}
		seen[word] = true
		switch err := f.set(word, value); {
		case errors.Is(err, errUnknownWord):
			mistakes = append(mistakes, fmt.Errorf("unknown fault %q, must be one of %s", word, strings.Join(words, ", ")))
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("%s: %w", word, err))
		}
	}
	sum := 0.0
	for _, s := range f.shares() {
		sum += *s.value
	}
	if sum > 1+1e-9 { // rounding: ten times 0.1 is slightly more than 1
		mistakes = append(mistakes, fmt.Errorf("the sum of the shares is %v, must be at most 1", sum))
	}
	if mistakes != nil {
		return Faults{}, errors.Join(mistakes...)
	}
	return f, nil
}

var errUnknownWord = errors.New("unknown word")

// set sets the field of a word of [ParseFaults].
func (f *Faults) set(word, value string) error {
	if word == "seed" {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not an integer of 0 or more", value)
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
			return fmt.Errorf("%q is not a share from 0 to 1", value)
		}
		*s.value = n
		return nil
	}
	return errUnknownWord
}

// page returns the response of a proxy with an HTTP status.
func page(status int) response {
	text := fmt.Sprint(status, " ", http.StatusText(status))
	html := "<html>\r\n<head><title>" + text + "</title></head>\r\n" +
		"<body><center><h1>" + text + "</h1></center></body>\r\n</html>\r\n"
	return response{status: status, contentType: "text/html", body: []byte(html)}
}

// garbage lists bodies that are not responses of the service. A successful response has ActionStatus OK and ErrorCode
// 0, an error has ActionStatus FAIL and another code.
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
