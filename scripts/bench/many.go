package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"groupimport/pkg/emulator"
)

// beforeMany is the last commit that imported one export after another.
const beforeMany = "58c0038"

var only = flag.String("only", "", "of many, measure `NAMES` only: small,large,mixed,connections,beside,s3")

// many measures several exports at once.
func many(b *bench) {
	for range *runs {
		for _, p := range manyParts {
			if *only == "" || slices.Contains(strings.Split(*only, ","), p.name) {
				p.run(b)
			}
		}
	}
}

// manySmall imports a thousand small exports. Eight processes of beforeMany, each with an eighth of the exports and of
// the rate, import the same if git has that commit.
func manySmall(b *bench) {
	exports := limited(1000)
	b.manyOf("small", fmt.Sprintf("%d exports of 10 records", exports), func(dir string) {
		for n := range exports {
			b.smallExport(filepath.Join(dir, fmt.Sprintf("%d.jsonl", n)), n, 10)
		}
	})
}

// manyLarge is manySmall for eight large exports.
func manyLarge(b *bench) {
	n := limited(1500)
	b.manyOf("large", fmt.Sprintf("8 exports of %d records", n), func(dir string) {
		for export := range 8 {
			b.smallExport(filepath.Join(dir, fmt.Sprintf("%d.jsonl", export)), export, n)
		}
	})
}

// smallExport writes an export of records that no other export has.
func (b *bench) smallExport(path string, export, records int) {
	var text bytes.Buffer
	for n := range records {
		fmt.Fprintf(&text, `{"GroupId":"g-%d-%d","Type":"Public","Name":"Team %d"}`+"\n", export, n, n)
	}
	check(os.WriteFile(path, text.Bytes(), 0o600))
}

// manyOf imports the exports that write writes into a folder: by one process, and by eight processes of beforeMany.
func (b *bench) manyOf(name, what string, write func(dir string)) {
	hasBefore := b.buildBefore() == nil
	dir := b.path("many-" + name)
	import1 := func(s *service) usage {
		return b.run(append(s.env, "TIM_RATE=190"), b.path("local"), "import", "--quiet", dir)
	}
	import8 := func(s *service) usage {
		files := must(filepath.Glob(filepath.Join(dir, "*.jsonl")))
		began := time.Now()
		var all usage
		var commands []*exec.Cmd
		var outs []*bytes.Buffer
		for n := range 8 {
			args := []string{"import", "--quiet"}
			for i := n; i < len(files); i += 8 {
				args = append(args, files[i])
			}
			if len(args) == 2 {
				continue
			}
			out := &bytes.Buffer{}
			commands = append(commands, b.start(append(s.env, "TIM_RATE=23.75"), out, b.path("before"), args...))
			outs = append(outs, out)
		}
		for n, cmd := range commands {
			u := wait(cmd, outs[n], began)
			all.cpu, all.took, all.memory = all.cpu+u.cpu, max(all.took, u.took), all.memory+u.memory
		}
		return all
	}
	measure := func(who string, run func(*service) usage) {
		check(os.RemoveAll(dir))
		check(os.MkdirAll(dir, 0o750))
		write(dir)
		u, stats := b.against(false, nil, run)
		b.found("many", what, who, manyFigures(&u, &stats)...)
	}
	measure("groupimport", import1)
	if hasBefore {
		measure("8 processes of "+beforeMany, import8)
	}
}

func manyFigures(u *usage, stats *emulator.Stats) []figure {
	rate := float64(stats.Created) / u.took.Seconds()
	return []figure{
		fig("mean rate with start and end", rate, "/s"), fig("of 190", rate/190, ""),
		fig("busiest second", float64(stats.BusiestSecond), ""), fig("refused", float64(stats.Throttled), ""),
		fig("memory", u.memory, " MB"), fig("CPU", u.cpu.Seconds(), " s"),
	}
}

// buildBefore builds functions/local of beforeMany. The error says that git has no such commit here.
func (b *bench) buildBefore() error {
	if _, err := os.Stat(b.path("before")); err == nil {
		return nil
	}
	source := b.path("before-source")
	check(os.MkdirAll(source, 0o750))
	archive := exec.CommandContext(b.ctx, "git", "archive", beforeMany)
	text, err := archive.Output()
	if err != nil {
		return err
	}
	untar := exec.CommandContext(b.ctx, "tar", "-x", "-C", source)
	untar.Stdin = strings.NewReader(string(text))
	check(untar.Run())
	b.build("before", "-C", source, "./functions/local")
	return nil
}
