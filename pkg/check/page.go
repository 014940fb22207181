package check

import (
	"bytes"
	"context"
	"io"

	"groupimport/pkg/blob"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

// WritePage writes the report as an HTML page, in English and Chinese. What was seen is in English only.
func (r *Report) WritePage(w io.Writer) error {
	findings := make([]report.Finding, len(r.Checks))
	for n, c := range r.Checks {
		findings[n] = report.Finding{
			Name: c.Name, State: string(c.State), Proves: c.proves.EN, ProvesZH: c.proves.ZH, Seen: c.Seen,
			Do: c.do.EN, DoZH: c.do.ZH,
		}
	}
	return report.WriteCheck(w, r.Where, r.At, findings, report.Options{})
}

// PutPage writes the page into the bucket, beside the exports, and names it in the report.
func (r *Report) PutPage(ctx context.Context, b blob.Bucket, prefix string) error {
	var page bytes.Buffer
	if err := r.WritePage(&page); err != nil {
		return err
	}
	key := results.CheckPage(prefix)
	if err := b.Put(ctx, key, &page); err != nil {
		return err
	}
	r.Page = key
	return nil
}
