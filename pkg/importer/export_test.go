package importer

// SetMaxEarlier sets how many earlier outcomes are held, until the function that it returns is called.
func SetMaxEarlier(n int) (reset func()) {
	was := maxEarlier
	maxEarlier = n
	return func() { maxEarlier = was }
}
