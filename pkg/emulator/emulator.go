// Package emulator is Tencent Cloud IM's REST service in memory, as far as importing groups needs it, so
// that tests and a demo meet a service that refuses what the real one refuses.
//
// It knows two commands, import_group and get_group_info. A request goes this way:
//
//	arrival    counted, and refused with 60011 if its second holds too many already
//	fault      does this one go wrong, and before or after the effect?
//	effect     path, query, UserSig, body, field rules; a group stands or the request is refused
//	latency    then the answer, or what the fault makes of it
//
// So a client that goes away while it waits leaves its group standing, as with the real service. Everything
// of the wire is read here and nothing is shared with the client: both cannot then be wrong in the same way.
// Where documents are silent or disagree, the emulator takes the reading that is harder on the client, and
// the comment says so.
//
// What it goes by:
//   - tencentcloud.com/document/product/1047/34967, 2022-07-06: query, body and answer of import_group
//   - cloud.tencent.com/document/product/269/1616, 2022: get_group_info
//   - cloud.tencent.com/document/product/269/1671, 2022, and trtc.io/document/34348, 2025: codes
//   - trtc.io/document/33529, 2025: GroupIds; trtc.io/document/34419, 2025: AppDefinedData
//
// Two pages are the emulator's own. They need no signature and are no requests to the service:
//
//	GET /emulator/stats     [Stats] as JSON
//	GET /emulator/groups    one [Group] a line as JSON, in the order they were made
package emulator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/backoff"
)

const (
	commands = "/v4/group_open_http_svc/"
	maxBody  = 1 << 20 // no limit is documented for import_group; a legal body has at most some 31 KB
)

// A Service is an IM service. Set SDKAppID and Key and whatever else is of interest before the first
// request, and no field after it; the zero value refuses everything, because no signature fits it. Its
// methods may be called concurrently.
//
// It is an [http.Handler] for a server, and an [http.RoundTripper] that answers in process: no network and
// no goroutine, so that it works in the bubble of testing/synctest.
type Service struct {
	SDKAppID int    // the one application it serves
	Admin    string // the one administrator's UserID; if empty, administrator
	Key      string // signs UserSigs; taken as text, also if it looks like hex

	// Limit is how many requests any sliding second may hold, of all commands together and with the refused
	// ones counted. The real service says 200 and not how it counts; this is the hardest way. If zero, 200;
	// if negative, there is no limit.
	Limit int

	// Each answer, also a refusal, takes Latency and a uniform share of Jitter.
	Latency, Jitter time.Duration

	// ExtendedLengths allows Name, Introduction, Notification and FaceUrl 100, 400, 400 and 500 bytes, as the
	// reference of the web SDK does, instead of the 30, 240, 300 and 100 of the REST documents.
	ExtendedLengths bool

	// SensitiveWords in Name, Introduction or Notification are refused with 80001.
	SensitiveWords []string

	// ReadLag is for how long get_group_info does not show a group that import_group made. No text says that
	// it lags, and none that it does not.
	ReadLag time.Duration

	// Faults is what goes wrong from the first request on; [Service.SetFaults] changes it later.
	Faults Faults

	mu     sync.Mutex // never held over a wait
	groups store
	second window
	stats  Stats
}

// Stats is what a [Service] has seen.
type Stats struct {
	Requests      int         // all of them, also the refused and the lost
	Imports       int         // those to import_group
	Lookups       int         // those to get_group_info
	Refused       int         // too fast: the limit's, not those of a fault
	Taken         int         // groups made
	Lost          int         // requests that got no answer, or one that does not read as the service's
	BusiestSecond int         // most requests in any sliding second [t, t+1s)
	Codes         map[int]int // answers by ErrorCode
	First, Last   time.Time   // when the first and the last request arrived
}

// Stats returns what the service has seen so far.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.BusiestSecond = s.second.busiest
	st.Codes = maps.Clone(s.stats.Codes)
	return st
}

// SetFaults changes what goes wrong, for requests that arrive from now on.
func (s *Service) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Faults = f
}

// ServeHTTP answers a request. Where the connection has to break it is closed without an answer.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if write := s.page(r); write != nil {
		w.Header().Set("Content-Type", "application/json")
		write(w)
		return
	}
	a, err := s.serve(r)
	if err != nil {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
			return
		}
		panic(http.ErrAbortHandler) // HTTP/2 has no Hijack; net/http resets the stream and prints nothing
	}
	maps.Copy(w.Header(), a.header())
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // nobody to tell
}

// RoundTrip answers a request in process. Where the connection has to break, and once the request's
// context is done, it returns an error instead.
func (s *Service) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		// As a transport with a wire would: clients pace by when a request was written.
		if trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{Reused: true})
		}
		if trace.WroteRequest != nil {
			trace.WroteRequest(httptrace.WroteRequestInfo{})
		}
	}
	var a answer
	if write := s.page(r); write != nil {
		var b bytes.Buffer
		write(&b)
		a = jsonAnswer(b.Bytes())
	} else {
		var err error
		if a, err = s.serve(r); err != nil {
			return nil, err
		}
	}
	return &http.Response{
		Status:        fmt.Sprint(a.status, " ", http.StatusText(a.status)),
		StatusCode:    a.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        a.header(),
		Body:          io.NopCloser(bytes.NewReader(a.body)),
		ContentLength: int64(len(a.body)),
		Request:       r,
	}, nil
}

// page returns what writes the page that r asks for, or nil if that is none of the emulator's own.
func (s *Service) page(r *http.Request) func(io.Writer) {
	if r.Method != http.MethodGet && r.Method != "" {
		return nil
	}
	switch r.URL.Path {
	case "/emulator/stats":
		return func(w io.Writer) { _ = json.MarshalEncode(jsontext.NewEncoder(w), s.Stats()) } // or the reader went away
	case "/emulator/groups":
		return func(w io.Writer) {
			enc := jsontext.NewEncoder(w)
			for g := range s.Groups() {
				if json.MarshalEncode(enc, g) != nil {
					return // the reader went away
				}
			}
		}
	}
	return nil
}

// An answer is what goes over the wire.
type answer struct {
	status      int
	contentType string
	body        []byte
	retryAfter  string // the header, empty for none
}

func jsonAnswer(body []byte) answer {
	return answer{status: http.StatusOK, contentType: "application/json", body: body}
}

func (a *answer) header() http.Header {
	h := http.Header{"Content-Type": {a.contentType}, "Content-Length": {strconv.Itoa(len(a.body))}}
	if a.retryAfter != "" {
		h.Set("Retry-After", a.retryAfter)
	}
	return h
}

// A reply is the JSON of an answer: what both commands share, and what one of them adds.
type reply struct {
	ActionStatus string
	ErrorInfo    string
	ErrorCode    int
	GroupID      string           `json:"GroupId,omitzero"`
	GroupInfo    []map[string]any `json:",omitzero"`
}

// A refusal is an error that the service answers with.
type refusal struct {
	code int
	info string
}

func (e *refusal) Error() string { return e.info }

func refuse(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

var errDropped = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}

// serve takes a request all the way. An error means that no answer comes.
func (s *Service) serve(r *http.Request) (answer, error) {
	command := strings.TrimPrefix(r.URL.Path, commands)
	ordinal, tooFast, faults := s.arrive(command)
	var body []byte
	if r.Body != nil {
		var err error
		// Only a body read to its end lets a server notice that its client goes away.
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); err != nil {
			s.lost()
			return answer{}, err
		}
	}

	// A generator of its own, so that a request's fate follows from seed and ordinal alone.
	draw := rand.New(rand.NewPCG(faults.Seed, uint64(ordinal))) //nolint:gosec // counts up from 1
	fault := None
	if !tooFast {
		id, name := peek(body)
		fault = faults.judge(Request{command, ordinal, id, name}, draw)
		if fault == Disbanded && command == "import_group" && id != "" {
			s.disband(id, false)
		}
	}
	var re reply
	var err error
	switch {
	case tooFast:
		err = refuse(60011, "requests of this SDKAppID are too frequent")
	case fault >= minCode:
		err = refuse(int(fault), "a fault was asked for")
	case fault == Internal:
		err = refuse(10002, "internal server error")
	case !fault.before():
		re, err = s.effect(r, command, body)
		if fault == InternalAfter {
			err = refuse(10002, "internal server error")
		}
	}

	if fault == Hang || fault == HangAfter {
		<-r.Context().Done()
	} else {
		wait := s.Latency
		if s.Jitter > 0 {
			wait += time.Duration(draw.Int64N(int64(s.Jitter)))
		}
		_ = backoff.Sleep(r.Context(), wait) // the request fails by itself then
	}
	if r.Context().Err() != nil {
		s.lost()
		return answer{}, context.Cause(r.Context())
	}

	switch fault {
	case DropBefore, DropAfter:
		s.lost()
		return answer{}, errDropped
	case BadGateway, BadGatewayAfter:
		s.lost()
		return page(http.StatusBadGateway), nil
	case Forbidden:
		s.lost()
		return page(http.StatusForbidden), nil
	case TooLarge:
		s.lost()
		return page(http.StatusRequestEntityTooLarge), nil
	case Unavailable:
		s.lost()
		a := page(http.StatusServiceUnavailable)
		a.retryAfter = strconv.Itoa(int(cmp.Or(faults.RetryAfter, 2*time.Second) / time.Second))
		return a, nil
	case Garbage, GarbageAfter:
		s.lost()
		return jsonAnswer([]byte(garbage[draw.IntN(len(garbage))])), nil
	default: // the reply says it
	}
	re.ActionStatus = "OK"
	if refused, ok := errors.AsType[*refusal](err); ok {
		re = reply{ActionStatus: "FAIL", ErrorInfo: refused.info, ErrorCode: refused.code}
	}
	s.count(re.ErrorCode)
	data, err := json.Marshal(re)
	return jsonAnswer(data), err
}

// arrive counts a request and returns what is decided at its arrival.
func (s *Service) arrive(command string) (ordinal int, tooFast bool, f Faults) {
	limit := s.Limit
	if limit == 0 {
		limit = 200
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now() // under the lock, so that arrivals are in order
	s.stats.Requests++
	switch command {
	case "import_group":
		s.stats.Imports++
	case "get_group_info":
		s.stats.Lookups++
	}
	if s.stats.First.IsZero() {
		s.stats.First = now
	}
	s.stats.Last = now
	if n := s.second.add(now); limit > 0 && n > limit {
		s.stats.Refused++
		tooFast = true
	}
	return s.stats.Requests, tooFast, s.Faults
}

func (s *Service) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Lost++
}

func (s *Service) count(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.Codes == nil {
		s.stats.Codes = make(map[int]int)
	}
	s.stats.Codes[code]++
}

// effect does what the request asks for.
func (s *Service) effect(r *http.Request, command string, body []byte) (reply, error) {
	if r.Method != http.MethodPost {
		return reply{}, refuse(60002, "the method is not POST") // inferred: no text names a code for this
	}
	if !strings.HasPrefix(r.URL.Path, commands) || command != "import_group" && command != "get_group_info" {
		return reply{}, refuse(10003, "bad command word")
	}
	if err := s.checkQuery(r.URL.RawQuery); err != nil {
		return reply{}, err
	}
	if len(body) > maxBody {
		return reply{}, refuse(60003, "the body has more than %d bytes", maxBody)
	}
	if command == "get_group_info" {
		infos, err := s.lookUp(body)
		return reply{GroupInfo: infos}, err
	}
	g, err := s.readGroup(body)
	if err != nil {
		return reply{}, err
	}
	id, err := s.take(g)
	return reply{GroupID: id}, err
}

// checkQuery says what is wrong with a request's query. Values and names are case-sensitive.
func (s *Service) checkQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return refuse(60002, "the query cannot be parsed")
	}
	for _, name := range []string{"sdkappid", "identifier", "usersig", "random", "contenttype"} {
		if len(query[name]) > 1 {
			return refuse(60002, "%s is in the query twice", name)
		}
	}
	app := query.Get("sdkappid")
	if app == "" {
		return refuse(60012, "sdkappid is missing")
	}
	if n, err := strconv.ParseUint(app, 10, 64); err != nil || n == 0 {
		return refuse(60006, "sdkappid is not valid")
	}
	if app != strconv.Itoa(s.SDKAppID) {
		return refuse(70020, "sdkappid is not known here; is the region right?")
	}
	identifier, sig := query.Get("identifier"), query.Get("usersig")
	if sig == "" {
		return refuse(70002, "usersig is missing")
	}
	if err := checkUserSig(sig, s.SDKAppID, identifier, s.Key, time.Now()); err != nil {
		return err
	}
	if identifier != s.admin() {
		return refuse(60010, "identifier is no administrator of the app")
	}
	// 60025 is of 2025 and speaks of contenttype but not of random. That random is needed at all is the
	// document's; what happens without it is not.
	if _, err := strconv.ParseUint(query.Get("random"), 10, 32); err != nil {
		return refuse(60002, "random is no number of 0 to 4294967295")
	}
	if query.Get("contenttype") != "json" {
		return refuse(60025, "contenttype is not json")
	}
	return nil
}

func (s *Service) admin() string {
	if s.Admin == "" {
		return "administrator"
	}
	return s.Admin
}
