package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// openForWriting reports whether some process has the file open for writing. Linux then refuses a read lease
// (fcntl(2), F_SETLEASE) with EAGAIN. On file systems without leases the result is false.
//
// Only the owner of the file and processes with CAP_LEASE may ask; others get EACCES, and known is false.
func openForWriting(name string) (open, known bool) {
	f, err := openRegular(name)
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
