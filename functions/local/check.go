package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/mapping"
)

// A verdict is the result of the check of a file.
type verdict struct {
	File              string           `json:"file"`
	Records           int64            `json:"records"`
	Valid             int64            `json:"valid"`
	Invalid           int64            `json:"invalid"`
	Skipped           int64            `json:"skipped"`          // left out by the mapping
	Ignored           int64            `json:"ignored,omitzero"` // not about groups, says the mapping; not in Records
	WithoutGroupID    int64            `json:"withoutGroupId"`
	WithoutCreateTime int64            `json:"withoutCreateTime"`
	Rules             []*finding       `json:"rules"`             // of invalid records, the most frequent first
	Warnings          []*finding       `json:"warnings,omitzero"` // about valid records, the most frequent first
	Dropped           map[string]int64 `json:"dropped,omitzero"`  // fields of get_group_info: number of records
	Duplicates        *duplicates      `json:"twice,omitzero"`    // nil if no GroupId is used twice
	Notes             []string         `json:"notes,omitzero"`    // see [export.Reader.Notes]
	Live              *lookups         `json:"live,omitzero"`     // nil without --live
	Members           *members         `json:"members,omitzero"`  // nil if there are none
	Error             string           `json:"error,omitzero"`    // why the file was not read to its end

	size int64 // bytes read
}

// check reads a file to its end. The verdict is about what was read, also after an error.
func (v *validation) check(ctx context.Context, file string) (*verdict, error) {
	c := &verdict{File: file}
	src, guard, err := v.source(ctx, file)
	if err != nil {
		return c, err
	}
	r, err := export.NewReader(src, export.Start, v.limits)
	if err != nil {
		return c, err
	}
	if v.client != nil {
		c.Live = &lookups{client: v.client}
	}
	k := &checker{verdict: c, isGroupsOnly: v.groups}
	if v.client != nil {
		k.accounts = &accounts{client: v.client}
	}
	err = k.read(ctx, src, r, guard)
	k.conclude(r)
	return c, err
}

// A checker collects the verdict of one file.
type checker struct {
	*verdict

	rules, warnings, memberRules findings
	ids                          groupIDs
	accounts                     *accounts // nil without --live
	isGroupsOnly                 bool      // members are left out
}

func (k *checker) read(ctx context.Context, src export.Source, r *export.Reader, guard *mapping.Guard) error {
	for e, err := range r.Records(ctx) {
		if err != nil {
			return guard.Explain(ctx, err, src)
		}
		if (k.Records+k.Ignored)%1024 == 1023 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.Blank {
			continue
		}
		if err := guard.See(&e); err != nil {
			return err
		}
		k.size = e.Next.Done()
		if err := k.add(ctx, &e); err != nil {
			return err
		}
	}
	if err := guard.End(); err != nil {
		return err
	}
	if err := k.accounts.flush(ctx); err != nil {
		return err
	}
	return k.Live.flush(ctx)
}

// add adds one entry of the export.
func (k *checker) add(ctx context.Context, e *export.Entry) error {
	if e.Ignored {
		k.Ignored++
		return nil
	}
	k.Records++
	switch {
	case e.Skipped != "":
		k.Skipped++
		return nil
	case e.Problem != nil:
		k.Invalid++
		for _, p := range e.Problem.Problems {
			if p.Rule != "" { // without a rule it only counts other problems
				k.rules.add(cmp.Or(p.Field, "(record)"), p.Rule, p.Message, e)
			}
		}
		return nil
	}
	if k.isGroupsOnly && e.Record.IsMember {
		k.Skipped++
		return nil
	}
	if k.isGroupsOnly {
		e.Record.Members, e.Record.HasOwner, e.Record.Demoted = nil, false, 0
	}
	k.Valid++
	if k.accounts != nil {
		if err := k.accounts.add(ctx, e.Pos.Line, &e.Record); err != nil {
			return err
		}
	}
	if e.Record.IsMember || len(e.Record.Members) > 0 {
		if k.Members == nil {
			k.Members = &members{}
		}
		k.Members.add(e, &k.memberRules)
	}
	if e.Record.IsMember {
		return nil
	}
	e.Record.Members = nil // the batch of look-ups keeps records
	if e.Record.CreateTime == 0 {
		k.WithoutCreateTime++
	}
	for _, w := range e.Record.Warnings() {
		k.warnings.add(w.Field, w.Rule, w.String(), e)
	}
	if e.Record.GroupID == "" {
		k.WithoutGroupID++
		return nil
	}
	k.ids.add(e.Record.GroupID, e.Pos.Line)
	return k.Live.add(ctx, e.Pos.Line, e.Record)
}

// conclude completes the verdict.
func (k *checker) conclude(r *export.Reader) {
	k.Rules, k.Warnings = k.rules.sorted(), k.warnings.sorted()
	if k.Rules == nil {
		k.Rules = []*finding{} // not null in JSON
	}
	if k.Members != nil {
		k.Members.Rules = k.memberRules.sorted()
	}
	if k.accounts != nil && k.accounts.Asked > 0 {
		if k.Members == nil {
			k.Members = &members{}
		}
		k.Members.Accounts = k.accounts
	}
	k.Duplicates, k.Notes = k.ids.duplicates, r.Notes()
	if k.ids.full {
		k.Notes = append(k.Notes, "only the first "+thousands(maxIDs)+" GroupIds were compared with later ones")
	}
	if dropped := r.Dropped(); len(dropped) > 0 {
		k.Dropped = dropped
	}
}

// source returns a file as an export, with the mapping for it and the guard of its first records.
func (v *validation) source(ctx context.Context, file string) (export.Source, *mapping.Guard, error) {
	src := export.Source{Name: file, Encoding: v.encoding, Records: v.records, Zone: v.zone}
	if v.users != nil {
		src.Users, src.StrictUsers = v.users, v.strict
	}
	switch {
	case file == standardInput:
		src.Name = "standard input." + v.format
		src.Open = func(int64) io.ReadCloser { return io.NopCloser(v.stdin) } // called once, see [export.Source]
	case isAddress(file):
		p, err := v.openPlace(file, slog.New(slog.DiscardHandler))
		if err != nil {
			return src, nil, err
		}
		info, err := p.bucket.Stat(ctx, p.key)
		if err != nil {
			return src, nil, err
		}
		src.Size = info.Size
		src.Open = func(offset int64) io.ReadCloser {
			return blob.NewReader(ctx, p.bucket, p.key, info.Version, offset, info.Size)
		}
	default:
		if err := checkFile(file); err != nil {
			return src, nil, err
		}
		info, err := os.Stat(file)
		if err != nil {
			return src, nil, err
		}
		src.Size = info.Size()
		src.Open = func(offset int64) io.ReadCloser { return openAt(file, offset) }
	}
	text, err := v.mappingFor(ctx, file, src)
	if err != nil {
		return src, nil, err
	}
	guard := mapping.NewGuard(text)
	if text == "" {
		return src, guard, nil
	}
	program, err := mapping.Compile(text, mapping.Settings{
		Limits: v.limits, Name: mapping.BaseName(filepath.ToSlash(file)), IncludeArchived: v.archived,
		Zone: v.zone,
	})
	if err != nil {
		return src, nil, err
	}
	src.Map = program
	return src, guard, nil
}

// mappingFor returns the text of the mapping for a file, empty if none: that of --map, or else the one that MAPPING
// names, which may be a file beside the export, or the one that the first records of src need.
func (v *validation) mappingFor(ctx context.Context, file string, src export.Source) (string, error) {
	name := v.mapping
	switch {
	case v.detects || v.program == "" && name == mapping.Auto:
		if file == standardInput {
			return "", errors.New("standard input can be read only once: name its mapping instead of auto")
		}
		name, err := mapping.DetectExport(ctx, src)
		text, _ := mapping.Builtin(name)
		return text, err
	case v.program != "" || name == "":
		return v.program, nil
	}
	return mapping.Find(name, func(key string) ([]byte, error) {
		f, err := openBeside(file, filepath.FromSlash(key))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, mapping.MaxProgram+1))
	})
}

// openAt returns the content of a file from offset on. If the file cannot be opened, the first Read returns the error.
func openAt(file string, offset int64) io.ReadCloser {
	f, err := openRegular(file)
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err // messages begin with the name
		}
		r, w := io.Pipe()
		w.CloseWithError(err)
		return r
	}
	return f
}
