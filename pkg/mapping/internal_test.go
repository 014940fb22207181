package mapping

import (
	"testing"
	"time"
)

// SetMaxTime sets the time that p may take for one record.
func (p *Program) SetMaxTime(d time.Duration) { p.maxTime = d }

// KeepMembers makes results keep members until the test ends, also if package group has no field for them.
func KeepMembers(t *testing.T) {
	old := keepsMembers
	keepsMembers = true
	t.Cleanup(func() { keepsMembers = old })
}
