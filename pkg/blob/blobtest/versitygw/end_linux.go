package versitygw

import "syscall"

// endsWithTest lets the server end when the test's process does, even by a time-out or a crash.
func endsWithTest() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
