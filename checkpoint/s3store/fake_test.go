package s3store

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeS3 is a bucket named "bucket" in us-east-1 that does what S3 documents
// for the calls of the store.
type fakeS3 struct {
	*httptest.Server

	mu       sync.Mutex
	objects  map[string]*fakeObject
	uploads  map[string]*fakeUpload
	ids      int
	requests map[string]int // by operation
	// fault, if set, may treat the nth request (1 is the first) of an operation
	// in its own way; it returns false to leave it alone.
	fault func(op string, nth int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool
	// deviations of other servers
	pageSize         int
	noChecksums      bool // checksums are neither verified nor returned
	ignoreConditions bool
}

type fakeObject struct {
	data    []byte
	etag    string
	headers http.Header // metadata, checksum, encryption
}

type fakeUpload struct {
	key     string
	parts   map[int][]byte
	headers http.Header
}

func newFake(t *testing.T) *fakeS3 {
	f := &fakeS3{objects: map[string]*fakeObject{}, uploads: map[string]*fakeUpload{}, requests: map[string]int{}, pageSize: 1000}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

// onFault injects faults into one operation.
func (f *fakeS3) onFault(op string, fault func(nth int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.requests)
	f.fault = func(got string, nth int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool {
		return got == op && fault(nth, w, r, do)
	}
}

func (f *fakeS3) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[op]
}

func operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "create"
	case r.Method == http.MethodPost:
		return "complete"
	case r.Method == http.MethodPut && q.Has("uploadId"):
		return "part"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "abort"
	case r.Method == http.MethodGet && q.Has("list-type"):
		return "list"
	}
	return strings.ToLower(r.Method)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}

func (f *fakeS3) serve(w http.ResponseWriter, r *http.Request) {
	op := operation(r)
	f.mu.Lock()
	f.requests[op]++
	nth, fault := f.requests[op], f.fault
	f.mu.Unlock()
	if fault != nil && fault(op, nth, w, r, f.do) {
		return
	}
	f.do(w, r)
}

func (f *fakeS3) do(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	sum := r.Header.Get("X-Amz-Checksum-Crc32c")
	op := operation(r)
	switch auth := r.Header.Get("Authorization"); {
	case !strings.Contains(auth, "Credential=key/"):
		refuse(w, 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
		return
	case !strings.Contains(auth, "/us-east-1/s3/"):
		w.Header().Set("X-Amz-Bucket-Region", "us-east-1")
		refuse(w, 301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.")
		return
	case bucket != "bucket":
		refuse(w, 404, "NoSuchBucket", "The specified bucket does not exist")
		return
	case (op == "put" || op == "part") && !f.noChecksums && (sum == "" || sum != *crc32c(body)):
		refuse(w, 400, "BadDigest", "The CRC32C you specified did not match the calculated checksum.")
		return
	}
	switch op {
	case "get", "head":
		o := f.objects[key]
		if o == nil {
			refuse(w, 404, "NoSuchKey", "The specified key does not exist.")
			return
		}
		maps.Copy(w.Header(), o.headers)
		if f.noChecksums {
			w.Header().Del("X-Amz-Checksum-Crc32c")
		}
		w.Header().Set("ETag", o.etag)
		w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
		if op == "get" {
			_, _ = w.Write(o.data)
		}
	case "put":
		if f.condition(w, r, key) {
			w.Header().Set("ETag", f.store(key, body, quoted(body), r.Header))
		}
	case "delete":
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case "list":
		f.list(w, r)
	case "create":
		f.ids++
		id := fmt.Sprint("upload", f.ids)
		f.uploads[id] = &fakeUpload{key, map[int][]byte{}, r.Header.Clone()}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	default:
		f.multipart(w, r, op, key, body)
	}
}

// condition checks If-Match and If-None-Match of a write.
func (f *fakeS3) condition(w http.ResponseWriter, r *http.Request, key string) bool {
	o, match := f.objects[key], r.Header.Get("If-Match")
	switch {
	case f.ignoreConditions:
	case match != "" && o == nil:
		refuse(w, 404, "NoSuchKey", "The specified key does not exist.")
		return false
	case match != "" && o.etag != match, r.Header.Get("If-None-Match") == "*" && o != nil:
		refuse(w, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
		return false
	}
	return true
}

func (f *fakeS3) store(key string, data []byte, etag string, h http.Header) string {
	o := &fakeObject{data: data, etag: etag, headers: http.Header{}}
	for name, v := range h {
		if strings.HasPrefix(name, "X-Amz-Meta-") || strings.HasPrefix(name, "X-Amz-Server-Side-Encryption") {
			o.headers[name] = v
		}
	}
	o.headers.Set("X-Amz-Checksum-Crc32c", *crc32c(data))
	f.objects[key] = o
	return etag
}

func (f *fakeS3) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	size := f.pageSize
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		size = min(size, n)
	}
	type content struct {
		Key  string
		Size int
	}
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
	}
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= q.Get("continuation-token") {
			continue
		}
		if len(page.Contents) == size {
			page.IsTruncated, page.NextContinuationToken = true, page.Contents[size-1].Key
			break
		}
		page.Contents = append(page.Contents, content{key, len(f.objects[key].data)})
	}
	_ = xml.NewEncoder(w).Encode(page)
}

func (f *fakeS3) multipart(w http.ResponseWriter, r *http.Request, op, key string, body []byte) {
	id := r.URL.Query().Get("uploadId")
	u := f.uploads[id]
	if u == nil || u.key != key {
		refuse(w, 404, "NoSuchUpload", "The specified upload does not exist.")
		return
	}
	switch op {
	case "part":
		n, _ := strconv.Atoi(r.URL.Query().Get("partNumber"))
		u.parts[n] = body
		w.Header().Set("ETag", quoted(body))
	case "abort":
		delete(f.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case "complete":
		var in struct {
			Parts []struct {
				PartNumber           int
				ETag, ChecksumCRC32C string
			} `xml:"Part"`
		}
		if err := xml.Unmarshal(body, &in); err != nil {
			refuse(w, 400, "MalformedXML", err.Error())
			return
		}
		var all, sums []byte
		for i, p := range in.Parts {
			data, ok := u.parts[p.PartNumber]
			if !ok || p.PartNumber != i+1 || p.ETag != quoted(data) || p.ChecksumCRC32C != *crc32c(data) {
				refuse(w, 400, "InvalidPart", "One or more of the specified parts could not be found.")
				return
			}
			if i < len(in.Parts)-1 && len(data) < minPartSize {
				refuse(w, 400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
				return
			}
			sum := md5.Sum(data)
			all, sums = append(all, data...), append(sums, sum[:]...)
		}
		if got := r.Header.Get("X-Amz-Checksum-Crc32c"); got != *crc32c(all) || r.Header.Get("X-Amz-Checksum-Type") != "FULL_OBJECT" {
			refuse(w, 400, "BadDigest", "The checksum of the whole does not match.")
			return
		}
		if !f.condition(w, r, key) {
			return
		}
		etag := strings.TrimSuffix(quoted(sums), `"`) + fmt.Sprintf(`-%d"`, len(in.Parts))
		delete(f.uploads, id)
		f.store(key, all, etag, u.headers)
		fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>%s</ETag></CompleteMultipartUploadResult>", etag)
	}
}

func quoted(data []byte) string {
	sum := md5.Sum(data)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// Faults.

// cut breaks the connection without an answer.
func cut(w http.ResponseWriter) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		c.Close()
	}
}

// loseAnswer does what was asked and breaks the connection.
func loseAnswer(w http.ResponseWriter, r *http.Request, do http.HandlerFunc) {
	do(httptest.NewRecorder(), r)
	cut(w)
}

// loseRequest reads what was asked and breaks the connection.
func loseRequest(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	cut(w)
}

// halve answers with the first half of the body.
func halve(w http.ResponseWriter, r *http.Request, do http.HandlerFunc) {
	rec := httptest.NewRecorder()
	do(rec, r)
	maps.Copy(w.Header(), rec.Header())
	_, _ = io.Copy(w, bytes.NewReader(rec.Body.Bytes()[:rec.Body.Len()/2]))
	_ = http.NewResponseController(w).Flush()
	cut(w)
}
