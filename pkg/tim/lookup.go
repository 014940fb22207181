package tim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

const (
	lookUpMost   = 50 // IDs a call of get_group_info (tencentcloud.com/document/product/1047/34962)
	lookUpGather = 50 * time.Millisecond
)

// codes of a single group in an answer of get_group_info that mean that there is none.
const (
	codeNoGroup   = 10010
	codeIllegalID = 10015
)

// A Group is what stands under an ID.
type Group struct {
	Found        bool
	Type         string // the service's word, old or new
	Name         string
	OwnerAccount string
	CreateTime   int64 // Unix time in seconds
}

// differences are the fields in which a standing group is not the record's.
type differences []difference

type difference struct{ field, record, standing string }

// String says both sides of each difference.
func (d differences) String() string {
	texts := make([]string, len(d))
	for i, f := range d {
		texts[i] = fmt.Sprintf("%s is %q there and %q in the record", f.field, f.standing, f.record)
	}
	return strings.Join(texts, ", ")
}

// Differences says in which fields a group that stands is not the record's, empty if it is. A field that
// the record leaves to the service does not count.
func (g Group) Differences(rec *group.Record) string { return g.differs(rec).String() }

// differs compares what the service and the record both say about a group. A record without a
// CreateTime left it to the service, so that it says nothing.
func (g Group) differs(rec *group.Record) differences {
	var d differences
	if t, ok := group.ParseType(g.Type); !ok || t != rec.Type {
		d = append(d, difference{"Type", string(rec.Type), g.Type})
	}
	if g.Name != rec.Name {
		d = append(d, difference{"Name", rec.Name, g.Name})
	}
	if g.OwnerAccount != rec.OwnerAccount {
		d = append(d, difference{"Owner_Account", rec.OwnerAccount, g.OwnerAccount})
	}
	if rec.CreateTime != 0 && g.CreateTime != rec.CreateTime {
		d = append(d, difference{"CreateTime", fmt.Sprint(rec.CreateTime), fmt.Sprint(g.CreateTime)})
	}
	return d
}

// lookups gathers the IDs that are asked for within a moment into one request.
type lookups struct {
	mu        sync.Mutex
	gathering *batch
}

type batch struct {
	ids     []string
	waiting int                     // callers whose context has not ended
	cancel  context.CancelCauseFunc // ends the look-up once nobody waits
	full    chan struct{}           // closed when no more IDs fit
	done    chan struct{}           // closed when found and err are set
	found   map[string]entry
	err     error
}

// An entry is what get_group_info says about one ID.
type entry struct {
	group Group
	err   error
}

// join adds id to the batch that is being gathered. If there is none it begins one, and send is to send it.
func (l *lookups) join(ctx context.Context, id string, send func(context.Context, *batch)) *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.gathering
	if b == nil {
		b = &batch{full: make(chan struct{}), done: make(chan struct{})}
		l.gathering = b
		// The batch is everybody's, so that it does not end with the context of who began it.
		ctx, b.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		go send(ctx, b)
	}
	b.ids = append(b.ids, id)
	b.waiting++
	if len(b.ids) == lookUpMost {
		close(b.full)
		l.gathering = nil
	}
	return b
}

// leave says that a caller's context has ended, and reports whether it was the last one.
func (l *lookups) leave(ctx context.Context, b *batch) (last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.waiting--
	if b.waiting > 0 {
		return false
	}
	if l.gathering == b {
		l.gathering = nil
	}
	b.cancel(context.Cause(ctx))
	return true
}

// close closes the batch to others.
func (l *lookups) close(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gathering == b {
		l.gathering = nil
	}
}

// LookUp returns the group that stands under id. Calls of about the same time share a request. When ctx
// ends a request under way is waited for, no longer than the grace of the Config.
func (c *Client) LookUp(ctx context.Context, id string) (Group, error) {
	b := c.lookups.join(ctx, id, c.send)
	select {
	case <-b.done:
	case <-ctx.Done():
		var grace <-chan time.Time
		if !c.lookups.leave(ctx, b) { // else it ends by itself
			timer := time.NewTimer(time.Duration(c.grace.Load()))
			defer timer.Stop()
			grace = timer.C
		}
		select {
		case <-b.done:
		case <-grace:
			return Group{}, context.Cause(ctx)
		}
	}
	since := c.accepted.Load()
	found, err := b.found, b.err
	if err != nil && len(b.ids) > 1 && ctx.Err() == nil && c.Stopped() == nil {
		found, err = c.lookUp(ctx, []string{id}) // one of the others may be to blame
	}
	if _, ok := errors.AsType[*doubt](err); ok && c.accepts(ctx, since) != nil && c.Stopped() != nil {
		err = c.Stopped()
	}
	if err != nil {
		return Group{}, err
	}
	return found[id].group, found[id].err
}

// send looks up what is gathered within a moment.
func (c *Client) send(ctx context.Context, b *batch) {
	timer := time.NewTimer(lookUpGather)
	select {
	case <-timer.C:
	case <-b.full:
	case <-ctx.Done():
	}
	timer.Stop()
	c.lookups.close(b)
	b.found, b.err = c.lookUp(ctx, b.ids)
	b.cancel(nil)
	close(b.done)
}

// lookUp asks for up to lookUpMost groups, as often as an attempt may be repeated. Those that do not
// stand may be missing from what it returns.
func (c *Client) lookUp(ctx context.Context, ids []string) (map[string]entry, error) {
	type filter struct {
		GroupBaseInfoFilter []string `json:"GroupBaseInfoFilter"`
	}
	body, err := json.Marshal(struct {
		GroupIDList    []string `json:"GroupIdList"`
		ResponseFilter filter   `json:"ResponseFilter"`
	}{slices.Compact(slices.Sorted(slices.Values(ids))), filter{[]string{"Type", "Name", "Owner_Account", "CreateTime"}}})
	if err != nil {
		return nil, err
	}
	throttled, signed := 0, false
	for n := 1; ; n++ {
		c.queue()
		t, err := c.turn(ctx)
		if err != nil {
			return nil, err
		}
		a := c.attempt(ctx, t, getGroupInfo, body)
		switch a.verdict {
		case yes:
			return readGroups(a.body)
		case no, stands:
			return nil, errors.New("get_group_info: " + a.message)
		case halt:
			return nil, c.Stopped()
		case doubtful:
			return nil, a.doubt
		case signAgain:
			if signed {
				c.stopWith(ctx, &Stop{Code: a.code, Reason: a.message})
				return nil, c.Stopped()
			}
			signed = true
			n--
		case tooFast:
			throttled++
			n--
		case dontKnow, notSent:
		}
		if n >= c.cfg.MaxAttempts {
			return nil, errors.New("get_group_info: " + a.message)
		}
		if err := c.pause(ctx, a.verdict, n, throttled); err != nil {
			return nil, err
		}
	}
}

// readGroups reads an answer of get_group_info. Groups are matched by their IDs: the order of the
// answer is not promised.
func readGroups(body []byte) (map[string]entry, error) {
	var ans struct {
		GroupInfo []struct {
			GroupID      string `json:"GroupId"`
			ErrorCode    int    `json:"ErrorCode"`
			Type         string `json:"Type"`
			Name         string `json:"Name"`
			OwnerAccount string `json:"Owner_Account"`
			CreateTime   int64  `json:"CreateTime"`
		} `json:"GroupInfo"`
	}
	if err := json.Unmarshal(body, &ans, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, errors.New("get_group_info: an answer that cannot be read")
	}
	found := make(map[string]entry, len(ans.GroupInfo))
	for _, g := range ans.GroupInfo {
		switch g.ErrorCode {
		case 0:
			found[g.GroupID] = entry{group: Group{
				Found: true, Type: g.Type, Name: g.Name, OwnerAccount: g.OwnerAccount, CreateTime: g.CreateTime,
			}}
		case codeNoGroup, codeIllegalID:
		default:
			found[g.GroupID] = entry{err: errors.New("get_group_info: " + describe(g.ErrorCode, "", Explain(g.ErrorCode)))}
		}
	}
	return found, nil
}
