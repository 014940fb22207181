package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openForWriting reports whether some process has the file open for writing. Linux tells by refusing a
// read lease (fcntl(2), F_SETLEASE): with EAGAIN if so. Where leases are not to be had, nobody has.
//
// It tells only the file's owner and those with CAP_LEASE; told is false if others ask, who get EACCES.
func openForWriting(name string) (open, told bool) {
	f, err := os.Open(name) //nolint:gosec // a file of the folder that is watched
	if err != nil {
		return false, true
	}
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return err != nil, true
	}
	return errors.Is(err, unix.EAGAIN), !errors.Is(err, unix.EACCES)
}
