// Command bench measures the program beside what people would use instead, and prints a table of medians, with the
// least and the most. Everything talks to the emulator on this machine. It needs Linux and a Go toolchain, gzip and
// zstd for parts of resume and many, and versitygw for a part of many.
//
//	go run ./scripts/bench [-runs N] [-records N] [-full] [-size BYTES] [PART…]
//
//	pace      mean rate, busiest second and refusals at the service; beside vegeta and Benthos     20 minutes
//	ceiling   records a second and CPU a record without a rate; beside Benthos and the baseline     6 minutes
//	small     10.9 % of a core and 192 MB with TLS, if this process may make a cgroup               4 minutes
//	size      memory by the number of records, the zips, the start of a process                     8 minutes
//	resume    time to resume near the end of a large export; each reader's speed and memory        10 minutes
//	validate  speed of validate on one core                                                         1 minute
//	retry     a round of retries over many records                                                  5 minutes
//	pass      a scheduler pass over 10,000 finished imports                                         2 minutes
//	many      several exports at once, see below                                                   20 minutes
//
// The parts of many, which -only selects, each once for each run:
//
//	small   1,000 exports of 10 records                                                        1 minute
//	mixed   memory with 8 exports of 100,000 records in 8 formats, without a budget            2 minutes
//	beside  an export of 10 records dropped while 1,000,000 are imported, 5 times              1 minute
//	s3      1,000 exports of 10 records on versitygw, behind a proxy that takes 20 ms          2 minutes
//
// Without a PART it measures all. The figures of the Go benchmarks are in scripts/benchmarks.txt, for benchstat
// (golang.org/x/perf/cmd/benchstat). This makes them:
//
//	go test ./pkg/group ./pkg/pacer ./pkg/results ./pkg/export -run '^$' -cpu 1 -count 6 \
//	  -bench 'Decode$|AppendJSON|Acquire|Append|Writer|Reader'
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

var (
	runs    = flag.Int("runs", 3, "how often each measurement is taken, all in turn")
	records = flag.Int("records", 0, "use at most `N` records, to take less time")
	full    = flag.Bool("full", false, "measure 5,000,000 records in size too: half an hour, 2 GB of disk, 5 GB of memory")
	size    = flag.Int64("size", 1<<30, "`bytes` of the export of resume")
)

// A part takes measurements. It panics with a [failure] if one cannot be taken.
type part struct {
	name string
	run  func(*bench)
}

var parts = []part{
	{"pace", pace},
	{"ceiling", ceiling},
	{"small", small},
	{"size", sizes},
	{"resume", resume},
	{"validate", validate},
	{"retry", retry},
	{"pass", pass},
	{"many", many},
	{"members", members},
}

func main() {
	if len(os.Args) > 1 && child[os.Args[1]] != nil {
		exit(child[os.Args[1]](os.Args[2:]))
	}
	flag.Parse()
	selected := parts
	if flag.NArg() > 0 {
		selected = nil
	}
	for _, name := range flag.Args() {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			exit(fmt.Errorf("unknown part %q", name))
		}
		selected = append(selected, parts[i])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(measure(ctx, selected))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A failure is what a part panics with.
type failure struct{ error }

func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func measure(ctx context.Context, selected []part) (err error) {
	b := &bench{ctx: ctx}
	defer b.clean()
	defer b.stopAll()
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			err = f.error
		}
	}()
	b.work = must(os.MkdirTemp("", "bench"))
	b.build("local", "./functions/local")
	for _, p := range selected {
		p.run(b)
	}
	fmt.Printf("\n%s, %d cores of %s, %s, emulator on the same machine, %d runs\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), processor(), runtime.Version(), *runs)
	return b.table(os.Stdout)
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the name is empty
	_, name, _ := strings.Cut(string(text), "model name")
	name, _, _ = strings.Cut(strings.TrimLeft(name, " \t:"), "\n")
	return name
}

// A bench runs measurements and keeps their figures.
type bench struct {
	ctx     context.Context // of the whole program
	work    string          // a temporary folder
	cgroups []string
	started []*exec.Cmd
	rows    []*row
}

// A row has one line of the table. Its figures are in order, each with the values of all runs.
type row struct {
	part, what, who string
	figures         []figure
}

type figure struct {
	name, unit string
	values     []float64
}

func fig(name string, value float64, unit string) figure { return figure{name, unit, []float64{value}} }

// found keeps the figures of one measurement and prints them.
func (b *bench) found(part, what, who string, figures ...figure) {
	i := slices.IndexFunc(b.rows, func(r *row) bool { return r.part == part && r.what == what && r.who == who })
	if i < 0 {
		b.rows, i = append(b.rows, &row{part: part, what: what, who: who}), len(b.rows)
	}
	r := b.rows[i]
	for n, f := range figures {
		if n == len(r.figures) {
			r.figures = append(r.figures, figure{name: f.name, unit: f.unit})
		}
		r.figures[n].values = append(r.figures[n].values, f.values...)
	}
	fmt.Printf("%s: %s: %s: %s\n", part, what, who, describe(figures))
}

func (b *bench) table(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 1, ' ', tabwriter.Debug)
	fmt.Fprintln(w, " part\t what\t who\t median (least to most)")
	for _, r := range b.rows {
		fmt.Fprintf(w, " %s\t %s\t %s\t %s\n", r.part, r.what, r.who, describe(r.figures))
	}
	return w.Flush()
}

// describe writes the median of each figure, and the least and the most if they differ.
func describe(figures []figure) string {
	var texts []string
	for _, f := range figures {
		v := slices.Sorted(slices.Values(f.values))
		n := len(v)
		text := fmt.Sprintf("%s %s%s", f.name, number((v[(n-1)/2]+v[n/2])/2), f.unit)
		if v[0] != v[n-1] {
			text += fmt.Sprintf(" (%s to %s)", number(v[0]), number(v[n-1]))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

func number(v float64) string {
	switch {
	case v == float64(int64(v)) || v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// path returns the path of a temporary file.
func (b *bench) path(name string) string { return filepath.Join(b.work, name) }

// folder returns the path of an empty temporary folder.
func (b *bench) folder(name string) string {
	dir := b.path(name)
	check(os.RemoveAll(dir))
	check(os.Mkdir(dir, 0o750))
	return dir
}

// build builds a package of this module, or with -C first of another one.
func (b *bench) build(name string, args ...string) {
	args = slices.Insert(args, len(args)-1, "-o", b.path(name))
	b.run(nil, "go", append([]string{"build"}, args...)...)
}

// clean removes what this program has made.
func (b *bench) clean() {
	for _, dir := range b.cgroups {
		os.Remove(dir)
	}
	os.RemoveAll(b.work)
}

// limited returns n, or fewer with -records.
func limited(n int) int {
	if *records > 0 {
		return min(n, *records)
	}
	return n
}

// export writes n groups, some 300 bytes each as JSONL, and returns the path.
func (b *bench) export(name string, n int) string {
	begin, separator, end := "", "\n", "\n"
	line := `{"GroupId":"g-%08d","Type":"Public","Owner_Account":"user-%d","Name":"Team %d",` +
		`"Introduction":"Where team %d talks about what it does, and what it does not do.","MaxMemberCount":500,` +
		`"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"source","Value":"measure"}],"CreateTime":%d}`
	switch filepath.Ext(name) {
	case ".json":
		begin, separator, end = "[", ",", "]\n"
	case ".csv":
		begin = "GroupId,Type,Owner_Account,Name,Introduction,MaxMemberCount,ApplyJoinOption,AppDefinedData.source," +
			"CreateTime\n"
		line = `g-%08d,Public,user-%d,Team %d,"Where team %d talks about what it does, and what it does not do.",` +
			`500,FreeAccess,measure,%d`
	}
	f := must(os.Create(b.path(name)))
	w := bufio.NewWriter(f)
	fmt.Fprint(w, begin)
	for i := range n {
		if i > 0 {
			fmt.Fprint(w, separator)
		}
		fmt.Fprintf(w, line, i+1, i%500, i+1, i+1, 1448357837+i%1_000_000)
	}
	fmt.Fprint(w, end)
	check(errors.Join(w.Flush(), f.Close()))
	return f.Name()
}

// removeImport removes what an import of file has written.
func removeImport(file string) {
	for _, name := range must(filepath.Glob(file + ".*")) {
		check(os.RemoveAll(name))
	}
}
