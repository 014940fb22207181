package check

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/tim"
)

const (
	samples = 20 // look-ups for the latency

	// At a low rate there are fewer, as many as sampleTime has permits for, and two at least.
	sampleTime  = 20 * time.Second
	slowLookUps = 6 // of one check at the lowest rate, with the permits that the look-ups before have used

	// The service gives up on a request after 3 s (REST API FAQ).
	maxLatency = 3 * time.Second

	// The client has at most 900 attempts in flight, because SCF allows a process 1,024 file descriptors.
	maxInFlight = 900

	// S3 refuses requests whose time is off by more than 15 minutes (docs.aws.amazon.com/AmazonS3/latest/API
	// RESTAuthentication). A lease lasts 50 s, and its owner may be another machine.
	maxSkew  = 15 * time.Minute
	goodSkew = 20 * time.Second

	// Instances of the HTTP function share their rate by times in objects (functions/lambda/README.md, "How the rate is
	// kept").
	sharedSkew = 500 * time.Millisecond

	maxBody = 256 << 10 // bytes of a response that is examined

	noGroup = 10010 // of a group in a response of get_group_info

	dialTime = 5 * time.Second // of one connection
)

// newTransport returns a transport like that of [tim.New].
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = []string{"http/1.1"} // the clone still offers h2
	}
	return t
}

// A recorder is a transport that keeps of the responses what the checks need. It keeps nothing of the requests.
type recorder struct {
	base http.RoundTripper

	mu    sync.Mutex
	date  string        // header of the last response
	took  time.Duration // until its body was read
	codes []int         // of the groups in it
	ahead bounds        // of this machine's clock before that of the service
}

// Bounds say how far one clock is ahead of another one: from least to most. The zero value says nothing.
type bounds struct{ least, most time.Duration }

// see narrows the bounds by a response: it came between start and end by the clock of this machine, and its Date header
// is the service's time without the part of a second. Each response narrows them, since the parts differ. Bounds that
// contradict the response are replaced: a clock was set, or the service has several.
func (b *bounds) see(start, end, date time.Time) {
	now := bounds{start.Sub(date) - time.Second, end.Sub(date)}
	both := bounds{max(b.least, now.least), min(b.most, now.most)}
	if *b == (bounds{}) || both.least > both.most {
		both = now
	}
	*b = both
}

// distance returns by how much the clocks differ at least and at most.
func (b *bounds) distance() (least, most time.Duration) {
	return max(0, b.least, -b.most), max(b.least.Abs(), b.most.Abs())
}

// RoundTrip reads the whole response, so that its time is that of the body too.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	arrived := time.Now()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var groups struct {
		GroupInfo []struct {
			ErrorCode int `json:"ErrorCode"`
		} `json:"GroupInfo"`
	}
	// A response that cannot be read has no groups, and the client reports it.
	_ = json.Unmarshal(body, &groups, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.date, r.took, r.codes = resp.Header.Get("Date"), time.Since(start), nil
	if date, err := http.ParseTime(r.date); err == nil {
		r.ahead.see(start, arrived, date)
	}
	for _, g := range groups.GroupInfo {
		r.codes = append(r.codes, g.ErrorCode)
	}
	return resp, nil
}

// CloseIdleConnections closes the idle connections of the transport below.
func (r *recorder) CloseIdleConnections() {
	if t, ok := r.base.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// last returns what the recorder kept of the last response.
func (r *recorder) last() (took time.Duration, codes []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.took, r.codes
}

var doHost = Words{
	"check the name servers, firewall and proxy of this machine or function, and TIM_REGION or TIM_ENDPOINT",
	"请检查本机或函数的 DNS、防火墙和代理，以及 TIM_REGION 或 TIM_ENDPOINT",
}

// reach requests the root of a host, without a UserSig.
func (s *session) reach(ctx context.Context, endpoint string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, endpoint+"/", nil)
	if err != nil {
		return 0, errors.New("the URL is not valid") // err would quote it
	}
	resp, err := s.service.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func checkHost(ctx context.Context, s *session) finding {
	status, err := s.reach(ctx, s.Config.Endpoint)
	if err != nil {
		return failed(doHost, "%s: %s", s.Config.Endpoint, oneLine(err))
	}
	return ok("%s responds (HTTP %d)", s.Config.Endpoint, status)
}

func checkBackup(ctx context.Context, s *session) finding {
	backup := tim.Backup(s.Config.Endpoint)
	if backup == "" {
		return ok("this endpoint has no backup host")
	}
	status, err := s.reach(ctx, backup)
	if err != nil {
		return warning(Words{
			"nothing at once: without it imports wait while the main host cannot be reached; allow it in the firewall",
			"暂不影响使用：主域名不可用时导入会等待；请在防火墙中放行",
		}, "%s: %s", backup, oneLine(err))
	}
	return ok("%s responds (HTTP %d)", backup, status)
}

func checkClock(_ context.Context, s *session) finding {
	s.service.mu.Lock()
	ahead, took := s.service.ahead, s.service.took
	s.service.mu.Unlock()
	switch {
	case took == 0:
		return warning(Words{"see im host", "见 im host"}, "not checked: no response")
	case ahead == bounds{}:
		return warning(Words{"compare the clock of this machine with another one", "请与其他时钟核对本机时间"},
			"the response has no readable Date header")
	}
	least, most := ahead.distance()
	least, most = least.Round(10*time.Millisecond), most.Round(10*time.Millisecond)
	seen := fmt.Sprintf("the clocks differ by %v to %v", least, most)
	if least == 0 {
		seen = fmt.Sprintf("the clocks differ by %v at most", most)
	}
	do := Words{
		"set the clock of this machine: leases, the UserSig and the signatures of the bucket have times",
		"请校准本机时钟：租约、UserSig 和存储桶签名均依赖时间",
	}
	switch {
	case most > maxSkew:
		return failed(do, "%s", seen)
	case least > goodSkew:
		return warning(do, "%s", seen)
	case least > sharedSkew && s.Place != Local:
		return warning(Words{
			"nothing, unless the clocks of the function's instances differ as much: those of HTTP share their rate by them",
			"若各函数实例的时钟彼此一致则无需处理：HTTP 函数的实例依靠时钟共享频率",
		}, "%s", seen)
	}
	return ok("%s", seen)
}

// lookUp looks up a group that cannot exist, because its ID is new and random.
func (s *session) lookUp(ctx context.Context) (tim.Group, error) {
	return s.client.LookUp(ctx, "groupimport-check-"+rand.Text())
}

func checkAccess(ctx context.Context, s *session) finding {
	if s.client == nil {
		return warning(Words{"see function secret", "见 function secret"}, "not checked: the key of the app was not read")
	}
	if _, err := s.lookUp(ctx); err != nil {
		do := Words{
			"do what the message says. Until then no request of an import is accepted",
			"请按提示处理，否则导入的请求不会被接受",
		}
		if _, isFatal := errors.AsType[*tim.FatalError](err); !isFatal { // no code of the service
			do = Words{
				"this is no response of the IM service: check TIM_REGION or TIM_ENDPOINT, and what lies between, as a proxy or " +
					"firewall. Then repeat the check",
				"未收到 IM 服务的有效响应：请检查 TIM_REGION 或 TIM_ENDPOINT，以及中间的代理或防火墙，然后重新检查",
			}
		}
		return failed(do, "%s", oneLine(err))
	}
	s.authorized = true
	return ok("get_group_info was accepted for %s of app %d", s.Config.Admin, s.Config.SDKAppID)
}

func checkUnknown(ctx context.Context, s *session) finding {
	if !s.authorized {
		return notAuthorized()
	}
	do := Words{
		"tell the maintainers what was seen: look-ups of groups whose response was lost rely on it",
		"请将所见内容告知维护者：响应丢失后的查询依赖该错误码",
	}
	group, err := s.lookUp(ctx)
	if err != nil {
		return failed(do, "%s", oneLine(err))
	}
	_, codes := s.service.last()
	switch {
	case group.Found:
		return failed(do, "a group with a new random ID exists")
	case !slices.Equal(codes, []int{noGroup}):
		return warning(do, "the response for one unknown ID has the codes %v", codes)
	}
	return ok("code %d", noGroup)
}

func notAuthorized() finding {
	return warning(Words{"see im access", "见 im access"}, "not checked: the service accepts no request")
}

func checkLatency(ctx context.Context, s *session) finding {
	if !s.authorized {
		return notAuthorized()
	}
	do := Words{"run the program in the region of the app", "请在应用所在地域运行程序"}
	var all []time.Duration
	count := samples
	if s.Place != HTTP {
		count = max(2, min(count, int(s.Config.Rate*sampleTime.Seconds())))
	}
	for range count {
		if _, err := s.lookUp(ctx); err != nil {
			return failed(Words{
				"repeat the check; if it stays, check the network", "请重新检查；若仍存在，请检查网络",
			}, "after %d of %d look-ups: %s",
				len(all), count, oneLine(err))
		}
		took, _ := s.service.last()
		if took > maxLatency {
			return failed(do, "a response took %v; the service gives up on a request after %v",
				took.Round(time.Millisecond), maxLatency)
		}
		all = append(all, took)
	}
	slices.Sort(all)
	median, longest := all[len(all)/2], all[len(all)-1] // of 20 the longest is the 99th percentile
	inFlight := math.Ceil(s.Config.Rate * longest.Seconds())
	seen := fmt.Sprintf("p50 %v, p99 %v over %d look-ups, so that a rate of %v needs %.0f in flight",
		median.Round(time.Millisecond), longest.Round(time.Millisecond), count, s.Config.Rate, inFlight)
	if inFlight > maxInFlight {
		return warning(do.after(Words{"Or lower TIM_RATE", "或调低 TIM_RATE"}), "%s, and at most %d are", seen, maxInFlight)
	}
	return ok("%s", seen)
}

// serviceRate is the service's limit in attempts a second of an app (tencentcloud.com/document/product/1047/34967).
const serviceRate = 200

func checkRate(_ context.Context, s *session) finding {
	rate, others := s.Config.Rate, s.Config.OtherRates
	sum := max(rate, s.Config.MemberRate) + others // the service limits each command by itself
	seen := fmt.Sprintf("TIM_RATE is %v, TIM_MEMBER_RATE %v, others of the app have %v (TIM_RATE_OTHERS)",
		rate, s.Config.MemberRate, others)
	switch {
	case rate > serviceRate && others == 0:
		return warning(Words{
			"lower TIM_RATE to 190, unless TIM_ENDPOINT is no app of Tencent Cloud",
			"请将 TIM_RATE 调低至 190，除非 TIM_ENDPOINT 不是腾讯云应用",
		}, "%s, and the service allows %d", seen, serviceRate)
	case sum > serviceRate:
		return failed(Words{
			fmt.Sprintf("lower TIM_RATE and TIM_MEMBER_RATE to %v, or the rate of the others, or correct TIM_RATE_OTHERS",
				max(0, serviceRate-others)),
			fmt.Sprintf("请将 TIM_RATE 和 TIM_MEMBER_RATE 调低至 %v，或调低其他部分的频率，或更正 TIM_RATE_OTHERS", max(0, serviceRate-others)),
		}, "%s: together %v, and the service allows %d", seen, sum, serviceRate)
	}
	return ok("%s: together %v of %d", seen, sum, serviceRate)
}

// oneLine returns the text of an error without secrets, in one line.
func oneLine(err error) string { return tim.Redact(strings.Join(strings.Fields(err.Error()), " ")) }

// A command is one that imports call, with a request that changes nothing.
type command struct {
	name string
	body func(random string) string
}

// commands are the commands whose use is checked. To add one, add it to those of [tim.Client.Probe], and give it a body
// that the service rejects for its content alone, or that only reads.
var commands = []command{
	{"get_group_info", func(random string) string { return `{"GroupIdList":["groupimport-check-` + random + `"]}` }},
	{"import_group", func(string) string { return `{}` }}, // without Type and Name there is nothing to create
	{"import_group_member", func(random string) string { // no such group, no such account
		return `{"GroupId":"groupimport-check-` + random + `","MemberList":[{"Member_Account":"check-` + random + `"}]}`
	}},
	{"account_check", func(random string) string { return `{"CheckItem":[{"UserID":"check-` + random + `"}]}` }},
}

func checkCommands(ctx context.Context, s *session) finding {
	if !s.authorized {
		return notAuthorized()
	}
	const noPermission = 10007
	var seen []string
	for _, c := range commands {
		code, err := s.client.Probe(ctx, c.name, []byte(c.body(rand.Text())))
		if err != nil {
			return failed(Words{"repeat the check; if it stays, check the network", "请重新检查；若仍存在，请检查网络"},
				"%s: %s", c.name, oneLine(err))
		}
		m := tim.Explain(code)
		switch {
		case code == noPermission || m.Class == tim.Fatal || m.Class == tim.SignAgain || m.Class == tim.Unlisted:
			return failed(Words{
				"do what the message says: imports need this command", "请按提示处理：导入需要该接口",
			}, "%s: code %d: %s", c.name, code, m.Text)
		case m.Class == tim.Transient || m.Class == tim.Throttled:
			return warning(Words{"repeat the check", "请重新检查"}, "%s: code %d: %s", c.name, code, m.Text)
		}
		seen = append(seen, fmt.Sprintf("%s (code %d)", c.name, code))
	}
	return ok("%s: each was read by the service, and changed nothing", strings.Join(seen, ", "))
}

func checkAddresses(ctx context.Context, s *session) finding {
	var seen []string
	result := finding{state: OK}
	for _, endpoint := range []string{s.Config.Endpoint, tim.Backup(s.Config.Endpoint)} {
		u, err := url.Parse(endpoint)
		if err != nil || endpoint == "" {
			continue
		}
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
			return ok("requests go through a proxy")
		}
		port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		text, f := s.families(ctx, u.Hostname(), port)
		seen = append(seen, u.Hostname()+": "+text)
		if f.state == Failed && result.state != Failed || result.state == OK {
			result = f
		}
	}
	result.seen = strings.Join(seen, "; ")
	return result
}

// families connects to a host over both versions of IP. The finding has no seen.
func (s *session) families(ctx context.Context, host, port string) (seen string, f finding) {
	var parts []string
	reached, noRoute := 0, false
	for _, family := range []struct{ name, network string }{{"IPv4", "tcp4"}, {"IPv6", "tcp6"}} {
		conn, err := s.Dial(ctx, family.network, net.JoinHostPort(host, port))
		address, isAddress := errors.AsType[*net.AddrError](err)
		_, isName := errors.AsType[*net.DNSError](err)
		switch {
		case err == nil:
			conn.Close()
			parts = append(parts, family.name+" connects")
			reached++
		case isName || isAddress && address.Err == "no suitable address found":
			parts = append(parts, "no address of "+family.name)
		default:
			parts = append(parts, family.name+" does not connect")
			noRoute = true
		}
	}
	seen = strings.Join(parts, ", ")
	switch {
	case reached == 0:
		return seen, finding{state: Failed, do: doHost}
	case noRoute:
		return seen, finding{state: Warning, do: Words{
			"nothing at once: the other version is used, 0.3 s later for each new connection. Give the function a route for " +
				"both versions, or a name server without the addresses that do not connect",
			"暂不影响使用：会改用另一版本，每个新连接约晚 0.3 秒。请为两种版本配置路由，或使用不返回不可达地址的 DNS",
		}}
	}
	return seen, finding{state: OK}
}

func checkCustomFields(_ context.Context, s *session) finding {
	if len(s.Sample.CustomFields) == 0 {
		return ok("%s has no custom fields in its records up to number %d", s.Sample.Name, s.Sample.Records)
	}
	return warning(Words{
		"see in the console, under the group's custom fields, that each is enabled. This cannot be known without a call " +
			"that " +
			"creates a group: import an export of one record first, and see its outcome",
		"请在控制台的群自定义字段中确认每个字段均已开通。不创建群组就无法得知：请先导入只有一条记录的导出文件并查看结果",
	}, "not checked whether the app has the custom fields %s, which %s has in its records up to number %d",
		strings.Join(s.Sample.CustomFields, ", "), s.Sample.Name, s.Sample.Records)
}
