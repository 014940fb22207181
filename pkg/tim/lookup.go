package tim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/group"
)

const maxLookUp = 50 // IDs a request of get_group_info (tencentcloud.com/document/product/1047/34962)

// Codes of a group in a response of get_group_info that mean that the group does not exist.
const (
	codeNoGroup   = 10010
	codeIllegalID = 10015
)

// A Group is a group of the service.
type Group struct {
	Found        bool
	Type         string // the service's name, old or new
	Name         string
	OwnerAccount string
	CreateTime   int64 // Unix time in seconds
}

// differences are the fields in which an existing group and a record differ.
type differences []difference

type difference struct{ field, record, existing string }

// String returns both values of each field.
func (d differences) String() string {
	texts := make([]string, len(d))
	for i, f := range d {
		existing := excerpt(Redact(f.existing)) // text of the service that goes into results
		texts[i] = fmt.Sprintf("%s is %q there and %q in the record", f.field, existing, f.record)
	}
	return strings.Join(texts, ", ")
}

// Differences describes the fields in which the group and the record differ, "" if there are none. A field that the
// record leaves to the service does not count.
func (g Group) Differences(rec *group.Record) string { return g.differs(rec).String() }

// differs compares the fields that both the service and the record have. A record without a CreateTime, and one of Type
// AVChatRoom, leaves it to the service.
func (g Group) differs(rec *group.Record) differences {
	var d differences
	if t, ok := group.ParseType(g.Type); (!ok || t != rec.Type) && g.Type != string(rec.Type) {
		d = append(d, difference{"Type", string(rec.Type), g.Type})
	}
	if g.Name != rec.Name {
		d = append(d, difference{"Name", rec.Name, g.Name})
	}
	if g.OwnerAccount != rec.OwnerAccount {
		d = append(d, difference{"Owner_Account", rec.OwnerAccount, g.OwnerAccount})
	}
	if rec.CreateTime != 0 && g.CreateTime != rec.CreateTime && rec.Type != group.AVChatRoom {
		d = append(d, difference{"CreateTime", fmt.Sprint(rec.CreateTime), fmt.Sprint(g.CreateTime)})
	}
	return d
}

// An entry is the result of get_group_info for one ID.
type entry struct {
	group Group
	err   error
}

// LookUp returns the group with this ID. Calls within gatherTime share a request. When ctx ends, LookUp waits for a
// request in flight within the DrainTimeout of the Config.
func (c *Client) LookUp(ctx context.Context, id string) (Group, error) {
	b := c.lookups.join(ctx, id)
	found, err := c.lookups.wait(ctx, b, c.drain(ctx))
	since := c.accepted.Load()
	if err != nil && len(b.ids) > 1 && ctx.Err() == nil && c.Fatal() == nil {
		found, err = c.lookUp(ctx, []string{id}) // another ID may be the reason
	}
	if _, ok := errors.AsType[*rejection](err); ok && c.checkAccepted(ctx, since) != nil && c.Fatal() != nil {
		err = c.Fatal()
	}
	if err != nil {
		return Group{}, err
	}
	return found[id].group, found[id].err
}

// lookUp looks up at most maxLookUp groups, with retries. The result may lack groups that do not exist.
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
	a, err := c.repeat(ctx, c.lanes[groupLane], nil, request{getGroupInfo, body, maxLookUpResponse}, new(tries))
	switch {
	case err != nil:
		return nil, err
	case a.verdict == accepted:
		return readGroups(a.body, ids)
	case a.verdict == ambiguous:
		return nil, a.rejection
	default:
		return nil, errors.New("get_group_info: " + a.message)
	}
}

// readGroups reads the groups with these IDs from a response of get_group_info. It identifies groups by their IDs,
// because no order is documented.
func readGroups(body []byte, ids []string) (map[string]entry, error) {
	var re struct {
		GroupInfo []struct {
			GroupID      string `json:"GroupId"`
			ErrorCode    int    `json:"ErrorCode"`
			Type         string `json:"Type"`
			Name         string `json:"Name"`
			OwnerAccount string `json:"Owner_Account"`
			CreateTime   int64  `json:"CreateTime"`
		} `json:"GroupInfo"`
	}
	if err := json.Unmarshal(body, &re, lenient); err != nil {
		return nil, errors.New("get_group_info: unreadable response")
	}
	found := make(map[string]entry, len(ids))
	for _, g := range re.GroupInfo {
		if !slices.Contains(ids, g.GroupID) {
			continue
		}
		switch g.ErrorCode {
		case 0:
			found[g.GroupID] = entry{group: Group{
				Found: true, Type: g.Type, Name: g.Name, OwnerAccount: g.OwnerAccount, CreateTime: g.CreateTime,
			}}
		case codeNoGroup, codeIllegalID:
		default:
			text := describe(g.ErrorCode, "", Explain(g.ErrorCode))
			found[g.GroupID] = entry{err: errors.New("get_group_info: " + text)}
		}
	}
	return found, nil
}

// exhausted ends a call whose attempts are used up. since is the breaker's number of responses when the call began.
// again is true if another attempt is due: nobody got a response during the call, so that an outage and not the record
// used up the attempts. That happens only once a call.
func (c *Client) exhausted(
	ctx context.Context, rec *group.Record, r Result, lost bool, since int64,
) (_ Result, again bool) {
	outage := c.breaker.responses() == since
	if !lost && !outage {
		r.End = Failed
		return r, false
	}
	// If responses were lost, one of the attempts may have created the group. If nobody got a response meanwhile, a
	// harmless request shows whether the record is the reason.
	group, err := c.LookUp(ctx, cmp.Or(rec.GroupID, harmlessID))
	switch {
	case err != nil && (ctx.Err() != nil || c.Fatal() != nil):
		return r, false // Incomplete
	case err != nil && c.breaker.responses() == since:
		c.fail(ctx, unreachable(r.Message))
		return r, false // Incomplete
	case err == nil && lost && group.Found && len(group.differs(rec)) == 0:
		r.End, r.GroupID, r.Message = Exists, rec.GroupID, ""
		return r, false
	case outage:
		return r, true
	default:
		r.End = Failed
		return r, false
	}
}

// reconcile ends a call whose GroupId is in use, by comparing the existing group with the record. lost is true if an
// earlier attempt may have created the group.
func (c *Client) reconcile(ctx context.Context, rec *group.Record, r Result, lost bool) Result {
	existing, err := c.LookUp(ctx, rec.GroupID)
	if err == nil && !existing.Found {
		existing, err = c.lookUpAgain(ctx, rec.GroupID)
	}
	switch {
	case err != nil && (ctx.Err() != nil || c.Fatal() != nil):
		r.Message, r.Lost = err.Error(), true // Incomplete
	case err != nil:
		r.End = Failed
		r.Message += "; the look-up of the existing group failed: " + err.Error()
	case !existing.Found && lost:
		r.End = Failed
		r.Message += "; an earlier attempt may have created the group, but get_group_info does not show it yet"
	case !existing.Found:
		r.End = Rejected
		r.Message = "the GroupId belongs to a group that was disbanded or is not visible: choose another GroupId"
	default:
		differing := existing.differs(rec)
		if len(differing) == 0 {
			r.End, r.GroupID, r.Message = Exists, rec.GroupID, ""
			return r
		}
		r.End = Rejected
		r.Message = "another group has this GroupId: " + differing.String()
	}
	return r
}

// lookUpAgain looks up a group whose ID is in use but which was not found, after secondLookup. If an attempt of this
// process or of an earlier one may have created the group within the last readLag, it looks once more after readLag.
func (c *Client) lookUpAgain(ctx context.Context, id string) (Group, error) {
	// An earlier process sent nothing after this client was created.
	shownBy := c.created.Add(time.Duration(c.lostAt.Load()) + readLag)
	for wait := secondLookup; ; wait = time.Until(shownBy) {
		if err := c.sleep(ctx, wait); err != nil {
			return Group{}, err
		}
		isLast := !time.Now().Before(shownBy)
		existing, err := c.LookUp(ctx, id)
		if err != nil || existing.Found || isLast {
			return existing, err
		}
	}
}
