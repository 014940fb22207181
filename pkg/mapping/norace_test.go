//go:build !race

package mapping_test

const isRace = false
