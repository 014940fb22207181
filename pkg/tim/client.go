// Package tim is a client of the Tencent Cloud IM REST API, as far as an import of groups needs it:
// import_group, and get_group_info to look up what stands already.
//
// # A call and its attempts
//
// A call is all that is done for one record, an attempt one HTTP exchange. Each attempt waits, in this
// order, for the breaker (is the service there at all?), for a slot among those in flight (see inFlightLimit)
// and for its turn of the pacer, so that nothing lies between its turn and its first byte. It is judged
// by the body alone: the service answers HTTP 200 to nearly everything.
//
// An attempt has three ends: yes, no, and don't know, which is a timeout, a broken connection, a 5xx, an
// unreadable answer, and also the codes of class Transient, because the service says of none of them
// whether the group was made before it failed. After don't know a record with a GroupId is sent again,
// since the service refuses the second (10021) and the group that stands can be looked up; a record
// without one is not, since that would make a second group.
//
// A refusal can be about one record or about all: HTTP 3xx and 4xx, which are not the service's own, and codes that no
// list has. A harmless look-up tells (see doubt.go): a record alone is Rejected or Failed, and what refuses the look-up
// too stops the client.
//
// # Hosts and connections
//
// The backup host of a region is used when no connection to the main host comes about, and never after a request may
// have been received (see route). Connections that were idle for long are not used again (see maxIdle): a function may
// have been frozen meanwhile.
//
// # Secrets
//
// The UserSig stands in every URL. This package makes no error of its own from a URL, talks to the
// transport below [http.Client], whose errors would quote it, and cleans what comes from there; also the
// answers, since there are proxies whose error page quotes the request.
package tim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/group"
	"groupimport/pkg/pacer"
)

const (
	// AttemptTimeout ends an attempt that gets no answer. The service's own limit is 3 s (REST API FAQ);
	// the client's must be longer, or it gives up on answers that come.
	AttemptTimeout = 10 * time.Second

	defaultMaxAttempts = 5

	// get_group_info may lag behind import_group; by how much no text says. A group that it does not show within
	// readLag after its creation is taken for none.
	secondLook = 2 * time.Second
	readLag    = 10 * time.Second

	// 10006 is called a frequency, but it also is what create_group answers once the day's 10,000 new
	// groups are used up (trtc.io/document/33529). Nothing but 10006 for so long is the quota.
	quotaPatience = 5 * time.Minute
	quotaGap      = time.Minute // without one, after which the next is the first again; longer than a throttled call waits
)

// The waits between attempts, with full jitter: up to 0.5, 1, 2, 4, 8 and then 10 s. After a throttled
// attempt they start higher, because a retry within the same second is throttled again.
var (
	retryWaits    = backoff.Exponential{Base: 500 * time.Millisecond, Max: 10 * time.Second}
	throttleWaits = backoff.Exponential{Base: 2 * time.Second, Max: 30 * time.Second}
)

// Config is what a Client needs.
type Config struct {
	SDKAppID    int
	Admin       string       // identifier: an app administrator
	SecretKey   string       `json:"-"` // never logged
	Endpoint    string       // base URL without a slash at its end, see [Endpoint]
	Backup      string       // used when no connection to Endpoint comes about, see [Backup]; empty for none
	Pacer       *pacer.Pacer // every attempt takes a turn of it
	Rate        float64      // of the pacer, attempts a second
	MaxAttempts int          // a call, and one more if the service answered nobody meanwhile; zero means 5

	// MaxInFlight limits the attempts in flight. Zero means what the rate needs while the service responds within 3 s,
	// at most 900. A benchmark without a rate sets it: a server nearby responds as soon as processors let it, so that
	// more in flight makes each response later, which would let still more in.
	MaxInFlight int

	// Grace is how long an attempt under way may go on once the context of its call has ended; zero
	// means as long as any attempt. Cut off, its end is don't know.
	Grace time.Duration

	// Transport sends requests; nil means one that keeps a connection alive for each attempt in flight.
	// It must report [httptrace.ClientTrace]'s GotConn and WroteRequest, as [http.Transport] does.
	Transport http.RoundTripper

	Log *slog.Logger // nil discards
}

// Format writes the settings, whatever the verb, and not the key.
func (c Config) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, c.LogValue()) } // f keeps no error

// LogValue returns the settings without the key.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("sdk_app_id", c.SDKAppID), slog.String("admin", c.Admin), slog.String("endpoint", c.Endpoint),
		slog.String("backup", c.Backup),
		slog.Float64("rate", c.Rate), slog.Int("max_attempts", c.MaxAttempts), slog.Duration("grace", c.Grace),
	)
}

// A Client calls the service. It may be used concurrently.
type Client struct {
	cfg     Config                 // without the key: fmt reaches it here past the methods of Config, but not behind a pointer
	urls    [2]map[string]*url.URL // by host, of the commands, but for the UserSig and what follows
	route   route
	signer  *signer
	limit   *inFlightLimit
	breaker *breaker
	lookups lookups
	log     *slog.Logger

	// stopping ends once nothing will be taken any more; its cause is the Stop.
	stopping context.Context //nolint:containedctx // it is the client's own, and not that of a call
	stop     context.CancelCauseFunc

	taken    atomic.Bool // some call was answered with OK
	quota    quotaWatch
	attempts atomic.Int64
	waiting  atomic.Int64 // for a turn
	grace    atomic.Int64 // a time.Duration
	doubts   atomic.Int64 // records in a row that were refused, while look-ups were accepted; see [Client.settle]
	accepted atomic.Int64 // attempts that the service accepted, or refused because the group exists
	made     time.Time
	lostAt   atomic.Int64 // when an answer about a record with a GroupId was last lost, in nanoseconds since made

	useMu   sync.Mutex
	lastUse time.Time // of the connections
}

// New returns a Client. The error is about the endpoint or the backup, which must be an http or https URL with a host
// and perhaps a path.
func New(cfg Config) (*Client, error) {
	query := "sdkappid=" + strconv.Itoa(cfg.SDKAppID) +
		"&identifier=" + strings.ReplaceAll(url.QueryEscape(cfg.Admin), "+", "%20") + // a + is a space to some only
		"&contenttype=json&usersig="
	var urls [2]map[string]*url.URL
	var err error
	if urls[mainHost], err = commandURLs(cfg.Endpoint, query); err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	if cfg.Backup != "" {
		if urls[backupHost], err = commandURLs(cfg.Backup, query); err != nil {
			return nil, fmt.Errorf("backup: %w", err)
		}
	}
	signer := &signer{sdkAppID: cfg.SDKAppID, admin: cfg.Admin, key: cfg.SecretKey}
	cfg.SecretKey = ""
	cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, defaultMaxAttempts)
	limit := newInFlightLimit(cfg.Rate, cfg.MaxInFlight)
	if cfg.Transport == nil {
		cfg.Transport = newTransport(limit.max)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		cfg:     cfg,
		urls:    urls,
		signer:  signer,
		limit:   limit,
		breaker: newBreaker(),
		log:     cfg.Log,
		made:    time.Now(),
	}
	c.route.hasBackup = cfg.Backup != ""
	c.stopping, c.stop = context.WithCancelCause(context.Background())
	c.SetGrace(cmp.Or(cfg.Grace, AttemptTimeout))
	return c, nil
}

// commandURLs returns the URLs of the commands below a base URL, with the same query.
func commandURLs(endpoint, query string) (map[string]*url.URL, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // it would quote a password
		}
		return nil, err
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("%q is not of the form https://host/path", base.Redacted())
	}
	base.Path = cmp.Or(base.Path, "/") // or JoinPath takes it for relative
	urls := map[string]*url.URL{}
	for _, command := range []string{importGroup, getGroupInfo} {
		urls[command] = base.JoinPath("v4", "group_open_http_svc", command)
		urls[command].RawQuery = query
	}
	return urls, nil
}

// SetGrace changes the Grace of the Config, for attempts whose context ends from now on.
func (c *Client) SetGrace(d time.Duration) { c.grace.Store(int64(d)) }

// AssumeFull lets nothing go out until a second after now, as if the rate limiter had just been used up by another process.
func (c *Client) AssumeFull() { c.cfg.Pacer.AssumeFull() }

// Attempts returns how many attempts have been made, of all calls and look-ups.
func (c *Client) Attempts() int64 { return c.attempts.Load() }

// RateDecreases returns how often the rate was decreased because the service throttled a request.
func (c *Client) RateDecreases() int { return c.cfg.Pacer.Decreases() }

// Close closes the connections that are kept alive and idle.
func (c *Client) Close() {
	if t, ok := c.cfg.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// An End says how a call ended.
type End int

const (
	// Undone means that the service has not made the group, or it has a GroupId and may be sent again; and
	// this call will not try any more, because its context has ended or the service takes nothing (Stop).
	Undone End = iota
	// Imported means that the service said OK.
	Imported
	// Standing means that a group with this GroupId stands already, and it is the record's.
	Standing
	// Rejected means that the record will never go in as it is.
	Rejected
	// Failed means that the service would not after all attempts. The group may be sent again.
	Failed
	// Unknown means that the record has no GroupId and an answer was lost: the group may exist.
	Unknown
)

// A Result is what became of a call.
type Result struct {
	End      End
	GroupID  string        // the one in force, as the service answered
	Code     int           // the service's, of the last answer; 0 if there was none
	Message  string        // why, unless Imported or Standing; for people
	Attempts int           // to import it, not counting those that were throttled or had to be signed again
	Took     time.Duration // of the last attempt
	At       time.Time     // when it ended

	// Of Undone alone:
	Rate bool // it was because of the rate, and nothing was made
	Lost bool // an answer was lost, or the group that stands could not be looked up: it may be the record's
}

// A Call is under way until Wait returns.
type Call struct {
	done   chan struct{}
	result Result
}

// Wait returns what became of the call.
func (c *Call) Wait() Result {
	<-c.done
	return c.result
}

// Done is closed when the call has ended.
func (c *Call) Done() <-chan struct{} { return c.done }

// Trust says that the service has taken groups of this caller before, so that 10007 is about a record and not about
// the caller. Without it a look-up finds that out.
func (c *Client) Trust() { c.taken.Store(true) }

// A Stop says why nothing will be taken until a person acts or time passes.
type Stop struct { //nolint:errname // it is a state of the client, and an error only for who waits for it
	Code   int    // the service's, 0 if it does not answer at all
	Reason string // for people: what is wrong and what to do
}

func (s *Stop) Error() string { return s.Reason }

// Stopped returns why nothing will be taken any more, or nil.
func (c *Client) Stopped() *Stop {
	if c.stopping.Err() == nil {
		return nil
	}
	s, _ := errors.AsType[*Stop](context.Cause(c.stopping))
	return s
}

func (c *Client) stopWith(ctx context.Context, s *Stop) {
	c.stop(s)
	if c.Stopped() == s { // the first one; who stops because of it says so too
		c.log.InfoContext(ctx, "service takes nothing", "code", s.Code, "reason", s.Reason)
	}
}

// ImportGroup starts a call that imports rec. It returns when the first attempt has had its turn, so
// calls that are started one after another go out in that order, or at once if it will have none.
//
// ctx decides whether another attempt is started. One that is under way is left to finish, within
// [AttemptTimeout] and the grace of the Config, even if ctx ends. rec must not change before the call's end.
func (c *Client) ImportGroup(ctx context.Context, rec *group.Record) *Call {
	c.queue()
	return c.start(ctx, rec, false)
}

// start starts a call that stands in the queue.
func (c *Client) start(ctx context.Context, rec *group.Record, try bool) *Call {
	call := &Call{done: make(chan struct{})}
	turn, err := c.turn(ctx)
	if err != nil {
		call.result = Result{Message: err.Error(), Rate: c.Stopped() == nil && !c.breaker.open(), At: time.Now()}
		close(call.done)
		return call
	}
	body := rec.AppendJSON(make([]byte, 0, 512)) // as most records have at most
	go func() {
		defer close(call.done)
		call.result = c.importGroup(ctx, rec, body, turn, try)
		call.result.At = time.Now()
	}()
	return call
}

// Try is [Client.ImportGroup] for somebody who waits for the answer. It does not wait for what the rate
// does not allow: if the first turn would come after ctx's deadline, or the service says too fast, the call
// ends at once, Undone, and Rate is set in its result.
func (c *Client) Try(ctx context.Context, rec *group.Record) *Call {
	before := c.queue()
	if deadline, ok := ctx.Deadline(); ok && c.Stopped() == nil && c.cfg.Pacer.Ahead(before) >= time.Until(deadline) {
		c.waiting.Add(-1)
		call := &Call{done: make(chan struct{}), result: Result{Message: "too many calls are waiting for their turn", Rate: true, At: time.Now()}}
		close(call.done)
		return call
	}
	return c.start(ctx, rec, true)
}

// Ahead returns how long a call that begins now will wait for its turn, as things stand.
func (c *Client) Ahead() time.Duration { return c.cfg.Pacer.Ahead(int(c.waiting.Load())) }

// importGroup makes one attempt after another; the first one's turn has come.
func (c *Client) importGroup(ctx context.Context, rec *group.Record, body []byte, t *turn, try bool) (r Result) {
	lost := false // an answer may have been lost
	defer func() { r.Lost = r.End == Undone && (r.Lost || lost) }()
	throttled := 0  // how often
	signed := false // signed anew after a refusal
	since := c.breaker.answered()
	for {
		if t != nil {
			a := c.attempt(ctx, t, importGroup, body)
			r.Attempts++
			r.Took, r.Code, r.Message = a.took, a.code, a.message
			if a.code != 0 || a.verdict == yes {
				r.GroupID = a.groupID
			}
			switch a.verdict {
			case yes:
				r.End, r.Message = Imported, ""
				r.GroupID = cmp.Or(a.groupID, rec.GroupID)
				return r
			case no:
				r.End = Rejected
				return r
			case stands:
				return c.reconcile(ctx, rec, r, lost)
			case doubtful:
				return c.settle(ctx, r, a, lost)
			case halt:
				return r // Undone
			case tooFast:
				r.Attempts--
				throttled++
				if try {
					r.Rate = !lost
					return r
				}
			case signAgain:
				if signed {
					c.stopWith(ctx, &Stop{Code: a.code, Reason: a.message})
					return r
				}
				signed = true
				r.Attempts--
			case notSent:
			case dontKnow:
				lost = true
				c.lostAt.Store(int64(time.Since(c.made)))
				if rec.GroupID == "" {
					r.End = Unknown
					r.Message = "the answer was lost, the group may exist: " + r.Message
					return r
				}
			}
			if r.Attempts >= c.cfg.MaxAttempts {
				end, again := c.exhausted(ctx, rec, r, lost, since)
				if !again {
					return end
				}
			} else if err := c.pause(ctx, a.verdict, r.Attempts, throttled); err != nil {
				r.Message = err.Error()
				return r // Undone
			}
		}
		c.queue()
		var err error
		if t, err = c.turn(ctx); err != nil {
			r.Message = err.Error()
			return r // Undone
		}
	}
}

// pause waits before the next attempt. The error says why there will be none.
func (c *Client) pause(ctx context.Context, v verdict, attempts, throttled int) error {
	switch v {
	case tooFast:
		return c.sleep(ctx, throttleWaits.Wait(throttled))
	case signAgain:
		return c.sleep(ctx, time.Second) // within the same second the UserSig would be the same
	default:
		return c.sleep(ctx, retryWaits.Wait(attempts))
	}
}

// sleep waits for d, or until ctx ends or the client stops. The error is the cause.
func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(c.stopping, func() { cancel(context.Cause(c.stopping)) })
	defer stop()
	return backoff.Sleep(ctx, d)
}

// exhausted ends a call whose attempts are used up. since is how many answers the breaker had counted
// when the call began. again says that another attempt is due: the service answered nobody until now, so
// that it was an outage and not the record that used up the attempts. That is so only once a call.
func (c *Client) exhausted(ctx context.Context, rec *group.Record, r Result, lost bool, since int64) (_ Result, again bool) {
	silent := c.breaker.answered() == since
	if !lost && !silent {
		r.End = Failed
		return r, false
	}
	// If answers were lost one of the attempts may have made the group. And if in all this time the
	// service answered nobody, asking it something harmless tells whether that is the record's fault.
	group, err := c.LookUp(ctx, cmp.Or(rec.GroupID, harmlessID))
	switch {
	case err != nil && (ctx.Err() != nil || c.Stopped() != nil):
		return r, false // Undone
	case err != nil && c.breaker.answered() == since:
		c.stopWith(ctx, unreachable(r.Message))
		return r, false // Undone
	case err == nil && lost && group.Found && len(group.differs(rec)) == 0:
		r.End, r.GroupID, r.Message = Standing, rec.GroupID, ""
		return r, false
	case silent:
		return r, true
	default:
		r.End = Failed
		return r, false
	}
}

// reconcile ends a call whose GroupId is in use: is the group that stands the record's own? lost says that an earlier
// attempt may have made it.
func (c *Client) reconcile(ctx context.Context, rec *group.Record, r Result, lost bool) Result {
	standing, err := c.LookUp(ctx, rec.GroupID)
	if err == nil && !standing.Found {
		standing, err = c.lookAgain(ctx, rec.GroupID)
	}
	switch {
	case err != nil && (ctx.Err() != nil || c.Stopped() != nil):
		r.Message, r.Lost = err.Error(), true // Undone
	case err != nil:
		r.End = Failed
		r.Message += "; the group that stands could not be looked up: " + err.Error()
	case !standing.Found && lost:
		r.End = Failed
		r.Message += "; but get_group_info shows no such group yet, which an earlier attempt may have created"
	case !standing.Found:
		r.End = Rejected
		r.Message = "the GroupId belongs to a group that was disbanded or is not visible: choose another GroupId"
	default:
		differing := standing.differs(rec)
		if len(differing) == 0 {
			r.End, r.GroupID, r.Message = Standing, rec.GroupID, ""
			return r
		}
		r.End = Rejected
		r.Message = "another group has this GroupId: " + differing.String()
	}
	return r
}

// lookAgain looks up a group that is in use and was not found, after secondLook. If an attempt of this process or of
// an earlier one may have created the group within the last readLag, it looks once more when that has passed.
func (c *Client) lookAgain(ctx context.Context, id string) (Group, error) {
	// An earlier process sent nothing after this client was made.
	shownBy := c.made.Add(time.Duration(c.lostAt.Load()) + readLag)
	for wait := secondLook; ; wait = time.Until(shownBy) {
		if err := c.sleep(ctx, wait); err != nil {
			return Group{}, err
		}
		isLast := !time.Now().Before(shownBy)
		standing, err := c.LookUp(ctx, id)
		if err != nil || standing.Found || isLast {
			return standing, err
		}
	}
}

// A turn is a permit to start one attempt, and its slot among those in flight.
type turn struct {
	*pacer.Permit
	probe bool
}

// queue counts in who will wait for a turn, and returns how many are before it. Who asks whether that is too
// many must be counted already: else many at once would all find the queue empty.
func (c *Client) queue() (before int) { return int(c.waiting.Add(1)) - 1 }

// turn waits until an attempt may start, for one who stands in the queue, and leaves it. The error is ctx's
// cause or the Stop.
func (c *Client) turn(ctx context.Context) (*turn, error) {
	defer c.waiting.Add(-1)
	for {
		if s := c.Stopped(); s != nil {
			return nil, s
		}
		probe, err := c.breaker.pass(ctx, c.stopping)
		if err != nil {
			return nil, err
		}
		t, err := c.slot(ctx)
		// While this one waited for its slot, others may have found out that the service does not answer.
		if err == nil && c.Stopped() == nil && (probe || !c.breaker.open()) {
			return &turn{Permit: t, probe: probe}, nil
		}
		if probe {
			c.breaker.abandoned()
		}
		if err != nil {
			return nil, err
		}
		t.Sent()
		c.limit.release(0)
	}
}

// slot waits for a slot among the attempts in flight, and then for a permit of the pacer.
func (c *Client) slot(ctx context.Context) (*pacer.Permit, error) {
	if err := c.limit.acquire(ctx, c.stopping); err != nil {
		return nil, err
	}
	t, err := c.cfg.Pacer.Acquire(ctx, c.stopping)
	if err != nil {
		c.limit.release(0)
	}
	return t, err
}
