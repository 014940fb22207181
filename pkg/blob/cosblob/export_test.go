package cosblob

// LimitParts sets the maximum number of parts of an upload.
func LimitParts(b *Bucket, n int) { b.partsLimit = n }

// SetPartSize sets the size in bytes of the parts of an upload.
func SetPartSize(b *Bucket, size int) { b.partSize = size }
