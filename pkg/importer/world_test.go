package importer_test

import (
	"testing"

	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/scheduler"
)

const (
	simKey  = importertest.Key
	simApp  = importertest.App
	simSign = importertest.Sign
	simRate = importertest.Rate
)

var (
	simNames   = importertest.Names
	withIDs    = importertest.WithIDs
	withoutIDs = importertest.WithoutIDs

	resume = scheduler.Action{Resume: true}
	retry  = scheduler.Action{Retry: true}
)

func TestMain(m *testing.M) { importertest.Main(m) }

// A world is an [importertest.World] with what only the tests of this package need.
type world struct{ *importertest.World }

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{importertest.New(t)}
}
