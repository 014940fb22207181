package dirblob

import "errors"

// WithoutLinks makes b behave as on a file system that has no hard links.
func WithoutLinks(b *Bucket) *Bucket {
	b.link = func(string, string) error { return errors.ErrUnsupported }
	return b
}
