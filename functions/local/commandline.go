package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/urfave/cli/v3"

	"groupimport/pkg/mapping"
)

// Names of flags.
const (
	flagQuiet     = "quiet"
	flagJSON      = "json"
	flagMap       = "map"
	flagEncoding  = "encoding"
	flagRecords   = "records"
	flagTimeZone  = "tz"
	flagUsers     = "users"
	flagNoMembers = "no-members"
	flagStrict    = "users-strict"
	flagNow       = "now"
	flagLive      = "live"
	flagFormat    = "format"
	flagListen    = "listen"
	flagAddr      = "addr"
	flagTLSCert   = "tls-cert"
	flagTLSKey    = "tls-key"
	flagInsecure  = "insecure"
)

// commandLine returns all commands. urfave/cli was chosen over cobra and kong because it adds the least to the
// binary (0.5 MB; the others 0.8 and 0.9 MB), brings completion and suggestions, depends on nothing, and reads
// -quiet like --quiet, so that scripts written for version 1 keep working.
func (t *tool) commandLine() *cli.Command {
	root := &cli.Command{
		Name:                            program,
		Usage:                           "import chat groups into Tencent Cloud IM",
		UsageText:                       program + " COMMAND [options] [ARGUMENT…]",
		Version:                         version(),
		Description:                     rootDescription,
		Writer:                          t.stdout,
		ErrWriter:                       t.stderr,
		HideHelpCommand:                 true, // or a file named "help" could not be imported; see helpCommand
		EnableShellCompletion:           true,
		ConfigureShellCompletionCommand: setUpCompletion,
		Commands: slices.Concat([]*cli.Command{
			t.demoCommand(), t.importCommand(), t.validateCommand(), t.checkCommand(), t.watchCommand(), t.retryCommand(),
			t.statusCommand(),
		}, t.controlCommands(), []*cli.Command{
			t.reportCommand(), t.serveCommand(), t.emulatorCommand(), t.helpCommand(),
		}),
		Action: unknownSubcommand,
	}
	handleErrors(root)
	return root
}

const rootDescription = `An export is JSONL, JSON or CSV, plain or compressed with gzip or zstd;
--map reads the exports of other systems. "help COMMAND" lists the options
of a command, "help config" the variables.

Exit status: 0 every record is imported, 1 error, 2 usage or configuration,
3 unfinished: run the same command again, 4 finished, but records are not
imported or members are missing. Of several files the worst counts, in the
order 0, 4, 3, 1. The output has no colours, as NO_COLOR asks for.`

// handleErrors makes a command and its subcommands return usage errors instead of printing them.
func handleErrors(c *cli.Command) {
	c.OnUsageError = func(_ context.Context, c *cli.Command, err error, _ bool) error {
		// The parser takes the options of an unknown command for those of the program.
		if word := c.Args().First(); c.Root() == c && word != "" && c.Command(word) == nil {
			return unknownName(word, c)
		}
		return usageError("%s\n\n%s", describe(err, c), usageOf(c))
	}
	c.ExitErrHandler = func(context.Context, *cli.Command, error) {} // main exits
	for _, sub := range c.Commands {
		handleErrors(sub)
	}
}

// describe words an error of the parser. The text is the only place where the parser names an unknown flag.
func describe(err error, c *cli.Command) string {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		text := strings.Replace(err.Error(), " for flag -", " for --", 1)
		return strings.TrimSuffix(text, ": parse error")
	}
	text := "unknown option --" + name
	if best := closest(name, optionsOf(c)); best != "" {
		return text + ", did you mean --" + best + "?"
	}
	isOfSub := func(sub *cli.Command) bool { return slices.Contains(optionsOf(sub), name) }
	if slices.ContainsFunc(c.Commands, isOfSub) {
		text += " before the command: options follow it"
	}
	return text
}

// optionsOf returns the names of a command's options.
func optionsOf(c *cli.Command) []string {
	var names []string
	for _, f := range c.Flags {
		names = append(names, f.Names()...)
	}
	return names
}

// closest returns the name that a typo stands for, empty if none is close: the one name that begins with it, or the one
// with the fewest changes.
func closest(typo string, names []string) string {
	begins := func(name string) bool { return len(typo) > 1 && strings.HasPrefix(name, typo) }
	if i := slices.IndexFunc(names, begins); i >= 0 && !slices.ContainsFunc(names[i+1:], begins) {
		return names[i]
	}
	best, least := "", 3
	for _, name := range names {
		if d := levenshtein.ComputeDistance(typo, name); d < min(least, len(name)) {
			best, least = name, d
		}
	}
	return best
}

// usageOf returns the usage line of a command and where to read more.
func usageOf(c *cli.Command) string {
	if c.Root() == c {
		return fmt.Sprintf("Usage: %s\nRun %q for the commands.", c.UsageText, program+" help")
	}
	usage := strings.TrimSpace(c.FullName() + " [options] " + c.ArgsUsage)
	return fmt.Sprintf("Usage: %s\nRun %q for the options.", usage, program+" help "+c.Name)
}

// unknownSubcommand is the action of a command that has only subcommands.
func unknownSubcommand(_ context.Context, c *cli.Command) error {
	if !c.Args().Present() {
		return usageError("%s is missing\n\n%s", cmp.Or(c.ArgsUsage, "COMMAND"), usageOf(c))
	}
	return unknownName(c.Args().First(), c)
}

// unknownName returns the error about a word that should name a command of c.
func unknownName(word string, c *cli.Command) error {
	var names []string
	for _, sub := range c.Commands {
		names = append(names, sub.Name)
	}
	text := fmt.Sprintf("unknown %s %q", strings.ToLower(cmp.Or(c.ArgsUsage, "COMMAND")), word)
	if c.Root() != c {
		return usageError("%s, known are %s\n\n%s", text, strings.Join(names, ", "), usageOf(c))
	}
	best := closest(word, names)
	if option := closest(word, optionsOf(c)); best == "" && option != "" {
		best = "--" + option
	}
	if best != "" {
		text += fmt.Sprintf(", did you mean %q?", best)
	}
	return usageError("%s\n\n%s", text, usageOf(c))
}

// arguments returns the arguments of a command, of which it needs at least low and takes at most high.
func arguments(c *cli.Command, low, high int) ([]string, error) {
	args := c.Args().Slice()
	switch {
	case len(args) < low:
		return nil, usageError("%s is missing\n\n%s", c.ArgsUsage, usageOf(c))
	case len(args) > high:
		return nil, usageError("unexpected argument %q\n\n%s", args[high], usageOf(c))
	}
	return args, nil
}

// anyNumber is a number of arguments without a limit.
const anyNumber = 1 << 30

func (t *tool) helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", ArgsUsage: "[COMMAND|config]",
		Usage:         `help on a command; "help config" lists the variables`,
		ShellComplete: completeTopic,
		Action: func(ctx context.Context, c *cli.Command) error {
			args, err := arguments(c, 0, 1)
			switch {
			case err != nil:
				return err
			case len(args) == 0:
				return cli.ShowRootCommandHelp(c.Root())
			case args[0] == "config":
				writeVariables(t.stdout)
				return nil
			case c.Root().Command(args[0]) == nil:
				return unknownName(args[0], c.Root())
			}
			return cli.ShowCommandHelp(ctx, c.Root(), args[0])
		},
	}
}

func (t *tool) demoCommand() *cli.Command {
	return &cli.Command{
		Name:        "demo",
		Usage:       "import a sample export into an emulated IM service",
		Description: variablesHelp,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "groups", Value: 1000, Usage: "`NUMBER` of valid groups in the sample export"},
			&cli.StringFlag{Name: "dir", Usage: "`FOLDER` to work in, default a new one", TakesFile: true},
		},
		Action: t.demo,
	}
}

func (t *tool) importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", ArgsUsage: "FILE|DIR|ADDRESS…",
		Usage: "import exports now; Ctrl-C stops gracefully",
		Description: `A folder stands for all exports in it. Run the same command again to resume.
An export that is imported already is not imported again. Exports of an
ADDRESS must be below EXPORT_PREFIX. If a function works on the same bucket,
set ONE_AT_A_TIME as the function has it, or TIM_RATE to a share.

` + addressHelp + "\n" + readingHelp() + variablesHelp,
		Flags:  append(outputFlags(), readingFlags()...),
		Action: t.importFiles,
	}
}

func (t *tool) validateCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.BoolFlag{Name: flagJSON, Usage: "write one JSON object a line, one for each file"},
		&cli.BoolFlag{Name: flagLive, Usage: "ask the service which GroupIds exist already"},
		&cli.StringFlag{Name: flagFormat, Usage: "of standard input (-): `NAME` jsonl, json, csv, csv.gz, …"},
	}
	return &cli.Command{
		Name: "validate", ArgsUsage: "FILE|DIR|ADDRESS…",
		Usage: "dry run: check every record, send nothing",
		Description: `A folder stands for all exports in it, - for standard input. Nothing is sent
and nothing is written. --live looks GroupIds up, 50 a call within TIM_RATE.

` + addressHelp + "\n" + readingHelp() + variablesHelp,
		Flags:  append(flags, readingFlags()...),
		Action: t.validate,
	}
}

func (t *tool) watchCommand() *cli.Command {
	return &cli.Command{
		Name: "watch", ArgsUsage: "DIR",
		Usage: "import what is dropped into a folder, retry what failed",
		Description: `An export is started once nobody has it open for writing and it has not
changed for 3 s. Unfinished imports are resumed and failed records retried.
Ctrl-C stops gracefully.

` + readingHelp() + variablesHelp,
		Flags:  append(outputFlags(), readingFlags()...),
		Action: t.watch,
	}
}

func (t *tool) retryCommand() *cli.Command {
	now := &cli.BoolFlag{Name: flagNow, Usage: "skip the delays before failed records and stopped imports"}
	return &cli.Command{
		Name: "retry", ArgsUsage: "DIR|ADDRESS",
		Usage: "run the scheduler once: resume, start missed, retry",
		Description: `It does once what watch does all the time, for example from cron. The exit
status is about the imports that were due or are stopped. An ADDRESS must be
the folder that EXPORT_PREFIX names, if it is set.

` + addressHelp + "\n" + readingHelp() + variablesHelp,
		Flags:  append(append([]cli.Flag{now}, outputFlags()...), readingFlags()...),
		Action: t.retry,
	}
}

func (t *tool) reportCommand() *cli.Command {
	return &cli.Command{
		Name: "report", ArgsUsage: "FILE|DIR|ADDRESS…",
		Usage:       "write the HTML report of an import again",
		Description: addressHelp,
		Flags: []cli.Flag{&cli.StringFlag{
			Name: "o", Usage: "`FILE` for the report of the one export, default beside it", TakesFile: true,
		}},
		Action: t.report,
	}
}

func (t *tool) serveCommand() *cli.Command {
	return &cli.Command{
		Name: "serve", ArgsUsage: "DIR",
		Usage: "import single groups over HTTP, show all imports",
		Description: `Callers send HTTP_TOKEN as "Authorization: Bearer". /openapi.json describes
the API. Ctrl-C stops gracefully. Another ADDRESS than one of this machine
needs TLS, or --insecure behind a proxy that has it.

` + variablesHelp,
		Flags: []cli.Flag{
			listenFlag("127.0.0.1:8080"),
			&cli.StringFlag{Name: flagTLSCert, Usage: "`FILE` with the certificate and its chain, PEM", TakesFile: true},
			&cli.StringFlag{Name: flagTLSKey, Usage: "`FILE` with the key of the certificate, PEM", TakesFile: true},
			&cli.BoolFlag{Name: flagInsecure, Usage: "allow other machines and TIM_ENDPOINT without TLS"},
		},
		Action: t.serve,
	}
}

func (t *tool) emulatorCommand() *cli.Command {
	return &cli.Command{
		Name:  "emulator",
		Usage: "serve an emulated IM service on this machine",
		Description: `It prints the variables that make groupimport use it. Ctrl-C stops it.
An unknown word in --faults lists the known ones.`,
		Flags: []cli.Flag{
			listenFlag("127.0.0.1:8090"),
			&cli.StringFlag{Name: flagAddr, Hidden: true}, // the name of --listen in version 1
			&cli.IntFlag{Name: "sdkappid", Value: emulatorApp, Usage: "`NUMBER` of the app"},
			&cli.StringFlag{Name: "key", Value: emulatorKey, Usage: "secret `KEY` of the app", HideDefault: true},
			&cli.IntFlag{Name: "limit", Value: 200, Usage: "`NUMBER` of calls a second, -1 for no limit"},
			&cli.DurationFlag{Name: "latency", Value: 50 * time.Millisecond, Usage: "`TIME` of a response"},
			&cli.DurationFlag{Name: "jitter", Value: 20 * time.Millisecond, Usage: "most random `TIME` added to it"},
			&cli.StringFlag{Name: "faults", Usage: "`SHARES` of failures: drop-after=0.01,seed=7"},
			&cli.StringFlag{Name: "tls", Usage: "serve TLS, write the new certificate to `FILE`", TakesFile: true},
		},
		Action: t.emulator,
	}
}

func listenFlag(address string) *cli.StringFlag {
	return &cli.StringFlag{Name: flagListen, Value: address, Usage: "`ADDRESS`, port 0 is any free"}
}

// outputFlags are the flags of commands that show progress.
func outputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: flagQuiet, Usage: "show no progress, only messages and summaries"},
		&cli.BoolFlag{Name: flagJSON, Usage: "write progress, messages and summaries as JSON lines"},
	}
}

// readingFlags are the flags of commands that read exports.
func readingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagMap, Usage: "`NAME` of the system that wrote the export, or FILE.jq"},
		&cli.StringFlag{Name: flagEncoding, Usage: "`NAME` of the encoding if not UTF-8: gbk, big5, …"},
		&cli.StringFlag{Name: flagTimeZone, Usage: "`ZONE` of dates in CSV: +08:00, UTC, Asia/Shanghai"},
		&cli.StringFlag{Name: flagRecords, Usage: "`PATH` of the records in JSON: data.groups, groups.*"},
		&cli.StringFlag{Name: flagUsers, Usage: "`FILE` with rows of ID there, account here (CSV)"},
		&cli.BoolFlag{Name: flagStrict, Usage: "refuse records with accounts that --users lacks"},
		&cli.BoolFlag{Name: flagNoMembers, Usage: "leave out the members of records, as MEMBERS=false"},
		insecureFlag(),
	}
}

func insecureFlag() cli.Flag {
	return &cli.BoolFlag{Name: flagInsecure, Usage: "allow an http TIM_ENDPOINT on another machine"}
}

// readingHelp explains [readingFlags].
func readingHelp() string {
	return "--map takes " + wrap(strings.Join(mapping.Names(), ", ")+", a file with a jq program, or auto.", 66) + "\n\n"
}

// A manner is how a command speaks.
type manner struct {
	quiet bool // no progress
	json  bool // progress, messages and summaries are JSON, one object a line
	brief bool // summaries for people are one line each
}

func mannerOf(c *cli.Command) manner { return manner{quiet: c.Bool(flagQuiet), json: c.Bool(flagJSON)} }
