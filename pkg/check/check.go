// Package check tries in the user's own account what no document tells for certain: that the bucket keeps what the
// imports rely on, that the IM service accepts the app, the key and the administrator, and that the function gets what
// it needs of its platform.
//
// [Checks] is the table of all checks; README.md beside this file shows it. A check creates no group and no account. It
// writes only what [results.IsOutput] knows, so that no import starts: below PREFIX.check.import/parts/, over HTTP
// below PREFIX.http/. It removes what it wrote, also when it is interrupted. What a process that was killed left is
// removed by a later check, see abandoned.
package check

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/config"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// A State is the state of a [Result].
type State string

// The states, from best to worst.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
)

// Words are a text in English and in Chinese.
type Words struct{ EN, ZH string }

// A Result is what one check saw.
type Result struct {
	Name   string `json:"name"`
	Proves string `json:"proves"`
	State  State  `json:"state"`
	Seen   string `json:"seen"`
	Do     string `json:"do,omitzero"` // what to do; empty only if the state is OK

	proves, do Words
}

// A Report is the result of all checks that are of use in one place.
type Report struct {
	State  State     `json:"state"` // the worst of all
	At     time.Time `json:"at"`    // when the first check began
	Where  string    `json:"where,omitzero"`
	Page   string    `json:"page,omitzero"` // key of the page with this report, empty if there is none
	Checks []Result  `json:"checks"`
}

// A Place is where checks run.
type Place int

// The places.
const (
	Local    Place = 1 << iota // the command
	Function                   // the function of imports, or that of the schedule
	HTTP                       // the HTTP function: its role writes little, and its time is short
)

const everywhere = Local | Function | HTTP

// A Check is one check.
type Check struct {
	Name     string // the first word is bucket, export, function, im, rate or trigger
	Proves   Words  // one sentence without a full stop
	Replaces string // the sentence of a README that the check replaces: what could not be verified without an account

	places Place // in which the check runs
	reads  bool  // a check of the bucket that is of use where nothing can be written
	run    func(ctx context.Context, s *session) finding
}

// A finding is a Result without the words of the table.
type finding struct {
	state State
	seen  string
	do    Words
}

func ok(format string, args ...any) finding {
	return finding{OK, fmt.Sprintf(format, args...), Words{}}
}

func warning(do Words, format string, args ...any) finding {
	return finding{Warning, fmt.Sprintf(format, args...), do}
}

func failed(do Words, format string, args ...any) finding {
	return finding{Failed, fmt.Sprintf(format, args...), do}
}

// after returns the words with one more sentence.
func (w Words) after(more Words) Words { return Words{w.EN + ". " + more.EN, w.ZH + "。" + more.ZH} }

// An Env is what is checked.
type Env struct {
	Place  Place
	Config config.Config
	Bucket blob.Bucket // of the exports
	Prefix string      // folder of the exports with its slash, or empty
	Where  string      // for people: the folder or address

	Platform *Platform // nil if no platform runs the program
	Sample   *Sample   // nil if no export was named

	// Transport sends the requests to the service; nil means one of its own. See [tim.Config].
	Transport http.RoundTripper

	// Change may adjust the settings of the client: over HTTP, the share of the rate. It may be nil.
	Change func(*tim.Config)

	// Dial connects to the service's hosts, by tcp4 or tcp6; nil means the network of this machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Owner names the process, and IsDead reports whether a process with such a name has certainly ended. Then what a
	// killed check left is removed at once, and else some minutes later. They may be empty.
	Owner  string
	IsDead func(owner string) bool

	Log *slog.Logger // nil discards
}

// A Sample is what a sample export has.
type Sample struct {
	Name         string
	Records      int      // that were read
	CustomFields []string // keys of AppDefinedData, sorted
}

const (
	checkTime  = 30 * time.Second // of one check
	tokenChars = 10               // of the random part of keys, 50 bits

	// Look-ups of the checks come beside the rate of the imports: the service counts each command by itself, and this is
	// little if it does not. Over HTTP they are in the rate that all instances share.
	lookUpRate = 10
)

// Run runs all checks that are of use in the place, which take up to a minute and a half if the service and the bucket
// respond. A check that takes longer than 30 s fails. When ctx ends, the remaining checks are warnings, and the error
// is the cause. Another error says that the configuration allows no client.
func Run(ctx context.Context, env Env) (Report, error) {
	report := Report{State: OK, At: time.Now().UTC(), Where: env.Where}
	s := &session{
		Env: env, folder: results.CheckFolder(env.Prefix), token: rand.Text()[:tokenChars], written: map[string]bool{},
		uploads: map[string]string{}, service: &recorder{base: env.Transport},
	}
	if env.Place == HTTP {
		s.folder = results.ResponsesFolder(env.Prefix) + report.At.Format(results.DayFormat) + "/"
	}
	if env.Transport == nil {
		s.service.base = newTransport()
	}
	if s.Dial == nil {
		s.Dial = (&net.Dialer{Timeout: dialTime}).DialContext
	}
	if env.Platform == nil || env.Platform.SecretErr == nil {
		if err := s.open(); err != nil {
			return report, err
		}
		defer s.client.Close()
	}
	for _, c := range Checks() {
		if !c.isFor(&env) {
			continue
		}
		f := warning(Words{"run the check again", "请重新运行检查"}, "not checked: the check ended before")
		if ctx.Err() == nil {
			f = s.try(ctx, &c)
		}
		report.add(&c, f)
	}
	err := context.Cause(ctx)
	if err := s.cleanUp(ctx); err != nil && !s.isDenied {
		report.setLeft(s.doRemove(), err)
	}
	return report, err
}

// try runs one check.
func (s *session) try(ctx context.Context, c *Check) finding {
	subject, _, _ := strings.Cut(c.Name, " ")
	isOfStore := subject == "bucket" || subject == "trigger"
	if s.isDenied && isOfStore && !c.reads {
		return warning(Words{"see bucket write", "见 bucket write"}, "not checked: this user or role may not write")
	}
	limit := checkTime
	if subject == "im" && s.Place != HTTP { // a few look-ups, also at the lowest rate
		limit = max(limit, time.Duration(float64(slowLookUps)/s.Config.Rate*float64(time.Second)))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if isOfStore && time.Since(s.marked) > markEvery {
		_ = s.mark(ctx) // bucket write says what is wrong
	}
	return c.run(ctx, s)
}

// IsIn reports whether the check runs in the place.
func (c *Check) IsIn(p Place) bool { return c.places&p != 0 }

// isFor reports whether the check is of use for what is checked.
func (c *Check) isFor(env *Env) bool {
	subject, _, _ := strings.Cut(c.Name, " ")
	return c.IsIn(env.Place) && (subject != "function" || env.Platform != nil) &&
		(subject != "export" || env.Sample != nil)
}

// add adds the result of a check.
func (r *Report) add(c *Check, f finding) {
	// Errors of stores and of the network may hold anything.
	seen := tim.Redact(strings.ToValidUTF8(strings.Join(strings.Fields(f.seen), " "), "\uFFFD"))
	r.Checks = append(r.Checks, Result{
		Name: c.Name, Proves: c.Proves.EN, State: f.state, Seen: seen, Do: f.do.EN, proves: c.Proves, do: f.do,
	})
	if f.state == Failed || f.state == Warning && r.State == OK {
		r.State = f.state
	}
}

// setLeft says in the report that something of the checks may be left in the bucket.
func (r *Report) setLeft(do Words, err error) {
	i := slices.IndexFunc(r.Checks, func(c Result) bool { return c.Name == "bucket delete" })
	if i < 0 || r.Checks[i].State == Failed {
		return
	}
	c := &r.Checks[i]
	c.State, c.Seen, c.Do, c.do = Warning, "not all of this check was removed: "+oneLine(err), do.EN, do
	if r.State == OK {
		r.State = Warning
	}
}

// A session is one run of all checks. Its checks run one after another.
type session struct {
	Env

	folder  string
	token   string            // random: two runs at the same time do not meet
	written map[string]bool   // keys that may hold an object
	uploads map[string]string // IDs of uploads that may exist, by key
	marked  time.Time         // when the marker was written

	isDenied bool // nothing can be written

	client     *tim.Client // nil without a key
	service    *recorder
	authorized bool   // the service has accepted a request
	event      *event // of the probe, nil if none was seen
}

// open creates the client.
func (s *session) open() error {
	c := s.Config
	if s.Place != HTTP {
		c.Rate = min(c.Rate, lookUpRate)
	}
	var err error
	s.client, err = c.Clients(s.Log, func(t *tim.Config) {
		if s.Change != nil {
			s.Change(t)
		}
		t.Transport = s.service
	})()
	return err
}

// key returns a key for an object, which is removed at the end. Over HTTP it is the hash that its role may write.
func (s *session) key(name string) string {
	key := s.folder + s.token + "-" + name
	if s.Place == HTTP {
		sum := sha256.Sum256([]byte(s.token + name))
		key = s.folder + hex.EncodeToString(sum[:])
	}
	s.written[key] = true
	return key
}

// isProbe reports whether a key of a check is that of a probe.
func isProbe(key string) bool {
	return strings.HasSuffix(key, quietSuffix) || strings.HasSuffix(key, loudSuffix)
}

// keys returns the keys that may hold an object, those of probes first, see [Answer].
func (s *session) keys() []string {
	rank := func(key string) int {
		if isProbe(key) {
			return 0
		}
		return 1
	}
	return slices.SortedFunc(maps.Keys(s.written), func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
}
