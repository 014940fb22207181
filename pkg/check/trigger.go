package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/backoff"
	"groupimport/pkg/blob"
	"groupimport/pkg/lease"
	"groupimport/pkg/results"
)

// How a function sees its own triggers: the check writes two probes. The loud one has the name of an export, and an odd
// one. The quiet one has the name of a part. An invocation that gets an event about a probe writes beside it what the
// event said, see [Answer]: once for the loud one, and never for the quiet one.
const (
	loudSuffix  = "-loud a+b%20c&群组.jsonl"
	quietSuffix = "-quiet"
	seenSuffix  = "-seen" // behind the suffix of a probe, without its name

	eventWait = 20 * time.Second // for the event of the loud probe
	eventPoll = time.Second
	quietWait = 2 * time.Second // once the loud one's has come
)

// An event is what an invocation says of the event of a probe.
type event struct {
	Raw     string   `json:"raw"`     // key as the event has it
	Keys    []string `json:"keys"`    // what it may mean
	Lease   string   `json:"lease"`   // owner that refused the lease of the check, empty if the invocation got it
	Problem string   `json:"problem"` // another error of the lease
	Invoked string   `json:"invoked"` // ID of the invocation
}

// probeOf returns the beginning of the keys of a check and the suffix of the probe, if key is that of a probe. The key
// of the loud probe may be garbled behind its first word.
func probeOf(prefix, key string) (base, suffix string, ok bool) {
	folder := results.CheckFolder(prefix)
	name, isBelow := strings.CutPrefix(key, folder)
	if !isBelow || len(name) < tokenChars || strings.Trim(name[:tokenChars], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return "", "", false
	}
	base, rest := folder+name[:tokenChars], name[tokenChars:]
	word, _, _ := strings.Cut(loudSuffix, " ")
	switch {
	case rest == quietSuffix:
		return base, quietSuffix, true
	case strings.HasPrefix(rest, word):
		return base, loudSuffix, true
	}
	return "", "", false
}

// seenKey is the key of what an invocation says of the event of a probe.
func seenKey(base, suffix string) string {
	kind := "quiet"
	if suffix == loudSuffix {
		kind = "loud"
	}
	return base + seenSuffix + "-" + kind
}

// Answer reports whether one of the possible keys of an event, whose key is raw there, is that of a probe. If so,
// Answer tells the check what the event said, and whether this invocation could get the lease that the check has.
func Answer(ctx context.Context, b blob.Bucket, prefix, raw string, keys []string, invoked string) (bool, error) {
	i := slices.IndexFunc(keys, func(key string) bool {
		_, _, ok := probeOf(prefix, key)
		return ok
	})
	if i < 0 {
		return false, nil
	}
	base, suffix, _ := probeOf(prefix, keys[i])
	probe, answer := base+suffix, seenKey(base, suffix)
	if _, err := b.Stat(ctx, probe); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil // the check has ended: nobody would remove the answer
		}
		return true, err
	}
	var taken []string // keys that nobody else removes if the check ends meanwhile
	e := event{Raw: raw, Keys: keys, Invoked: invoked}
	if suffix == loudSuffix {
		l, err := lease.Acquire(ctx, b, base+"/", "invocation "+invoked, nil)
		busy, isBusy := errors.AsType[*lease.BusyError](err)
		switch {
		case isBusy:
			e.Lease = busy.Owner
		case err != nil:
			e.Problem = err.Error()
		default:
			taken = append(taken, lease.Key(base+"/", l.Number))
			_ = l.Release(ctx) // the check removes it
		}
	}
	data, err := json.Marshal(e, jsontext.AllowInvalidUTF8(true)) // an event may say anything
	if err != nil {
		return true, err
	}
	if err := b.Put(ctx, answer, strings.NewReader(string(data))); err != nil {
		return true, err
	}
	if _, err := b.Stat(ctx, probe); !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	// The check has ended. It removes probes first: if the probe is still there, the answer is removed too.
	for _, key := range append(taken, answer) {
		err = errors.Join(err, b.Delete(ctx, key))
	}
	return true, err
}

// saw returns what an invocation said of a probe, nil if none did.
func (s *session) saw(ctx context.Context, suffix string) (*event, error) {
	const maxEvent = 16 << 10 // bytes
	data, err := blob.ReadAll(ctx, s.Bucket, seenKey(s.folder+s.token, suffix), maxEvent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // there is none
	}
	if err != nil {
		return nil, err
	}
	e := &event{}
	return e, json.Unmarshal(data, e)
}

func checkTrigger(ctx context.Context, s *session) finding {
	owner := "check " + s.Platform.Invoked
	l, err := s.acquire(ctx, owner)
	if err != nil {
		return storeFailed(doCreate, "acquire: %v", err)
	}
	defer func() { _ = l.Release(context.WithoutCancel(ctx)) }() // it is removed in any case
	for _, suffix := range []string{quietSuffix, loudSuffix} {
		s.written[seenKey(s.folder+s.token, suffix)] = true
		if err := s.Bucket.Put(ctx, s.key(suffix[1:]), strings.NewReader("probe")); err != nil {
			return storeFailed(doAccess, "write: %v", err)
		}
	}
	key := s.key(loudSuffix[1:])
	start := time.Now()
	for s.event == nil {
		if s.event, err = s.saw(ctx, loudSuffix); err != nil {
			return storeFailed(doAccess, "read: %v", err)
		}
		if s.event == nil && time.Since(start) >= eventWait {
			return warning(Words{
				"run the check with the schedule function, while no import runs: on AWS the import function handles one event at " +
					"a time. If it stays, compare the triggers of the import function with the template",
				"请在没有导入运行时用定时函数运行检查：AWS 上导入函数同一时间只处理一个事件。若仍存在，请对照模板检查导入函数的触发器",
			}, "no event about the new object %q within %v", key, eventWait)
		}
		if err := backoff.Sleep(ctx, eventPoll); err != nil && s.event == nil {
			return storeFailed(doStore, "no event about the new object %q: %v", key, err)
		}
	}
	took := time.Since(start).Round(eventPoll)
	if !slices.Contains(s.event.Keys, key) {
		return failed(Words{
			"tell the maintainers what the event said. Until then such names are found by the schedule alone",
			"请将事件内容告知维护者。在此之前此类名称只能由定时函数发现",
		}, "the event said %q of the new object %q", s.event.Raw, key)
	}
	how := "escaped"
	if s.event.Raw == key || strings.HasSuffix(s.event.Raw, "/"+key) {
		how = "as it is"
	}
	return ok("the event came within %v, with the key %s: %q", took, how, s.event.Raw)
}

// noEvent is the finding where no event of the loud probe came.
func noEvent(do Words) finding { return warning(do, "not seen: no event came, see trigger export") }

func checkOwnObjects(ctx context.Context, s *session) finding {
	if s.event == nil {
		return noEvent(Words{
			fmt.Sprintf("look at the import function's invocations of the last minute, in its log or metrics: none may be "+
				"about %q",
				s.key(quietSuffix[1:])),
			fmt.Sprintf("请在导入函数的日志或监控中查看最近一分钟的调用：不应有关于 %q 的调用", s.key(quietSuffix[1:])),
		})
	}
	if err := backoff.Sleep(ctx, quietWait); err != nil {
		return storeFailed(doStore, "%v", err)
	}
	switch e, err := s.saw(ctx, quietSuffix); {
	case err != nil:
		return storeFailed(doAccess, "read: %v", err)
	case e != nil:
		return warning(Words{
			"remove triggers of the import function that the template does not have: you pay for an invocation of each write, " +
				"which the function ignores. On SCF deploy without --one-rule, if the bucket has room for the rules",
			"请删除模板中没有的导入函数触发器：每次写入都会产生一次被函数忽略的收费调用。若 SCF 存储桶的规则数允许，请不使用 --one-rule 部署",
		}, "an event came about %q, which the program wrote", e.Raw)
	}
	return ok("no event came about an object of the program, and one about an export did")
}

func checkTwoInvocations(_ context.Context, s *session) finding {
	if s.event == nil {
		return noEvent(Words{
			"run the check twice at once, and compare the bucket's checks of both", "请同时运行两次检查，并对照两次的存储桶检查",
		})
	}
	switch want := "check " + s.Platform.Invoked; {
	case s.event.Problem != "":
		return storeFailed(doCreate, "invocation %s: %s", s.event.Invoked, s.event.Problem)
	case s.event.Lease != want:
		return storeFailed(doCreate, "invocation %s got the lease that this one has", s.event.Invoked)
	}
	return ok("invocation %s was refused the lease that this one has", s.event.Invoked)
}
