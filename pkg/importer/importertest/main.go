package importertest

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// Main runs the tests of a package whose tests build many short-lived worlds in bubbles and measure no memory.
//
// It lets the heap grow fivefold between two garbage collections, unless GOGC is set. It also uses one processor, since
// waking another one for each call took as long as the calls, and go test runs packages side by side. The flag -cpu
// overrides this. With the race detector the tests use all processors.
func Main(m *testing.M) {
	const byDefault = 100
	if old := debug.SetGCPercent(400); old != byDefault {
		debug.SetGCPercent(old)
	}
	if !hasRaceDetector {
		runtime.GOMAXPROCS(1)
	}
	os.Exit(m.Run())
}
