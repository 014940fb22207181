package importertest

import (
	"os"
	"runtime/debug"
	"testing"
)

// Main runs the tests of a package whose tests build many short-lived worlds and measure no memory. It lets the heap
// grow fivefold between two garbage collections, which took a third of the processor time before. GOGC overrides it.
func Main(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	os.Exit(m.Run())
}
