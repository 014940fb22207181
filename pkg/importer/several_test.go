package importer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// A line that becomes several records has an outcome for each, however often runs end.
func TestImport_ResumesSeveralRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Config.Mapping = "mattermost"
		const channels, lines = 7, 200
		var text, list []string
		for i := range channels {
			text = append(text, fmt.Sprintf(`{"type":"channel","channel":{"team":"t","name":"c%d","type":"O"}}`, i))
			list = append(list, fmt.Sprintf(`{"name":"c%d"}`, i))
		}
		for i := range lines {
			text = append(text, fmt.Sprintf(`{"type":"user","user":{"username":"u%d","teams":[{"name":"t","channels":[%s]}]}}`,
				i, strings.Join(list, ",")), `{"type":"post","post":{}}`)
		}
		w.Put(text...)
		runs := 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			s, err := w.Run(ctx)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if runs++; s.State == results.Finished {
				break
			}
			if runs > 200 {
				t.Fatalf("got %+v after %d runs", s, runs)
			}
		}
		n := int64(0)
		for _, o := range w.Outcomes(w.Dir(simKey).Names) {
			if n++; o.N != n || o.Status != outcome.Imported {
				t.Fatalf("got %+v, want record %d imported", o, n)
			}
		}
		if n != channels+channels*lines || runs < 3 {
			t.Errorf("got %d outcomes in %d runs, want %d", n, runs, channels+channels*lines)
		}
		for i := range channels {
			if g, _ := w.Service.Group(fmt.Sprintf("t.c%d", i)); len(g.Members) != lines {
				t.Errorf("got %d members of c%d, want %d", len(g.Members), i, lines)
			}
		}
	})
}
