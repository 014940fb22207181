package outcome

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/group"
)

// A Kind is what outcomes have in common that call for the same action. It holds data only, so that a translation
// needs no message. It is comparable.
type Kind struct {
	Status Status
	Code   int        // the service's code, if the service decided; 0 with a Rule
	Field  string     // the field that breaks Rule, empty if the service decided or the record as a whole is meant
	Rule   group.Rule // the broken rule, empty if the service decided or in lines of version 1
	Member bool       `json:",omitzero"` // the records are member records
}

// Kind returns the kind of o. An outcome that the service decided has its code, one that a rule decided has field and
// rule. Lines of version 1 have no rule: field and code tell them apart.
func (o *Outcome) Kind() Kind {
	k := Kind{Status: o.Status, Member: o.Member != ""}
	switch {
	case o.Attempts > 0 && o.Code != 0:
		k.Code = o.Code
	case o.Rule != "":
		k.Field, k.Rule = o.Field, o.Rule
	default:
		k.Code, k.Field = o.Code, o.Field
	}
	return k
}

// A Group counts the outcomes of one kind. E is what the caller keeps of an outcome as an example.
type Group[E any] struct {
	Kind     Kind
	Number   int   // in order of the first outcome, from 1
	Count    int64 //
	Examples []E   // kept by the caller
}

// maxGroups is how many groups a Tally keeps apart. Unknown fields can make as many kinds as there are records.
const maxGroups = 256

// A Tally groups outcomes by kind in bounded memory. When there are more than maxGroups kinds, the half with the
// fewest outcomes is counted together: frequent kinds stay. The zero value is empty. It is not safe for concurrent use.
type Tally[E any] struct {
	groups map[Kind]*Group[E]
	others int64
	seen   int
}

// A tallyState is a Tally as JSON.
type tallyState[E any] struct {
	Groups []*Group[E] `json:"groups"`
	Others int64       `json:"others"`
	Seen   int         `json:"seen"`
}

// MarshalJSON returns the tally as JSON. E must be a JSON value.
func (t *Tally[E]) MarshalJSON() ([]byte, error) {
	return json.Marshal(tallyState[E]{t.sorted(), t.others, t.seen})
}

// UnmarshalJSON sets t from JSON.
func (t *Tally[E]) UnmarshalJSON(data []byte) error {
	var s tallyState[E]
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	if len(s.Groups) > maxGroups {
		return fmt.Errorf("%d groups, limit %d", len(s.Groups), maxGroups)
	}
	*t = Tally[E]{groups: map[Kind]*Group[E]{}, others: s.Others, seen: s.Seen}
	for _, g := range s.Groups {
		if g == nil {
			return errors.New("a group is null")
		}
		t.groups[g.Kind] = g
	}
	return nil
}

// Add counts an outcome of a kind and returns its group, to which the caller may append an example.
func (t *Tally[E]) Add(k Kind) *Group[E] {
	g := t.groups[k]
	if g == nil {
		if t.groups == nil {
			t.groups = map[Kind]*Group[E]{}
		}
		if len(t.groups) >= maxGroups {
			t.fold()
		}
		t.seen++
		g = &Group[E]{Kind: k, Number: t.seen}
		t.groups[k] = g
	}
	g.Count++
	return g
}

// fold counts the half with the fewest outcomes together.
func (t *Tally[E]) fold() {
	for _, g := range t.sorted()[maxGroups/2:] {
		t.others += g.Count
		delete(t.groups, g.Kind)
	}
}

func (t *Tally[E]) sorted() []*Group[E] {
	return slices.SortedFunc(maps.Values(t.groups), func(a, b *Group[E]) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Number, b.Number))
	})
}

// Groups returns up to limit groups, most frequent first, and the number of outcomes that are in none of them.
func (t *Tally[E]) Groups(limit int) (groups []*Group[E], others int64) {
	groups, others = t.sorted(), t.others
	for _, g := range groups[min(limit, len(groups)):] {
		others += g.Count
	}
	return groups[:min(limit, len(groups))], others
}
