package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/blob"
	"groupimport/pkg/lease"
)

const (
	races = 10 // of two conditional writes each

	// A list of COS may lag behind writes. The scheduler looks again each minute, so that a lag below that is harmless.
	listWait = 20 * time.Second
	listPoll = 500 * time.Millisecond

	maxObject = 1 << 10 // bytes of an object of the checks; the largest has some 30

	httpListWait = 5 * time.Second // an HTTP request has little time
)

var (
	doAccess = Words{
		"give this user or role the permissions of the bucket that the README of the platform lists",
		"请按平台 README 所列授予该用户或角色存储桶权限",
	}
	doStore = Words{
		"do not import from this bucket: use a bucket of AWS S3 or Tencent COS, without a proxy or cache before it",
		"请勿从该存储桶导入：请使用 AWS S3 或腾讯云 COS 存储桶，且前面没有代理或缓存",
	}
)

var doRepeat = Words{
	"repeat the check; if it stays, check the network between here and the bucket", "请重新检查；若仍存在，请检查到存储桶的网络",
}

// storeFailed is failed for what may be the fault of the permissions or of the network, and not of the store.
func storeFailed(do Words, format string, args ...any) finding {
	for _, arg := range args {
		err, isError := arg.(error)
		if !isError {
			continue
		}
		_, isNetwork := errors.AsType[net.Error](err)
		switch {
		case errors.Is(err, fs.ErrPermission):
			do = doAccess
		case isNetwork, errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			do = doRepeat
		}
	}
	return failed(do, format, args...)
}

// read returns an object of the checks, or a finding if it cannot be read.
func (s *session) read(ctx context.Context, key string) (string, error) {
	data, err := blob.ReadAll(ctx, s.Bucket, key, maxObject)
	return string(data), err
}

func checkWrite(ctx context.Context, s *session) finding {
	key := s.key("write")
	for _, data := range []string{"first", "second, which is longer"} { // the second replaces the first
		err := s.Bucket.Put(ctx, key, strings.NewReader(data))
		if errors.Is(err, fs.ErrPermission) {
			s.isDenied = true
			return failed(doAccess, "this user or role may only read, so nothing was written: %v", err)
		}
		if err != nil {
			return storeFailed(doAccess, "write: %v", err)
		}
		switch got, err := s.read(ctx, key); {
		case err != nil:
			return storeFailed(doAccess, "read after write: %v", err)
		case got != data:
			return storeFailed(doStore, "wrote %q and read %q at once", data, got)
		}
		switch info, err := s.Bucket.Stat(ctx, key); {
		case err != nil:
			return storeFailed(doAccess, "describe after write: %v", err)
		case info.Size != int64(len(data)) || info.Version == "":
			return storeFailed(doStore, "an object of %d bytes is described with %d bytes and version %q",
				len(data), info.Size, info.Version)
		}
	}
	return ok("an object was written, replaced and read back at once")
}

func checkList(ctx context.Context, s *session) finding {
	if s.isDenied {
		if _, err := s.lists(ctx, s.folder); err != nil {
			return storeFailed(doAccess, "list: %v", err)
		}
		return warning(Words{"see bucket write", "见 bucket write"},
			"objects can be listed; not checked how late, since this user or role may not write")
	}
	key := s.key("list")
	if err := s.Bucket.Put(ctx, key, strings.NewReader("list")); err != nil {
		return storeFailed(doAccess, "write: %v", err)
	}
	start, limit := time.Now(), listWait
	if s.Place == HTTP {
		limit = httpListWait
	}
	for {
		found, err := s.lists(ctx, key)
		took := time.Since(start)
		switch {
		case err != nil:
			return storeFailed(doAccess, "list: %v", err)
		case found && took < listPoll:
			return ok("a new object was listed at once")
		case found:
			return warning(Words{
				"nothing, if it is below a minute: exports whose event is lost start that much later",
				"若小于一分钟则无需处理：丢失事件的导出文件会相应推迟开始",
			}, "a new object was listed after %v", took.Round(listPoll))
		case took >= limit && s.Place == HTTP:
			return warning(Words{
				"look at the check of the schedule function, which waits longer", "请查看定时函数的检查结果，其等待时间更长",
			}, "a new object was not listed within %v", limit)
		case took >= limit:
			return failed(Words{
				"ask the provider of the store: the scheduler finds exports by the list",
				"请咨询存储服务商：调度器通过列表查找导出文件",
			}, "a new object was not listed within %v", limit)
		}
		if err := backoff.Sleep(ctx, listPoll); err != nil {
			return storeFailed(doStore, "list: %v", err)
		}
	}
}

// lists reports whether the list shows key.
func (s *session) lists(ctx context.Context, key string) (bool, error) {
	for info, err := range s.Bucket.List(ctx, key, "") {
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
		return storeFailed(doAccess, "write: %v", err)
	}
	info, err := s.Bucket.Stat(ctx, key)
	if err != nil {
		return storeFailed(doAccess, "describe: %v", err)
	}
	const off, n, want = 3, 4, "3456"
	switch got, _, err := s.Bucket.ReadRange(ctx, key, info.Version, off, n, nil); {
	case err != nil:
		return storeFailed(doAccess, "read a range: %v", err)
	case len(got) == 0 || !strings.HasPrefix(want, string(got)):
		return storeFailed(doStore, "4 bytes from byte 3 on of 0123456789 are %q", got)
	}
	if err := s.Bucket.Put(ctx, key, strings.NewReader("abcdefghij")); err != nil {
		return storeFailed(doAccess, "replace: %v", err)
	}
	switch got, _, err := s.Bucket.ReadRange(ctx, key, info.Version, off, n, nil); {
	case err == nil:
		return storeFailed(doStore, "the object was replaced, and a read of the earlier version returned %q", got)
	case !errors.Is(err, blob.ErrChanged):
		return storeFailed(doStore, "the object was replaced, and a read of the earlier version failed otherwise: %v", err)
	}
	return ok("a range was read, and refused once the object was replaced")
}

func checkCreate(ctx context.Context, s *session) finding {
	key := s.key("create")
	if err := s.Bucket.Create(ctx, key, []byte("first")); err != nil {
		return storeFailed(doCreate, "conditional write: %v", err)
	}
	err := s.Bucket.Create(ctx, key, []byte("second"))
	got, readErr := s.read(ctx, key)
	switch {
	case readErr != nil:
		return storeFailed(doAccess, "read: %v", readErr)
	case got != "first":
		return storeFailed(doCreate, "a conditional write replaced an existing object")
	case err == nil:
		return storeFailed(doCreate, "a conditional write to an existing object reported success and did not write")
	case !errors.Is(err, fs.ErrExist):
		return storeFailed(doCreate, "a conditional write to an existing object failed in another way: %v", err)
	}
	return ok("the second conditional write was refused, and the first object is unchanged")
}

// doCreate is what to do if conditional writes do not work.
var doCreate = Words{
	"do not import from this bucket: leases need conditional writes, and two runs could work on one import. On COS use " +
		"a " +
		"bucket that never had versioning, and allow name/cos:GetBucketVersioning",
	"请勿从该存储桶导入：租约依赖条件写，否则两次运行可能处理同一导入。COS 请使用从未开启版本控制的存储桶，并授予 name/cos:GetBucketVersioning",
}

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
			return storeFailed(doCreate, "race %d of %d: %v", race+1, races, other)
		}
		switch got, err := s.read(ctx, key); {
		case err != nil:
			return storeFailed(doAccess, "race %d: read: %v", race+1, err)
		case succeeded > 1:
			return storeFailed(doCreate, "race %d of %d: both conditional writes succeeded", race+1, races)
		case !slices.Contains(writers, got): // none may have succeeded: the winner's response was lost
			return storeFailed(doCreate, "race %d of %d: the object is %q, which nobody wrote", race+1, races, got)
		}
	}
	return ok("one of two succeeded in each of %d races", races)
}

func checkCreateAfterDelete(ctx context.Context, s *session) finding {
	key := s.key("again")
	for n := range 2 {
		data := fmt.Sprint("life ", n+1)
		if err := s.Bucket.Create(ctx, key, []byte(data)); err != nil {
			return storeFailed(doCreate, "conditional write %d: %v", n+1, err)
		}
		if got, err := s.read(ctx, key); err != nil || got != data {
			return storeFailed(doStore, "read after conditional write %d: %q, error %v", n+1, got, err)
		}
		if err := s.Bucket.Delete(ctx, key); err != nil {
			return storeFailed(doAccess, "delete: %v", err)
		}
	}
	return ok("a key was created, deleted and created again")
}

var doUpload = Words{
	"allow multipart uploads and their abort: results of large exports need them",
	"请授予分块上传及中止分块上传的权限：大型导出文件的结果需要",
}

func checkUpload(ctx context.Context, s *session) finding {
	u, isUploader := s.Bucket.(blob.Uploader)
	if !isUploader {
		return warning(Words{"nothing: results are written in one piece", "无需处理：结果将整体写入"},
			"the store has no multipart uploads")
	}
	done, aborted := s.key("completed"), s.key("aborted")
	for _, key := range []string{done, aborted} {
		id, err := u.CreateUpload(ctx, key)
		if err != nil {
			return storeFailed(doUpload, "begin an upload: %v", err)
		}
		s.uploads[key] = id
		if err := s.mark(ctx); err != nil {
			return storeFailed(doAccess, "write: %v", err)
		}
		tag, err := u.UploadPart(ctx, key, id, 1, []byte("part"))
		if err == nil && key == done {
			err = u.CompleteUpload(ctx, key, id, []string{tag})
		}
		if key == done && err == nil {
			delete(s.uploads, key)
			continue
		}
		if abortErr := u.AbortUpload(ctx, key, id); err == nil && abortErr != nil {
			err = fmt.Errorf("abort: %w", abortErr)
		}
		if err != nil {
			return storeFailed(doUpload, "upload: %v", err)
		}
		switch _, err := u.UploadPart(ctx, key, id, 1, []byte("part")); {
		case err == nil:
			return storeFailed(doUpload, "an aborted upload accepted another part")
		case !errors.Is(err, blob.ErrNoUpload):
			return storeFailed(doUpload, "a part of an aborted upload was refused in another way: %v", err)
		}
	}
	if got, err := s.read(ctx, done); err != nil || got != "part" {
		return storeFailed(doUpload, "read of the completed upload: %q, error %v", got, err)
	}
	if _, err := s.Bucket.Stat(ctx, aborted); !errors.Is(err, fs.ErrNotExist) {
		return storeFailed(doUpload, "the aborted upload left an object, error %v", err)
	}
	clear(s.uploads)
	return ok("one upload was completed, another aborted")
}

var oddNames = []string{"a b", "a+b", "a%20b", "群组", "a&b=c#d?e"}

func checkKeys(ctx context.Context, s *session) finding {
	for _, name := range oddNames {
		key := s.key(name)
		if err := s.Bucket.Put(ctx, key, strings.NewReader(name)); err != nil {
			return storeFailed(doStore, "write %q: %v", name, err)
		}
	}
	for _, name := range oddNames { // now that one may have replaced another
		if got, err := s.read(ctx, s.key(name)); err != nil || got != name {
			return storeFailed(doStore, "read %q: %q, error %v", name, got, err)
		}
	}
	return ok("five such keys were written and read, each with its own object")
}

// doRemove is what to do if something of the check is left.
func (s *session) doRemove() Words {
	return Words{"remove what lies below " + s.folder + s.token, "请删除 " + s.folder + s.token + " 下的对象"}
}

func checkDelete(ctx context.Context, s *session) finding {
	key := s.key("delete")
	if err := s.Bucket.Put(ctx, key, bytes.NewReader([]byte("delete"))); err != nil {
		return storeFailed(doAccess, "write: %v", err)
	}
	err := s.remove(ctx, s.keys(), true)
	if _, isLeft := errors.AsType[*leftError](err); isLeft {
		return failed(s.doRemove(), "%v", err)
	}
	if err != nil {
		return failed(doAccess.after(s.doRemove()), "delete: %v", err)
	}
	clear(s.written)
	return ok("nothing of this check is left")
}

// A versioned store can have versions of objects.
type versioned interface {
	// CheckVersioning returns an error unless the bucket never had versioning.
	CheckVersioning(ctx context.Context) error
}

func checkVersioning(ctx context.Context, s *session) finding {
	v, isVersioned := s.Bucket.(versioned)
	if !isVersioned {
		return ok("conditional writes of this store do not depend on versioning")
	}
	if err := v.CheckVersioning(ctx); err != nil {
		return storeFailed(doCreate, "%v", err)
	}
	return ok("the bucket never had versioning")
}

func checkLease(ctx context.Context, s *session) finding {
	first, err := s.acquire(ctx, "first")
	if err != nil {
		return storeFailed(doCreate, "acquire: %v", err)
	}
	if _, err := s.acquire(ctx, "second"); err == nil {
		return storeFailed(doCreate, "two owners have the lease at once")
	} else if busy, isBusy := errors.AsType[*lease.BusyError](err); !isBusy || busy.Owner != "first" {
		return storeFailed(doCreate, "the second owner was not refused for the first: %v", err)
	}
	if err := first.Release(ctx); err != nil {
		return storeFailed(doCreate, "release: %v", err)
	}
	second, err := s.acquire(ctx, "second")
	if err == nil {
		err = second.Release(ctx)
	}
	if err != nil || second.Number != first.Number+1 {
		return storeFailed(doCreate, "acquire after the release: %v", err)
	}
	return ok("a second owner was refused, and got the lease after its release")
}

// leases is how many leases the checks of one run acquire at most: three here, and one each of the invocations of
// checkTrigger.
const leases = 6

// acquire acquires a lease in a folder of this run alone.
func (s *session) acquire(ctx context.Context, owner string) (*lease.Lease, error) {
	folder := s.folder + s.token + "/"
	for n := range leases {
		s.written[lease.Key(folder, n+1)] = true
	}
	return lease.Acquire(ctx, s.Bucket, folder, owner, nil)
}
