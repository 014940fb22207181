package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/functions/lambda/lambdatest"
	"groupimport/pkg/emulator"
)

// delays returns the emulator's options for a latency in ms and a limit a second; -1 means none.
func delays(latency, jitter, limit int) []string {
	return []string{
		"-latency", fmt.Sprint(latency, "ms"), "-jitter", fmt.Sprint(jitter, "ms"), "-limit", strconv.Itoa(limit),
	}
}

// A program sends the records of a file to a service, at most rate a second unless that is zero.
type program func(b *bench, s *service, file string, rate int) usage

// unlimited imports as the functions do, see functions/internal/frugal.
func unlimited(b *bench, s *service, file string, _ int) usage {
	removeImport(file)
	return b.child(append(s.env, "TIM_RATE=50000", "GOMAXPROCS=1", "GOMEMLIMIT=26MiB", "GOGC=200"), "import", file)
}

func bare(b *bench, s *service, file string, rate int) usage {
	return b.child(s.env, "baseline", "-rate", strconv.Itoa(rate), file)
}

func benthos(b *bench, s *service, file string, rate int) usage {
	env := append(s.env, "IN="+file, "OUT="+b.path("benthos.out"), "URL="+must(importGroupURL(s.getenv)))
	if rate > 0 {
		env = append(env, "LIMIT=budget", fmt.Sprint("RATE=", rate))
	}
	defer os.Remove(b.path("benthos.out"))
	return b.run(env, b.path("benthos"), "run", "scripts/peers/benthos/import.yaml")
}

func vegeta(b *bench, s *service, file string, rate int) usage {
	var targets bytes.Buffer
	n := 0
	for line := range bytes.Lines(must(os.ReadFile(file))) {
		n++
		check(json.MarshalWrite(&targets, map[string]any{
			"method": "POST", "url": must(importGroupURL(s.getenv)), "body": bytes.TrimSpace(line),
			"header": map[string][]string{"Content-Type": {"application/json"}},
		}, jsontext.EscapeForHTML(false)))
		targets.WriteByte('\n')
	}
	check(os.WriteFile(b.path("targets"), targets.Bytes(), 0o600))
	duration := time.Duration(n) * time.Second / time.Duration(rate)
	return b.run(s.env, b.path("vegeta"), "attack", "-format", "json", "-targets", b.path("targets"),
		"-rate", strconv.Itoa(rate), "-duration", duration.String(), "-output", b.path("vegeta.out"))
}

// pace measures 20 s at each rate and latency, and with a stop of 2 s (SIGSTOP) in the middle.
func pace(b *bench) {
	b.run([]string{"GOBIN=" + b.work}, "go", "install", "github.com/tsenart/vegeta/v12@v12.13.0")
	b.build("benthos", "-C", "scripts/peers/benthos", ".")
	limits := map[int]int{50: 50, 190: 200, 200: 200, 1000: 1000} // 190 is the default, beside the service's limit
	for range *runs {
		for _, rate := range []int{50, 190, 200, 1000} {
			n := limited(rate * 20)
			file := b.export("pace.jsonl", n)
			for _, latency := range []int{5, 50, 500} {
				b.paceImport(file, rate, limits[rate], latency, 0)
			}
			b.paceImport(file, rate, limits[rate], 50, time.Duration(n)*time.Second/time.Duration(rate)/2)
		}
		file := b.export("pace.jsonl", limited(4000))
		for who, run := range map[string]program{"vegeta": vegeta, "benthos": benthos} {
			_, stats := b.against(false, delays(50, 10, 200), func(s *service) usage { return run(b, s, file, 200) })
			b.foundPace("rate 200, limit 200, 50 ms", who, stats, 200, 0)
		}
	}
}

// paceImport imports file at a rate, and stops the process for 2 s after stopAfter unless that is zero.
func (b *bench) paceImport(file string, rate, limit, latency int, stopAfter time.Duration) {
	what := fmt.Sprintf("rate %d, limit %d, %d ms", rate, limit, latency)
	var lost time.Duration
	_, stats := b.against(false, delays(latency, latency/5, limit), func(s *service) usage {
		removeImport(file)
		var out bytes.Buffer
		cmd := b.start(append(s.env, fmt.Sprint("TIM_RATE=", rate)), &out, b.path("local"), "import", "-quiet", file)
		if stopAfter > 0 {
			what += ", stopped for 2 s (not in the mean)"
			time.Sleep(stopAfter)
			check(cmd.Process.Signal(syscall.SIGSTOP))
			lost = 2 * time.Second
			time.Sleep(lost)
			check(cmd.Process.Signal(syscall.SIGCONT))
		}
		return wait(cmd, &out, time.Now())
	})
	b.foundPace(what, "groupimport", stats, rate, lost)
}

func (b *bench) foundPace(what, who string, stats emulator.Stats, budget int, lost time.Duration) {
	mean := rate(stats, lost)
	b.found("pace", what, who, fig("mean", mean, "/s"), fig("of the budget", 100*mean/float64(budget), " %"),
		fig("busiest second", float64(stats.BusiestSecond), ""), fig("refused", float64(stats.Throttled), ""),
		fig("refused share", 100*float64(stats.Throttled)/float64(stats.Requests), " %"))
}

// ceiling imports without a rate, beside Benthos and the baseline, over plain HTTP and TLS.
func ceiling(b *bench) {
	b.build("benthos", "-C", "scripts/peers/benthos", ".")
	n := limited(100_000)
	file := b.export("ceiling.jsonl", n)
	who := []string{"groupimport", "benthos", "baseline"}
	for range *runs {
		for _, over := range []string{"plain", "TLS"} {
			var speed, cpu [3]float64
			for i, run := range []program{unlimited, benthos, bare} {
				u, stats := b.against(over == "TLS", delays(5, 0, -1), func(s *service) usage { return run(b, s, file, 0) })
				if stats.Created != n {
					fmt.Printf("ceiling: the service created %d groups of %d\n", stats.Created, n)
				}
				speed[i], cpu[i] = rate(stats, 0), float64(u.cpu.Microseconds())/float64(n)
				b.found("ceiling", over+", 5 ms", who[i], fig("rate", speed[i], "/s"), fig("CPU", cpu[i], " µs a record"))
			}
			for i := 1; i < len(who); i++ {
				b.found("ceiling", over+", 5 ms", "groupimport : "+who[i], fig("rate", speed[0]/speed[i], " times"),
					fig("CPU", cpu[0]/cpu[i], " times"))
			}
		}
	}
}

// small imports at 200 a second with the share of a core and the memory of the Lambda function.
func small(b *bench) {
	file := b.export("small.jsonl", limited(4000))
	measure := func(what, who string, run func(*service) usage) {
		u, stats := b.against(true, delays(50, 10, 200), run)
		cpu := float64(u.cpu.Microseconds()) / float64(stats.Requests)
		b.found("small", what, who, fig("mean", rate(stats, 0), "/s"),
			fig("busiest second", float64(stats.BusiestSecond), ""), fig("refused", float64(stats.Throttled), ""),
			fig("CPU", cpu, " µs a call"),
			fig("at 200 a second", cpu*200/10_000, " % of a core"), fig("memory", u.memory, " MB"))
	}
	with := func(run func(env []string, name string, args ...string) usage) func(*service) usage {
		return func(s *service) usage {
			removeImport(file)
			// One processor, as functions/internal/frugal.
			return run(append(s.env, "TIM_RATE=200", "GOMAXPROCS=1"), b.path("local"), "import", "-quiet", file)
		}
	}
	err := b.makeCgroup(192.0/1769, 192<<20) // Lambda gives a core with 1,769 MB
	if err != nil {
		fmt.Println("small: no cgroup can be made here, so the share of a core is only worked out:", err)
	}
	for range *runs {
		if err == nil {
			measure("10.9 % of a core, 192 MB, TLS, rate 200", "groupimport", with(b.runInCgroup))
		}
		measure("a whole machine, TLS, rate 200", "groupimport", with(b.run))
		// What a call costs on this machine if it has to wake the process.
		measure("a whole machine, TLS, rate 200", "baseline", func(s *service) usage { return bare(b, s, file, 200) })
	}
}

// sizes measures memory by the number of records, the archives, and the start of the Lambda function.
func sizes(b *bench) {
	counts := []int{1000, 10_000, 1_000_000}
	if *full {
		counts = append(counts, 5_000_000)
	}
	for _, n := range counts {
		times := *runs
		if n >= 1_000_000 {
			times = 1 // what these need does not vary
		}
		n = limited(n)
		b.importUnlimited("size", b.export("size.jsonl", n), n, times)
	}
	b.run(nil, "scripts/build")
	for _, archive := range must(filepath.Glob("dist/*.zip")) {
		b.found("size", archive, "groupimport", fig("size", float64(must(os.Stat(archive)).Size())/1e6, " MB"))
	}
	b.build("bootstrap", "-trimpath", "-tags", "lambda.norpc,nethttpomithttp2", "-ldflags", "-s -w", "./functions/lambda")
	for range 20 {
		// The function does not know the event: it ends at once and sends no request to a store.
		f := lambdatest.New(lambdatest.Config{Binary: b.path("bootstrap"), Timeout: 10 * time.Second, Env: []string{
			"EXPORT_BUCKET=groups", "EXPORT_PREFIX=exports/", "TIM_SDKAPPID=1400000000", "TIM_SECRET_KEY=key",
			"TIM_ENDPOINT=http://127.0.0.1:9", "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=local",
			"AWS_SECRET_ACCESS_KEY=local", "LOG_LEVEL=error",
		}})
		result := must(f.Invoke(b.ctx, []byte(`{}`)))
		f.Close()
		if result.Start == 0 {
			check(fmt.Errorf("the function did not ask for an event: %v", result.Error))
		}
		took := float64(result.Start.Microseconds()) / 1000
		b.found("size", "start of the Lambda function", "groupimport", fig("took", took, " ms"))
	}
}

// importUnlimited measures an import of n records without a rate, and removes the file.
func (b *bench) importUnlimited(part, file string, n, times int) {
	defer os.Remove(file)
	defer removeImport(file)
	_, format, _ := strings.Cut(filepath.Base(file), ".")
	for range times {
		u, _ := b.against(false, delays(1, 0, -1), func(s *service) usage { return unlimited(b, s, file, 0) })
		b.found(part, fmt.Sprintf("import of %d records, %s", n, format), "groupimport",
			fig("memory", u.memory, " MB"), fig("took", u.took.Seconds(), " s"))
	}
}

var (
	resumed = regexp.MustCompile(`: ([a-z.]+): resuming at (\S+ \S+) took (\S+) ms and (\S+) bytes`)
	reading = regexp.MustCompile(`(?m)^Benchmark(Reader|StandardLibrary)/(\S+).* (\S+) MB/s`)
)

// resume measures where an import resumes in a large export of each format, the readers' speed, and the memory of
// imports of many records.
func resume(b *bench) {
	test := func(args ...string) string {
		var out bytes.Buffer
		args = append([]string{"test", "./pkg/export", "-count", strconv.Itoa(*runs)}, args...)
		wait(b.start(nil, &out, "go", args...), &out, time.Now())
		return out.String()
	}
	value := func(text string) float64 { return must(strconv.ParseFloat(text, 64)) }
	out := test("-run", "TestReader_ResumeCost$", "-resume.size", fmt.Sprint(*size), "-timeout", "60m", "-v")
	for _, m := range resumed.FindAllStringSubmatch(out, -1) {
		b.found("resume", fmt.Sprintf("at %s of %d bytes, %s", m[2], *size, m[1]), "groupimport",
			fig("took", value(m[3]), " ms"), fig("read", value(m[4]), " bytes"))
	}
	out = test("-run", "^$", "-bench", "Reader|StandardLibrary", "-cpu", "1")
	for _, m := range reading.FindAllStringSubmatch(out, -1) {
		who := map[string]string{"Reader": "groupimport", "StandardLibrary": "no checks"}[m[1]]
		b.found("resume", "reading "+m[2]+" on one core", who, fig("speed", value(m[3]), " MB/s"))
	}
	n := limited(1_000_000)
	for _, name := range []string{"m.json", "m.csv"} { // m.jsonl is in size
		b.importUnlimited("resume", b.export(name, n), n, *runs)
	}
	for _, pack := range []string{"gzip -9 -k -S .gz", "zstd -q -19 -T0"} {
		args := strings.Fields(pack)
		if _, err := exec.LookPath(args[0]); err != nil {
			fmt.Println("resume:", err)
			continue
		}
		file := b.export("packed.jsonl", n)
		b.run(nil, args[0], append(args[1:], file)...)
		check(os.Remove(file))
		b.importUnlimited("resume", must(filepath.Glob(file + ".*"))[0], n, *runs)
	}
}

func validate(b *bench) {
	file := b.export("validate.jsonl", limited(1_000_000))
	for range *runs {
		u := b.run([]string{"GOMAXPROCS=1"}, b.path("local"), "validate", file)
		speed := float64(must(os.Stat(file)).Size()) / 1e6 / u.took.Seconds()
		b.found("validate", "one core", "groupimport", fig("speed", speed, " MB/s"), fig("memory", u.memory, " MB"))
	}
}

// retry measures a round over the results of many records, of which about one in ten thousand failed.
func retry(b *bench) {
	n := limited(1_000_000)
	for range *runs {
		b.folder("round")
		file := b.export("round/retry.jsonl", n)
		b.against(false, append(delays(1, 1, -1), "-faults", "code=10002:0.0001"), func(s *service) usage {
			s.env = append(s.env, "MAX_ATTEMPTS=1")
			return unlimited(b, s, file, 0)
		})
		u, _ := b.against(false, delays(20, 5, 200), func(s *service) usage {
			return b.run(s.env, b.path("local"), "retry", "-now", "-quiet", b.path("round"))
		})
		b.found("retry", fmt.Sprintf("a round over %d records", n), "groupimport",
			fig("took", u.took.Seconds(), " s"), fig("memory", u.memory, " MB"))
	}
}

// pass measures a scheduler pass over copies of one finished import.
func pass(b *bench) {
	b.folder("many")
	first := b.export("many/a00000.jsonl", 1)
	b.against(false, delays(1, 0, -1), func(s *service) usage {
		b.run(s.env, b.path("local"), "import", "-quiet", first)
		for i := 1; i < 10_000; i++ {
			file := b.path(fmt.Sprintf("many/a%05d.jsonl", i))
			check(os.CopyFS(file+".import", os.DirFS(first+".import")))
			check(os.Link(first, file))
		}
		time.Sleep(time.Second) // results are newer than their exports
		for i := range 10_000 {
			check(os.WriteFile(b.path(fmt.Sprintf("many/a%05d.jsonl.results.ndjson", i)), nil, 0o600))
		}
		for range *runs {
			u := b.run(s.env, b.path("local"), "retry", "-quiet", b.path("many"))
			b.found("pass", "10,000 finished imports", "groupimport",
				fig("took", u.took.Seconds(), " s"), fig("memory", u.memory, " MB"))
		}
		return usage{}
	})
}
