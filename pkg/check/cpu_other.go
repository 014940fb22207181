//go:build !unix

package check

import (
	"errors"
	"time"
)

// cpuTime is for Unix only.
func cpuTime() (time.Duration, error) { return 0, errors.ErrUnsupported }
