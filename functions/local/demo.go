package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/emulator"
	"groupimport/pkg/shell"
)

// demo imports a sample export into an emulated service, with a folder as the bucket.
func (t *tool) demo(ctx context.Context, c *cli.Command) error {
	if _, err := arguments(c, 0, 0); err != nil {
		return err
	}
	groups := c.Int("groups")
	if groups < 0 {
		return usageError("--groups is %d, it must not be negative", groups)
	}
	file, err := writeSample(c.String("dir"), groups)
	if err != nil {
		return err
	}
	service := &emulator.Service{SDKAppID: emulatorApp, Key: emulatorKey, Latency: 50 * time.Millisecond}
	url, stop, err := serveEmulator(ctx, service, "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	defer stop()
	demo := *t
	demo.getenv = t.demoVariables(url)
	fmt.Fprintf(t.stderr, "%[1]s: an emulated IM service is at %[2]s; "+
		"it responds in 50 ms and allows 200 calls a second\n"+
		"%[1]s: the sample export is %[3]s: %[4]s groups, and %[5]d invalid records\n",
		program, url, shown(file), thousands(int64(groups)), len(broken))
	cfg, level, err := demo.config(c)
	if err != nil {
		return err
	}
	err = demo.importAll(ctx, cfg, level, "", []string{file}, newMeter(t.stderr, manner{}))
	writeStats(t.stdout, service.Stats())
	if e, ok := errors.AsType[*exit](err); !ok || e.status != exitNotImported { // the invalid records are not imported
		return err
	}
	fmt.Fprintf(t.stdout, "\nNow look at\n  head -3 %s\n  cat %s\n  %s   (in a browser)\n",
		shell.File(file+".results.ndjson"), shell.File(file+".failures.ndjson"), fileURL(file+".report.html"))
	return nil
}

// writeSample writes the sample export to a folder, a new one if dir is empty, and returns its name.
func writeSample(dir string, groups int) (file string, err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "groupimport-demo-")
	} else {
		err = os.MkdirAll(dir, 0o750)
	}
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "sample.jsonl")
	return file, os.WriteFile(file, []byte(sample(groups)), 0o600)
}

// demoVariables returns the variables of the demo: those of the emulated service, and of the user's own those that
// are about the pace.
func (t *tool) demoVariables(url string) func(name string) string {
	return func(name string) string {
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
}

// broken are invalid records of the sample.
var broken = []string{
	`{"Type":"Public","Name":"一二三四五六七八九十十一","GroupId":"too-long"}`,
	`{"Type":"AVChatRoom","Name":"Live","GroupId":"live"}`,
	`{"Type":"Public","Name":"Wrong case","GroupID":"wrong-case"}`,
	`{"Type":"Public","Name":"Two million","GroupId":"crowd","MaxMemberCount":2000000}`,
	`{"Type":"Public","Name":"Cut sho`,
	`{"Type":"Public","Name":"The same ID as another","GroupId":"demo-00001"}`,
}

// sample returns an export of n groups, most of them with a GroupId, and the invalid ones among them.
func sample(n int) string {
	var b strings.Builder
	types := []string{"Public", "Private", "ChatRoom", "Work", "Meeting"}
	next := 0
	for i := 1; i <= n; i++ {
		id := fmt.Sprintf(`"GroupId":"demo-%05d",`, i)
		if i%10 == 0 {
			id = "" // the service chooses one
		}
		fmt.Fprintf(&b, `{%s"Type":"%s","Name":"Team %d","Owner_Account":"user-%d","Introduction":"Sample group %d",`+
			`"MaxMemberCount":500,"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"source","Value":"demo"}],`+
			`"CreateTime":%d}`+"\n",
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
