// Command deploy makes the functions on Tencent Cloud as serverless.yml and .env describe them, by the public API of
// SCF (version 2018-04-16), CAM (2019-01-16) and CLS (2020-10-16).
//
//	go run ./scripts/deploy [--plan | --remove | --rights] [options]
//
// It reads what exists, prints the difference and changes only that. After a failure or a kill, run it again. It never
// creates, changes or removes the bucket. The keys of the account come from TENCENTCLOUD_SECRET_ID,
// TENCENTCLOUD_SECRET_KEY and, for temporary keys, TENCENTCLOUD_TOKEN, or from TENCENT_SECRET_ID and
// TENCENT_SECRET_KEY in .env. It prints no value of a variable and no key.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"

	"groupimport/pkg/blob/cosblob"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

// A command is what the arguments ask for.
type command struct {
	plan, remove, rights bool
	file, env, program   string
	options              options
	domain, endpoint     string
}

func parse(args []string) (c command, err error) {
	flags := flag.NewFlagSet("deploy", flag.ContinueOnError)
	flags.BoolVar(&c.plan, "plan", false, "only print what would change")
	flags.BoolVar(&c.remove, "remove", false,
		"remove what this command made: functions, log topic, roles, policies; never the bucket")
	flags.BoolVar(&c.rights, "rights", false, "print the policy that the deploying account needs")
	flags.StringVar(&c.file, "file", "serverless.yml", "the description of the functions")
	flags.StringVar(&c.env, "env", ".env", "the parameters")
	flags.StringVar(&c.program, "zip", "dist/scf.zip", "the program, as scripts/build writes it")
	flags.BoolVar(&c.options.oneRule, "one-rule", false,
		"one COS trigger with the prefix alone, instead of one for each suffix")
	flags.Int64Var(&c.options.httpMemory, "http-memory", 2560,
		"MB reserved for the HTTP function, which limits its instances: 2560 is ten of 256 MB; 0 for no limit")
	flags.Int64Var(&c.options.logDays, "log-days", 30,
		"days that the log topic which this command creates keeps logs; 3640 keeps them for ever; 0 creates none and "+
			"leaves the logs to SCF")
	flags.StringVar(&c.options.logset, "logset", "", "ID of a CLS logset of your own for the functions' logs")
	flags.StringVar(&c.options.topic, "topic", "", "ID of a CLS topic in the logset")
	flags.StringVar(&c.domain, "domain", "",
		"domain of the API, for example intl.tencentcloudapi.com; empty for tencentcloudapi.com")
	flags.StringVar(&c.endpoint, "endpoint", "",
		"HOST:PORT of an API and COS on this machine, by plain HTTP, for tests and proxies")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	o := c.options
	switch {
	case flags.NArg() > 0:
		return c, fmt.Errorf("unknown argument %q: go run ./scripts/deploy -h lists the options", flags.Arg(0))
	case (o.logset == "") != (o.topic == ""):
		return c, errors.New("--logset and --topic belong together: give both or neither")
	case o.logDays < 0 || o.logDays > 3600 && o.logDays != 3640: // CreateTopic, Period
		return c, fmt.Errorf("--log-days is %d, want 0 to 3600, or 3640 for ever", o.logDays)
	case c.endpoint != "" && !isLocal(c.endpoint): // variables would cross a network in plain text
		return c, errors.New("--endpoint must be HOST:PORT of this machine")
	case o.httpMemory < 0 || o.httpMemory%128 != 0:
		return c, fmt.Errorf("--http-memory is %d, want 0 or a multiple of 128", o.httpMemory)
	}
	return c, nil
}

func isLocal(endpoint string) bool {
	host, _, err := net.SplitHostPort(endpoint)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	parameters, err := readParameters(c.env)
	if c.rights {
		bucket := parameters["BucketName"] // "" without a file
		if !bucketName.MatchString(bucket) {
			bucket = ""
		}
		_, err := fmt.Fprintln(out, rights(bucket, parameters["Region"]))
		return err
	}
	if err != nil {
		return err
	}
	a := access{
		id:    cmp.Or(getenv("TENCENTCLOUD_SECRET_ID"), parameters["TENCENT_SECRET_ID"]),
		key:   cmp.Or(getenv("TENCENTCLOUD_SECRET_KEY"), parameters["TENCENT_SECRET_KEY"]),
		token: getenv("TENCENTCLOUD_TOKEN"), domain: c.domain, endpoint: c.endpoint,
	}
	if a.id == "" || a.key == "" {
		return errors.New("no keys of an account: set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY")
	}
	t, err := readTarget(c.file, parameters, c.options)
	if err != nil {
		return err
	}
	d, err := newDeployer(a, t, out)
	if err != nil {
		return err
	}
	if c.remove {
		return d.converge(ctx, d.removal, c.plan)
	}
	if err := errors.Join(t.check(parameters), t.readCode(c.program)); err != nil {
		return err
	}
	if err := d.converge(ctx, d.changes, c.plan); err != nil || c.plan {
		return err
	}
	return d.printURL(ctx)
}

func newDeployer(a access, t *target, out io.Writer) (*deployer, error) {
	config := cosblob.Config{
		Bucket: t.bucket, Region: t.region,
		Credentials: func() (id, key, token string) { return a.id, a.key, a.token },
	}
	if a.endpoint != "" {
		config.Endpoint = "http://" + a.endpoint
	}
	bucket, err := cosblob.Open(config)
	if err != nil {
		return nil, err
	}
	return &deployer{
		api: newAPI(a, t.region, t.values()), bucket: bucket, target: t, out: out,
		sent: map[string]bool{}, deleted: map[string]bool{}, made: map[string]int{}, noted: map[string]bool{},
	}, nil
}
