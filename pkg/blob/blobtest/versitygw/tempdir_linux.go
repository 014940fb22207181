package versitygw

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

// hasAttributes reports whether the folder takes extended attributes, which a folder in memory does since Linux 6.6.
func hasAttributes(dir string) bool {
	const name = "user.versitygw-test"
	return syscall.Setxattr(dir, name, []byte("x"), 0) == nil && syscall.Removexattr(dir, name) == nil
}
