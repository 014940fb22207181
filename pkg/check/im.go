package check

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/tim"
)

const (
	samples = 20 // look-ups for the latency

	// The service gives up on a request after 3 s (REST API FAQ).
	maxLatency = 3 * time.Second

	// The client has at most 900 attempts in flight, because SCF allows a process 1,024 file descriptors.
	maxInFlight = 900

	// S3 refuses requests whose time is off by more than 15 minutes (docs.aws.amazon.com/AmazonS3/latest/API
	// RESTAuthentication). A lease lasts 50 s, and its owner may be another machine.
	maxSkew  = 15 * time.Minute
	goodSkew = 20 * time.Second

	maxBody = 256 << 10 // bytes of a response that is examined

	noGroup = 10010 // of a group in a response of get_group_info
)

// newTransport returns a transport like that of [tim.New].
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = []string{"http/1.1"} // the clone still offers h2
	}
	return t
}

// A recorder is a transport that keeps of the responses what the checks need. It keeps nothing of the requests.
type recorder struct {
	base http.RoundTripper

	mu    sync.Mutex
	date  string        // header of the last response
	at    time.Time     // when it came, by the clock of this machine
	took  time.Duration // until its body was read
	codes []int         // of the groups in it
}

// RoundTrip reads the whole response, so that its time is that of the body too.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var groups struct {
		GroupInfo []struct {
			ErrorCode int `json:"ErrorCode"`
		} `json:"GroupInfo"`
	}
	// A response that cannot be read has no groups, and the client reports it.
	_ = json.Unmarshal(body, &groups, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.date, r.at, r.took, r.codes = resp.Header.Get("Date"), time.Now(), time.Since(start), nil
	for _, g := range groups.GroupInfo {
		r.codes = append(r.codes, g.ErrorCode)
	}
	return resp, nil
}

// CloseIdleConnections closes the idle connections of the transport below.
func (r *recorder) CloseIdleConnections() {
	if t, ok := r.base.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// last returns what the recorder kept of the last response.
func (r *recorder) last() (date string, at time.Time, took time.Duration, codes []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.date, r.at, r.took, r.codes
}

const doHost = "check the name servers, firewall and proxy of this machine or function, and TIM_REGION or TIM_ENDPOINT"

// reach requests the root of a host, without a UserSig.
func (s *session) reach(ctx context.Context, endpoint string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, endpoint+"/", nil)
	if err != nil {
		return 0, errors.New("the URL is not valid") // err would quote it
	}
	resp, err := s.service.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func checkHost(ctx context.Context, s *session) finding {
	status, err := s.reach(ctx, s.Config.Endpoint)
	if err != nil {
		return failed(doHost, "%s: %s", s.Config.Endpoint, oneLine(err))
	}
	return ok("%s responds (HTTP %d)", s.Config.Endpoint, status)
}

func checkBackup(ctx context.Context, s *session) finding {
	backup := tim.Backup(s.Config.Endpoint)
	if backup == "" {
		return ok("this endpoint has no backup host")
	}
	status, err := s.reach(ctx, backup)
	if err != nil {
		return warning("nothing at once: without it imports wait while the main host cannot be reached; allow it in the "+
			"firewall", "%s: %s", backup, oneLine(err))
	}
	return ok("%s responds (HTTP %d)", backup, status)
}

func checkClock(_ context.Context, s *session) finding {
	date, at, took, _ := s.service.last()
	there, err := http.ParseTime(date)
	switch {
	case at.IsZero():
		return warning("see im host", "not checked: no response")
	case err != nil:
		return warning("compare the clock of this machine with another one", "the response has no readable Date header")
	}
	skew := at.Add(-took / 2).Sub(there).Abs() // Date has whole seconds
	const do = "set the clock of this machine: leases, the UserSig and the signatures of the bucket have times"
	switch {
	case skew > maxSkew:
		return failed(do, "the clocks differ by %v", skew.Round(time.Second))
	case skew > goodSkew:
		return warning(do, "the clocks differ by %v", skew.Round(time.Second))
	}
	return ok("the clocks differ by less than %v", skew.Truncate(time.Second)+time.Second)
}

// lookUp looks up a group that cannot exist, because its ID is new and random.
func (s *session) lookUp(ctx context.Context) (tim.Group, error) {
	return s.client.LookUp(ctx, "groupimport-check-"+rand.Text())
}

func checkAccess(ctx context.Context, s *session) finding {
	if _, err := s.lookUp(ctx); err != nil {
		return failed("do what the message says. Until then no request of an import is accepted", "%s", oneLine(err))
	}
	s.authorized = true
	return ok("get_group_info was accepted for %s of app %d", s.Config.Admin, s.Config.SDKAppID)
}

func checkUnknown(ctx context.Context, s *session) finding {
	if !s.authorized {
		return notAuthorized()
	}
	const do = "tell the maintainers what was seen: look-ups of groups whose response was lost rely on it"
	group, err := s.lookUp(ctx)
	if err != nil {
		return failed(do, "%s", oneLine(err))
	}
	_, _, _, codes := s.service.last()
	switch {
	case group.Found:
		return failed(do, "a group with a new random ID exists")
	case !slices.Equal(codes, []int{noGroup}):
		return warning(do, "the response for one unknown ID has the codes %v", codes)
	}
	return ok("code %d", noGroup)
}

func notAuthorized() finding {
	return warning("see im access", "not checked: the service accepts no request")
}

func checkLatency(ctx context.Context, s *session) finding {
	if !s.authorized {
		return notAuthorized()
	}
	const do = "run the program in the region of the app"
	var all []time.Duration
	for range samples {
		if _, err := s.lookUp(ctx); err != nil {
			return failed("repeat the check; if it stays, check the network", "after %d of %d look-ups: %s",
				len(all), samples, oneLine(err))
		}
		_, _, took, _ := s.service.last()
		if took > maxLatency {
			return failed(do, "a response took %v; the service gives up on a request after %v",
				took.Round(time.Millisecond), maxLatency)
		}
		all = append(all, took)
	}
	slices.Sort(all)
	median, longest := all[len(all)/2], all[len(all)-1] // of 20 the longest is the 99th percentile
	inFlight := math.Ceil(s.Config.Rate * longest.Seconds())
	seen := fmt.Sprintf("p50 %v, p99 %v over %d look-ups, so that a rate of %v needs %.0f in flight",
		median.Round(time.Millisecond), longest.Round(time.Millisecond), samples, s.Config.Rate, inFlight)
	if inFlight > maxInFlight {
		return warning(do+", or lower TIM_RATE", "%s, and at most %d are", seen, maxInFlight)
	}
	return ok("%s", seen)
}

const (
	serviceRate = 200 // attempts a second of an app (tencentcloud.com/document/product/1047/34967)
	httpRate    = 10  // of the HTTP function in the templates
)

func checkRate(_ context.Context, s *session) finding {
	rate := s.Config.Rate
	switch {
	case rate > serviceRate:
		return warning("lower TIM_RATE to 190, unless TIM_ENDPOINT is no app of Tencent Cloud",
			"TIM_RATE is %v, the service allows %d", rate, serviceRate)
	case rate > serviceRate-httpRate:
		return warning(fmt.Sprintf("lower TIM_RATE to %d if an HTTP function or serve works beside the imports",
			serviceRate-httpRate), "TIM_RATE is %v, which leaves %v of %d", rate, serviceRate-rate, serviceRate)
	}
	return ok("TIM_RATE is %v, which leaves %v of %d for other callers of the app", rate, serviceRate-rate, serviceRate)
}

// oneLine returns the text of an error without secrets, in one line.
func oneLine(err error) string { return tim.Redact(strings.Join(strings.Fields(err.Error()), " ")) }
