//go:build race

package mapping_test

// isRace is set under the race detector, with which programs allocate more than the limit of their memory.
const isRace = true
