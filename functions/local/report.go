package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

// report makes the page for people anew, from what lies beside an export. It needs no credentials.
func (t *tool) report(ctx context.Context, args []string) error {
	flags := newFlags("report [-o FILE] FILE|DIR…")
	out := flags.String("o", "", "file to write the page of the one export to, default beside the export")
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	var files []string
	for _, arg := range flags.Args() {
		found, err := imports(arg)
		if err != nil {
			return fmt.Errorf("%s: %w", shown(arg), err)
		}
		files = append(files, found...)
	}
	if *out != "" && len(files) != 1 {
		return usageError("-o is for one export, and these are %d", len(files))
	}
	worst := exitOK
	for _, file := range files {
		page, err := t.reportFile(ctx, file, *out)
		if err != nil {
			fmt.Fprintf(t.stderr, "local: %s: %v\n", shown(file), err)
			worst = exitError
			continue
		}
		fmt.Fprintln(t.stdout, fileURL(page))
	}
	if worst != exitOK {
		return &exit{status: worst}
	}
	return nil
}

// imports returns the exports that name means, which may themselves be gone: itself, or those of a folder and
// the folders in it whose results lie there.
func imports(name string) ([]string, error) {
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		if owner, kind := results.Beside(name); kind != results.NotBeside && kind != results.BesideWork {
			return []string{owner}, nil // people name what they see
		}
		return []string{name}, nil
	}
	var files []string
	err := filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == name {
			return err
		}
		suffix := ""
		if entry.IsDir() {
			suffix = "/"
		}
		owner, kind := results.Beside(path + suffix)
		switch {
		case kind == results.BesideWork && (export.Reads(owner) || export.Reads(results.ArchivedFrom(owner))):
			files = append(files, owner)
			return fs.SkipDir
		case kind == results.BesideResults:
			files = append(files, owner)
		}
		return nil
	})
	slices.Sort(files)
	files = slices.Compact(files)
	if err == nil && len(files) == 0 {
		err = errors.New("no import lies there")
	}
	return files, err
}

// reportFile writes the page of the import of file, to out or beside it, and returns its name.
func (t *tool) reportFile(ctx context.Context, file, out string) (page string, err error) {
	dir, key := filepath.Split(file)
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	bucket, err := dirblob.Open(absolute)
	if err != nil {
		return "", err
	}
	defer bucket.Close()
	names := results.Names{Export: key}
	var html bytes.Buffer // bounded
	if err := importer.WriteReport(ctx, results.Dir{Bucket: bucket, Names: names}, &html, report.Options{Folder: absolute}); err != nil {
		return "", err
	}
	if out != "" {
		return out, os.WriteFile(out, html.Bytes(), 0o644) //nolint:gosec // a page to pass on
	}
	return filepath.Join(absolute, names.Report()), bucket.Put(ctx, names.Report(), &html)
}

// fileURL is a link to a file of this machine.
func fileURL(name string) string {
	if absolute, err := filepath.Abs(name); err == nil {
		name = absolute
	}
	name = filepath.ToSlash(name)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	return (&url.URL{Scheme: "file", Path: name}).String()
}
