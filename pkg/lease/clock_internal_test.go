package lease

import (
	"testing"
	"time"
)

func TestMomentSince_OneClockIsWrong(t *testing.T) {
	then := moment{wall: time.Now().Round(0), steady: time.Hour}
	for name, test := range map[string]struct{ wall, steady, want time.Duration }{
		"both clocks run":                {time.Minute, time.Minute, time.Minute},
		"the monotonic clock stopped":    {time.Minute, time.Second, time.Minute},
		"the wall clock was set back":    {-time.Hour, time.Minute, time.Minute},
		"the wall clock was set forward": {time.Hour, time.Second, time.Hour},
	} {
		later := moment{wall: then.wall.Add(test.wall), steady: then.steady + test.steady}
		if got := later.since(then); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
