package frugal_test

import (
	"runtime"
	"runtime/debug"
	"testing"

	"groupimport/functions/internal/frugal"
)

func TestLimit_OneProcessorUnlessSet(t *testing.T) {
	processors, percent, memory := runtime.GOMAXPROCS(0), debug.SetGCPercent(-1), debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		runtime.GOMAXPROCS(processors)
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(memory)
	})
	for _, test := range []struct {
		gomaxprocs string
		want       int
	}{
		{"", 1},
		{"3", 3},
	} {
		t.Run("GOMAXPROCS="+test.gomaxprocs, func(t *testing.T) {
			t.Setenv("GOMAXPROCS", test.gomaxprocs)
			runtime.GOMAXPROCS(3)
			frugal.Limit()
			if got := runtime.GOMAXPROCS(0); got != test.want {
				t.Errorf("got %d processors, want %d", got, test.want)
			}
			if got := debug.SetMemoryLimit(-1); got != 26<<20 {
				t.Errorf("got a memory limit of %d bytes, want %d", got, 26<<20)
			}
			if got := debug.SetGCPercent(-1); got != 200 {
				t.Errorf("got a growth of %d %%, want 200", got)
			}
		})
	}
}
