// Package check tries in the user's own account what no document tells for certain: that the bucket keeps what the
// imports rely on, and that the IM service accepts the app, the key and the administrator.
//
// [Checks] is the table of all checks. A check creates no group and no account. It writes only below the folder
// PREFIX.check.import/parts/, whose names start no import, and removes what it wrote.
package check

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/config"
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

// A Result is what one check saw.
type Result struct {
	Name   string `json:"name"`
	Proves string `json:"proves"`
	State  State  `json:"state"`
	Seen   string `json:"seen"`
	Do     string `json:"do,omitzero"` // what to do; empty only if the state is OK
}

// A Check is one check.
type Check struct {
	Name   string // the first word is bucket, im or rate
	Proves string // one sentence without a full stop
	run    func(ctx context.Context, s *session) finding
}

// A finding is a Result without the words of the table.
type finding struct {
	state    State
	seen, do string
}

func ok(format string, args ...any) finding { return finding{OK, fmt.Sprintf(format, args...), ""} }

func warning(do, format string, args ...any) finding {
	return finding{Warning, fmt.Sprintf(format, args...), do}
}

func failed(do, format string, args ...any) finding {
	return finding{Failed, fmt.Sprintf(format, args...), do}
}

// Checks returns all checks in the order in which [Run] runs them.
func Checks() []Check {
	return []Check{
		{"bucket write", "objects can be written, and are read and described as written", checkWrite},
		{"bucket list", "a list shows a new object", checkList},
		{"bucket range", "a range is read of one version only", checkRange},
		{"bucket create", "an existing object is not overwritten by a conditional write", checkCreate},
		{"bucket races", "of two conditional writes at the same moment one succeeds, ten times over", checkRaces},
		{"bucket create after delete", "a key can be created again once its object is deleted", checkCreateAfterDelete},
		{"bucket upload", "a multipart upload can be completed, and an aborted one leaves nothing", checkUpload},
		{"bucket keys", "keys with spaces, +, % and Chinese characters are kept as they are", checkKeys},
		{"bucket delete", "a deleted object is gone, and nothing of this check is left", checkDelete},
		{"im host", "the service's host resolves, connects and has valid TLS", checkHost},
		{"im backup host", "the backup host resolves, connects and has valid TLS", checkBackup},
		{"im clock", "the clocks of this machine and of the service agree", checkClock},
		{"im access", "the service accepts the app, the key and the administrator", checkAccess},
		{"im unknown group", "the service says that a group does not exist by the documented code 10010", checkUnknown},
		{"im latency", "responses arrive early enough for the rate", checkLatency},
		{"rate", "TIM_RATE leaves the service's limit of 200 attempts a second to others of the app", checkRate},
	}
}

// An Env is what is checked.
type Env struct {
	Config config.Config
	Bucket blob.Bucket // of the exports
	Prefix string      // folder of the exports with its slash, or empty

	// Transport sends the requests to the service; nil means one of its own. See [tim.Config].
	Transport http.RoundTripper

	Log *slog.Logger // nil discards
}

const (
	checkTime   = 30 * time.Second // of one check
	cleanupTime = 10 * time.Second // of all deletes
	tokenChars  = 10               // of the random part of keys, 50 bits
)

// Folder returns the folder of the objects that checks write below a prefix.
func Folder(prefix string) string { return prefix + ".check.import/parts/" }

// Run runs all checks, which take up to a minute if the service and the bucket respond. A check that takes longer than
// 30 s fails. The error says that the configuration allows no client, or that ctx ended before the last check.
func Run(ctx context.Context, env Env) ([]Result, error) {
	s := &session{
		Env: env, folder: Folder(env.Prefix), token: rand.Text()[:tokenChars], written: map[string]bool{},
		service: &recorder{base: env.Transport},
	}
	if env.Transport == nil {
		s.service.base = newTransport()
	}
	var err error
	s.client, err = env.Config.Clients(env.Log, func(c *tim.Config) { c.Transport = s.service })()
	if err != nil {
		return nil, err
	}
	defer s.client.Close()
	defer s.cleanUp(ctx)
	var all []Result
	for _, c := range Checks() {
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		limited, cancel := context.WithTimeout(ctx, checkTime)
		f := c.run(limited, s)
		cancel()
		all = append(all, Result{Name: c.Name, Proves: c.Proves, State: f.state, Seen: f.seen, Do: f.do})
	}
	return all, nil
}

// Worst returns the worst state of results, OK if there are none.
func Worst(results []Result) State {
	worst := OK
	for _, r := range results {
		if r.State == Failed || r.State == Warning && worst == OK {
			worst = r.State
		}
	}
	return worst
}

// A session is one run of all checks. Its checks run one after another.
type session struct {
	Env

	folder  string
	token   string          // random: two runs at the same time do not meet
	written map[string]bool // keys that may hold an object

	client     *tim.Client
	service    *recorder
	authorized bool // the service has accepted a request
}

// key returns a key for an object, which is removed at the end.
func (s *session) key(name string) string {
	key := s.folder + s.token + "-" + name
	s.written[key] = true
	return key
}

// cleanUp removes what the checks wrote, also if ctx has ended.
func (s *session) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	for key := range s.written {
		if err := s.Bucket.Delete(ctx, key); err != nil && s.Log != nil {
			s.Log.WarnContext(ctx, "object of the check not removed", "key", key, "err", err)
		}
	}
}
