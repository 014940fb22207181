package export

// SetBlanks sets the numbers of bytes without a record after which r yields a blank entry and an error.
func (r *Reader) SetBlanks(pause, total int64) { r.blanks = blankLimits{pause, total} }
