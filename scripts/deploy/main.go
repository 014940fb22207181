// Command deploy makes the functions on Tencent Cloud as serverless.yml and .env describe them, by the public API of SCF
// (version 2018-04-16) and CAM (2019-01-16).
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
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	flags := flag.NewFlagSet("deploy", flag.ContinueOnError)
	var (
		plan     = flags.Bool("plan", false, "only print what would change")
		remove   = flags.Bool("remove", false, "remove the functions, roles and policies that this command made; never the bucket")
		rights   = flags.Bool("rights", false, "print the policy that the deploying account needs")
		file     = flags.String("file", "serverless.yml", "the description of the functions")
		env      = flags.String("env", ".env", "the parameters")
		program  = flags.String("zip", "dist/scf.zip", "the program, as scripts/build writes it")
		endpoint = flags.String("endpoint", "", "another address of the API as HOST:PORT, by plain HTTP, for tests and proxies")
		o        options
	)
	flags.BoolVar(&o.oneRule, "one-rule", false, "one COS trigger with the prefix alone, instead of one for each suffix")
	flags.Int64Var(&o.httpMemory, "http-memory", 2560,
		"MB reserved for the HTTP function, which limits its instances: 2560 is ten of 256 MB; 0 for no limit")
	flags.StringVar(&o.logset, "logset", "", "ID of the CLS logset of the functions' logs; empty leaves the logs as they are")
	flags.StringVar(&o.topic, "topic", "", "ID of the CLS topic in the logset")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: go run ./scripts/deploy -h lists the options", flags.Arg(0))
	}
	if *rights {
		_, err := fmt.Fprintln(out, deployerPolicy)
		return err
	}
	if (o.logset == "") != (o.topic == "") {
		return fmt.Errorf("--logset and --topic belong together: give both or neither")
	}
	parameters, err := readParameters(*env)
	if err != nil {
		return err
	}
	id := cmp.Or(getenv("TENCENTCLOUD_SECRET_ID"), parameters["TENCENT_SECRET_ID"])
	key := cmp.Or(getenv("TENCENTCLOUD_SECRET_KEY"), parameters["TENCENT_SECRET_KEY"])
	if id == "" || key == "" {
		return fmt.Errorf("no keys of an account: set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY")
	}
	t, err := readTarget(*file, parameters, o)
	if err != nil {
		return err
	}
	if !*remove {
		if err := t.readCode(*program); err != nil {
			return err
		}
	}
	d := &deployer{api: newAPI(id, key, getenv("TENCENTCLOUD_TOKEN"), t.region, *endpoint), target: t, out: out, sent: map[string]bool{}}
	switch {
	case *remove:
		return d.converge(ctx, d.removal, *plan)
	case *plan:
		return d.converge(ctx, d.changes, true)
	}
	if err := d.converge(ctx, d.changes, false); err != nil {
		return err
	}
	return d.printURL(ctx)
}
