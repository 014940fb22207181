package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openForWriting reports whether some process has the file open for writing. Linux tells by refusing a
// read lease (fcntl(2), F_SETLEASE): with EAGAIN if so. Where leases are not to be had, nobody has.
func openForWriting(name string) bool {
	f, err := os.Open(name) //nolint:gosec // a file of the folder that is watched
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return err != nil
	}
	return errors.Is(err, unix.EAGAIN)
}
