package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

// report writes the HTML report again, from the results beside an export. It needs no credentials.
func (t *tool) report(ctx context.Context, c *cli.Command) error {
	args, err := arguments(c, 1, anyNumber)
	if err != nil {
		return err
	}
	out := c.String("o")
	var files []string
	for _, arg := range args {
		found, err := t.imports(ctx, arg)
		if err != nil {
			return fmt.Errorf("%s: %w", shown(arg), err)
		}
		files = append(files, found...)
	}
	if out != "" && len(files) != 1 {
		return usageError("-o needs one export, and these are %d", len(files))
	}
	worst := exitOK
	for _, file := range files {
		page, err := t.reportFile(ctx, file, out)
		if err != nil {
			fmt.Fprintf(t.stderr, "%s: %s: %s\n", program, shown(file), oneLine(err.Error()))
			worst = exitError
			continue
		}
		if !isAddress(page) {
			page = fileURL(page)
		}
		fmt.Fprintln(t.stdout, page)
	}
	return exitWith(worst)
}

// imports returns the exports that name stands for, which may themselves be gone: itself, or those whose results are
// in this folder or the folders below it.
func (t *tool) imports(ctx context.Context, name string) ([]string, error) {
	if isAddress(name) {
		return t.importsAt(ctx, name)
	}
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		if owner, kind := results.Sidecar(name); kind != results.NotSidecar && kind != results.SidecarWork {
			return []string{owner}, nil // the user names a file of the import
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
		owner, kind := results.Sidecar(path + suffix)
		switch {
		case kind == results.SidecarWork && (export.IsExport(owner) || export.IsExport(results.ArchivedFrom(owner))):
			files = append(files, owner)
			return fs.SkipDir
		case kind == results.SidecarResults:
			files = append(files, owner)
		}
		return nil
	})
	slices.Sort(files)
	files = slices.Compact(files)
	if err == nil && len(files) == 0 {
		err = errors.New("there are no results of an import in this folder")
	}
	return files, err
}

// reportFile writes the HTML report of the import of file, to out or beside the export, and returns its name. out is
// for the user only, as it may lie anywhere.
func (t *tool) reportFile(ctx context.Context, file, out string) (page string, err error) {
	if isAddress(file) {
		return t.reportAt(ctx, file, out)
	}
	dir, key := filepath.Split(file)
	bucket, absolute, err := openFolder(dir)
	if err != nil {
		return "", err
	}
	defer bucket.Close()
	names := results.Names{Export: key}
	var html bytes.Buffer // bounded
	beside := results.Dir{Bucket: bucket, Names: names}
	if err := importer.WriteReport(ctx, beside, &html, report.Options{Root: absolute}); err != nil {
		return "", reportError(err)
	}
	if out != "" {
		return out, os.WriteFile(out, html.Bytes(), 0o600)
	}
	return filepath.Join(absolute, names.Report()), bucket.Put(ctx, names.Report(), &html)
}

// reportError names the usual cause of the error about an import without results.
func reportError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no import with this name")
	}
	return err
}

// importsAt is imports for an address.
func (t *tool) importsAt(ctx context.Context, address string) ([]string, error) {
	p, err := t.openPlace(address, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer p.close()
	if p.isOne {
		return []string{p.name(p.key)}, nil
	}
	all, err := p.statuses(ctx)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, im := range all {
		if im.Runs > 0 {
			found = append(found, p.name(im.Key))
		}
	}
	if len(found) == 0 {
		return nil, errors.New("there are no results of an import in this folder")
	}
	return found, nil
}

// reportAt is reportFile for an address. The report is written beside the export in the bucket.
func (t *tool) reportAt(ctx context.Context, address, out string) (page string, err error) {
	p, err := t.openPlace(address, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer p.close()
	beside := results.Dir{Bucket: p.bucket, Names: results.Names{Export: p.key}}
	var html bytes.Buffer // bounded
	if err := importer.WriteReport(ctx, beside, &html, report.Options{Root: p.root}); err != nil {
		return "", reportError(err)
	}
	if out != "" {
		return out, os.WriteFile(out, html.Bytes(), 0o600)
	}
	return p.name(beside.Report()), p.bucket.Put(ctx, beside.Report(), &html)
}
