package importertest

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// Main runs the tests of a package whose tests build many short-lived worlds in bubbles and measure no memory.
//
// It lets the heap grow fivefold between two garbage collections; GOGC overrides it. It also uses one processor, since
// waking another one for each call took as long as the calls: packages are tested side by side instead. GOMAXPROCS and
// -cpu override it. With the race detector the tests use all processors.
func Main(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMAXPROCS") == "" && !hasRaceDetector {
		runtime.GOMAXPROCS(1)
	}
	os.Exit(m.Run())
}
