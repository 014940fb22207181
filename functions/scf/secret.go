package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"

	"groupimport/functions/internal/invocation"
)

// secretName is the name of a secret of Secrets Manager, with a version behind a colon.
var secretName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]{0,127})(?::([A-Za-z0-9][A-Za-z0-9_.-]{0,63}))?$`)

// secrets reads secrets of Secrets Manager (SSM, version 2019-09-23, action GetSecretValue: parameters and errors by
// tencentcloud/ssm/v20190923 of github.com/TencentCloud/tencentcloud-sdk-go v1.3.166) with the temporary keys of the
// function's role. SSM_ENDPOINT is another base URL, for tests and proxies.
type secrets struct {
	getenv    func(string) string
	transport http.RoundTripper // nil for the default
}

// newSecrets keeps what s reads.
func newSecrets(s *secrets, log *slog.Logger) *invocation.Secrets {
	return &invocation.Secrets{Store: "secret of Secrets Manager", Log: log, Read: s.read, IsUnavailable: isUnavailable}
}

// read returns the text of a secret. The name is NAME or NAME:VERSION; without a version it is SSM_Current.
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
	return body.Response.SecretString, nil
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
