package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/cosblob"
	"groupimport/pkg/blob/s3blob"
	"groupimport/pkg/blob/s3chain"
	"groupimport/pkg/config"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// addressHelp explains the addresses of buckets.
const addressHelp = `ADDRESS is s3://BUCKET/KEY or cos://BUCKET/KEY, or a folder there that
ends in a slash. s3 finds the region and the credentials as the AWS CLI
does: in AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_SESSION_TOKEN, or by AWS_PROFILE in ~/.aws; cos reads COS_REGION,
TENCENTCLOUD_SECRETID, TENCENTCLOUD_SECRETKEY and
TENCENTCLOUD_SESSIONTOKEN.
`

// A place is what an argument names: an export, or a folder with exports.
type place struct {
	bucket blob.Bucket
	folder string // local folder of the bucket, absolute; empty in the cloud
	root   string // what names of exports begin with, as the user wrote it
	key    string // of the export, or the folder of the exports with its slash; may be empty
	isOne  bool   // key is that of one export
	close  func()
}

// isAddress reports whether an argument is the address of an object or a folder in a bucket.
func isAddress(arg string) bool {
	return strings.HasPrefix(arg, "s3://") || strings.HasPrefix(arg, "cos://")
}

// openPlace opens what an argument names. A file beside an export stands for the export. The caller closes the place.
func (t *tool) openPlace(arg string, log *slog.Logger) (place, error) {
	if isAddress(arg) {
		return t.openAddress(arg, log)
	}
	p := place{isOne: true}
	dir, key := filepath.Split(arg)
	p.root, p.key = dir, key
	if info, err := os.Stat(arg); err == nil && info.IsDir() {
		dir, p.key, p.isOne = arg, "", false
		p.root = strings.TrimSuffix(arg, "/") + "/"
	}
	if owner, kind := results.Sidecar(p.key); p.isOne && kind != results.NotSidecar && kind != results.SidecarWork {
		p.key = owner
	}
	bucket, folder, err := openFolder(dir)
	if err != nil {
		return p, err
	}
	p.bucket, p.folder, p.close = bucket, folder, func() { bucket.Close() }
	return p, nil
}

// openAddress is openPlace for an address.
func (t *tool) openAddress(arg string, log *slog.Logger) (place, error) {
	scheme, rest, _ := strings.Cut(arg, "://")
	name, key, _ := strings.Cut(rest, "/")
	if name == "" {
		return place{}, usageError("%s: the name of the bucket is missing: %s://BUCKET/KEY", shown(arg), scheme)
	}
	if owner, kind := results.Sidecar(key); kind != results.NotSidecar && kind != results.SidecarWork {
		key = owner
	}
	p := place{root: scheme + "://" + name + "/", key: key, isOne: export.IsExport(key), close: func() {}}
	if !p.isOne && key != "" && !strings.HasSuffix(key, "/") {
		return place{}, usageError("%s: %v. A folder ends in a slash", shown(arg), errNotExport)
	}
	var err error
	if scheme == "s3" {
		p.bucket, err = t.openS3(name, log)
	} else {
		p.bucket, err = t.openCOS(name, log)
	}
	if err != nil {
		return place{}, usageError("%s: %s", shown(arg), oneLine(err.Error()))
	}
	return p, nil
}

// openS3 opens a bucket of S3 with the credentials of the user.
func (t *tool) openS3(name string, log *slog.Logger) (blob.Bucket, error) {
	t.aws.mu.Lock()
	defer t.aws.mu.Unlock()
	if t.aws.found == nil { // a command may open a bucket often, and a sign-in is a request
		found, err := s3chain.Find(context.Background(), t.getenv)
		if err != nil {
			return nil, err
		}
		t.aws.found = &found
	}
	return s3blob.OpenWith(t.getenv, *t.aws.found, name, log)
}

// openCOS opens a bucket of COS with the variables that functions/scf reads.
func (t *tool) openCOS(name string, log *slog.Logger) (blob.Bucket, error) {
	id, key := t.getenv("TENCENTCLOUD_SECRETID"), t.getenv("TENCENTCLOUD_SECRETKEY")
	if id == "" || key == "" {
		return nil, errors.New("TENCENTCLOUD_SECRETID or TENCENTCLOUD_SECRETKEY is missing: the API key of a user who may " +
			"read and write the bucket")
	}
	return cosblob.Open(cosblob.Config{
		Bucket: name, Region: cmp.Or(t.getenv("COS_REGION"), t.getenv("TENCENTCLOUD_REGION")),
		Endpoint: t.getenv("COS_ENDPOINT"), Log: log,
		Credentials: func() (string, string, string) { return id, key, t.getenv("TENCENTCLOUD_SESSIONTOKEN") },
	})
}

// scheduler returns a scheduler over the place for the status and the control of imports. It sends nothing.
func (p *place) scheduler() *scheduler.Scheduler {
	return &scheduler.Scheduler{Importer: &importer.Importer{
		Config: config.Config{}, Bucket: p.bucket, Folder: p.folder,
	}}
}

// name names an export as the user would.
func (p *place) name(key string) string { return p.root + key }

// statuses returns the status of all imports of the place, sorted by key.
func (p *place) statuses(ctx context.Context) ([]scheduler.Status, error) {
	s := p.scheduler()
	if p.isOne {
		im, err := s.Status(ctx, p.key)
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("there is no export or import with this name")
		}
		return []scheduler.Status{im}, err
	}
	const page = 200
	var all []scheduler.Status
	for after := (scheduler.Place{}); ; {
		some, next, err := s.List(ctx, p.key, false, after, page)
		all = append(all, some...)
		if err != nil || next == (scheduler.Place{}) {
			return all, err
		}
		after = next
	}
}
