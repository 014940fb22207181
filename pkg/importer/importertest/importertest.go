// Package importertest has a store, a service and an importer between them, for tests of imports and schedules.
package importertest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

// The export, the app, its key and the rate in calls per second.
const (
	Key  = "exports/acme.jsonl"
	App  = 1400000001
	Sign = "a key for simulations"
	Rate = 190
)

// Names are the names of the objects beside the export.
var Names = results.Names{Export: Key}

// A World is a store and a service, and the settings of the importers between them.
type World struct {
	T       *testing.T
	Store   *blobtest.Bucket
	Service *emulator.Service
	Config  config.Config
	Owner   string // see [importer.Importer]

	OnChange func(importer.Change) // of the importers; nil for none
}

// New returns a world without objects and groups.
func New(t *testing.T) *World {
	t.Helper()
	return &World{
		T: t, Store: &blobtest.Bucket{}, Owner: "a test",
		Service: &emulator.Service{SDKAppID: App, Key: Sign, Latency: 20 * time.Millisecond},
		Config: config.Config{
			SDKAppID: App, Admin: "administrator", SecretKey: Sign, Endpoint: "https://im.invalid", Rate: Rate,
			Limits: group.DocumentLimits, MaxAttempts: 5, StopShare: 0.5,
		},
	}
}

// Put writes the export at Key.
func (w *World) Put(lines ...string) {
	w.T.Helper()
	w.PutAt(Key, lines...)
}

// PutAt writes an export.
func (w *World) PutAt(key string, lines ...string) {
	w.T.Helper()
	if err := w.Store.Put(w.T.Context(), key, strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		w.T.Fatal(err)
	}
}

// Dir returns the objects beside the export at key.
func (w *World) Dir(key string) results.Dir {
	return results.Dir{Bucket: w.Store, Names: results.Names{Export: key}}
}

// Importer returns the importer of a new process.
func (w *World) Importer() *importer.Importer {
	w.T.Helper()
	i := &importer.Importer{Config: w.Config, Bucket: w.Store, BucketName: "bucket", Owner: w.Owner, OnChange: w.OnChange}
	if err := Dial(i, func(c *tim.Config) { c.Transport = w.Service }); err != nil {
		w.T.Fatal(err)
	}
	return i
}

// Dial gives an importer a client. change adjusts the client's settings.
func Dial(i *importer.Importer, change func(*tim.Config)) (err error) {
	i.Client, err = i.Config.Clients(i.Log, change)()
	return err
}

// Run does one run of the import of Key, in a new process.
func (w *World) Run(ctx context.Context) (importer.Summary, error) {
	w.T.Helper()
	return w.Importer().Import(ctx, Key)
}

// Finish runs the import of Key until it is finished.
func (w *World) Finish() importer.Summary {
	w.T.Helper()
	var last importer.Summary
	for range 100 {
		s, err := w.Run(w.T.Context())
		if err != nil {
			w.T.Fatal(err)
		}
		if s.State == results.Finished {
			return s
		}
		last = s
	}
	w.T.Fatalf("not finished after 100 runs: %+v", last)
	return importer.Summary{}
}

const timeout = 15 * time.Minute // of an invocation

// Pass does one scheduler pass in a new process.
func (w *World) Pass(a scheduler.Action) scheduler.Result {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), timeout)
	defer cancel()
	p, err := Scheduler(w.Importer()).Pass(ctx, a)
	if err != nil {
		w.T.Fatal(err)
	}
	return p
}

// Event handles one event in a new process, see [scheduler.Scheduler.HandleEvent].
func (w *World) Event(names ...[]string) scheduler.Result {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), timeout)
	defer cancel()
	return Scheduler(w.Importer()).HandleEvent(ctx, names...)
}

// Scheduler returns a scheduler that uses i.
func Scheduler(i *importer.Importer) *scheduler.Scheduler { return &scheduler.Scheduler{Importer: i} }

// Text returns what a pass did: for each job its kind, key, state and error.
func Text(p scheduler.Result) string {
	var all []string
	for _, d := range p.Done {
		all = append(all, strings.TrimSpace(fmt.Sprint(d.What, " ", d.Key, " ", d.State, " ", d.Error)))
	}
	return strings.Join(all, ", ")
}

// Failing makes the service fail every tenth record of [WithIDs] with a transient error until off is called.
func (w *World) Failing() (off func()) {
	w.Service.SetFaults(emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Command == "import_group" && strings.HasSuffix(r.GroupID, "7") {
			return emulator.Internal
		}
		return emulator.None
	}})
	return func() { w.Service.SetFaults(emulator.Faults{}) }
}

// Outcomes returns the results beside the export with this name.
func (w *World) Outcomes(names results.Names) []outcome.Outcome {
	w.T.Helper()
	var all []outcome.Outcome
	for line := range bytes.Lines(w.Store.Object(names.Results())) {
		o, _, err := outcome.Parse(line)
		if err != nil {
			w.T.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

// WithIDs returns n records with GroupIds g-1, g-2 and so on.
func WithIDs(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"Type":"Public","Name":"n-%d","GroupId":"g-%d"}`, i+1, i+1)
	}
	return lines
}

// WithoutIDs returns n records without GroupIds.
func WithoutIDs(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"Type":"Public","Name":"n-%d"}`, i+1)
	}
	return lines
}
