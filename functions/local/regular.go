package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openRegular opens a file for reading if it is a regular one. It does not wait for a pipe: without O_NONBLOCK, open
// waits for the other end.
func openRegular(name string) (*os.File, error) {
	return regular(os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0))
}

// openBeside opens a regular file in the folder of another file, of which no link leads out.
func openBeside(file, name string) (*os.File, error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return regular(root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0))
}

// regular returns a file that was opened, or closes it if it is not a regular file.
func regular(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
