package blobtest

import "syscall"

const (
	memory    = "/dev/shm"
	minMemory = 1 << 30 // bytes; a container may have 64 MiB
)

// hasMemory reports whether memory has at least minMemory free bytes.
func hasMemory() bool {
	var s syscall.Statfs_t
	return syscall.Statfs(memory, &s) == nil && s.Bavail*uint64(s.Bsize) >= minMemory
}
