// Package costest is a server that speaks COS's XML API over any [blob.Bucket], as far as this program uses it. It is
// as strict as COS, so that requests that COS rejects fail in tests and in a local run too. [Options.Fail] injects
// faults.
//
// It follows the documents, so that client and server cannot be wrong in the same way. Only signatures are the SDK's on
// both sides. The documents are at cloud.tencent.com/document/product/436:
//
//	7730          error codes, 2023-12-20
//	7749, 7753    PUT and GET Object; 7745 HEAD, 7743 DELETE
//	7746, 7750    Initiate Multipart Upload, Upload Part; 7742 Complete, 7740 Abort
//	7734, 19888   GET Bucket (list of objects), GET Bucket versioning
//
// It has one bucket for all hosts of requests, and knows a request's key by its path.
package costest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5" // what COS compares a body with
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/blob"
)

const (
	minPart  = 1 << 20 // bytes, but for the last
	maxParts = 10_000
	maxBody  = 64 << 20 // of one request; COS takes 5 GB
	maxKeys  = 1000
)

var crcTable = crc64.MakeTable(crc64.ECMA)

// Options says what a [Server] serves. Set it before the first request.
type Options struct {
	Objects blob.Bucket // what holds the objects; required
	Keys    []Key       // keys that may sign requests; without any, the server rejects all requests

	NoBucket     bool          // the bucket does not exist
	Versioning   string        // Enabled or Suspended: x-cos-forbid-overwrite is ignored then; empty: never had any
	ListLag      time.Duration // objects are listed so long after they were written
	NoNextMarker bool          // lists have no NextMarker

	// LongDelimiter says how the server handles a delimiter of several characters: it rejects it, ignores it, or uses only
	// its first character. Empty means that it is a delimiter like any other.
	LongDelimiter LongDelimiter

	NoCRC64 bool // responses have no x-cos-hash-crc64ecma, as with servers other than COS

	// Fail returns the fault of a request with a valid signature. Nil and the zero Fault mean no fault. Concurrent
	// requests call it concurrently.
	Fail func(Request) Fault
}

// A LongDelimiter is a value of [Options.LongDelimiter].
type LongDelimiter string

// The values of [Options.LongDelimiter].
const (
	Refused     LongDelimiter = "refused"
	Ignored     LongDelimiter = "ignored"
	FirstCounts LongDelimiter = "the first character counts"
)

// A Key is a secret ID with its key, and with a token if it is temporary.
type Key struct {
	ID, Secret, Token string
	Expired           bool
}

// A Request describes a request for [Options.Fail].
type Request struct {
	Action string // as in a policy, without name/cos:, for example PutObject
	Key    string // of an object; of a list, its prefix
	N      int    // from 1, among the requests of this action
}

// A Fault is an injected fault of a request.
type Fault struct {
	Delay time.Duration // passes first

	// Status and Code replace the response. If Cut, the connection breaks off instead. If Applied, the request has its
	// effect before. If Masked, the body of a 200 holds the error.
	Status  int
	Code    string
	Cut     bool
	Applied bool
	Masked  bool

	// The body of a response breaks off after CutAfter bytes, or hangs after HangAfter bytes until the client
	// disconnects. Zero means no fault. A negative value means before the first byte.
	CutAfter  int64
	HangAfter int64

	FlipIn  bool // a bit of the request's body changes on its way
	FlipOut bool // a bit of the response's body changes on its way
	BadCRC  bool // the response has a wrong checksum

	// Window is the delay between the check that the key exists and the write, so that more than one request with
	// x-cos-forbid-overwrite may succeed.
	Window time.Duration
}

// A Server is a bucket of COS. It is an [http.Handler].
type Server struct {
	options Options

	mu      sync.Mutex
	keys    map[string]Key
	known   map[string]record // by key
	uploads map[string]*upload
	calls   map[string]int // by action
	seq     int
	dir     string // for parts
}

// A record has the properties of an object that its bucket does not store. It is lost when the process ends.
type record struct {
	info blob.Info
	meta http.Header // x-cos-meta-…
	crc  uint64
}

type upload struct {
	key   string
	meta  http.Header
	parts map[int]part
}

type part struct {
	file, etag string
	size       int64
}

// New returns a Server. Close it.
func New(options Options) *Server {
	s := &Server{
		options: options, known: make(map[string]record), uploads: make(map[string]*upload), calls: make(map[string]int),
	}
	s.SetKeys(options.Keys...)
	return s
}

// SetKeys replaces the keys that may sign requests.
func (s *Server) SetKeys(keys ...Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = make(map[string]Key)
	for _, k := range keys {
		s.keys[k.ID] = k
	}
}

// Calls returns the number of requests so far, by action. Failed requests count.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Uploads returns the number of multipart uploads that are neither completed nor aborted.
func (s *Server) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// Close removes the parts of uploads. The objects stay.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads = make(map[string]*upload)
	if s.dir == "" {
		return nil
	}
	dir := s.dir
	s.dir = ""
	return os.RemoveAll(dir)
}

// A failure is an error response.
type failure struct {
	status  int
	code    string
	message string
}

func (f *failure) Error() string { return f.code }

func fail(status int, code string) error { return &failure{status, code, "it is " + code} }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seq++
	id := fmt.Sprintf("request-%d", s.seq)
	s.mu.Unlock()
	w.Header().Set("x-cos-request-id", id)
	w.Header().Set("Server", "tencent-cos")

	if err := s.authorize(r); err != nil {
		s.refuse(w, r, err)
		return
	}
	action, do := s.route(r)
	if do == nil {
		s.refuse(w, r, fail(http.StatusMethodNotAllowed, "MethodNotAllowed"))
		return
	}
	request := Request{Action: action, Key: strings.TrimPrefix(r.URL.Path, "/")}
	if action == "GetBucket" {
		request.Key = r.URL.Query().Get("prefix")
	}
	s.mu.Lock()
	s.calls[action]++
	request.N = s.calls[action]
	s.mu.Unlock()
	var fault Fault
	if s.options.Fail != nil {
		fault = s.options.Fail(request)
	}
	_ = backoff.Sleep(r.Context(), fault.Delay) // the request fails by itself then

	if fault.Cut || fault.Status != 0 {
		if fault.Applied {
			if err := do(&silent{header: make(http.Header)}, r, fault); err != nil {
				s.refuse(w, r, err)
				return
			}
		}
		if fault.Cut {
			panic(http.ErrAbortHandler)
		}
		if fault.Masked {
			fault.Status = http.StatusOK
		}
		s.refuse(w, r, fail(fault.Status, fault.Code))
		return
	}
	err := fail(http.StatusNotFound, "NoSuchBucket")
	if !s.options.NoBucket {
		err = do(&faulty{ResponseWriter: w, r: r, fault: fault}, r, fault)
	}
	if err != nil {
		s.refuse(w, r, err)
	}
}

// route returns the action of a request, and its handler.
func (s *Server) route(r *http.Request) (string, func(http.ResponseWriter, *http.Request, Fault) error) {
	q := r.URL.Query()
	is := func(method string, params ...string) bool {
		return r.Method == method && !slices.ContainsFunc(params, func(p string) bool { return !q.Has(p) })
	}
	if r.URL.Path == "/" {
		switch {
		case is(http.MethodGet, "versioning"):
			return "GetBucketVersioning", s.versioning
		case is(http.MethodGet):
			return "GetBucket", s.list
		}
		return "", nil
	}
	switch {
	case is(http.MethodPost, "uploads"):
		return "InitiateMultipartUpload", s.initiate
	case is(http.MethodPost, "uploadId"):
		return "CompleteMultipartUpload", s.complete
	case is(http.MethodPut, "uploadId", "partNumber"):
		return "UploadPart", s.uploadPart
	case is(http.MethodDelete, "uploadId"):
		return "AbortMultipartUpload", s.abort
	case len(q) > 0:
		return "", nil
	case is(http.MethodPut):
		return "PutObject", s.put
	case is(http.MethodGet):
		return "GetObject", s.get
	case is(http.MethodHead):
		return "HeadObject", s.head
	case is(http.MethodDelete):
		return "DeleteObject", s.delete
	}
	return "", nil
}

// refuse writes an error response.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = &failure{http.StatusInternalServerError, "InternalError", err.Error()}
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(f.status)
	writeXML(w, struct {
		XMLName                                    xml.Name `xml:"Error"`
		Code, Message, Resource, RequestID, Quoted string
	}{
		Code: f.code, Resource: r.Host + r.URL.Path, RequestID: w.Header().Get("x-cos-request-id"),
		// COS quotes the hashed text. A client that shows the message shows its secrets.
		Message: f.message + "; you sent " + r.Header.Get("Authorization") + " with token " +
			r.Header.Get("x-cos-security-token"),
	})
}

func writeXML(w io.Writer, v any) {
	data, err := xml.Marshal(v)
	if err != nil {
		panic(err) // all values that are written here can be marshaled
	}
	_, _ = w.Write(append([]byte(xml.Header), data...))
}

func (s *Server) versioning(w http.ResponseWriter, _ *http.Request, _ Fault) error {
	writeXML(w, struct {
		XMLName xml.Name `xml:"VersioningConfiguration"`
		Status  string   `xml:",omitempty"`
	}{Status: s.options.Versioning})
	return nil
}

// find returns the record of the object at key. If the object was not written through the Server, the record has only
// its info. The caller holds the lock.
func (s *Server) find(ctx context.Context, key string) (record, error) {
	info, err := s.options.Objects.Stat(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, fail(http.StatusNotFound, "NoSuchKey")
	}
	if err != nil {
		return record{}, err
	}
	if known, ok := s.known[key]; ok && known.info == info {
		return known, nil
	}
	return record{info: info}, nil
}

// describe sets the headers that say what an object is.
func (s *Server) describe(w http.ResponseWriter, rec record, fault Fault) {
	h := w.Header()
	h.Set("ETag", `"`+rec.info.Version+`"`)
	h.Set("Last-Modified", rec.info.Modified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", "application/octet-stream")
	maps.Copy(h, rec.meta)
	if rec.meta != nil {
		s.sum(w, rec.crc, fault)
	}
}

func (s *Server) sum(w http.ResponseWriter, crc uint64, fault Fault) {
	if fault.BadCRC {
		crc++
	}
	if !s.options.NoCRC64 {
		w.Header().Set("x-cos-hash-crc64ecma", strconv.FormatUint(crc, 10))
	}
}

func (s *Server) head(w http.ResponseWriter, r *http.Request, fault Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.find(r.Context(), objectKey(r))
	if err != nil {
		return err
	}
	s.describe(w, rec, fault)
	w.Header().Set("Content-Length", strconv.FormatInt(rec.info.Size, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, fault Fault) error {
	key := objectKey(r)
	s.mu.Lock()
	rec, err := s.find(r.Context(), key)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if match := r.Header.Get("If-Match"); match != "" && match != `"`+rec.info.Version+`"` {
		return fail(http.StatusPreconditionFailed, "PreconditionFailed")
	}
	start, end, status := int64(0), rec.info.Size-1, http.StatusOK
	if header := r.Header.Get("Range"); header != "" {
		status = http.StatusPartialContent
		if _, err := fmt.Sscanf(header, "bytes=%d-%d", &start, &end); err != nil || start > end {
			return fail(http.StatusBadRequest, "InvalidArgument")
		}
		if start >= rec.info.Size {
			return fail(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
		}
		end = min(end, rec.info.Size-1)
	}
	body := blob.NewReader(r.Context(), s.options.Objects, key, rec.info.Version, start, end+1)
	defer body.Close()
	buffered := bufio.NewReader(body)
	if _, err := buffered.Peek(1); errors.Is(err, blob.ErrChanged) || errors.Is(err, fs.ErrNotExist) {
		return s.get(w, r, fault) // replaced in between
	} else if err != nil && err != io.EOF {
		return err
	}
	s.describe(w, rec, fault)
	if status == http.StatusPartialContent {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end, rec.info.Size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(end-start+1, 10))
	w.WriteHeader(status)
	if _, err := io.CopyN(w, buffered, end-start+1); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// receive reads a request's body and checks it against its Content-MD5. It returns the body and its MD5.
func receive(r *http.Request, fault Fault) (data []byte, sum [md5.Size]byte, err error) {
	if r.ContentLength < 0 {
		return nil, sum, fail(http.StatusLengthRequired, "MissingContentLength")
	}
	if r.ContentLength > maxBody {
		return nil, sum, fail(http.StatusBadRequest, "EntityTooLarge")
	}
	data = make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, data); err != nil {
		return nil, sum, fail(http.StatusBadRequest, "IncompleteBody")
	}
	if fault.FlipIn && len(data) > 0 {
		data[len(data)/2] ^= 1
	}
	sum = md5.Sum(data)
	if want := r.Header.Get("Content-MD5"); want != "" && want != base64.StdEncoding.EncodeToString(sum[:]) {
		return nil, sum, fail(http.StatusBadRequest, "BadDigest")
	}
	return data, sum, nil
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, fault Fault) error {
	data, _, err := receive(r, fault)
	if err != nil {
		return err
	}
	ctx, key := r.Context(), objectKey(r)
	forbid := r.Header.Get("x-cos-forbid-overwrite") == "true" && s.options.Versioning == ""
	if forbid && fault.Window > 0 {
		if _, err := s.options.Objects.Stat(ctx, key); err == nil {
			return fail(http.StatusConflict, "FileAlreadyExists")
		}
		_ = backoff.Sleep(ctx, fault.Window) // the request fails by itself then
		forbid = false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if forbid {
		err = s.options.Objects.Create(ctx, key, data)
	} else {
		err = s.options.Objects.Put(ctx, key, bytes.NewReader(data))
	}
	if errors.Is(err, fs.ErrExist) {
		return fail(http.StatusConflict, "FileAlreadyExists")
	}
	if err != nil {
		return err
	}
	rec, err := s.remember(ctx, key, meta(r), crc64.Checksum(data, crcTable))
	if err != nil {
		return err
	}
	w.Header().Set("ETag", `"`+rec.info.Version+`"`)
	s.sum(w, rec.crc, fault)
	w.WriteHeader(http.StatusOK)
	return nil
}

// remember records an object that was written. The caller holds the lock.
func (s *Server) remember(ctx context.Context, key string, meta http.Header, crc uint64) (record, error) {
	info, err := s.options.Objects.Stat(ctx, key)
	if err != nil {
		return record{}, err
	}
	rec := record{info, meta, crc}
	s.known[key] = rec
	return rec, nil
}

func meta(r *http.Request) http.Header {
	m := make(http.Header)
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Cos-Meta-") {
			m[name] = values
		}
	}
	return m
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request, _ Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := objectKey(r)
	if err := s.options.Objects.Delete(r.Context(), key); err != nil {
		return err
	}
	delete(s.known, key)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) initiate(w http.ResponseWriter, r *http.Request, _ Fault) error {
	if r.Header.Get("x-cos-forbid-overwrite") != "" {
		return fail(http.StatusNotImplemented, "NotImplemented")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "costest")
		if err != nil {
			return err
		}
		s.dir = dir
	}
	id := rand.Text()
	s.uploads[id] = &upload{key: objectKey(r), meta: meta(r), parts: make(map[int]part)}
	writeXML(w, struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}{Bucket: "bucket", Key: objectKey(r), UploadID: id})
	return nil
}

// upload returns the upload that a request names. The caller holds the lock.
func (s *Server) upload(r *http.Request) (*upload, error) {
	u, ok := s.uploads[r.URL.Query().Get("uploadId")]
	if !ok || u.key != objectKey(r) {
		return nil, fail(http.StatusNotFound, "NoSuchUpload")
	}
	return u, nil
}

func (s *Server) uploadPart(w http.ResponseWriter, r *http.Request, fault Fault) error {
	data, sum, err := receive(r, fault)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil || number < 1 || number > maxParts {
		return fail(http.StatusBadRequest, "InvalidArgument")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	p := part{file: filepath.Join(s.dir, rand.Text()), etag: etag, size: int64(len(data))}
	if err := os.WriteFile(p.file, data, 0o600); err != nil {
		return err
	}
	if old, ok := u.parts[number]; ok {
		_ = os.Remove(old.file)
	}
	u.parts[number] = p
	w.Header().Set("ETag", p.etag)
	s.sum(w, crc64.Checksum(data, crcTable), fault)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request, _ Fault) error {
	var list struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []struct {
			PartNumber int    `xml:"PartNumber"`
			ETag       string `xml:"ETag"`
		} `xml:"Part"`
	}
	if err := xml.NewDecoder(r.Body).Decode(&list); err != nil {
		return fail(http.StatusBadRequest, "MalformedXML")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	body := &files{}
	defer body.close()
	for i, l := range list.Part {
		p, ok := u.parts[l.PartNumber]
		switch {
		case i > 0 && l.PartNumber <= list.Part[i-1].PartNumber:
			return fail(http.StatusBadRequest, "InvalidPartOrder")
		case !ok || p.etag != l.ETag:
			return fail(http.StatusBadRequest, "InvalidPart")
		case p.size < minPart && i < len(list.Part)-1:
			return fail(http.StatusBadRequest, "EntityTooSmall")
		}
		body.names = append(body.names, p.file)
	}
	sum := crc64.New(crcTable)
	if err := s.options.Objects.Put(r.Context(), u.key, io.TeeReader(body, sum)); err != nil {
		return err
	}
	rec, err := s.remember(r.Context(), u.key, u.meta, sum.Sum64())
	if err != nil {
		return err
	}
	s.drop(r)
	writeXML(w, struct {
		XMLName                     xml.Name `xml:"CompleteMultipartUploadResult"`
		Location, Bucket, Key, ETag string
	}{Location: "http://" + r.Host, Bucket: "bucket", Key: u.key, ETag: `"` + rec.info.Version + `"`})
	return nil
}

func (s *Server) abort(w http.ResponseWriter, r *http.Request, _ Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.upload(r); err != nil {
		return err
	}
	s.drop(r)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// drop forgets an upload and its parts. The caller holds the lock.
func (s *Server) drop(r *http.Request) {
	id := r.URL.Query().Get("uploadId")
	for _, p := range s.uploads[id].parts {
		_ = os.Remove(p.file)
	}
	delete(s.uploads, id)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, _ Fault) error {
	q := r.URL.Query()
	limit := maxKeys
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil && n > 0 {
		limit = min(n, maxKeys)
	}
	encode := func(s string) string { return s }
	if q.Get("encoding-type") == "url" {
		encode = encodeKey
	}
	type owner struct{ ID, DisplayName string }
	type object struct {
		Key, LastModified, ETag string
		Size                    int64
		Owner                   owner
		StorageClass            string
	}
	type folder struct{ Prefix string }
	var res struct {
		XMLName        xml.Name `xml:"ListBucketResult"`
		Name           string
		EncodingType   string `xml:",omitempty"`
		Prefix, Marker string
		MaxKeys        int
		Delimiter      string `xml:",omitempty"`
		IsTruncated    bool
		NextMarker     string `xml:",omitempty"`
		Contents       []object
		CommonPrefixes []folder
	}
	res.Name, res.EncodingType, res.MaxKeys = "bucket", q.Get("encoding-type"), limit
	res.Prefix, res.Marker, res.Delimiter = encode(q.Get("prefix")), encode(q.Get("marker")), encode(q.Get("delimiter"))

	last, delimiter := "", q.Get("delimiter")
	if len(delimiter) > 1 {
		switch s.options.LongDelimiter {
		case Refused:
			return fail(http.StatusBadRequest, "InvalidArgument")
		case Ignored:
			delimiter = ""
		case FirstCounts:
			delimiter = delimiter[:1]
		}
	}
	for info, err := range s.options.Objects.List(r.Context(), q.Get("prefix"), delimiter) {
		if err != nil {
			return err
		}
		isFolder := info == blob.Info{Key: info.Key}
		if info.Key <= q.Get("marker") || !isFolder && time.Since(info.Modified) < s.options.ListLag {
			continue
		}
		if len(res.Contents)+len(res.CommonPrefixes) == limit {
			res.IsTruncated = true
			break
		}
		last = info.Key
		if isFolder {
			res.CommonPrefixes = append(res.CommonPrefixes, folder{encode(info.Key)})
			continue
		}
		o := object{
			Key: encode(info.Key), Size: info.Size, StorageClass: "STANDARD",
			LastModified: info.Modified.UTC().Format("2006-01-02T15:04:05.000Z"),
		}
		s.mu.Lock()
		if known := s.known[info.Key].info; known.Size == info.Size && known.Modified.Equal(info.Modified) {
			o.ETag = `"` + known.Version + `"`
		}
		s.mu.Unlock()
		res.Contents = append(res.Contents, o)
	}
	if res.IsTruncated && !s.options.NoNextMarker {
		res.NextMarker = encode(last)
	}
	w.Header().Set("Content-Type", "application/xml")
	writeXML(w, res)
	return nil
}

func objectKey(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, "/") }

// encodeKey escapes all bytes but the unreserved ones of RFC 3986.
func encodeKey(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// files reads files one after another, and opens each when the one before is read.
type files struct {
	names []string
	open  *os.File
}

func (f *files) Read(p []byte) (int, error) {
	for {
		if f.open == nil {
			if len(f.names) == 0 {
				return 0, io.EOF
			}
			file, err := os.Open(f.names[0])
			if err != nil {
				return 0, err
			}
			f.open, f.names = file, f.names[1:]
		}
		n, err := f.open.Read(p)
		if err != io.EOF {
			return n, err
		}
		f.close()
		if n > 0 {
			return n, nil
		}
	}
}

func (f *files) close() {
	if f.open != nil {
		f.open.Close()
		f.open = nil
	}
}

// A silent writer discards the response.
type silent struct{ header http.Header }

func (s *silent) Header() http.Header { return s.header }

func (s *silent) WriteHeader(int) {}

func (s *silent) Write(p []byte) (int, error) { return len(p), nil }

// A faulty writer injects faults into the body of a response.
type faulty struct {
	http.ResponseWriter

	r       *http.Request
	fault   Fault
	written int64
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.fault.FlipOut && f.written == 0 && len(p) > 0 {
		p = bytes.Clone(p)
		p[len(p)/2] ^= 1
	}
	for _, after := range []int64{f.fault.CutAfter, f.fault.HangAfter} {
		if left := max(after-f.written, 0); after != 0 && left <= int64(len(p)) {
			_, _ = f.ResponseWriter.Write(p[:left])
			_ = http.NewResponseController(f.ResponseWriter).Flush()
			if after == f.fault.HangAfter {
				<-f.r.Context().Done()
			}
			panic(http.ErrAbortHandler)
		}
	}
	done, err := f.ResponseWriter.Write(p)
	f.written += int64(done)
	return done, err
}
