//go:build !race

package importertest

const hasRaceDetector = false
