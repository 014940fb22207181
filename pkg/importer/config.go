package importer

import (
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
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// Config is what an operator sets. Each field is one environment variable, with the same name on every
// platform.
type Config struct {
	SDKAppID       int          // TIM_SDKAPPID, required
	Admin          string       // TIM_ADMIN, an app administrator, default administrator
	SecretKey      string       // TIM_SECRET_KEY, required, never logged
	Region         string       // TIM_REGION, default china, see [tim.Regions]
	Endpoint       string       // TIM_ENDPOINT, a base URL, default that of the region
	Rate           float64      // TIM_RATE, attempts a second of this invocation, 0.1 to 200, default 190; to 10,000 with TIM_ENDPOINT
	Limits         group.Limits // FIELD_LIMITS, document or extended, default document
	AssignGroupIDs bool         // ASSIGN_GROUP_IDS, default false
	MaxAttempts    int          // MAX_ATTEMPTS, of a call, 1 to 20, default 5
	StopShare      float64      // STOP_SHARE, 0 to 1, default 0.5; 1 means never
	RetryRounds    int          // RETRY_ROUNDS, of records that failed, 1 to 100, default 10
	RetryUnknown   bool         // RETRY_UNKNOWN, send unknown records again, default false

	// CreateUnmatched is CREATE_UNMATCHED: of a new version of an export, send records without a GroupId also where it is
	// not certain that they were not created from an earlier version. Default false.
	CreateUnmatched bool
	Encoding        string     // EXPORT_ENCODING, of exports that are not UTF-8, as [export.ParseEncoding] names it, default none
	Mapping         string     // MAPPING, of records that are another system's: a built-in one, or the key of a jq program, default none
	Bucket          string     // EXPORT_BUCKET, whose exports are imported; in the cloud only
	Prefix          string     // EXPORT_PREFIX, a folder with its slash where exports are looked for, default everywhere
	OneAtATime      bool       // ONE_AT_A_TIME, runs of all processes with this bucket and prefix take turns, default false
	HTTPToken       string     // HTTP_TOKEN, what callers over HTTP bear, 16 characters or more, never logged
	HTTPPlatform    bool       // HTTP_AUTH=platform: it checks callers over HTTP, and they bear no token
	LogLevel        slog.Level // LOG_LEVEL, debug, info, warn or error, default info

	// IncludeArchived is INCLUDE_ARCHIVED: mappings import archived, deleted and frozen groups too, default false.
	IncludeArchived bool

	// SecretKeyParameter is TIM_SECRET_KEY_PARAMETER: where the key is kept if it is not in the environment,
	// on AWS the name of an SSM parameter. Who reads it sets SecretKey.
	SecretKeyParameter string
}

// maxRate is what the service allows: 200 calls a second for the whole application
// (tencentcloud.com/document/product/1047/34967). What is not the service may take more.
const (
	maxRate         = 200
	maxRateEndpoint = 100_000 // more than it reaches anywhere
)

// MinToken is how many characters [Config.HTTPToken] has at least.
const MinToken = 16

// A token travels in a header: RFC 6750, section 2.1, says which characters may be in it.
const tokenChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/="

// ConfigFromEnv reads the configuration. The error names every variable that is missing or wrong, one a
// line.
func ConfigFromEnv(getenv func(string) string) (Config, error) {
	var errs []error
	wrong := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s %s", name, fmt.Sprintf(format, args...)))
	}
	value := func(name, otherwise string) string {
		switch v := strings.TrimSpace(getenv(name)); v {
		case "":
			return otherwise
		case "undefined": // what some tools write for a parameter that nobody has set
			wrong(name, `is "undefined": the deployment lacks its parameter`)
			return otherwise
		default:
			return v
		}
	}
	var c Config
	var err error

	switch v := value("TIM_SDKAPPID", ""); v {
	case "":
		wrong("TIM_SDKAPPID", "is missing: the number of the app in the console")
	default:
		if c.SDKAppID, err = strconv.Atoi(v); err != nil || c.SDKAppID <= 0 {
			wrong("TIM_SDKAPPID", "is %q, it must be a positive number", v)
		}
	}
	c.Admin = value("TIM_ADMIN", "administrator")
	c.SecretKey = value("TIM_SECRET_KEY", "")
	c.SecretKeyParameter = value("TIM_SECRET_KEY_PARAMETER", "")
	switch {
	case c.SecretKey == "" && c.SecretKeyParameter == "":
		wrong("TIM_SECRET_KEY", "is missing: the key of the app in the console")
	case c.SecretKey != "" && c.SecretKeyParameter != "":
		wrong("TIM_SECRET_KEY", "and TIM_SECRET_KEY_PARAMETER are both set: unset one, so that it is clear which key counts")
	}
	c.Region = value("TIM_REGION", "china")
	endpoint, err := tim.Endpoint(c.Region)
	if err != nil {
		wrong("TIM_REGION", "is wrong: %v", err)
	}
	most := float64(maxRate)
	c.Endpoint = endpoint
	if v := value("TIM_ENDPOINT", ""); v != "" {
		most = maxRateEndpoint
		c.Endpoint = strings.TrimRight(v, "/")
		// The error of url.Parse quotes what it parses, which may hold a password.
		if u, err := url.Parse(v); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
			wrong("TIM_ENDPOINT", "must be a base URL like https://host, without a user, a password or a query")
		}
	}
	number := func(name, otherwise string, low, high float64) float64 {
		v := value(name, otherwise)
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(n) || n < low || n > high {
			wrong(name, "is %q, it must be a number from %v to %v", v, low, high)
		}
		return n
	}
	c.Rate = number("TIM_RATE", "190", 0.1, most)
	if c.Limits, err = group.ParseLimits(value("FIELD_LIMITS", "document")); err != nil {
		wrong("FIELD_LIMITS", "is wrong: %v", err)
	}
	flag := func(name string) bool {
		v := value(name, "false")
		on, err := strconv.ParseBool(v)
		if err != nil {
			wrong(name, "is %q, it must be true or false", v)
		}
		return on
	}
	whole := func(name, otherwise string, low, high float64) int {
		n := number(name, otherwise, low, high)
		if n != math.Trunc(n) {
			wrong(name, "is %v, it must be a whole number", n)
		}
		return int(n)
	}
	c.AssignGroupIDs = flag("ASSIGN_GROUP_IDS")
	c.MaxAttempts = whole("MAX_ATTEMPTS", "5", 1, 20)
	c.StopShare = number("STOP_SHARE", "0.5", 0, 1)
	c.RetryRounds = whole("RETRY_ROUNDS", "10", 1, 100)
	c.RetryUnknown = flag("RETRY_UNKNOWN")
	c.CreateUnmatched = flag("CREATE_UNMATCHED")
	if c.Mapping = value("MAPPING", ""); c.Mapping != "" && !strings.HasSuffix(c.Mapping, ".jq") && !slices.Contains(mapping.Names(), c.Mapping) {
		wrong("MAPPING", "is %q, it must be one of %s, or the key of a jq program that ends in .jq", c.Mapping, strings.Join(mapping.Names(), ", "))
	}
	c.IncludeArchived = flag("INCLUDE_ARCHIVED")
	if c.Encoding, err = export.ParseEncoding(value("EXPORT_ENCODING", "")); err != nil {
		wrong("EXPORT_ENCODING", "%v", err)
	}
	c.Bucket = value("EXPORT_BUCKET", "")
	c.OneAtATime = flag("ONE_AT_A_TIME")
	c.HTTPToken = value("HTTP_TOKEN", "")
	switch {
	case c.HTTPToken == "":
	case len(c.HTTPToken) < MinToken: // what stands there may be a part of the right one: it is not quoted
		wrong("HTTP_TOKEN", "has %d characters, it must have %d or more: openssl rand -hex 24 makes one", len(c.HTTPToken), MinToken)
	case strings.Trim(c.HTTPToken, tokenChars) != "":
		wrong("HTTP_TOKEN", "may hold letters, digits and -._~+/= only: openssl rand -hex 24 makes one")
	}
	switch v := value("HTTP_AUTH", "token"); v {
	case "token":
	case "platform":
		c.HTTPPlatform = true
		if c.HTTPToken != "" {
			wrong("HTTP_AUTH", "is platform and HTTP_TOKEN is set: a request has room for one of them, so unset the other")
		}
	default:
		wrong("HTTP_AUTH", "is %q, it must be token or platform", v)
	}
	if v := value("LOG_LEVEL", "info"); c.LogLevel.UnmarshalText([]byte(v)) != nil {
		wrong("LOG_LEVEL", "is %q, it must be debug, info, warn or error", v)
	}
	switch c.Prefix = value("EXPORT_PREFIX", ""); {
	case strings.HasPrefix(c.Prefix, "/"):
		wrong("EXPORT_PREFIX", "is %q, keys do not begin with a slash", c.Prefix)
	case c.Prefix != "" && !strings.HasSuffix(c.Prefix, "/"):
		// It would also be the beginning of other names, and leases would lie beside the folder.
		wrong("EXPORT_PREFIX", "is %q, it must be a folder with a slash at its end, like %q", c.Prefix, c.Prefix+"/")
	}
	return c, errors.Join(errs...)
}

// policy is what the configuration says about retries.
func (c *Config) policy() results.RetryPolicy {
	return results.RetryPolicy{Rounds: c.RetryRounds, Unknown: c.RetryUnknown}
}
