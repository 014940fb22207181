package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// A Platform is what a function knows of itself and of its invocation.
type Platform struct {
	Name      string        // of the cloud's functions
	Function  string        // name of the function
	Invoked   string        // ID of the invocation
	Memory    int           // in MB, 0 if the platform does not tell
	TimeLimit time.Duration // from the start of the invocation to its deadline

	// HasDeadline is set if the platform sent the deadline. Otherwise TimeLimit is the function's setting.
	HasDeadline bool

	Region       string // of the function
	BucketRegion string // empty if it is that of the function
	TempDir      string // empty means that of the system

	Secret    string // name under which the key of the app is stored, empty if a variable has the key
	SecretErr error  // why the key could not be read; the configuration has none then

	// Role returns who the function is for the cloud. Nil means that nobody tells.
	Role func(ctx context.Context) (string, error)

	// CPU measures the share of one processor that the process gets; nil means for a second, by this process itself.
	CPU func() (float64, error)
}

const (
	// The program needs 32 MB for any export, and a platform as much for itself (scripts/README.md).
	minMemory = 64

	// A request over HTTP takes up to 26 s. A run of the schedule begins each minute.
	minTimeHTTP = 28 * time.Second
	minTime     = time.Minute

	// cpuPerCall is the CPU time of one call with TLS in seconds, as measured with a tenth of a processor; with a whole
	// one it is a third of that (scripts/README.md, throughput and CPU).
	cpuPerCall = 500e-6

	tempBytes = 64 << 10
)

var doSetting = Words{
	"set it as the template does, in template.yaml or serverless.yml, and deploy again", "请按 template.yaml 或 serverless.yml 设置后重新部署",
}

func checkMemory(_ context.Context, s *session) finding {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	used := m.Sys >> 20
	switch mb := s.Platform.Memory; {
	case mb == 0:
		return warning(Words{"look at the function's memory in the console: 192 MB or more", "请在控制台查看函数内存：至少 192 MB"},
			"the platform does not tell; the program uses %d MB", used)
	case mb < minMemory:
		return failed(doSetting, "%d MB, and the program needs %d", mb, minMemory)
	default:
		return ok("%d MB, of which the program uses %d", mb, used)
	}
}

func checkTimeLimit(_ context.Context, s *session) finding {
	least := minTime
	if s.Place == HTTP {
		least = minTimeHTTP
	}
	limit := s.Platform.TimeLimit.Round(time.Second)
	if limit < least {
		return warning(doSetting, "%v, and %v or more are of use", limit, least)
	}
	return ok("%v", limit)
}

func checkDeadline(_ context.Context, s *session) finding {
	if !s.Platform.HasDeadline {
		return warning(Words{
			"nothing: the program counts the function's time limit from the start of the invocation",
			"无需处理：程序按函数的超时时间从调用开始计算",
		}, "the platform sent none")
	}
	return ok("the platform sent it")
}

func checkTemp(_ context.Context, s *session) finding {
	f, err := os.CreateTemp(s.Platform.TempDir, "groupimport-check-")
	if err == nil {
		_, err = f.Write(make([]byte, tempBytes))
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return warning(Words{
			"nothing: the program writes no temporary files. Libraries might", "无需处理：程序不写临时文件，但依赖库可能会写",
		}, "%v", err)
	}
	return ok("a file of %d KiB was written to %s and removed", tempBytes>>10, os.TempDir())
}

func checkRegion(_ context.Context, s *session) finding {
	p := s.Platform
	switch {
	case p.Region == "":
		return warning(Words{"look at the function's region in the console", "请在控制台查看函数地域"}, "the platform does not tell")
	case p.BucketRegion != "" && p.BucketRegion != p.Region:
		return warning(Words{
			"deploy the function in the region of the bucket: triggers demand that, and the traffic costs",
			"请将函数部署在存储桶所在地域：触发器要求如此，且跨地域流量收费",
		}, "the function is in %s, the bucket in %s", p.Region, p.BucketRegion)
	}
	return ok("%s", p.Region)
}

func checkRole(ctx context.Context, s *session) finding {
	do := Words{
		"nothing, if the checks of the bucket are ok: they use the role. Otherwise choose the role of the template",
		"若存储桶检查正常则无需处理（其使用该角色），否则请选择模板中的角色",
	}
	if s.Platform.Role == nil {
		return warning(do, "the platform does not tell")
	}
	role, err := s.Platform.Role(ctx)
	if err != nil {
		return warning(do, "%s", oneLine(err))
	}
	return ok("%s", role)
}

func checkSecret(_ context.Context, s *session) finding {
	switch p := s.Platform; {
	case p.Secret == "":
		return ok("the key is in the variable TIM_SECRET_KEY")
	case p.SecretErr != nil:
		return failed(Words{
			"store the key under this name, and allow the role to read and decrypt it", "请以该名称保存密钥，并授予角色读取和解密权限",
		}, "%s", oneLine(p.SecretErr))
	default:
		return ok("%s was read", p.Secret)
	}
}

func checkCPU(_ context.Context, s *session) finding {
	measure := s.Platform.CPU
	if measure == nil {
		measure = measureCPU
	}
	share, err := measure()
	if err != nil {
		return warning(Words{"nothing", "无需处理"}, "not measured: %v", err)
	}
	holds := share / cpuPerCall
	seen := fmt.Sprintf("%.0f %% of a processor for a second, enough for some %.0f calls a second", 100*share, holds)
	if holds < s.Config.Rate {
		return warning(Words{
			"give the function more memory, of which the processor's share follows, or lower TIM_RATE",
			"请增大函数内存（CPU 随内存分配），或调低 TIM_RATE",
		}, "%s, and TIM_RATE is %v", seen, s.Config.Rate)
	}
	return ok("%s", seen)
}

// busyTime is how long measureCPU works.
const busyTime = time.Second

// measureCPU works for a second and returns the share of one processor that this process had in it.
func measureCPU() (float64, error) {
	start := time.Now()
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	for time.Since(start) < busyTime { // the work
	}
	took := time.Since(start)
	after, err := cpuTime()
	return min(1, (after-before).Seconds()/took.Seconds()), err
}
