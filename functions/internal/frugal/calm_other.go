//go:build !linux

package frugal

// Calm does nothing: functions run on Linux.
func Calm() {}
