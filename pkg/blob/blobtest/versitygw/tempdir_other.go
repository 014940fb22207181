//go:build !linux

package versitygw

const memory = ""

func hasMemory() bool { return false }

func hasAttributes(string) bool { return false }
