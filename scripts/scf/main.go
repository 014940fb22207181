// Command scf runs functions/scf locally as Tencent Cloud does: package costest serves a folder by the protocol of COS,
// package scftest is the platform, and an emulated IM service creates the groups.
//
//	go run ./scripts/scf [-timeout 1m] DIR
//
// A file that is dropped into DIR/exports is imported, once it has not changed for two seconds. Ctrl-C ends
// everything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"groupimport/functions/scf/scftest"
	"groupimport/pkg/blob/cosblob/costest"
	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/emulator"
	"groupimport/pkg/export"
	"groupimport/pkg/results"
)

const (
	bucket = "groups"
	appID  = "1250000000"
	prefix = "exports/"
)

func main() {
	timeout := flag.Duration("timeout", time.Minute, "of an invocation; SCF allows up to 15m")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/scf [-timeout 1m] DIR")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Arg(0), *timeout); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "scf:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, timeout time.Duration) error {
	if err := os.MkdirAll(filepath.Join(dir, prefix), 0o750); err != nil {
		return err
	}
	objects, err := dirblob.Open(dir)
	if err != nil {
		return err
	}
	program := filepath.Join(os.TempDir(), fmt.Sprintf("main-%d", os.Getpid()))
	defer os.Remove(program)
	args := []string{"build", "-tags", "nethttpomithttp2", "-o", program, "./functions/scf"}
	build := exec.CommandContext(ctx, "go", args...)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	key := costest.Key{ID: "AKID-local", Secret: "local-secret", Token: "local-token"}
	cos := costest.New(costest.Options{Objects: objects, Keys: []costest.Key{key}})
	defer cos.Close()
	store, err := serve(ctx, cos)
	if err != nil {
		return err
	}
	service, err := serve(ctx, &emulator.Service{SDKAppID: 1400000000, Key: "local-key", Latency: 30 * time.Millisecond})
	if err != nil {
		return err
	}
	fmt.Printf("drop an export into %s\n", filepath.Join(dir, prefix))
	fmt.Printf("imported groups: curl %s/emulator/groups\n", service)

	config := scftest.Config{Binary: program, Timeout: timeout, Log: os.Stderr, Environment: func() map[string]string {
		return map[string]string{
			"EXPORT_BUCKET": bucket + "-" + appID, "EXPORT_PREFIX": prefix, "ONE_AT_A_TIME": "true", "COS_ENDPOINT": store,
			"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "local-key", "TIM_ENDPOINT": service,
			"TENCENTCLOUD_SECRETID": key.ID, "TENCENTCLOUD_SECRETKEY": key.Secret,
			"TENCENTCLOUD_SESSIONTOKEN": key.Token, "TENCENTCLOUD_REGION": "ap-guangzhou",
		}
	}}
	imports, schedule := scftest.New(config), scftest.New(config)
	defer imports.Close()
	defer schedule.Close()
	go watch(ctx, objects, func(key string) {
		const event = `{"Records":[{"cos":{"cosObject":{"key":%q},"cosBucket":{"name":%q,"appid":%q}},` +
			`"event":{"eventName":"cos:ObjectCreated:Put"}}]}`
		invoke(ctx, "event", imports, fmt.Sprintf(event, "/"+appID+"/"+bucket+"/"+key, bucket, appID))
	})
	resume, retry := time.NewTicker(time.Minute), time.NewTicker(5*time.Minute)
	for {
		select {
		case <-resume.C:
			invoke(ctx, "resume", schedule, `{"Type":"Timer","TriggerName":"resume","Message":"resume"}`)
		case <-retry.C:
			invoke(ctx, "retry", schedule, `{"Type":"Timer","TriggerName":"retry","Message":"retry"}`)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch calls created for each new or changed export, as COS sends an event.
func watch(ctx context.Context, objects *dirblob.Bucket, created func(key string)) {
	told := map[string]time.Time{}
	for ctx.Err() == nil {
		for info, err := range objects.List(ctx, prefix, "") {
			isExport := err == nil && export.IsExport(info.Key) && !results.IsOutput(info.Key)
			isComplete := time.Since(info.Modified) >= 2*time.Second
			if !isExport || !isComplete || told[info.Key].Equal(info.Modified) {
				continue
			}
			told[info.Key] = info.Modified
			created(info.Key)
		}
		time.Sleep(time.Second)
	}
}

func invoke(ctx context.Context, what string, f *scftest.Runtime, payload string) {
	r, err := f.Invoke(ctx, []byte(payload))
	switch {
	case err != nil:
		fmt.Printf("%s: %v\n", what, err)
	case r.Error != nil:
		fmt.Printf("%s: %s: %s\n", what, r.Error.Type, r.Error.Message)
	default:
		fmt.Printf("%s: %s\n", what, r.Response)
	}
}

// serve serves h on a port of this machine until ctx ends, and returns its base URL.
func serve(ctx context.Context, h http.Handler) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go func() { _ = server.Serve(listener) }() // ctx ends it
	return "http://" + listener.Addr().String(), nil
}
