//go:build !linux

package blobtest

const memory = ""

func hasMemory() bool { return false }
