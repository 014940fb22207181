package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
)

// members measures groups with 50 members each, which take three calls: both rates and the memory of the process.
// The mean rate of members counts from the first group to the last member.
func members(b *bench) {
	const each, budget = 50, 190
	groups := limited(10_000)
	for range *runs {
		file := b.path("members.jsonl")
		removeImport(file)
		f := must(os.Create(file))
		w := bufio.NewWriter(f)
		for n := range groups {
			fmt.Fprintf(w, `{"GroupId":"g-%d","Type":"Public","Name":"Team %d","CreateTime":1448357837,"MemberList":[`, n, n)
			comma := ""
			for m := range each {
				fmt.Fprintf(w, `%s{"Member_Account":"user-%d","JoinTime":%d}`, comma, (n+m)%5000, 1448357838+m)
				comma = ","
			}
			fmt.Fprintln(w, "]}")
		}
		check(errors.Join(w.Flush(), f.Close()))
		u, stats := b.against(false, delays(20, 4, 200), func(s *service) usage {
			return b.run(append(s.env, fmt.Sprint("TIM_RATE=", budget), fmt.Sprint("TIM_MEMBER_RATE=", budget)),
				b.path("local"), "import", "--quiet", file)
		})
		c := stats.Commands["import_group_member"]
		groupRate := float64(stats.Imports-1) / stats.LastImport.Sub(stats.First).Seconds()
		memberRate := float64(c.Requests-1) / c.Last.Sub(stats.First).Seconds()
		b.found("members", fmt.Sprintf("%d groups with %d members", groups, each), "groupimport",
			fig("groups of the budget", 100*groupRate/budget, " %"),
			fig("calls for members of the budget", 100*memberRate/budget, " %"),
			fig("members", float64(stats.Members), ""), fig("busiest second of groups", float64(stats.BusiestSecond), ""),
			fig("of members", float64(c.BusiestSecond), ""), fig("refused", float64(stats.Throttled), ""),
			fig("memory", u.memory, " MB"), fig("CPU", u.cpu.Seconds(), " s"))
	}
}
