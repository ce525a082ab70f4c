package s3store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// sumKey is the metadata item with an object's SHA-256 in hex.
const sumKey = "tripgrid-sha256"

// probeName is never created: its write has a condition that cannot hold.
const probeName = ".tripgrid-probe"

// Store is a checkpoint.Store in an S3 bucket.
type Store struct {
	api API
	cfg Config
}

var _ checkpoint.Store = (*Store)(nil)

// Open checks that the bucket can be listed, written and read, and that its
// server honours conditional writes; it leaves nothing there. client is
// *s3.Client (NewClient).
func Open(ctx context.Context, client API, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{api: client, cfg: cfg.withDefaults()}
	opened := *s
	s.cfg.Timeout, s.cfg.Attempts = min(s.cfg.Timeout, openTimeout), min(s.cfg.Attempts, openAttempts)
	list := call{op: "list"}
	err := s.do(ctx, &list, func(ctx context.Context) error {
		_, err := s.api.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
			Bucket: &s.cfg.Bucket, Prefix: aws.String(s.key("")), MaxKeys: aws.Int32(1),
		}, once)
		return err
	})
	if err != nil {
		return nil, s.failRead(&list, err)
	}
	put := call{op: "put", key: s.key(probeName)}
	in := s.putInput(put.key, nil)
	in.IfMatch = aws.String(`"00000000000000000000000000000000"`)
	switch _, err := s.put(ctx, &put, in, nil); {
	case err == nil:
		_ = s.remove(ctx, put.key) // what matters is the refusal
		return nil, fmt.Errorf("the server of %s ignores If-Match: it cannot keep checkpoints safely, check the endpoint or use a server with conditional writes", s.url(""))
	case !isPrecondition(err) && !isAbsent(err):
		return nil, s.failRead(&put, err)
	}
	return &opened, nil
}

// Open waits less than what comes after it: whoever starts a program with a
// wrong address is to be told soon.
const (
	openTimeout  = 5 * time.Second
	openAttempts = 3
)

func (s *Store) key(name string) string {
	if s.cfg.Prefix == "" {
		return name
	}
	return s.cfg.Prefix + "/" + name
}

func (s *Store) url(key string) string { return "s3://" + s.cfg.Bucket + "/" + key }

// Get implements checkpoint.Store. An object whose checksum is wrong is
// checkpoint.ErrCorrupt.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	data, _, err := s.get(ctx, s.key(name))
	return data, err
}

// ReadHead implements checkpoint.Store.
func (s *Store) ReadHead(ctx context.Context, job string) ([]byte, string, error) {
	if err := checkJob(ctx, job); err != nil {
		return nil, "", err
	}
	key := s.key(checkpoint.HeadName(job))
	data, etag, err := s.get(ctx, key)
	if err == nil && etag == "" {
		return nil, "", fmt.Errorf("get %s: the server gives no ETag: it cannot keep checkpoints, use another", s.url(key))
	}
	return data, etag, err
}

// SwapHead implements checkpoint.Store.
func (s *Store) SwapHead(ctx context.Context, job, old string, data []byte) (string, error) {
	if err := checkJob(ctx, job); err != nil {
		return "", err
	}
	c := call{op: "swap", key: s.key(checkpoint.HeadName(job)), bytes: len(data)}
	in := s.putInput(c.key, data)
	if old == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &old
	}
	etag, err := s.put(ctx, &c, in, data)
	switch {
	case err == nil:
		return etag, nil
	case !c.lost && (isPrecondition(err) || old != "" && isAbsent(err)):
		return "", fmt.Errorf("swap %s: %w: it does not have version %.40q", s.url(c.key), checkpoint.ErrConflict, old)
	}
	return "", s.fail(&c, err)
}

// get reads an object; its errors are described.
func (s *Store) get(ctx context.Context, key string) (data []byte, etag string, err error) {
	c := call{op: "get", key: key}
	// Every read that brings something starts the time-out anew, see fetch.
	err = s.retry(ctx, &c, func(ctx context.Context) error {
		data, etag, err = s.fetch(ctx, key)
		return err
	})
	switch {
	case err == nil:
		return data, etag, nil
	case isAbsent(err):
		return nil, "", fmt.Errorf("get %s: %w", s.url(key), checkpoint.ErrNotFound)
	}
	return nil, "", s.failRead(&c, err)
}

// fetch is one try of get. It ends when nothing has come for Config.Timeout.
func (s *Store) fetch(ctx context.Context, key string) ([]byte, string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(s.cfg.Timeout, func() { cancel(errTimeout{s.cfg.Timeout}) })
	defer stall.Stop()
	out, err := s.api.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.cfg.Bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled,
	}, once)
	if err != nil {
		return nil, "", stalled(ctx, err)
	}
	defer func() { _ = out.Body.Close() }() // read to its end, or given up
	size := aws.ToInt64(out.ContentLength)
	data, err := readBody(out.Body, size, func() { stall.Reset(s.cfg.Timeout) })
	if err != nil && (size == 0 || int64(len(data)) != size || ctx.Err() != nil) {
		return nil, "", errCut{stalled(ctx, err)}
	}
	// From here err is the SDK's: the server's own checksum is not that of the
	// bytes. The writer's decides, where there is one: a stand-in may answer
	// something else under that name, and SHA-256 is the stronger.
	want, got := out.Metadata[sumKey], checksum(data)
	switch {
	case want != "" && got != want:
		return nil, "", fmt.Errorf("it is %w: its SHA-256 is %.12s, it was written with %.12s", checkpoint.ErrCorrupt, got, want)
	case want == "" && err != nil:
		return nil, "", fmt.Errorf("it is %w: %w", checkpoint.ErrCorrupt, err)
	}
	return data, aws.ToString(out.ETag), nil
}

// readBody reads to the end; progress is called after every read.
func readBody(r io.Reader, size int64, progress func()) ([]byte, error) {
	data := make([]byte, 0, min(max(size, 0), 64<<20)+512) // whatever the server claims
	for {
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data)+512)
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if n > 0 {
			progress()
		}
		switch {
		case errors.Is(err, io.EOF) && int64(len(data)) < size:
			return data, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return data, err
		}
	}
}

// List implements checkpoint.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]checkpoint.ObjectInfo, error) {
	var all []checkpoint.ObjectInfo
	var token *string
	for {
		c := call{op: "list", key: s.key(prefix)}
		var page *s3.ListObjectsV2Output
		err := s.do(ctx, &c, func(ctx context.Context) (err error) {
			page, err = s.api.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
				Bucket: &s.cfg.Bucket, Prefix: &c.key, ContinuationToken: token,
			}, once)
			return err
		})
		if err != nil {
			return nil, s.failRead(&c, err)
		}
		for _, o := range page.Contents {
			name := strings.TrimPrefix(aws.ToString(o.Key), s.key(""))
			if checkpoint.CheckName(name) == nil { // else a HEAD, or not ours
				all = append(all, checkpoint.ObjectInfo{Name: name, Size: aws.ToInt64(o.Size)})
			}
		}
		next := page.NextContinuationToken
		if !aws.ToBool(page.IsTruncated) {
			break
		}
		if aws.ToString(next) == "" || aws.ToString(next) == aws.ToString(token) {
			return nil, fmt.Errorf("list %s: the server says that there are more objects and not where: use another server", s.url(c.key))
		}
		token = next
	}
	slices.SortFunc(all, func(a, b checkpoint.ObjectInfo) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Delete implements checkpoint.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	return s.remove(ctx, s.key(name))
}

func (s *Store) remove(ctx context.Context, key string) error {
	c := call{op: "delete", key: key}
	err := s.do(ctx, &c, func(ctx context.Context) error {
		_, err := s.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: &key}, once)
		return err
	})
	if err != nil && !isAbsent(err) {
		return s.fail(&c, err)
	}
	return nil
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return checkpoint.CheckName(name)
}

func checkJob(ctx context.Context, job string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return checkpoint.CheckJob(job)
}
