package group_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/group"
)

func TestRules_Complete(t *testing.T) {
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\tRule\w+ +Rule = "([^"]+)"`).FindAllSubmatch(source, -1)
	for _, d := range declared {
		if !slices.Contains(group.Rules(), group.Rule(d[1])) {
			t.Errorf("Rules lacks %s", d[1])
		}
	}
	if len(declared) < 17 || len(declared) != len(group.Rules()) {
		t.Errorf("got %d rules, %d declared", len(group.Rules()), len(declared))
	}
}

// MaxBytes, Range and Values return what a Decoder enforces.
func TestRuleData_MatchesDecoder(t *testing.T) {
	decode := func(field, json string) error {
		var b strings.Builder
		valid := map[string]string{"Type": "Public", "Name": "a"}
		if field == "Member_Account" || field == "Role" || field == "UnreadMsgNum" {
			valid = map[string]string{"GroupId": "g", "Member_Account": "a"}
		}
		for name, value := range valid {
			if name != field {
				fmt.Fprintf(&b, `%q:%q,`, name, value)
			}
		}
		_, err := group.NewDecoder(group.ExtendedLimits).Decode([]byte("{" + b.String() + fmt.Sprintf("%q:%s}", field, json)))
		return err
	}
	check := func(field, inside, outside string, rule group.Rule) {
		t.Helper()
		if err := decode(field, inside); err != nil {
			t.Errorf("%s: got %v for %s, want it valid", field, err, inside)
		}
		if broken, ok := errors.AsType[*group.Error](decode(field, outside)); !ok || broken.Rule() != rule {
			t.Errorf("%s: got %v for %s, want rule %s", field, broken, outside, rule)
		}
	}
	checked := 0
	for _, field := range group.Fields() {
		if limits := group.ExtendedLimits.MaxBytes(field); len(limits) == 1 {
			check(field, `"`+long(limits[0])+`"`, `"`+long(limits[0]+1)+`"`, group.RuleLength)
			checked++
		} else if len(limits) == 2 {
			datum := func(key, value int) string {
				return fmt.Sprintf(`[{"Key":%q,"Value":%q}]`, strings.Repeat("k", key), strings.Repeat("v", value))
			}
			check(field, datum(limits[0], limits[1]), datum(limits[0]+1, limits[1]), group.RuleLength)
			check(field, datum(limits[0], limits[1]), datum(limits[0], limits[1]+1), group.RuleLength)
			checked++
		}
		if low, high, ok := group.Range(field); ok && (field == "MaxMemberCount" || field == "UnreadMsgNum") {
			check(field, fmt.Sprint(low), fmt.Sprint(low-1), group.RuleRange)
			check(field, fmt.Sprint(high), fmt.Sprint(high+1), group.RuleRange)
			checked++
		}
		for _, value := range group.Values(field) {
			check(field, fmt.Sprintf("%q", value), `"x"`, group.RuleValue)
			checked++
		}
	}
	if checked != 8+2+4+3+2 {
		t.Errorf("got %d checks, want 19", checked)
	}
}
