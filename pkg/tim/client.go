// Package tim is a client of the Tencent Cloud IM REST API, as far as an import of groups needs it: import_group,
// create_group, get_group_info to look up existing groups, import_group_member, account_check to say why a member was
// not added, and multiaccount_import.
//
// # Calls and attempts
//
// A call is all that is done for one record, an attempt one HTTP exchange. Each attempt waits, in this order, for the
// circuit breaker, for its turn among the imports that share the rate (see Share), for an in-flight slot (see
// inFlightLimit) and for a permit of the pacer, so that nothing delays its first byte after the permit. The body alone
// decides about an attempt: the service responds to nearly everything with HTTP 200.
//
// An attempt ends in yes, no or unknown. Unknown is a time-out, a broken connection, a 5xx, an unreadable response, and
// also the codes of class Transient, because the service does not say whether it created the group before it failed.
// After unknown, a record with a GroupId is sent again: the service rejects the second request (10021), and the
// existing group can be looked up. A record without a GroupId is not sent again, because that would create a second
// group.
//
// Some rejections are either about one record or about all requests: HTTP 3xx and 4xx, which are not the service's own,
// and codes that are in no list. A harmless look-up decides (see ambiguous.go): if the service accepts it, the record
// is Rejected or Failed, otherwise the error is fatal.
//
// # Hosts and connections
//
// The client uses the backup host of a region if it cannot connect to the main host, and never for a request that the
// main host may have received (see route). It does not use connections that were idle for long (see maxIdle), because a
// function may have been frozen.
//
// # Secrets
//
// The UserSig is part of every URL. This package puts no URL into its own errors, calls the transport below
// [http.Client], whose errors would quote the URL, and removes secrets from the transport's errors. It also removes
// them from responses, because there are proxies whose error page quotes the request.
package tim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"groupimport/pkg/pacer"
)

const (
	// AttemptTimeout ends an attempt without a response. The service's own limit is 3 s (REST API FAQ). The client's
	// limit must be longer, or the client gives up on responses that are on their way.
	AttemptTimeout = 10 * time.Second

	defaultMaxAttempts = 5
)

// Config has the settings of a Client.
type Config struct {
	SDKAppID  int
	Admin     string       // identifier: an app administrator
	SecretKey string       `json:"-"` // never logged
	Endpoint  string       // base URL without a slash at its end, see [Endpoint]
	Backup    string       // used if no connection to Endpoint succeeds, see [Backup]; empty for none
	Insecure  bool         // allows http to a host that is not this machine, see [CheckEndpoint]
	Pacer     *pacer.Pacer // every attempt about a group acquires a permit of it
	Rate      float64      // of the pacer, attempts a second

	MemberPacers   *MemberPacers // of the attempts about members; nil means its own, for DefaultMemberRate
	MembersPerCall int           // of import_group_member, at most; zero means 20

	// ImportAccounts creates the accounts of owners and members that do not exist. Before a group is sent, account_check
	// is asked for its owner.
	ImportAccounts bool

	// Permit waits until an attempt may start, after the permit of the Pacer, if several processes share a rate. The call
	// ends with its error. Nil means that no other process counts.
	Permit func(context.Context) error

	MaxAttempts int // a call, and one more if nobody got a response meanwhile; zero means 5

	// MaxInFlight limits the attempts in flight. Zero means what the rate needs while the service responds within 3 s,
	// at most 900, and 128 for a rate above 1,000 a second.
	MaxInFlight int

	// DrainTimeout limits how long an attempt in flight may continue after the context of its call has ended; zero means
	// AttemptTimeout. The end of an attempt that was cut off is unknown.
	DrainTimeout time.Duration

	// Transport sends requests; nil means one that keeps a connection alive for each attempt in flight.
	// It must report [httptrace.ClientTrace]'s GotConn and WroteRequest, as [http.Transport] does.
	Transport http.RoundTripper

	Log *slog.Logger // nil discards
}

// Format writes the settings without the key, for every verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, c.LogValue()) } // f keeps no error

// LogValue returns the settings without the key.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("sdk_app_id", c.SDKAppID), slog.String("admin", c.Admin), slog.String("endpoint", c.Endpoint),
		slog.String("backup", c.Backup), slog.Float64("rate", c.Rate), slog.Int("max_attempts", c.MaxAttempts),
		slog.Duration("drain_timeout", c.DrainTimeout),
	)
}

// A Client calls the service. It may be used concurrently.
type Client struct {
	// cfg has no key: fmt would print it here without the methods of Config. Behind a pointer fmt prints nothing.
	cfg     Config
	urls    [2]map[string]*url.URL // by host, of the commands, without the UserSig and the parameters behind it
	route   route
	signer  *signer
	lanes   [laneCount]*lane
	breaker *breaker
	log     *slog.Logger

	lookups  gatherer[entry]
	checks   gatherer[bool]
	imports  gatherer[bool] // of accounts
	known    accountSet     // accounts that exist, with ImportAccounts
	imported accountSet     // accounts that were sent to multiaccount_import

	membersPerCall atomic.Int64 // decreases when the service says that a call has too many

	// done ends with a fatal error, which is its cause.
	done   context.Context // it belongs to the client and not to a call
	cancel context.CancelCauseFunc

	own        *Share      // of calls without another one
	authorized atomic.Bool // the service has accepted a request of this caller

	checkRefused atomic.Bool // account_check is refused, and that is logged
	quota        quotaWatch
	accepted     atomic.Int64 // attempts that the service accepted, or rejected because the group already exists
	created      time.Time
	lostAt       atomic.Int64 // nanoseconds after created when a response for a record with a GroupId was last lost

	useMu   sync.Mutex
	lastUse time.Time // of the connections
}

// New returns a Client. The error is about the endpoint or the backup, which must be an http or https URL with a host
// and perhaps a path, and not send the UserSig in clear text, see [CheckEndpoint].
func New(cfg Config) (*Client, error) {
	query := "sdkappid=" + strconv.Itoa(cfg.SDKAppID) +
		"&identifier=" + strings.ReplaceAll(url.QueryEscape(cfg.Admin), "+", "%20") + // not every server decodes a +
		"&contenttype=json&usersig="
	var urls [2]map[string]*url.URL
	var err error
	if urls[mainHost], err = commandURLs(cfg.Endpoint, cfg.Insecure, query); err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	if cfg.Backup != "" {
		if urls[backupHost], err = commandURLs(cfg.Backup, cfg.Insecure, query); err != nil {
			return nil, fmt.Errorf("backup: %w", err)
		}
	}
	signer := &signer{sdkAppID: cfg.SDKAppID, admin: cfg.Admin, key: cfg.SecretKey}
	cfg.SecretKey = ""
	cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, defaultMaxAttempts)
	cfg.MembersPerCall = cmp.Or(cfg.MembersPerCall, defaultMembersPerCall)
	if cfg.MemberPacers == nil {
		cfg.MemberPacers = NewMemberPacers(DefaultMemberRate)
	}
	lanes := newLanes(&cfg)
	if cfg.Transport == nil {
		slots := 0
		for _, l := range lanes {
			slots += l.limit.max
		}
		cfg.Transport = newTransport(slots)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		cfg:     cfg,
		urls:    urls,
		signer:  signer,
		lanes:   lanes,
		breaker: newBreaker(),
		log:     cfg.Log,
		created: time.Now(),
	}
	c.lookups.max, c.lookups.ask = maxLookUp, c.lookUp
	c.checks.max, c.checks.ask = maxAccounts, c.checkAccounts
	c.imports.max, c.imports.ask = maxAccounts, c.importAccounts
	c.known.seed, c.imported.seed = maphash.MakeSeed(), maphash.MakeSeed()
	c.membersPerCall.Store(int64(cfg.MembersPerCall))
	c.route.hasBackup = cfg.Backup != ""
	c.done, c.cancel = context.WithCancelCause(context.Background())
	c.own = c.NewShare(ShareConfig{DrainTimeout: cmp.Or(cfg.DrainTimeout, AttemptTimeout)})
	return c, nil
}

// commandURLs returns the URLs of the commands below a base URL, with the same query.
func commandURLs(endpoint string, insecure bool, query string) (map[string]*url.URL, error) {
	base, err := parseEndpoint(endpoint)
	if err == nil {
		err = checkClearText(base, insecure)
	}
	if err != nil {
		return nil, err
	}
	base.Path = cmp.Or(base.Path, "/") // JoinPath would return a relative URL
	urls := map[string]*url.URL{}
	for command, service := range services {
		urls[command] = base.JoinPath("v4", service, command)
		urls[command].RawQuery = query
	}
	return urls, nil
}

// AssumeFull sends nothing until a second after now, as if another process had just used up the rates.
func (c *Client) AssumeFull() {
	for _, l := range c.lanes {
		l.pacer.AssumeFull()
	}
}

// Attempts returns the number of attempts of all calls and look-ups of groups.
func (c *Client) Attempts() int64 { return c.lanes[groupLane].attempts.Load() }

// MemberAttempts returns the number of attempts to import members, and to check and import accounts.
func (c *Client) MemberAttempts() int64 {
	return c.lanes[memberLane].attempts.Load() + c.lanes[checkLane].attempts.Load() + c.lanes[accountLane].attempts.Load()
}

// RateDecreases returns how often a rate was decreased because the service throttled a request.
func (c *Client) RateDecreases() int {
	n := 0
	for _, l := range c.lanes {
		n += l.pacer.Decreases()
	}
	return n
}

// Ahead estimates how long a call of ImportGroup that begins now will wait for a permit.
func (c *Client) Ahead() time.Duration {
	return c.cfg.Pacer.Ahead(int(c.lanes[groupLane].waiting.Load()))
}

// Close closes the idle connections.
func (c *Client) Close() {
	if t, ok := c.cfg.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// A FatalError says why the service will accept no request until an operator acts or time passes.
type FatalError struct {
	Code   int    // the service's, 0 if it does not respond at all
	Reason string // for operators: what is wrong and what to do
}

func (e *FatalError) Error() string { return e.Reason }

// Fatal returns the fatal error that has ended the client's work, nil if there is none.
func (c *Client) Fatal() *FatalError {
	if c.done.Err() == nil {
		return nil
	}
	e, _ := errors.AsType[*FatalError](context.Cause(c.done))
	return e
}

// fail ends the client's work with a fatal error. Only the first call has an effect.
func (c *Client) fail(ctx context.Context, e *FatalError) {
	c.cancel(e)
	if c.Fatal() == e {
		c.log.InfoContext(ctx, "fatal error, no more requests", "code", e.Code, "reason", e.Reason)
	}
}
