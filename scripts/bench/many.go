package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"groupimport/pkg/emulator"
)

// beforeMany is the last commit that imported one export after another.
const beforeMany = "58c0038"

// many measures several exports at once: a thousand small ones, and eight large ones of different formats. Eight
// processes of beforeMany, each with an eighth of the exports and of the rate, import the same if git has that commit.
func many(b *bench) {
	hasBefore := b.buildBefore() == nil
	exports := limited(1000)
	for range *runs {
		b.manyOf("small", fmt.Sprintf("%d exports of 10 records", exports), hasBefore, func(dir string) {
			for n := range exports {
				b.smallExport(filepath.Join(dir, fmt.Sprintf("%d.jsonl", n)), n, 10)
			}
		})
		b.manyOf("large", fmt.Sprintf("8 exports of %d records", limited(1500)), hasBefore, func(dir string) {
			for n := range 8 {
				b.smallExport(filepath.Join(dir, fmt.Sprintf("%d.jsonl", n)), n, limited(1500))
			}
		})
	}
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
func (b *bench) manyOf(name, what string, hasBefore bool, write func(dir string)) {
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
	return []figure{
		fig("mean rate with start and end", float64(stats.Created)/u.took.Seconds(), "/s"),
		fig("busiest second", float64(stats.BusiestSecond), ""), fig("refused", float64(stats.Throttled), ""),
		fig("memory", u.memory, " MB"), fig("CPU", u.cpu.Seconds(), " s"),
	}
}

// buildBefore builds functions/local of beforeMany. The error says that git has no such commit here.
func (b *bench) buildBefore() error {
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
