package export

// SetBlanks sets the numbers of bytes without a record after which r yields a blank entry and an error.
func (r *Reader) SetBlanks(pause, total int64) { r.blanks = blankLimits{pause, total} }

// Synonyms returns the names of columns by field.
func Synonyms() map[string][]string { return synonyms }

// Plain returns a column's name without what does not matter.
func Plain(name string) string { return plain(name) }
