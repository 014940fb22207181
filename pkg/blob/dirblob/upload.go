package dirblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"groupimport/pkg/blob"
)

var _ blob.Uploader = (*Bucket)(nil)

// CreateUpload creates the temporary file of an upload. Its name is the ID. See [Bucket.KeepTempFilesIn] for when a
// file that was not modified for a day is removed.
func (b *Bucket) CreateUpload(ctx context.Context, key string) (string, error) {
	temp, err := b.writeTemp(ctx, key, strings.NewReader(""))
	if err != nil {
		return "", err
	}
	return path.Base(temp), nil
}

// temp returns the temporary file of an upload, which writeTemp has created.
func (b *Bucket) temp(ctx context.Context, key, id string) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", err
	}
	if !isTemp(id) || strings.Contains(id, "/") {
		return "", fmt.Errorf("upload %q of %q: %w", id, key, blob.ErrNoUpload)
	}
	return path.Join(b.tempDir(key), id), nil
}

// openUpload opens the temporary file of an upload.
func (b *Bucket) openUpload(ctx context.Context, key, id string) (*os.File, string, error) {
	name, err := b.temp(ctx, key, id)
	if err != nil {
		return nil, "", err
	}
	f, err := b.root.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("upload %q of %q: %w", id, key, blob.ErrNoUpload)
	}
	return f, name, err
}

// UploadPart writes a part into the temporary file. The tag is a hash of the part and its size.
func (b *Bucket) UploadPart(ctx context.Context, key, id string, number int, data []byte) (string, error) {
	f, _, err := b.openUpload(ctx, key, id)
	if err != nil {
		return "", err
	}
	_, err = f.WriteAt(data, int64(number-1)*blob.UploadPartSize)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%016x-%d", xxhash.Sum64(data), len(data)), nil
}

// CompleteUpload renames the temporary file. If there is none, it reads the file at key: it may consist of the parts.
func (b *Bucket) CompleteUpload(ctx context.Context, key, id string, tags []string) error {
	f, name, err := b.openUpload(ctx, key, id)
	if errors.Is(err, blob.ErrNoUpload) {
		if hasParts(ctx, b, key, tags) {
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	size := int64(0)
	if n := len(tags); n > 0 {
		_, last, _ := strings.Cut(tags[n-1], "-")
		size, err = strconv.ParseInt(last, 10, 64)
		size += int64(n-1) * blob.UploadPartSize
	}
	if err == nil {
		err = f.Truncate(size) // a process that died may have written further
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = b.root.Rename(name, key)
	}
	if err != nil {
		return fmt.Errorf("complete %q: %w", key, err)
	}
	return b.syncDir(path.Dir(key))
}

// hasParts reports whether the object at key consists of the parts with these tags.
func hasParts(ctx context.Context, b *Bucket, key string, tags []string) bool {
	var buf []byte
	for i, tag := range tags {
		data, info, err := blob.ReadSlice(ctx, b, key, "", int64(i)*blob.UploadPartSize, blob.UploadPartSize, buf)
		if err != nil || fmt.Sprintf("%016x-%d", xxhash.Sum64(data), len(data)) != tag {
			return false
		}
		if i == len(tags)-1 {
			return info.Size == int64(i)*blob.UploadPartSize+int64(len(data))
		}
		buf = data
	}
	return false
}

// AbortUpload removes the temporary file.
func (b *Bucket) AbortUpload(ctx context.Context, key, id string) error {
	name, err := b.temp(ctx, key, id)
	if errors.Is(err, blob.ErrNoUpload) {
		return nil
	}
	if err == nil {
		err = b.root.Remove(name)
	}
	if isMissing(err) {
		return nil
	}
	return err
}
