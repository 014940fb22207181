// Package emulator emulates the part of Tencent Cloud IM's REST service that importing groups needs, in memory, for
// tests and a demo.
//
// It supports the commands import_group, get_group_info, import_group_member, create_group, modify_group_base_info,
// account_check and multiaccount_import. It processes a request in these steps:
//
//	arrival    count the request; reject it with 60011 if the current second has too many requests
//	fault      choose a fault, which occurs before or after the effect
//	effect     check path, query, UserSig, body and field rules; create the group or reject the request
//	latency    wait, then send the response or the fault
//
// A client that disconnects while it waits leaves its group created, as with the real service. The emulator shares no
// code with the client, so that both cannot have the same mistake. Where the documents are silent or disagree, the
// emulator implements the reading that is stricter for the client, and a comment says so.
//
// Sources:
//   - tencentcloud.com/document/product/1047/34967, 2022-07-06: query, body and response of import_group
//   - cloud.tencent.com/document/product/269/1616, 2022: get_group_info
//   - cloud.tencent.com/document/product/269/1671, 2022, and trtc.io/document/34348, 2025: codes
//   - trtc.io/document/33529, 2025: GroupIds; trtc.io/document/34419, 2025: AppDefinedData
//   - cloud.tencent.com/document/product/269/1636, 2026: import_group_member; 269/1615, 2025: create_group;
//     269/38417, 2025: account_check; 269/4919, 2024: multiaccount_import; 269/1620: modify_group_base_info
//
// Two pages belong to the emulator itself. They need no signature and do not count as requests:
//
//	GET /emulator/stats     [Stats] as JSON
//	GET /emulator/groups    one [Group] per line as JSON, in order of creation
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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/backoff"
)

const maxBody = 1 << 20 // no limit is documented for import_group; a valid body has at most about 31 KB

// services are the parts of the paths before the commands.
var services = map[string]string{
	"import_group":           "group_open_http_svc",
	"get_group_info":         "group_open_http_svc",
	"import_group_member":    "group_open_http_svc",
	"create_group":           "group_open_http_svc",
	"modify_group_base_info": "group_open_http_svc",
	"account_check":          "im_open_login_svc",
	"multiaccount_import":    "im_open_login_svc",
}

// A Service is an IM service. Set SDKAppID, Key and other fields before the first request and do not change them later.
// The zero value rejects all requests, because no signature is valid. Its methods are safe for concurrent use.
//
// It is an [http.Handler] for a server, and an [http.RoundTripper] that responds in process, without network and
// goroutines, and therefore works with testing/synctest.
type Service struct {
	SDKAppID int    // the only application
	Admin    string // UserID of the only administrator; if empty, administrator
	Key      string // signs UserSigs; used as text, even if it looks like hex

	// Limit is the maximum number of requests in any sliding second, including rejected requests. The service documents
	// 200 for each command but not how it counts. Here import_group and get_group_info together have this limit, which
	// is stricter than the documents, and each other command has it by itself. account_check and multiaccount_import
	// have half of it, as documented. If zero, 200; if negative, unlimited.
	Limit int

	// MembersPerCall is the maximum length of a MemberList of import_group_member. If zero, 20.
	MembersPerCall int

	// OnlyAccounts says that no account exists except the administrator's and those of [Service.AddAccounts] and of
	// multiaccount_import. Otherwise all accounts exist.
	OnlyAccounts bool

	// RefusedAccounts are named in the FailAccounts of multiaccount_import.
	RefusedAccounts []string

	// Each response, also an error, takes Latency and a uniformly distributed part of Jitter.
	Latency, Jitter time.Duration

	// ExtendedLengths allows 100, 400, 400 and 500 bytes for Name, Introduction, Notification and FaceUrl, as in the
	// reference of the web SDK, instead of 30, 240, 300 and 100 as in the REST documents.
	ExtendedLengths bool

	// SensitiveWords in Name, Introduction or Notification are rejected with 80001.
	SensitiveWords []string

	// ReadLag is the time for which get_group_info does not show a group that import_group created. Whether the service
	// has such a lag is not documented.
	ReadLag time.Duration

	// Faults are the faults from the first request. [Service.SetFaults] changes them later.
	Faults Faults

	mu       sync.Mutex // never held during a wait
	groups   store
	accounts map[string]struct{}
	second   window             // of import_group, get_group_info and unknown commands
	seconds  map[string]*window // of the other commands
	stats    Stats

	lastSig atomic.Pointer[parsedSig] // a client sends the same UserSig for a long time
}

// Stats are the statistics of a [Service].
type Stats struct {
	Requests      int         // all requests, including rejected and lost ones
	Imports       int         // requests to import_group
	Lookups       int         // requests to get_group_info
	Throttled     int         `json:"Refused"` // requests over the limit, without faults
	Created       int         `json:"Taken"`   // groups created
	Lost          int         // requests without a response, or with a response that is not the service's
	BusiestSecond int         // maximum number of requests to these two commands in any sliding second [t, t+1s)
	Codes         map[int]int // responses by ErrorCode
	First, Last   time.Time   // arrival of the first and the last request
	LastImport    time.Time   // arrival of the last request to import_group

	Members  int                // members added by import_group_member
	Commands map[string]Command `json:",omitzero"` // the other commands
}

// A Command has the statistics of one command.
type Command struct {
	Requests      int
	Throttled     int // requests over the limit, without faults
	BusiestSecond int // maximum number of requests in any sliding second [t, t+1s)

	First, Last time.Time // arrival of the first and the last request
}

// Stats returns the current statistics.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.BusiestSecond = s.second.busiest
	st.Codes = maps.Clone(s.stats.Codes)
	st.Commands = maps.Clone(s.stats.Commands)
	for name, c := range st.Commands {
		c.BusiestSecond = s.seconds[name].busiest
		st.Commands[name] = c
	}
	return st
}

// SetFaults changes the faults for requests that arrive later.
func (s *Service) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Faults = f
}

// ServeHTTP responds to a request. For a fault that breaks the connection, it closes it without a response.
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
	_, _ = w.Write(a.body) // the client is gone
}

// RoundTrip responds to a request in process. It returns an error for a fault that breaks the connection, and when the
// request's context is done.
func (s *Service) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	if r.Body != nil { // the service sees nothing of a request whose body cannot be read
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		whole := *r
		whole.Body = io.NopCloser(bytes.NewReader(body))
		r = &whole
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		// Like a network transport: clients use the time at which a request was written.
		if trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{Reused: true})
		}
		if trace.WroteRequest != nil {
			trace.WroteRequest(httptrace.WroteRequestInfo{})
		}
	}
	var a response
	if write := s.page(r); write != nil {
		var b bytes.Buffer
		write(&b)
		a = jsonResponse(b.Bytes())
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

// page returns a function that writes the emulator page of r, nil if r is not for such a page.
func (s *Service) page(r *http.Request) func(io.Writer) {
	if r.Method != http.MethodGet && r.Method != "" {
		return nil
	}
	switch r.URL.Path {
	case "/emulator/stats":
		return func(w io.Writer) { _ = json.MarshalEncode(jsontext.NewEncoder(w), s.Stats()) } // the client may be gone
	case "/emulator/groups":
		return func(w io.Writer) {
			enc := jsontext.NewEncoder(w)
			for g := range s.Groups() {
				if json.MarshalEncode(enc, g) != nil {
					return // the client is gone
				}
			}
		}
	}
	return nil
}

// A response is an HTTP response.
type response struct {
	status      int
	contentType string
	body        []byte
	retryAfter  string // the header, empty for none
}

func jsonResponse(body []byte) response {
	return response{status: http.StatusOK, contentType: "application/json", body: body}
}

func (a *response) header() http.Header {
	h := http.Header{"Content-Type": {a.contentType}, "Content-Length": {strconv.Itoa(len(a.body))}}
	if a.retryAfter != "" {
		h.Set("Retry-After", a.retryAfter)
	}
	return h
}

// A reply is the JSON body of a response, with the fields of all commands.
type reply struct {
	ActionStatus string
	ErrorInfo    string
	ErrorCode    int
	GroupID      string           `json:"GroupId,omitzero"`
	GroupInfo    []map[string]any `json:",omitzero"`
	MemberList   []memberResult   `json:",omitzero"`
	ResultItem   []checkResult    `json:",omitzero"`
	FailAccounts []string         `json:",omitzero"`
}

// A codeError is an error with an ErrorCode of the service.
type codeError struct {
	code int
	info string
}

func (e *codeError) Error() string { return e.info }

func codeErrorf(code int, format string, args ...any) error {
	return &codeError{code, fmt.Sprintf(format, args...)}
}

var errDropped = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}

// serve processes a request. An error means that there is no response.
func (s *Service) serve(r *http.Request) (response, error) {
	command := commandOf(r.URL.Path)
	ordinal, throttled, faults := s.arrive(command)
	var body []byte
	if r.Body != nil {
		var err error
		// A server notices that its client disconnects only after reading the complete body.
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); err != nil {
			s.lost()
			return response{}, err
		}
	}

	// A generator for each request, so that faults depend only on the seed and the ordinal.
	draw := rand.New(rand.NewPCG(faults.Seed, uint64(max(ordinal, 0))))
	fault := None
	if !throttled {
		req := Request{Command: command, Ordinal: ordinal}
		if faults.Plan != nil || faults.Disbanded > 0 {
			req.GroupID, req.Name = peek(body)
		}
		fault = faults.choose(req, draw)
		if fault == Disbanded && command == "import_group" && req.GroupID != "" {
			s.disband(req.GroupID, false)
		}
	}
	var re reply
	var err error
	switch {
	case throttled:
		err = codeErrorf(60011, "requests of this SDKAppID are too frequent")
	case fault >= minCode:
		err = codeErrorf(int(fault), "configured fault")
	case fault == Internal:
		err = codeErrorf(10002, "internal server error")
	case !fault.before():
		re, err = s.effect(r, command, body)
		if fault == InternalAfter {
			err = codeErrorf(10002, "internal server error")
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
		return response{}, context.Cause(r.Context())
	}

	switch fault {
	case DropBefore, DropAfter:
		s.lost()
		return response{}, errDropped
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
		return jsonResponse([]byte(garbage[draw.IntN(len(garbage))])), nil
	default: // a regular reply
	}
	re.ActionStatus = "OK"
	if failed, ok := errors.AsType[*codeError](err); ok {
		re = reply{ActionStatus: "FAIL", ErrorInfo: failed.info, ErrorCode: failed.code}
	}
	s.count(re.ErrorCode)
	data, err := json.Marshal(re)
	return jsonResponse(data), err
}

// arrive counts a request and returns its ordinal, whether it is throttled, and the current faults.
func (s *Service) arrive(command string) (ordinal int, throttled bool, f Faults) {
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
		s.stats.LastImport = now
	case "get_group_info":
		s.stats.Lookups++
	}
	if s.stats.First.IsZero() {
		s.stats.First = now
	}
	s.stats.Last = now
	w, c := &s.second, Command{}
	_, known := services[command]
	other := known && command != "import_group" && command != "get_group_info"
	if other {
		if s.seconds[command] == nil {
			if s.seconds == nil {
				s.seconds = map[string]*window{}
			}
			s.seconds[command] = new(window)
		}
		w, c = s.seconds[command], s.stats.Commands[command]
		if services[command] == "im_open_login_svc" {
			limit /= 2
		}
	}
	if n := w.add(now); limit > 0 && n > limit {
		s.stats.Throttled++
		c.Throttled++
		throttled = true
	}
	if other {
		if c.Requests++; c.First.IsZero() {
			c.First = now
		}
		c.Last = now
		if s.stats.Commands == nil {
			s.stats.Commands = map[string]Command{}
		}
		s.stats.Commands[command] = c
	}
	return s.stats.Requests, throttled, s.Faults
}

// commandOf returns the command of a path, "" if there is none.
func commandOf(path string) string {
	rest, isV4 := strings.CutPrefix(path, "/v4/")
	service, command, _ := strings.Cut(rest, "/")
	if known, ok := services[command]; !ok || !isV4 || known != service {
		return ""
	}
	return command
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

// effect executes a request.
func (s *Service) effect(r *http.Request, command string, body []byte) (reply, error) {
	if r.Method != http.MethodPost {
		return reply{}, codeErrorf(60002, "the method is not POST") // the code is inferred: none is documented
	}
	if _, ok := services[command]; !ok {
		return reply{}, codeErrorf(10003, "bad command word")
	}
	if err := s.checkQuery(r.URL.RawQuery); err != nil {
		return reply{}, err
	}
	if len(body) > maxBody {
		return reply{}, codeErrorf(60003, "the body is larger than the limit of %d bytes", maxBody)
	}
	switch command {
	case "get_group_info":
		infos, err := s.lookUp(body)
		return reply{GroupInfo: infos}, err
	case "import_group_member":
		return s.importMembers(body)
	case "create_group":
		return s.createGroup(body)
	case "modify_group_base_info":
		return reply{}, s.modifyGroup(body)
	case "account_check":
		return s.checkAccounts(body)
	case "multiaccount_import":
		return s.importAccounts(body)
	}
	g, err := s.readGroup(body)
	if err != nil {
		return reply{}, err
	}
	id, err := s.create(g)
	return reply{GroupID: id}, err
}

// checkQuery validates the query of a request. Names and values are case-sensitive.
func (s *Service) checkQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return codeErrorf(60002, "the query cannot be parsed")
	}
	for _, name := range []string{"sdkappid", "identifier", "usersig", "random", "contenttype"} {
		if len(query[name]) > 1 {
			return codeErrorf(60002, "duplicate query parameter %s", name)
		}
	}
	app := query.Get("sdkappid")
	if app == "" {
		return codeErrorf(60012, "sdkappid is missing")
	}
	if n, err := strconv.ParseUint(app, 10, 64); err != nil || n == 0 {
		return codeErrorf(60006, "sdkappid is not valid")
	}
	if app != strconv.Itoa(s.SDKAppID) {
		return codeErrorf(70020, "unknown sdkappid; check the region")
	}
	identifier, sig := query.Get("identifier"), query.Get("usersig")
	if sig == "" {
		return codeErrorf(70002, "usersig is missing")
	}
	if err := s.parseUserSig(sig).check(s.SDKAppID, identifier, time.Now()); err != nil {
		return err
	}
	if identifier != s.admin() {
		return codeErrorf(60010, "identifier is not an administrator of the app")
	}
	// 60025 is documented since 2025, for contenttype but not for random. random is documented as required, but not the
	// code of a request without it.
	if _, err := strconv.ParseUint(query.Get("random"), 10, 32); err != nil {
		return codeErrorf(60002, "random is not a number from 0 to 4294967295")
	}
	if query.Get("contenttype") != "json" {
		return codeErrorf(60025, "contenttype is not json")
	}
	return nil
}

func (s *Service) admin() string {
	if s.Admin == "" {
		return "administrator"
	}
	return s.Admin
}
