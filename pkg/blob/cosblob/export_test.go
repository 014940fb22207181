package cosblob

// LimitParts sets the maximum number of parts of an upload.
func LimitParts(b *Bucket, n int) { b.partsLimit = n }
