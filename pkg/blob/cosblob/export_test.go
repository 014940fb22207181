package cosblob

// LimitParts lets an upload have n parts at most.
func LimitParts(b *Bucket, n int) { b.partsLimit = n }
