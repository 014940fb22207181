package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/blob"
)

const (
	races = 10 // of two conditional writes each

	// A list of COS may lag behind writes. The scheduler looks again each minute, so that a lag below that is harmless.
	listWait = 20 * time.Second
	listPoll = 500 * time.Millisecond

	maxObject = 1 << 10 // bytes of an object of the checks; the largest has some 30

	doAccess = "give this user or role the permissions of the bucket that the README of the platform lists"
	doStore  = "do not import from this bucket: use a bucket of AWS S3 or Tencent COS, without a proxy or cache before it"
)

// read returns an object of the checks, or a finding if it cannot be read.
func (s *session) read(ctx context.Context, key string) (string, error) {
	data, err := blob.ReadAll(ctx, s.Bucket, key, maxObject)
	return string(data), err
}

func checkWrite(ctx context.Context, s *session) finding {
	key := s.key("write")
	for _, data := range []string{"first", "second, which is longer"} { // the second replaces the first
		if err := s.Bucket.Put(ctx, key, strings.NewReader(data)); err != nil {
			return failed(doAccess, "write: %v", err)
		}
		switch got, err := s.read(ctx, key); {
		case err != nil:
			return failed(doAccess, "read after write: %v", err)
		case got != data:
			return failed(doStore, "wrote %q and read %q at once", data, got)
		}
		switch info, err := s.Bucket.Stat(ctx, key); {
		case err != nil:
			return failed(doAccess, "describe after write: %v", err)
		case info.Size != int64(len(data)) || info.Version == "":
			return failed(doStore, "an object of %d bytes is described with %d bytes and version %q",
				len(data), info.Size, info.Version)
		}
	}
	return ok("an object was written, replaced and read back at once")
}

func checkList(ctx context.Context, s *session) finding {
	key := s.key("list")
	if err := s.Bucket.Put(ctx, key, strings.NewReader("list")); err != nil {
		return failed(doAccess, "write: %v", err)
	}
	start := time.Now()
	for {
		found, err := s.lists(ctx, key)
		took := time.Since(start)
		switch {
		case err != nil:
			return failed(doAccess, "list: %v", err)
		case found && took < listPoll:
			return ok("a new object was listed at once")
		case found:
			return warning("nothing, if it is below a minute: exports whose event is lost start that much later",
				"a new object was listed after %v", took.Round(listPoll))
		case took >= listWait:
			return failed("ask the provider of the store: the scheduler finds exports by the list",
				"a new object was not listed within %v", listWait)
		}
		if err := backoff.Sleep(ctx, listPoll); err != nil {
			return failed(doStore, "list: %v", err)
		}
	}
}

// lists reports whether the list shows key.
func (s *session) lists(ctx context.Context, key string) (bool, error) {
	for info, err := range s.Bucket.List(ctx, s.folder, "") {
		if err != nil {
			return false, err
		}
		if info.Key == key {
			return true, nil
		}
	}
	return false, nil
}

func checkRange(ctx context.Context, s *session) finding {
	key := s.key("range")
	if err := s.Bucket.Put(ctx, key, strings.NewReader("0123456789")); err != nil {
		return failed(doAccess, "write: %v", err)
	}
	info, err := s.Bucket.Stat(ctx, key)
	if err != nil {
		return failed(doAccess, "describe: %v", err)
	}
	const off, n, want = 3, 4, "3456"
	switch got, _, err := s.Bucket.ReadRange(ctx, key, info.Version, off, n, nil); {
	case err != nil:
		return failed(doAccess, "read a range: %v", err)
	case len(got) == 0 || !strings.HasPrefix(want, string(got)):
		return failed(doStore, "4 bytes from byte 3 on of 0123456789 are %q", got)
	}
	if err := s.Bucket.Put(ctx, key, strings.NewReader("abcdefghij")); err != nil {
		return failed(doAccess, "replace: %v", err)
	}
	switch got, _, err := s.Bucket.ReadRange(ctx, key, info.Version, off, n, nil); {
	case err == nil:
		return failed(doStore, "the object was replaced, and a read of the earlier version returned %q", got)
	case !errors.Is(err, blob.ErrChanged):
		return failed(doStore, "the object was replaced, and a read of the earlier version failed in another way: %v", err)
	}
	return ok("a range was read, and refused once the object was replaced")
}

func checkCreate(ctx context.Context, s *session) finding {
	key := s.key("create")
	if err := s.Bucket.Create(ctx, key, []byte("first")); err != nil {
		return failed(doCreate, "conditional write: %v", err)
	}
	err := s.Bucket.Create(ctx, key, []byte("second"))
	got, readErr := s.read(ctx, key)
	switch {
	case readErr != nil:
		return failed(doAccess, "read: %v", readErr)
	case got != "first":
		return failed(doCreate, "a conditional write replaced an existing object")
	case err == nil:
		return failed(doCreate, "a conditional write to an existing object reported success and did not write")
	case !errors.Is(err, fs.ErrExist):
		return failed(doCreate, "a conditional write to an existing object failed in another way: %v", err)
	}
	return ok("the second conditional write was refused, and the first object is unchanged")
}

// doCreate is what to do if conditional writes do not work.
const doCreate = "do not import from this bucket: leases need conditional writes, and two runs could work on one " +
	"import. On COS use a bucket that never had versioning, and allow name/cos:GetBucketVersioning"

func checkRaces(ctx context.Context, s *session) finding {
	for race := range races {
		key := s.key(fmt.Sprint("race-", race))
		writers := []string{"writer a", "writer b"}
		errs := make(chan error, len(writers))
		begin := make(chan struct{})
		for _, data := range writers {
			go func() {
				<-begin
				errs <- s.Bucket.Create(ctx, key, []byte(data))
			}()
		}
		close(begin)
		succeeded := 0
		var other error     // than "it exists"
		for range writers { // both, so that none writes after the check
			switch err := <-errs; {
			case err == nil:
				succeeded++
			case !errors.Is(err, fs.ErrExist):
				other = err
			}
		}
		if other != nil {
			return failed(doCreate, "race %d of %d: %v", race+1, races, other)
		}
		switch got, err := s.read(ctx, key); {
		case err != nil:
			return failed(doAccess, "race %d: read: %v", race+1, err)
		case succeeded > 1:
			return failed(doCreate, "race %d of %d: both conditional writes succeeded", race+1, races)
		case !slices.Contains(writers, got): // none may have succeeded: the winner's response was lost
			return failed(doCreate, "race %d of %d: the object is %q, which nobody wrote", race+1, races, got)
		}
	}
	return ok("one of two succeeded in each of %d races", races)
}

func checkCreateAfterDelete(ctx context.Context, s *session) finding {
	key := s.key("again")
	for n := range 2 {
		data := fmt.Sprint("life ", n+1)
		if err := s.Bucket.Create(ctx, key, []byte(data)); err != nil {
			return failed(doCreate, "conditional write %d: %v", n+1, err)
		}
		if got, err := s.read(ctx, key); err != nil || got != data {
			return failed(doStore, "read after conditional write %d: %q, error %v", n+1, got, err)
		}
		if err := s.Bucket.Delete(ctx, key); err != nil {
			return failed(doAccess, "delete: %v", err)
		}
	}
	return ok("a key was created, deleted and created again")
}

const doUpload = "allow multipart uploads and their abort: results of large exports need them"

func checkUpload(ctx context.Context, s *session) finding {
	u, isUploader := s.Bucket.(blob.Uploader)
	if !isUploader {
		return warning("nothing: results are written in one piece", "the store has no multipart uploads")
	}
	done, aborted := s.key("completed"), s.key("aborted")
	for _, key := range []string{done, aborted} {
		id, err := u.CreateUpload(ctx, key)
		if err != nil {
			return failed(doUpload, "begin an upload: %v", err)
		}
		tag, err := u.UploadPart(ctx, key, id, 1, []byte("part"))
		if err == nil && key == done {
			err = u.CompleteUpload(ctx, key, id, []string{tag})
		}
		if key == done && err == nil {
			continue
		}
		if abortErr := u.AbortUpload(ctx, key, id); err == nil && abortErr != nil {
			err = fmt.Errorf("abort: %w", abortErr)
		}
		if err != nil {
			return failed(doUpload, "upload: %v", err)
		}
		switch _, err := u.UploadPart(ctx, key, id, 1, []byte("part")); {
		case err == nil:
			_ = u.AbortUpload(ctx, key, id) // once more; the finding says the rest
			return failed(doUpload, "an aborted upload accepted another part")
		case !errors.Is(err, blob.ErrNoUpload):
			return failed(doUpload, "a part of an aborted upload was refused in another way: %v", err)
		}
	}
	if got, err := s.read(ctx, done); err != nil || got != "part" {
		return failed(doUpload, "read of the completed upload: %q, error %v", got, err)
	}
	if _, err := s.Bucket.Stat(ctx, aborted); !errors.Is(err, fs.ErrNotExist) {
		return failed(doUpload, "the aborted upload left an object, error %v", err)
	}
	return ok("one upload was completed, another aborted")
}

func checkKeys(ctx context.Context, s *session) finding {
	for _, name := range []string{"a b", "a+b", "a%20b", "群组", "a&b=c#d?e"} {
		key := s.key(name)
		if err := s.Bucket.Put(ctx, key, strings.NewReader(name)); err != nil {
			return failed(doStore, "write %q: %v", name, err)
		}
	}
	for _, name := range []string{"a b", "a+b", "a%20b", "群组", "a&b=c#d?e"} { // now that one may have replaced another
		if got, err := s.read(ctx, s.key(name)); err != nil || got != name {
			return failed(doStore, "read %q: %q, error %v", name, got, err)
		}
	}
	return ok("five such keys were written and read, each with its own object")
}

func checkDelete(ctx context.Context, s *session) finding {
	key := s.key("delete")
	if err := s.Bucket.Put(ctx, key, bytes.NewReader([]byte("delete"))); err != nil {
		return failed(doAccess, "write: %v", err)
	}
	for key := range s.written {
		if err := s.Bucket.Delete(ctx, key); err != nil {
			return failed(doAccess+", and remove what is below "+s.folder, "delete: %v", err)
		}
		if _, err := s.Bucket.Stat(ctx, key); !errors.Is(err, fs.ErrNotExist) {
			return failed("remove what is below "+s.folder, "the object %q was deleted and is still there, error %v", key, err)
		}
	}
	clear(s.written)
	return ok("nothing of this check is left")
}
