package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
)

// secretLife is how long a secret that was read is used. A new value counts after that time at the latest.
const secretLife = 5 * time.Minute

// secretName is the name of a secret of Secrets Manager, with a version behind a colon.
var secretName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]{0,127})(?::([A-Za-z0-9][A-Za-z0-9_.-]{0,63}))?$`)

// A SecretError says that a secret could not be read. It never holds the secret.
type SecretError struct {
	name string
	err  error
}

func (e *SecretError) Error() string {
	return fmt.Sprintf("read the secret %s of Secrets Manager (TIM_SECRET_KEY_PARAMETER or HTTP_TOKEN_PARAMETER): %v",
		e.name, e.err)
}

func (e *SecretError) Unwrap() error { return e.err }

// secrets reads secrets of Secrets Manager (SSM, version 2019-09-23, action GetSecretValue: parameters and errors by
// tencentcloud/ssm/v20190923 of github.com/TencentCloud/tencentcloud-sdk-go v1.3.166) with the temporary keys of the
// function's role. SSM_ENDPOINT is another base URL, for tests and proxies.
type secrets struct {
	getenv    func(string) string
	log       *slog.Logger
	transport http.RoundTripper // nil for the default

	mu    sync.Mutex
	known map[string]secret // by name
}

// A secret is a value, and when it was read.
type secret struct {
	value string
	read  time.Time
}

func newSecrets(getenv func(string) string, log *slog.Logger) *secrets {
	return &secrets{getenv: getenv, log: log, known: map[string]secret{}}
}

// get returns the text of a secret. The name is NAME or NAME:VERSION; without a version it is SSM_Current. A value that
// was read before stays valid while there is no response or the service is overloaded. Its error is a [*SecretError].
func (s *secrets) get(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[name]
	if known.value != "" && time.Since(known.read) < secretLife {
		return known.value, nil
	}
	value, err := s.read(ctx, name)
	if err != nil && known.value != "" && isUnavailable(err) {
		s.log.WarnContext(ctx, "the secret could not be read again, the one before is used", "parameter", name, "err", err)
		return known.value, nil
	}
	delete(s.known, name)
	if err != nil {
		return "", &SecretError{name, err}
	}
	s.known[name] = secret{value, time.Now()}
	return value, nil
}

func (s *secrets) read(ctx context.Context, name string) (string, error) {
	parts := secretName.FindStringSubmatch(name)
	if parts == nil {
		return "", errors.New("want NAME or NAME:VERSION, of letters, digits, - and _")
	}
	p := profile.NewClientProfile()
	p.HttpProfile.ReqTimeout = 10 // seconds
	p.DisableRegionBreaker = true
	if endpoint := s.getenv("SSM_ENDPOINT"); endpoint != "" {
		if err := setEndpoint(p.HttpProfile, endpoint); err != nil {
			return "", err
		}
	}
	// The keys are renewed with each event.
	keys := common.NewTokenCredential(
		s.getenv("TENCENTCLOUD_SECRETID"), s.getenv("TENCENTCLOUD_SECRETKEY"), s.getenv("TENCENTCLOUD_SESSIONTOKEN"))
	client := common.NewCommonClient(keys, s.getenv("TENCENTCLOUD_REGION"), p)
	if s.transport != nil {
		client.WithHttpTransport(s.transport)
	}
	request := tchttp.NewCommonRequest("ssm", "2019-09-23", "GetSecretValue")
	request.SetContext(ctx)
	if err := request.SetActionParameters(map[string]any{
		"SecretName": parts[1], "VersionId": cmp.Or(parts[2], "SSM_Current"),
	}); err != nil {
		return "", err
	}
	response := tchttp.NewCommonResponse()
	if err := client.Send(request, response); err != nil {
		return "", err
	}
	var body struct {
		Response struct {
			SecretString string `json:"SecretString"`
		} `json:"Response"`
	}
	if err := json.Unmarshal(response.GetBody(), &body); err != nil {
		return "", errors.New("the response of Secrets Manager is no JSON") // err might hold a part of the secret
	}
	value := strings.TrimSpace(body.Response.SecretString) // as from a file that ends in a line break
	if value == "" {
		return "", errors.New("it holds no text")
	}
	return value, nil
}

// setEndpoint sets another base URL than https://ssm.tencentcloudapi.com: https, or http on this machine, with a host,
// an optional port, and nothing else.
func setEndpoint(p *profile.HttpProfile, endpoint string) error {
	base, err := url.Parse(endpoint)
	isLocal := err == nil && base.Scheme == "http" &&
		(base.Hostname() == "localhost" || net.ParseIP(base.Hostname()).IsLoopback())
	if err != nil || base.Scheme != "https" && !isLocal || base.Host == "" || base.User != nil ||
		strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.Fragment != "" {
		return errors.New("SSM_ENDPOINT must be https://HOST, or http://HOST:PORT on this machine") // it may hold a password
	}
	p.Endpoint, p.Scheme = base.Host, base.Scheme
	return nil
}

// isUnavailable reports whether the service has not decided about the request.
func isUnavailable(err error) bool {
	refused, ok := errors.AsType[*sdkerrors.TencentCloudSDKError](err)
	return ok && (strings.HasPrefix(refused.Code, "ClientError") || strings.HasPrefix(refused.Code, "InternalError") ||
		strings.HasPrefix(refused.Code, "RequestLimitExceeded"))
}
