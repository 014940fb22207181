package mapping

import "time"

// SetMaxTime sets the time that p may take for one record.
func (p *Program) SetMaxTime(d time.Duration) { p.maxTime = d }
