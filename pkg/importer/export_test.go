package importer

// SetMaxEarlier sets maxEarlier until reset is called.
func SetMaxEarlier(n int) (reset func()) {
	was := maxEarlier
	maxEarlier = n
	return func() { maxEarlier = was }
}
