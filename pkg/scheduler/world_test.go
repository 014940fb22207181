package scheduler_test

import (
	"testing"

	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/scheduler"
)

const acme = importertest.Key

var (
	resume = scheduler.Action{Resume: true}
	retry  = scheduler.Action{Retry: true}
)

func TestMain(m *testing.M) { importertest.Main(m) }
