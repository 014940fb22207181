package tim

import (
	"context"
	"errors"
	"fmt"
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
	mu   sync.Mutex
	open *batch
}

type batch struct {
	ids   []string
	full  chan struct{} // closed when no more IDs fit
	done  chan struct{} // closed when found and err are set
	found map[string]Group
	err   error
}

// join adds id to the batch that is being gathered. The one that began it is to send it.
func (l *lookups) join(id string) (b *batch, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = &batch{full: make(chan struct{}), done: make(chan struct{})}
		first = true
	}
	b = l.open
	b.ids = append(b.ids, id)
	if len(b.ids) == lookUpMost {
		close(b.full)
		l.open = nil
	}
	return b, first
}

// leave closes the batch to others.
func (l *lookups) leave(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == b {
		l.open = nil
	}
}

// LookUp returns the group that stands under id. Calls of about the same time share a request.
func (c *Client) LookUp(ctx context.Context, id string) (Group, error) {
	b, first := c.lookups.join(id)
	if first {
		timer := time.NewTimer(lookUpGather)
		select {
		case <-timer.C:
		case <-b.full:
		}
		timer.Stop()
		c.lookups.leave(b)
		b.found, b.err = c.lookUp(ctx, b.ids)
		close(b.done)
	}
	<-b.done
	if b.err != nil {
		return Group{}, b.err
	}
	return b.found[id], nil
}

// lookUp asks for up to lookUpMost groups, as often as an attempt may be repeated. Those that do not
// stand are missing from the answer.
func (c *Client) lookUp(ctx context.Context, ids []string) (map[string]Group, error) {
	type filter struct {
		GroupBaseInfoFilter []string `json:"GroupBaseInfoFilter"`
	}
	seen := make(map[string]bool, len(ids))
	var unique []string
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			unique = append(unique, id)
		}
	}
	body, err := json.Marshal(struct {
		GroupIDList    []string `json:"GroupIdList"`
		ResponseFilter filter   `json:"ResponseFilter"`
	}{unique, filter{[]string{"Type", "Name", "Owner_Account", "CreateTime"}}})
	if err != nil {
		return nil, err
	}
	throttled, signed := 0, false
	for n := 1; ; n++ {
		t, err := c.turn(ctx)
		if err != nil {
			return nil, err
		}
		a := c.attempt(ctx, t, "get_group_info", body)
		switch a.verdict {
		case yes:
			return readGroups(a.body)
		case no, stands:
			return nil, errors.New("get_group_info: " + a.message)
		case halt:
			return nil, c.Stopped()
		case signAgain:
			if signed {
				c.stopWith(&Stop{Code: a.code, Reason: stopReason(a.code, a.info)})
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
func readGroups(body []byte) (map[string]Group, error) {
	var ans struct {
		GroupInfo []struct {
			GroupID      string `json:"GroupId"`
			ErrorCode    int    `json:"ErrorCode"`
			ErrorInfo    string `json:"ErrorInfo"`
			Type         string `json:"Type"`
			Name         string `json:"Name"`
			OwnerAccount string `json:"Owner_Account"`
			CreateTime   int64  `json:"CreateTime"`
		} `json:"GroupInfo"`
	}
	if err := json.Unmarshal(body, &ans, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, errors.New("get_group_info: an answer that cannot be read: " + excerpt(body))
	}
	found := make(map[string]Group, len(ans.GroupInfo))
	for _, g := range ans.GroupInfo {
		switch g.ErrorCode {
		case 0:
			found[g.GroupID] = Group{Found: true, Type: g.Type, Name: g.Name, OwnerAccount: g.OwnerAccount, CreateTime: g.CreateTime}
		case codeNoGroup, codeIllegalID:
		default:
			return nil, errors.New("get_group_info: " + describe(g.ErrorCode, g.ErrorInfo, Explain(g.ErrorCode)))
		}
	}
	return found, nil
}
