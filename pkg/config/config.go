// Package config is what an operator sets: one table of environment variables, with the same names on every platform.
//
// The table yields the parser, the command line's help, the table in functions/README.md, and what the tests compare
// the templates of both clouds with.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
	"groupimport/pkg/notify"
	"groupimport/pkg/pacer"
	"groupimport/pkg/tim"
)

// A Config is what an operator sets. [Fields] says what each of its fields means.
type Config struct {
	SDKAppID           int     // of the app; positive
	Admin              string  // an app administrator
	SecretKey          string  // never logged
	SecretKeyParameter string  // where the key is kept if it is not in the environment; whoever reads it sets SecretKey
	Region             string  // see [tim.Regions]
	Endpoint           string  // base URL without a slash at its end
	Insecure           bool    // allows an http Endpoint on another machine, see [tim.CheckEndpoint]; not a variable
	Rate               float64 // attempts a second of this process
	MemberRate         float64 // attempts of import_group_member a second of this process; zero means 190
	MembersPerCall     int     // of import_group_member, at most; zero means 20
	NoMembers          bool    // leaves out the members of records
	OtherRates         float64 // attempts a second of other processes that call the app's service, for package check
	ImportAccounts     bool    // creates accounts of owners and members
	Limits             group.Limits
	AssignGroupIDs     bool
	MaxAttempts        int     // of a call
	ParallelImports    int     // of one process at the same time; zero means 1
	StopShare          float64 // 0 to 1; 1 means never
	RetryUnknown       bool
	CreateUnmatched    bool
	Mapping            string // name of a built-in mapping or key of a jq program, "" for none
	IncludeArchived    bool
	Users              string         // key of a table of users, "" for none
	UsersStrict        bool           // of Users: refuse records with an unknown account
	UserTable          *mapping.Users // replaces Users; not a variable
	Encoding           string         // as [export.ParseEncoding] names it, "" for UTF-8
	Records            string         // of an [export.Path], "" for none
	TimeZone           string         // as [export.ParseTimeZone] reads it, "" for none
	Bucket             string
	Prefix             string // "" or a folder with its slash
	OneAtATime         bool
	HTTPToken          string // never logged
	HTTPTokenParameter string // where the token is kept if it is not in the environment; whoever reads it sets HTTPToken
	HTTPPlatform       bool   // the platform authenticates callers over HTTP, and they send no token
	HTTPUnverified     bool   // of HTTPPlatform: also if requests do not show that
	NotifyURL          string // of a webhook, see package notify; "" for none; never logged
	NotifySecret       string // signs notifications; never logged
	NotifyParameter    string // where both are kept if they are not in the environment, see [notify.ParseTarget]
	NotifyFormat       string // see [notify.Formats]
	LogLevel           slog.Level
}

const (
	// The service allows 200 calls a second for the whole app (tencentcloud.com/document/product/1047/34967). Another
	// endpoint may take more: scripts/bench measures the program without a rate that it reaches, and 17,000 a second are
	// the most that it was seen to reach.
	maxRate         = 200
	maxRateEndpoint = 50_000

	// MinToken is the least number of characters of [Config.HTTPToken].
	MinToken = 16

	// A token travels in a header: RFC 6750, section 2.1, lists the characters.
	tokenChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/="
)

// A Field is one variable.
type Field struct {
	Name     string
	Default  string // "" if the variable is required, or if nothing is the default
	Required string // what to do if it is missing; "" if it is not required everywhere
	Help     string // one sentence
	parse    func(c *Config, v string) error
}

// Fields returns all variables, in the order in which they are documented.
func Fields() []Field { return slices.Clone(fields) }

var fields = []Field{
	{
		Name: "TIM_SDKAPPID", Required: "the number of the app in the console", Help: "SDKAppID of the app.",
		parse: func(c *Config, v string) (err error) {
			if c.SDKAppID, err = strconv.Atoi(v); err != nil || c.SDKAppID <= 0 {
				return fmt.Errorf("is %q, it must be a positive number", v)
			}
			return nil
		},
	},
	{
		Name: "TIM_ADMIN", Default: "administrator", Help: "App administrator that calls the service.",
		parse: text(func(c *Config) *string { return &c.Admin }),
	},
	{
		Name: "TIM_SECRET_KEY", Help: "Key of the app. It appears in no log, error or result.",
		parse: text(func(c *Config) *string { return &c.SecretKey }),
	},
	{
		Name:  "TIM_SECRET_KEY_PARAMETER",
		Help:  "The secret of the cloud (SSM) that holds the key, instead of TIM_SECRET_KEY.",
		parse: text(func(c *Config) *string { return &c.SecretKeyParameter }),
	},
	{
		Name: "TIM_REGION", Default: "china", Help: "Data center of the app: " + strings.Join(tim.Regions(), ", ") + ".",
		parse: func(c *Config, v string) error {
			endpoint, err := tim.Endpoint(v)
			if err != nil {
				return fmt.Errorf("is wrong: %w", err)
			}
			c.Region, c.Endpoint = v, endpoint
			return nil
		},
	},
	{
		Name: "TIM_ENDPOINT", Help: "Another base URL than the region's, for tests and proxies; http only on this machine.",
		parse: func(c *Config, v string) error {
			// The error of url.Parse quotes what it parses, which may hold a password.
			u, err := url.Parse(v)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
				return errors.New("must be a base URL like https://host, without a user, a password or a query")
			}
			c.Endpoint = strings.TrimRight(v, "/")
			return nil
		},
	},
	{
		Name: "TIM_RATE", Default: "190",
		Help:  "Attempts a second, 0.1 to 200; more only with TIM_ENDPOINT. Tencent's alert begins at 160.",
		parse: number(func(c *Config) *float64 { return &c.Rate }, 0.1, maxRateEndpoint),
	},
	{
		Name: "TIM_MEMBER_RATE", Default: "190",
		Help: "Attempts a second to add members, beside those of TIM_RATE, 0.1 to 200; more only with TIM_ENDPOINT. " +
			"Those that look at accounts have half of it.",
		parse: number(func(c *Config) *float64 { return &c.MemberRate }, 0.1, maxRateEndpoint),
	},
	{
		Name: "MEMBERS_PER_CALL", Default: "20",
		Help:  "Members that one call adds, 1 to 300, at most. Tencent's documents disagree: 20, 100 or 300.",
		parse: whole(func(c *Config) *int { return &c.MembersPerCall }, 1, 300),
	},
	{
		Name: "MEMBERS", Default: "true", Help: "Add the members of records to their groups. With false they are left out.",
		parse: func(c *Config, v string) error {
			err := flag(func(c *Config) *bool { return &c.NoMembers })(c, v)
			c.NoMembers = err == nil && !c.NoMembers
			return err
		},
	},
	{
		Name: "TIM_RATE_OTHERS", Default: "10",
		Help: "Attempts a second that others of the app may make. The default is that of the HTTP function. " +
			"Only the check adds them up.",
		parse: number(func(c *Config) *float64 { return &c.OtherRates }, 0, maxRateEndpoint),
	},
	{
		Name: "IMPORT_ACCOUNTS", Default: "false",
		Help:  "Create accounts of owners and members that do not exist, by multiaccount_import, with a UserID alone.",
		parse: flag(func(c *Config) *bool { return &c.ImportAccounts }),
	},
	{
		Name: "FIELD_LIMITS", Default: "document",
		Help: "document: Name 30, Introduction 240, Notification 300, FaceUrl 100 bytes; extended: 100, 400, 400, 500.",
		parse: func(c *Config, v string) (err error) {
			if c.Limits, err = group.ParseLimits(v); err != nil {
				return fmt.Errorf("is wrong: %w", err)
			}
			return nil
		},
	},
	{
		Name: "AVCHATROOM", Default: "reject",
		Help: "Groups of Type AVChatRoom, which import_group does not accept: reject, or create with create_group, " +
			"which fires webhooks and does not keep the CreateTime. They need a GroupId.",
		parse: func(c *Config, v string) error {
			if v != "reject" && v != "create" {
				return fmt.Errorf("is %q, it must be reject or create", v)
			}
			c.Limits.CreateAVChatRoom = v == "create" // Limits are those of FIELD_LIMITS, which comes before
			return nil
		},
	},
	{
		Name: "ASSIGN_GROUP_IDS", Default: "false",
		Help:  "Give records without a GroupId one that follows from bucket, key and identity, so that none can be unknown.",
		parse: flag(func(c *Config) *bool { return &c.AssignGroupIDs }),
	},
	{
		Name: "MAX_ATTEMPTS", Default: "5", Help: "Attempts a call, 1 to 20, with exponential backoff.",
		parse: whole(func(c *Config) *int { return &c.MaxAttempts }, 1, 20),
	},
	{
		Name: "PARALLEL_IMPORTS", Default: "8",
		Help:  "Imports that one process works on at once, 1 to 32. They share the rate.",
		parse: whole(func(c *Config) *int { return &c.ParallelImports }, 1, 32),
	},
	{
		Name: "RETRY_UNKNOWN", Default: "false",
		Help:  "Send unknown records again, though their groups may be created twice.",
		parse: flag(func(c *Config) *bool { return &c.RetryUnknown }),
	},
	{
		Name: "CREATE_UNMATCHED", Default: "false",
		Help: "Of a new version of an export, send records without a GroupId also where it is not certain that they are " +
			"new.",
		parse: flag(func(c *Config) *bool { return &c.CreateUnmatched }),
	},
	{
		Name: "MAPPING", Help: "Mapping for exports of other systems: " + strings.Join(mapping.Names(), ", ") +
			", the key of a jq program that ends in .jq, or auto: the first records decide.",
		parse: func(c *Config, v string) error {
			if c.Mapping = v; !strings.HasSuffix(v, ".jq") && v != mapping.Auto && !slices.Contains(mapping.Names(), v) {
				return fmt.Errorf("is %q, it must be one of %s, the key of a jq program that ends in .jq, or %s",
					v, strings.Join(mapping.Names(), ", "), mapping.Auto)
			}
			return nil
		},
	},
	{
		Name: "INCLUDE_ARCHIVED", Default: "false", Help: "Import archived, deleted and frozen groups of other systems too.",
		parse: flag(func(c *Config) *bool { return &c.IncludeArchived }),
	},
	{
		Name: "USERS",
		Help: "Table of users, CSV with two columns: ID in the other system, account of the app. It translates the " +
			"accounts of " +
			"owners and members. In the cloud the key of an object, not named like an export; locally a file.",
		parse: text(func(c *Config) *string { return &c.Users }),
	},
	{
		Name: "USERS_STRICT", Default: "false",
		Help:  "Refuse records with accounts that USERS does not have, instead of leaving these accounts out.",
		parse: flag(func(c *Config) *bool { return &c.UsersStrict }),
	},
	{
		Name: "EXPORT_ENCODING", Help: "Encoding of exports that are not UTF-8, for example gbk. Default: UTF-8.",
		parse: func(c *Config, v string) (err error) {
			c.Encoding, err = export.ParseEncoding(v)
			return err
		},
	},
	{
		Name: "RECORDS",
		Help: "Place of the records in JSON exports, for example data.groups, or groups.* for an object of records.",
		parse: func(c *Config, v string) (err error) {
			c.Records = v
			_, err = export.ParsePath(v)
			return err
		},
	},
	{
		Name: "EXPORT_TIME_ZONE",
		Help: "Time zone of dates without one in CSV and in mapped records: an offset such as +08:00, or UTC.",
		parse: func(c *Config, v string) error {
			c.TimeZone = v
			_, err := export.ParseTimeZone(v)
			return err
		},
	},
	{
		Name: "EXPORT_BUCKET", Help: "In the cloud, the bucket of the exports.",
		parse: text(func(c *Config) *string { return &c.Bucket }),
	},
	{
		Name: "EXPORT_PREFIX", Help: "Folder of the exports with its slash, for example exports/. Default: everywhere.",
		parse: func(c *Config, v string) error {
			switch c.Prefix = v; {
			case strings.HasPrefix(v, "/"):
				return fmt.Errorf("is %q, keys do not begin with a slash", v)
			case !strings.HasSuffix(v,
				"/"): // it would also be the beginning of other names, and leases would lie beside the folder
				return fmt.Errorf("is %q, it must be a folder with a slash at its end, like %q", v, v+"/")
			}
			return nil
		},
	},
	{
		Name: "ONE_AT_A_TIME", Default: "false",
		Help: "Runs of all processes with this bucket and prefix take turns, so that they share one rate. " +
			"The instances of an HTTP function share theirs.",
		parse: flag(func(c *Config) *bool { return &c.OneAtATime }),
	},
	{
		Name: "NOTIFY_URL",
		Help: "Webhook that is notified when an import finishes, stops or is cancelled. It appears in no log.",
		parse: func(c *Config, v string) error {
			if err := notify.CheckURL(v); err != nil { // the URL may hold a secret: it is not quoted
				return err
			}
			c.NotifyURL = v
			return nil
		},
	},
	{
		Name: "NOTIFY_SECRET", Help: "Signs notifications with HMAC-SHA256. It appears in no log.",
		parse: text(func(c *Config) *string { return &c.NotifySecret }),
	},
	{
		Name:  "NOTIFY_PARAMETER",
		Help:  "On AWS, the SSM parameter that holds NOTIFY_URL in its first line and NOTIFY_SECRET, if any, in the second.",
		parse: text(func(c *Config) *string { return &c.NotifyParameter }),
	},
	{
		Name: "NOTIFY_FORMAT", Default: notify.Formats()[0],
		Help: "Body of notifications: " + strings.Join(notify.Formats(), ", ") + ".",
		parse: func(c *Config, v string) error {
			if c.NotifyFormat = v; !slices.Contains(notify.Formats(), v) {
				return fmt.Errorf("is %q, it must be one of %s", v, strings.Join(notify.Formats(), ", "))
			}
			return nil
		},
	},
	{
		Name: "HTTP_TOKEN", Help: "Bearer token of callers over HTTP, 16 characters or more. It appears in no log.",
		parse: func(c *Config, v string) error {
			switch c.HTTPToken = v; {
			case len(v) < MinToken: // it may be a part of the right one: it is not quoted
				return fmt.Errorf("has %d characters, it must have %d or more: openssl rand -hex 24 makes one", len(v), MinToken)
			case strings.Trim(v, tokenChars) != "":
				return errors.New("may hold letters, digits and -._~+/= only: openssl rand -hex 24 makes one")
			}
			return nil
		},
	},
	{
		Name: "HTTP_TOKEN_PARAMETER", Help: "The secret of the cloud (SSM) that holds the token, instead of HTTP_TOKEN.",
		parse: text(func(c *Config) *string { return &c.HTTPTokenParameter }),
	},
	{
		Name: "HTTP_AUTH", Default: "token",
		Help: "token, or platform: the platform authenticates callers, and there is no token. " +
			"platform-unverified: also if its requests do not show that, as those of SCF.",
		parse: func(c *Config, v string) error {
			switch v {
			case "token":
			case "platform-unverified":
				c.HTTPPlatform, c.HTTPUnverified = true, true
			case "platform":
				c.HTTPPlatform = true
			default:
				return fmt.Errorf("is %q, it must be token, platform or platform-unverified", v)
			}
			return nil
		},
	},
	{
		Name: "STOP_SHARE", Default: "0.5",
		Help:  "Stop when the service rejects more than this share of a run's calls, after 1,000; 1 means never.",
		parse: number(func(c *Config) *float64 { return &c.StopShare }, 0, 1),
	},
	{
		Name: "LOG_LEVEL", Default: "info", Help: "debug, info, warn or error. On your machine the default is warn.",
		parse: func(c *Config, v string) error {
			if c.LogLevel.UnmarshalText([]byte(v)) != nil {
				return fmt.Errorf("is %q, it must be debug, info, warn or error", v)
			}
			return nil
		},
	},
}

// removed has the variables of earlier versions.
var removed = []string{"RETRY_ROUNDS", "COS_VERSIONED_OK"}

// Removed returns a line for each variable that is set and no longer used.
func Removed(getenv func(string) string) []string {
	var lines []string
	for _, name := range removed {
		if getenv(name) != "" {
			lines = append(lines, name+" is no longer used")
		}
	}
	return lines
}

// ReadingFromEnv reads only the variables that say how exports are read and checked. It needs no credentials. The error
// is as that of [FromEnv].
func ReadingFromEnv(getenv func(string) string) (Config, error) {
	c, errs := parse(getenv, func(f *Field) bool {
		return slices.Contains([]string{
			"MEMBERS", "FIELD_LIMITS", "AVCHATROOM", "MAPPING", "INCLUDE_ARCHIVED", "USERS", "USERS_STRICT",
			"EXPORT_ENCODING", "RECORDS", "EXPORT_TIME_ZONE",
		}, f.Name)
	})
	return c, errors.Join(errs...)
}

// parse reads the fields that are selected.
func parse(getenv func(string) string, isSelected func(*Field) bool) (c Config, errs []error) {
	wrong := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s %s", name, fmt.Sprintf(format, args...)))
	}
	for _, f := range fields {
		if !isSelected(&f) {
			continue
		}
		v := strings.TrimSpace(getenv(f.Name))
		if v == "undefined" { // what some tools write for a parameter that nobody has set
			wrong(f.Name, `is "undefined": the deployment lacks its parameter`)
			v = ""
		}
		if v == "" {
			v = f.Default
		}
		if v == "" {
			if f.Required != "" {
				wrong(f.Name, "is missing: %s", f.Required)
			}
			continue
		}
		if err := f.parse(&c, v); err != nil {
			wrong(f.Name, "%v", err)
		}
	}
	return c, errs
}

// FromEnv reads the configuration. The error names every variable that is missing or wrong, one a line.
func FromEnv(getenv func(string) string) (Config, error) {
	c, errs := parse(getenv, func(*Field) bool { return true })
	wrong := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s %s", name, fmt.Sprintf(format, args...)))
	}
	switch {
	case c.SecretKey == "" && c.SecretKeyParameter == "":
		wrong("TIM_SECRET_KEY", "is missing: the key of the app in the console")
	case c.SecretKey != "" && c.SecretKeyParameter != "":
		wrong("TIM_SECRET_KEY", "and TIM_SECRET_KEY_PARAMETER are both set: unset one, so that it is clear which key counts")
	}
	for name, rate := range map[string]float64{"TIM_RATE": c.Rate, "TIM_MEMBER_RATE": c.MemberRate} {
		if rate > maxRate && strings.TrimSpace(getenv("TIM_ENDPOINT")) == "" {
			wrong(name, "is %q, it must be a number from %v to %v", strings.TrimSpace(getenv(name)), 0.1, float64(maxRate))
		}
	}
	if c.Bucket != "" && export.IsExport(c.Users) {
		wrong("USERS", "is %q, the name of an export, which would be imported: give it another ending, for example .users",
			c.Users)
	}
	switch {
	case c.NotifyParameter != "" && (c.NotifyURL != "" || c.NotifySecret != ""):
		wrong("NOTIFY_PARAMETER", "and NOTIFY_URL or NOTIFY_SECRET are both set: unset one, so that it is clear which counts")
	case c.NotifySecret != "" && c.NotifyURL == "":
		wrong("NOTIFY_SECRET", "is set, but NOTIFY_URL is missing: nothing is sent")
	}
	if c.HTTPToken != "" && c.HTTPTokenParameter != "" {
		wrong("HTTP_TOKEN", "and HTTP_TOKEN_PARAMETER are both set: unset one, so that it is clear which token counts")
	}
	if c.HTTPPlatform && c.HTTPTokenParameter != "" {
		wrong("HTTP_AUTH", "is platform and HTTP_TOKEN_PARAMETER is set: unset one of them")
	}
	if c.HTTPPlatform && c.HTTPToken != "" {
		wrong("HTTP_AUTH", "is platform and HTTP_TOKEN is set: a request has room for one of them, so unset the other")
	}
	return c, errors.Join(errs...)
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v
		return nil
	}
}

func flag(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("is %q, it must be true or false", v)
		}
		*field(c) = on
		return nil
	}
}

func number(field func(*Config) *float64, low, high float64) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(n) || n < low || n > high {
			return fmt.Errorf("is %q, it must be a number from %v to %v", v, low, high)
		}
		*field(c) = n
		return nil
	}
}

func whole(field func(*Config) *int, low, high float64) func(*Config, string) error {
	return func(c *Config, v string) error {
		var n float64
		if err := number(func(*Config) *float64 { return &n }, low, high)(c, v); err != nil {
			return err
		}
		if n != math.Trunc(n) {
			return fmt.Errorf("is %v, it must be a whole number", n)
		}
		*field(c) = int(n)
		return nil
	}
}

// Clients returns a function that makes clients with these settings, all of which share the rate limiters. change may
// adjust the settings of each; it may be nil.
func (c Config) Clients(log *slog.Logger, change func(*tim.Config)) func() (*tim.Client, error) {
	limiter, members := pacer.New(c.Rate), tim.NewMemberPacers(cmp.Or(c.MemberRate, tim.DefaultMemberRate))
	return func() (*tim.Client, error) {
		if c.SecretKey == "" && c.SecretKeyParameter != "" {
			return nil, errors.New("TIM_SECRET_KEY_PARAMETER is not read here: set TIM_SECRET_KEY")
		}
		t := tim.Config{
			SDKAppID: c.SDKAppID, Admin: c.Admin, SecretKey: c.SecretKey, Endpoint: c.Endpoint, Backup: tim.Backup(c.Endpoint),
			Insecure: c.Insecure, Pacer: limiter, Rate: c.Rate, MaxAttempts: c.MaxAttempts, Log: log,
			MemberPacers: members, MembersPerCall: c.MembersPerCall, ImportAccounts: c.ImportAccounts,
		}
		if change != nil {
			change(&t)
		}
		return tim.New(t)
	}
}
