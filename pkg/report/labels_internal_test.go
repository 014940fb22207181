package report

import (
	"strings"
	"testing"

	g "maragu.dev/gomponents"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

func htmlOf(t *testing.T, nodes g.Group) string {
	t.Helper()
	var b strings.Builder
	if err := nodes.Render(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// complete fails the test unless a text exists in both languages, the Chinese one has Chinese characters, and both hold
// the words.
func complete(t *testing.T, what string, tx text, words ...string) {
	t.Helper()
	en, zh := htmlOf(t, tx.EN), htmlOf(t, tx.ZH)
	if en == "" || strings.ContainsFunc(en, isHan) || strings.Contains(en+zh, "%") {
		t.Errorf("%s: got English %q", what, en)
	}
	if !strings.ContainsFunc(zh, isHan) {
		t.Errorf("%s: got Chinese %q", what, zh)
	}
	for _, w := range words {
		if !strings.Contains(en, w) || !strings.Contains(zh, w) {
			t.Errorf("%s: got %q and %q, want %q in both", what, en, zh, w)
		}
	}
}

func isHan(r rune) bool { return r >= 0x4E00 && r <= 0x9FFF }

func TestRuleTitle_EveryRule(t *testing.T) {
	for _, rule := range group.Rules() {
		if _, ok := ruleLabels[rule]; !ok {
			t.Errorf("rule %s has no label", rule)
		}
		complete(t, string(rule), ruleTitle(rule, "", group.DocumentLimits))
		for _, field := range append(group.Fields(), "Nam") {
			complete(t, string(rule)+" "+field, ruleTitle(rule, field, group.DocumentLimits))
		}
		for _, status := range outcome.Statuses() {
			k := outcome.Kind{Status: status, Rule: rule, Field: "Name"}
			complete(t, string(status)+" "+string(rule), kindTitle(k, group.DocumentLimits))
		}
	}
	if len(ruleLabels) != len(group.Rules()) {
		t.Errorf("got %d labels for %d rules", len(ruleLabels), len(group.Rules()))
	}
	complete(t, "a rule of a later version", ruleTitle("new", "Name", group.DocumentLimits))
}

func TestRuleTitle_Values(t *testing.T) {
	for _, row := range []struct {
		rule   group.Rule
		field  string
		limits group.Limits
		words  []string
	}{
		{group.RuleLength, "Name", group.DocumentLimits, []string{"Name", "30"}},
		{group.RuleLength, "Name", group.ExtendedLimits, []string{"Name", "100"}},
		{group.RuleLength, "AppDefinedData", group.DocumentLimits, []string{"16", "512"}},
		{group.RuleRange, "MaxMemberCount", group.DocumentLimits, []string{"1,000,000"}},
		{group.RuleRange, "CreateTime", group.DocumentLimits, []string{"1970-01-01"}},
		{group.RuleValue, "Type", group.DocumentLimits, []string{"Private", "Public", "ChatRoom", "Community"}},
		{group.RuleValue, "ApplyJoinOption", group.DocumentLimits, []string{"FreeAccess", "NeedPermission", "DisableApply"}},
		{group.RuleCount, "AppDefinedData", group.DocumentLimits, []string{"20"}},
	} {
		complete(t, string(row.rule)+" "+row.field, ruleTitle(row.rule, row.field, row.limits), row.words...)
	}
}

func TestCodeLabel_EveryCode(t *testing.T) {
	for n := range 100_000 {
		english := tim.Explain(n).Text
		l, ok := codeLabels[n]
		switch isListed := !strings.Contains(english, "in no list"); {
		case isListed != ok:
			t.Errorf("code %d: got a label %v, tim has %q", n, ok, english)
		case ok && l.EN != english:
			t.Errorf("code %d: got %q, tim has %q", n, l.EN, english)
		case ok && !strings.ContainsFunc(l.ZH, isHan):
			t.Errorf("code %d: got Chinese %q", n, l.ZH)
		}
	}
	for _, status := range outcome.Statuses() {
		complete(t, "an unlisted code", kindTitle(outcome.Kind{Status: status, Code: 12345}, group.DocumentLimits))
	}
}

func TestStatusLabels_EveryStatus(t *testing.T) {
	for _, s := range outcome.Statuses() {
		complete(t, string(s), say("%s", "%s", statusName(s)))
		complete(t, string(s), say("%s", "%s", statusLabels[s].meaning))
		if s.IsDone() {
			continue
		}
		for _, k := range []outcome.Kind{{Status: s}, {Status: s, Field: "Name"}, {Status: s, Code: 10019}} {
			complete(t, string(s), kindTitle(k, group.DocumentLimits))
			complete(t, string(s), kindAdvice(k))
		}
		complete(t, string(s), restText([]tallied{{s, 2}}, true))
	}
	if len(statusLabels) != len(outcome.Statuses()) {
		t.Errorf("got %d labels for %d statuses", len(statusLabels), len(outcome.Statuses()))
	}
}

func TestCauseText_EveryCause(t *testing.T) {
	for _, c := range results.Causes() {
		complete(t, string(c), causeText(c, 0, ""))
		complete(t, string(c), causeText(c, 70009, "a message"))
	}
	if len(causeLabels) != len(results.Causes()) {
		t.Errorf("got %d labels for %d causes", len(causeLabels), len(results.Causes()))
	}
	for state := range stateLabels {
		complete(t, string(state), stateText(state, []tallied{{outcome.Rejected, 402}}, 3))
	}
	zh := htmlOf(t, causeText(results.CauseService, 70009, "code 70009: invalid usersig").ZH)
	if !strings.Contains(zh, "UserSig 由其他应用的密钥生成") || !strings.Contains(zh, "invalid usersig") {
		t.Errorf("got %q for a stop of the service, want its code in Chinese and the message as it came", zh)
	}
	if old := causeText("", 0, "time is up"); htmlOf(t, old.EN) != "<bdi>time is up</bdi>" {
		t.Errorf("got %q for a run of version 1, want its message as it is", htmlOf(t, old.EN))
	}
}
