package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/export"
	"groupimport/pkg/results"
)

// standardInput is the argument that stands for standard input.
const standardInput = "-"

// openFolder opens a folder as a bucket whose files get the permissions of the export that they belong to, and
// returns its absolute name too.
func openFolder(dir string) (*dirblob.Bucket, string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, "", err
	}
	bucket, err := dirblob.Open(absolute)
	if err != nil {
		return nil, "", err
	}
	bucket.InheritPermissions(exportOf)
	bucket.KeepTempFilesIn(workOf)
	return bucket, absolute, nil
}

// workOf returns the key of the work folder of the import that writes key, empty if there is none.
func workOf(key string) string {
	if export := exportOf(key); export != "" {
		return results.Names{Export: export}.Work()
	}
	return ""
}

// exportOf returns the key of the export that an import writes key for, empty if there is none. The key of a
// folder ends in a slash.
func exportOf(key string) string {
	owner := ""
	for i := range key {
		if key[i] != '/' {
			continue
		}
		if isWork(key[:i+1]) { // another folder may have such a name too
			owner, _ = results.Sidecar(key[:i+1])
			break
		}
	}
	if export, _, ok := results.ParseMark(key); ok && owner == "" {
		owner = export
	}
	if owner == "" && !strings.HasSuffix(key, "/") {
		owner, _ = results.Sidecar(key)
	}
	if export := results.ArchivedFrom(owner); export != "" {
		return export
	}
	return owner
}

// checkFolder says why dir is no folder.
func checkFolder(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: there is no such folder", shown(dir))
	}
	return nil
}

// checkFile says why a file is no export, before anything is done with it.
func checkFile(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case err != nil:
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err // messages begin with the name
		}
		return err
	case !info.Mode().IsRegular():
		return errNotRegular
	case !export.IsExport(file):
		return errNotExport
	}
	return nil
}

var errNotRegular = errors.New("not a regular file: an export is read more than once, so save it to a file first")

var errNotExport = errors.New("its name must end in " + export.NamesText + ": the name says which format the file has")

// ignoredName is why most files of a folder are ignored.
const ignoredName = "its name does not end in .jsonl, .ndjson, .json, .csv, .zip, .gz or .zst"

// checkLink says why the file at key below the folder dir, which exists, cannot be read as a part of it.
func checkLink(dir, key string) error {
	name := filepath.Join(dir, filepath.FromSlash(key))
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil // opening it as a bucket returns the error
	}
	defer root.Close()
	if _, err := root.Stat(filepath.FromSlash(key)); err == nil {
		return nil
	}
	if _, err := os.Stat(name); err != nil {
		return nil // the link is broken, which is not about the folder
	}
	folder, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	if way, err := filepath.Rel(folder, target); err == nil && filepath.IsLocal(way) {
		return errors.New("it is a link that is not relative: name the file itself")
	}
	return errors.New("it is a link to outside its folder: name the file itself")
}

// expand replaces each folder among the arguments by the exports in it, in order, and writes to w which of its
// files it ignores. Its error is about a folder.
func expand(ctx context.Context, w io.Writer, args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		if info, err := os.Stat(arg); arg == standardInput || err != nil || !info.IsDir() {
			files = append(files, arg) // what is wrong with a file is said in its turn
			continue
		}
		found := 0
		var ignored ignoredFiles
		for c := range scan(ctx, arg, "") {
			name := filepath.Join(arg, filepath.FromSlash(c.key))
			if c.ignored != "" {
				ignored.add(name, c.ignored)
				continue
			}
			files = append(files, name)
			found++
		}
		for _, message := range ignored.messages() {
			fmt.Fprint(w, message)
		}
		if found == 0 {
			return nil, fmt.Errorf("%s: there is no export in this folder", shown(arg))
		}
	}
	return files, nil
}

// ignoredFiles collects which files are ignored and why.
type ignoredFiles struct {
	lines []string
	more  int64
}

// maxIgnored is how many ignored files are named. More are counted: an unpacked export of another system holds
// thousands of pictures.
const maxIgnored = 10

func (f *ignoredFiles) add(name, reason string) {
	if len(f.lines) == maxIgnored {
		f.more++
		return
	}
	f.lines = append(f.lines, fmt.Sprintf("%s: %s: ignored: %s\n", program, shown(name), oneLine(reason)))
}

// messages returns a message for each ignored file, and one for those that are not named.
func (f *ignoredFiles) messages() []string {
	if f.more == 0 {
		return f.lines
	}
	return append(slices.Clone(f.lines), fmt.Sprintf("%s: %s more files are ignored\n", program, thousands(f.more)))
}

// A candidate is a file of a folder that may be an export.
type candidate struct {
	key        string
	ignored    string // why it is no export; empty if it is one
	begun      bool   // an import has written something beside it
	unfinished bool   // it has a work folder, and no version of it is marked as finished
	deadLetter bool   // it has a dead-letter file
}

// scan yields the exports below a folder whose keys begin with prefix, and the files that are ignored although
// they do not begin with a dot: what watch sees. What an import wrote, and jq programs, it leaves out silently.
func scan(ctx context.Context, dir, prefix string) func(yield func(candidate) bool) {
	return func(yield func(candidate) bool) {
		s := scanner{ctx: ctx, dir: dir, prefix: prefix, yield: yield}
		s.folder("")
	}
}

type scanner struct {
	ctx         context.Context // it lives for one call of scan
	dir, prefix string
	yield       func(candidate) bool
}

// folder scans one folder, whose key is empty or ends in a slash. It reports whether to go on.
func (s *scanner) folder(folder string) bool {
	entries, err := os.ReadDir(filepath.Join(s.dir, filepath.FromSlash(folder)))
	if err != nil && len(entries) == 0 {
		if errors.Is(err, fs.ErrNotExist) {
			return true // it was removed meanwhile
		}
		return s.yield(candidate{key: folder, ignored: err.Error()})
	}
	beside := besides(entries)
	for _, entry := range entries {
		key := folder + entry.Name()
		if s.ctx.Err() != nil {
			return false
		}
		if entry.IsDir() {
			if s.isWithin(key+"/") && !isWork(entry.Name()+"/") && !s.folder(key+"/") {
				return false
			}
			continue
		}
		if c, ok := s.candidate(key, entry, beside[entry.Name()]); ok && !s.yield(c) {
			return false
		}
	}
	return true
}

// isWithin reports whether a folder lies below the prefix, or holds it.
func (s *scanner) isWithin(folder string) bool {
	return strings.HasPrefix(folder, s.prefix) || strings.HasPrefix(s.prefix, folder)
}

// isLeftOut reports whether a file is neither an export nor worth a message: hidden, an output of an import, or a
// mapping.
func isLeftOut(key string) bool {
	return strings.HasPrefix(path.Base(key), ".") || results.IsOutput(key) || strings.HasSuffix(key, ".jq")
}

// candidate returns what a file is. ok is false if nothing is to be said of it.
func (s *scanner) candidate(key string, entry fs.DirEntry, c candidate) (_ candidate, ok bool) {
	c.key = key
	if !strings.HasPrefix(key, s.prefix) || isLeftOut(key) {
		return c, false
	}
	info, err := os.Stat(filepath.Join(s.dir, filepath.FromSlash(key)))
	switch {
	case err != nil:
		return c, false // it was removed meanwhile, or it is a broken link
	case !info.Mode().IsRegular():
		c.ignored = "not a regular file"
		return c, !info.IsDir()
	case !export.IsExport(key):
		c.ignored = ignoredName
	case entry.Type()&fs.ModeSymlink != 0:
		if err := checkLink(s.dir, key); err != nil {
			c.ignored = err.Error()
		}
	}
	return c, true
}

// isWork reports whether a folder is an import's work folder.
func isWork(folder string) bool {
	owner, kind := results.Sidecar(folder)
	return kind == results.SidecarWork && (export.IsExport(owner) || export.IsExport(results.ArchivedFrom(owner)))
}

// besides tells of each file of a folder what lies beside it.
func besides(entries []fs.DirEntry) map[string]candidate {
	found := map[string]candidate{}
	finished := map[string]bool{}
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() {
			name += "/"
		}
		if owner, _, ok := results.ParseMark(name); ok {
			finished[owner] = true
			continue
		}
		owner, kind := results.Sidecar(name)
		if kind == results.NotSidecar {
			continue
		}
		c := found[owner]
		c.begun = true
		c.unfinished = c.unfinished || kind == results.SidecarWork
		c.deadLetter = c.deadLetter || kind == results.SidecarFailures
		found[owner] = c
	}
	for owner := range finished {
		c := found[owner]
		c.unfinished = false
		found[owner] = c
	}
	return found
}
