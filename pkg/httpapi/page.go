package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"path"
	"time"

	"groupimport/pkg/report"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// How often a page loads itself again: that of one import costs two or three requests to the bucket, that of all
// a list.
const (
	refreshImport = 5 * time.Second
	refreshList   = 30 * time.Second
)

// maxFile is up to how many bytes a file beside an export is served. Function URLs of AWS respond with 6 MB at most,
// base64 included (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, 2026-11).
const maxFile = 4 << 20

// listPath is the path of the list of imports.
const listPath = "/imports"

// link returns the path of an import's page, or of a file beside an export.
func link(key string) string { return (&url.URL{Path: listPath + "/" + key}).EscapedPath() }

// page returns a page that write writes.
func page(write func(io.Writer) error) response {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		panic(err) // a buffer takes everything
	}
	return html(b.Bytes()).with("Vary", "Accept")
}

// html returns a response that may run the script of package report, and no other.
func html(body []byte) response {
	return response{status: http.StatusOK, kind: "text/html; charset=utf-8", body: body}.
		with("Content-Security-Policy", report.Policy+"; frame-ancestors 'none'")
}

func (a *api) listPage(imports []scheduler.Status, next string) response {
	list := make([]report.Status, len(imports))
	for n, im := range imports {
		list[n] = status(&im)
	}
	o := report.Options{Root: a.folder, Refresh: refreshList, List: listPath}
	return page(func(w io.Writer) error { return report.WriteList(w, list, next, o) })
}

func (a *api) importPage(im *scheduler.Status) response {
	s := status(im)
	o := report.Options{Root: a.folder, List: listPath}
	if s.State != results.Finished {
		o.Refresh = refreshImport
	}
	return page(func(w io.Writer) error { return report.WriteProgress(w, &s, o) })
}

// status returns what pages say of an import.
func status(im *scheduler.Status) report.Status {
	s := report.Status{
		Key: im.Key, Gone: im.Gone, Round: im.Round, Link: link(im.Key),
		Finished: im.Finished, RetryAt: im.RetryAt, GivenUp: im.GivenUp,
		Progress: results.Progress{
			State: im.State, Reason: im.Reason, Cause: im.Cause, Export: results.Export{Key: im.Key, Size: im.Size},
			Next: im.Next, Counts: im.Counts, Ignored: im.Ignored, Run: im.Run, Runs: im.Runs, Updated: im.Updated,
			Again: im.Again,
		},
	}
	if im.Work.Size > 0 { // in a round of retries, the position is one in the dead-letter file
		s.Export.Size = im.Work.Size
	}
	for _, f := range im.Files {
		s.Files = append(s.Files, report.File{File: f, Link: link(f.Key)})
	}
	if len(im.Files) > 0 {
		s.Report = link(results.Names{Export: im.Key}.Report())
	}
	return s
}

// showFile handles GET /imports/{key} for a file that an import wrote beside its export.
func (a *api) showFile(ctx context.Context, key string) response {
	body, kind, err := a.scheduler.File(ctx, key, maxFile)
	switch {
	case err == nil && kind == results.SidecarReport:
		return html(body)
	case err == nil:
		return response{status: http.StatusOK, kind: "application/x-ndjson", body: body}.
			with("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(path.Base(key)))
	}
	return a.unread(ctx, err, "there is no such file")
}
