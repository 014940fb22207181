package config_test

import (
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/config"
	"groupimport/pkg/group"
)

func TestFromEnv_EveryMistakeIsNamed(t *testing.T) {
	env := map[string]string{
		"TIM_SDKAPPID": "abc", "TIM_REGION": "mars", "TIM_RATE": "201", "FIELD_LIMITS": "wide", "ASSIGN_GROUP_IDS": "perhaps",
		"MAX_ATTEMPTS": "0", "STOP_SHARE": "2", "LOG_LEVEL": "loud", "ONE_AT_A_TIME": "two",
		"HTTP_TOKEN": "0123456789ab\ncdef", "HTTP_AUTH": "both", "MAPPING": "slak",
		"TIM_MEMBER_RATE": "201", "MEMBERS_PER_CALL": "301", "MEMBERS": "some", "IMPORT_ACCOUNTS": "all",
		"AVCHATROOM": "true",
	}
	_, err := config.FromEnv(func(name string) string { return env[name] })
	if err == nil {
		t.Fatal("got no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, name := range []string{
		"TIM_SDKAPPID", "TIM_SECRET_KEY", "TIM_REGION", "TIM_RATE", "FIELD_LIMITS", "ASSIGN_GROUP_IDS", "MAX_ATTEMPTS",
		"STOP_SHARE", "LOG_LEVEL", "ONE_AT_A_TIME", "HTTP_TOKEN", "HTTP_AUTH", "MAPPING",
		"TIM_MEMBER_RATE", "MEMBERS_PER_CALL", "MEMBERS", "IMPORT_ACCOUNTS", "AVCHATROOM",
	} {
		found := false
		for _, line := range lines {
			found = found || strings.HasPrefix(line, name+" ")
		}
		if !found {
			t.Errorf("got no line about %s in:\n%v", name, err)
		}
	}
}

func TestFromEnv_Prefix(t *testing.T) {
	for prefix, wrong := range map[string]string{
		"": "", "exports/": "", "a/b/": "", "exports": "slash at its end", "2026/ex": "slash at its end",
		"/exports/": "begin with a slash",
		"undefined": "lacks its parameter",
	} {
		env := map[string]string{"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "k", "EXPORT_PREFIX": prefix}
		got, err := config.FromEnv(func(name string) string { return env[name] })
		if wrong == "" && (err != nil || got.Prefix != prefix) ||
			wrong != "" &&
				(err == nil || !strings.Contains(err.Error(), "EXPORT_PREFIX") || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%q: got %q, %v, want an error with %q", prefix, got.Prefix, err, wrong)
		}
	}
}

func TestFromEnv_Defaults(t *testing.T) {
	env := map[string]string{"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "k"}
	got, err := config.FromEnv(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		SDKAppID: 1400000000, Admin: "administrator", SecretKey: "k", Region: "china", Endpoint: "https://console.tim.qq.com",
		Rate: 190, OtherRates: 10, MemberRate: 190, MembersPerCall: 20, Limits: group.DocumentLimits, MaxAttempts: 5,
		ParallelImports: 8, StopShare: 0.5,
		NotifyFormat: "json",
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFromEnv_FieldLimits(t *testing.T) {
	for _, limits := range []group.Limits{group.DocumentLimits, group.ExtendedLimits} {
		for _, create := range []bool{false, true} {
			env := map[string]string{"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "k"}
			if limits == group.ExtendedLimits {
				env["FIELD_LIMITS"] = "extended"
			}
			want := limits
			if want.CreateAVChatRoom = create; create {
				env["AVCHATROOM"] = "create"
			}
			if got, err := config.FromEnv(func(name string) string { return env[name] }); err != nil || got.Limits != want {
				t.Errorf("%v: got %+v, %v, want %+v", env, got.Limits, err, want)
			}
		}
	}
}

func TestFromEnv_Tokens(t *testing.T) {
	for _, row := range []struct {
		about, token, parameter, auth string
		ok                            bool
	}{
		{"neither, as for imports", "", "", "", true},
		{"16 characters", "0123456789-._~+=", "", "token", true},
		{"15 characters", "0123456789abcde", "", "", false},
		{"what no header takes", "0123456789abcdefé", "", "", false},
		{"a space, which would end it", "01234567 89abcdef", "", "", false},
		{"a token that is kept elsewhere", "", "/token", "", true},
		{"a token here and elsewhere", "0123456789abcdef", "/token", "", false},
		{"the platform", "", "", "platform", true},
		{"the platform and a token", "0123456789abcdef", "", "platform", false},
		{"the platform and a token that is kept elsewhere", "", "/token", "platform", false},
	} {
		env := map[string]string{
			"TIM_SDKAPPID": "1", "TIM_SECRET_KEY": "k", "HTTP_TOKEN": row.token, "HTTP_AUTH": row.auth,
			"HTTP_TOKEN_PARAMETER": row.parameter,
		}
		c, err := config.FromEnv(func(name string) string { return env[name] })
		if (err == nil) != row.ok || c.HTTPPlatform != (row.auth == "platform") {
			t.Errorf("%s: got %v, want it accepted: %v", row.about, err, row.ok)
		}
		if err != nil && strings.Contains(err.Error(), "0123456789") {
			t.Errorf("%s: got %v, want no token in it", row.about, err)
		}
	}
}

func TestFromEnv_RateBounds(t *testing.T) {
	for _, row := range []struct {
		rate, endpoint string
		ok             bool
	}{
		{"0.1", "", true},
		{"200", "", true},
		{"200.5", "", false},
		{"50000", "http://127.0.0.1:8080", true},
		{"50001", "http://127.0.0.1:8080", false},
		{"0", "http://127.0.0.1:8080", false},
	} {
		for _, name := range []string{"TIM_RATE", "TIM_MEMBER_RATE"} {
			env := map[string]string{"TIM_SDKAPPID": "1", "TIM_SECRET_KEY": "k", name: row.rate, "TIM_ENDPOINT": row.endpoint}
			if _, err := config.FromEnv(func(name string) string { return env[name] }); (err == nil) != row.ok {
				t.Errorf("%s=%s at %q: got %v, want it accepted: %v", name, row.rate, row.endpoint, err, row.ok)
			}
		}
	}
}

func TestRemoved_SetVariables(t *testing.T) {
	env := map[string]string{"RETRY_ROUNDS": "3", "COS_VERSIONED_OK": "true", "TIM_SDKAPPID": "1"}
	got := config.Removed(func(name string) string { return env[name] })
	if want := []string{"RETRY_ROUNDS is no longer used", "COS_VERSIONED_OK is no longer used"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, f := range config.Fields() {
		if got := config.Removed(func(name string) string { return map[string]string{f.Name: "x"}[name] }); got != nil {
			t.Errorf("got %q for a variable that is in use", got)
		}
	}
}

func TestFromEnv_Endpoints(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"https://im.example.com": true, "http://127.0.0.1:8080/": true, "https://proxy.example.com/im": true,
		"im.example.com":       false,
		"ftp://im.example.com": false, "https://user:secret@im.example.com": false, "https://im.example.com?x=1": false,
		"https://%zz": false,
	} {
		env := map[string]string{"TIM_SDKAPPID": "1", "TIM_SECRET_KEY": "k", "TIM_ENDPOINT": endpoint, "TIM_RATE": "1000"}
		_, err := config.FromEnv(func(name string) string { return env[name] })
		if (err == nil) != ok {
			t.Errorf("%s: got %v, want it accepted: %v", endpoint, err, ok)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want no password in it", endpoint, err)
		}
	}
}

func TestFields_Documented(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range config.Fields() {
		if seen[f.Name] || f.Help == "" || !strings.HasSuffix(f.Help, ".") && !strings.HasSuffix(f.Help, "never.") {
			t.Errorf("got %+v, want a name of its own and a sentence of help", f)
		}
		seen[f.Name] = true
	}
}
