package blobtest

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"groupimport/pkg/blob"
)

// The methods of a [blob.Uploader], as named in [Op] and [Counts].
const (
	CreateUpload   = "CreateUpload"
	UploadPart     = "UploadPart"
	CompleteUpload = "CompleteUpload"
	AbortUpload    = "AbortUpload"
)

var _ blob.Uploader = (*Bucket)(nil)

// An upload is never changed, only replaced.
type upload struct {
	key   string
	parts map[int][]byte
	done  bool
}

// Uploads returns the number of uploads that are neither completed nor aborted.
func (b *Bucket) Uploads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, u := range b.uploads {
		if !u.done {
			n++
		}
	}
	return n
}

// ForgetUploads removes all uploads, as a lifecycle rule does.
func (b *Bucket) ForgetUploads() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uploads = nil
}

// CreateUpload begins an upload of the object at key.
func (b *Bucket) CreateUpload(ctx context.Context, key string) (string, error) {
	fault, err := b.begin(ctx, CreateUpload, key)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault.Err != nil && !fault.Applied {
		return "", fault.Err
	}
	if b.uploads == nil {
		b.uploads = make(map[string]upload)
	}
	id := fmt.Sprintf("upload-%d", b.seq)
	b.uploads[id] = upload{key: key}
	return id, fault.Err
}

// UploadPart uploads a part.
func (b *Bucket) UploadPart(ctx context.Context, key, id string, number int, data []byte) (string, error) {
	fault, err := b.begin(ctx, UploadPart, key)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.Written += int64(len(data))
	u, err := b.upload(key, id)
	if err != nil || u.done {
		return "", fmt.Errorf("upload part %d of %q: %w", number, key, blob.ErrNoUpload)
	}
	if fault.Err == nil || fault.Applied {
		u.parts = maps.Clone(u.parts)
		if u.parts == nil {
			u.parts = make(map[int][]byte)
		}
		u.parts[number] = bytes.Clone(data)
		b.uploads[id] = u
	}
	return versionOf(data), fault.Err
}

// CompleteUpload writes the object with the parts that have these tags.
func (b *Bucket) CompleteUpload(ctx context.Context, key, id string, tags []string) error {
	fault, err := b.begin(ctx, CompleteUpload, key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u, err := b.upload(key, id)
	if err != nil || u.done || fault.Err != nil && !fault.Applied {
		if fault.Err != nil {
			return fault.Err
		}
		return err
	}
	var data []byte
	for i, want := range tags {
		part, ok := u.parts[i+1]
		if !ok || versionOf(part) != want || i < len(tags)-1 && len(part) != blob.UploadPartSize {
			return fmt.Errorf("complete %q: part %d is invalid", key, i+1)
		}
		data = append(data, part...)
	}
	b.set(key, data)
	b.uploads[id] = upload{key: key, done: true}
	return fault.Err
}

// AbortUpload removes the parts.
func (b *Bucket) AbortUpload(ctx context.Context, key, id string) error {
	fault, err := b.begin(ctx, AbortUpload, key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault.Err == nil || fault.Applied {
		delete(b.uploads, id)
	}
	return fault.Err
}

// upload returns an upload. The caller holds the lock.
func (b *Bucket) upload(key, id string) (upload, error) {
	u, ok := b.uploads[id]
	if !ok || u.key != key {
		return upload{}, fmt.Errorf("%q: %w", key, blob.ErrNoUpload)
	}
	return u, nil
}
