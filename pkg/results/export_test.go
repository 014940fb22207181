package results

import "testing"

// LowerMergeLimits lowers the limits at which parts are merged.
func LowerMergeLimits(t *testing.T, bytes int64, parts int) {
	t.Helper()
	oldBytes, oldParts := mergedBytes, maxSmallParts
	mergedBytes, maxSmallParts = bytes, parts
	t.Cleanup(func() { mergedBytes, maxSmallParts = oldBytes, oldParts })
}
