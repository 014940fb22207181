package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"groupimport/pkg/emulator"
)

// demo imports a sample export into an emulated service, with a folder as the bucket.
func (t *tool) demo(ctx context.Context, args []string) error {
	flags := newFlags("demo [-groups N] [-dir DIR]")
	groups := flags.Int("groups", 1000, "groups in the sample export, beside some that are broken on purpose")
	dir := flags.String("dir", "", "folder to use as the bucket, default a new one")
	if done, err := t.parse(flags, args, false); done {
		return err
	}
	if *groups < 0 {
		return usageError("-groups is %d, it must not be negative", *groups)
	}
	if *dir == "" {
		var err error
		if *dir, err = os.MkdirTemp("", "groupimport-demo-"); err != nil {
			return err
		}
	} else if err := os.MkdirAll(*dir, 0o750); err != nil {
		return err
	}
	file := filepath.Join(*dir, "sample.jsonl")
	if err := os.WriteFile(file, []byte(sample(*groups)), 0o600); err != nil {
		return err
	}

	service := &emulator.Service{SDKAppID: emulatorApp, Key: emulatorKey, Latency: 50 * time.Millisecond}
	url, stop, err := serveEmulator(ctx, service, "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	defer stop()
	demo := *t
	demo.getenv = func(name string) string {
		switch name {
		case "TIM_ENDPOINT":
			return url
		case "TIM_SDKAPPID":
			return fmt.Sprint(emulatorApp)
		case "TIM_SECRET_KEY":
			return emulatorKey
		case "TIM_RATE", "MAX_ATTEMPTS", "STOP_SHARE", "LOG_LEVEL":
			return t.getenv(name)
		}
		return ""
	}
	fmt.Fprintf(t.stderr, "local: an emulated IM service is at %s: it answers in 50 ms and holds any second to 200 calls\n"+
		"local: the sample export is %s: %s groups, and %d that are broken on purpose\n", url, file, thousands(int64(*groups)), len(broken))
	cfg, level, err := demo.config()
	if err != nil {
		return err
	}
	err = demo.importAll(ctx, cfg, level, "", []string{file}, manner{})
	stats := service.Stats()
	fmt.Fprintf(t.stdout, "the service saw: %s requests, %s groups made, busiest second %d, refused as too fast %d\n",
		thousands(int64(stats.Requests)), thousands(int64(stats.Taken)), stats.BusiestSecond, stats.Refused)
	if status(err, t.stderr) == exitNotIn { // as it should be
		fmt.Fprintf(t.stdout, "look: head -3 %s; cat %s; and in a browser %s\n",
			quote(file+".results.ndjson"), quote(file+".failures.ndjson"), fileURL(file+".report.html"))
		return nil
	}
	return err
}

// broken are records of the sample that show what becomes of mistakes.
var broken = []string{
	`{"Type":"Public","Name":"一二三四五六七八九十十一","GroupId":"too-long"}`,
	`{"Type":"AVChatRoom","Name":"Live","GroupId":"live"}`,
	`{"Type":"Public","Name":"Wrong case","GroupID":"wrong-case"}`,
	`{"Type":"Public","Name":"Two million","GroupId":"crowd","MaxMemberCount":2000000}`,
	`{"Type":"Public","Name":"Cut sho`,
	`{"Type":"Public","Name":"The same ID as another","GroupId":"demo-00001"}`,
}

// sample returns an export of n groups, most of them with a GroupId, and the broken ones among them.
func sample(n int) string {
	var b strings.Builder
	types := []string{"Public", "Private", "ChatRoom", "Work", "Meeting"}
	next := 0
	for i := 1; i <= n; i++ {
		id := fmt.Sprintf(`"GroupId":"demo-%05d",`, i)
		if i%10 == 0 {
			id = "" // the service makes one up
		}
		fmt.Fprintf(&b, `{%s"Type":"%s","Name":"Team %d","Owner_Account":"user-%d","Introduction":"Sample group %d","MaxMemberCount":500,`+
			`"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"source","Value":"demo"}],"CreateTime":%d}`+"\n",
			id, types[i%len(types)], i, i%50, i, 1448357837+i)
		if next < len(broken) && i >= (next+1)*n/(len(broken)+1) {
			b.WriteString(broken[next] + "\n")
			next++
		}
	}
	for _, line := range broken[next:] {
		b.WriteString(line + "\n")
	}
	return b.String()
}
