package dirblob

import "errors"

// WithoutLinks makes b behave as on a file system without hard links.
func WithoutLinks(b *Bucket) *Bucket {
	b.link = func(string, string) error { return errors.ErrUnsupported }
	return b
}

// Remembered returns the number of files of which b remembers the version.
func Remembered(b *Bucket) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.versions)
}
