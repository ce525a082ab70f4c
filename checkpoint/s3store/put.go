package s3store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/checkpoint"
)

const (
	partsAtOnce  = 4
	abortTimeout = 5 * time.Second
)

// errRestart: S3 wants a multipart upload to begin again.
var errRestart = errors.New("the upload has to begin again")

// errExists: there is such an object already, seen before anything was sent.
var errExists = errors.New("it exists")

// Put implements checkpoint.Store.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	c := call{op: "put", key: s.key(name), bytes: len(data)}
	for i := 1; ; i++ {
		err := s.create(ctx, &c, data)
		switch {
		case err == nil:
			return nil
		case isPrecondition(err), errors.Is(err, errExists), c.lost && errorCode(err) == "NoSuchUpload":
			there, _, gerr := s.get(ctx, c.key)
			switch {
			case gerr == nil && bytes.Equal(there, data):
				return nil
			case gerr == nil, errors.Is(gerr, checkpoint.ErrCorrupt):
				return fmt.Errorf("put %s: %w: other bytes are there already", s.url(c.key), checkpoint.ErrConflict)
			case !errors.Is(gerr, checkpoint.ErrNotFound):
				return s.fail(&c, gerr)
			}
			// Somebody deleted it in between, or the completion was not carried out.
		case !errors.Is(err, errRestart):
			return s.fail(&c, err)
		}
		if i == s.cfg.Attempts {
			return s.fail(&c, err)
		}
		if !s.pause(ctx, i) {
			return s.fail(&c, errEnded{ctx.Err(), err})
		}
	}
}

// create puts an object that must not be there yet; the error is raw.
func (s *Store) create(ctx context.Context, c *call, data []byte) error {
	if int64(len(data)) > s.cfg.PartSize {
		return s.upload(ctx, c, data)
	}
	in := s.putInput(c.key, data)
	in.IfNoneMatch = aws.String("*")
	_, err := s.put(ctx, c, in, data)
	return err
}

func (s *Store) putInput(key string, data []byte) *s3.PutObjectInput {
	return &s3.PutObjectInput{
		Bucket: &s.cfg.Bucket, Key: &key,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumCRC32C: crc32c(data),
		Metadata:             map[string]string{sumKey: checksum(data)},
		ServerSideEncryption: types.ServerSideEncryption(s.cfg.SSE), SSEKMSKeyId: s.kmsKey(),
	}
}

// put sends one PutObject until it is answered; the error is raw.
func (s *Store) put(ctx context.Context, c *call, in *s3.PutObjectInput, data []byte) (etag string, err error) {
	err = s.do(ctx, c, func(ctx context.Context) error {
		in.Body = bytes.NewReader(data)
		out, err := s.api.PutObject(ctx, in, once)
		if err == nil {
			etag = aws.ToString(out.ETag)
		}
		return err
	})
	return etag, err
}

// upload is create in parts. Only the completion makes the object, so only its
// answer counts as lost.
func (s *Store) upload(ctx context.Context, c *call, data []byte) error {
	// Asking first spares sending what is there, and servers that ignore the
	// condition of a completion.
	ask := call{op: c.op, key: c.key}
	err := s.do(ctx, &ask, func(ctx context.Context) error {
		_, err := s.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: &c.key}, once)
		return err
	})
	if err == nil {
		return errExists
	} else if !isAbsent(err) {
		return err
	}
	var id *string
	begin := call{op: c.op, key: c.key}
	err = s.do(ctx, &begin, func(ctx context.Context) error {
		out, err := s.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: &s.cfg.Bucket, Key: &c.key,
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeFullObject,
			Metadata:             map[string]string{sumKey: checksum(data)},
			ServerSideEncryption: types.ServerSideEncryption(s.cfg.SSE), SSEKMSKeyId: s.kmsKey(),
		}, once)
		if err == nil {
			id = out.UploadId
		}
		return err
	})
	if err != nil {
		return err
	}
	parts, err := s.uploadParts(ctx, c, id, data)
	if err == nil {
		err = s.complete(ctx, c, id, parts, data)
	}
	if err != nil {
		s.abort(ctx, c.key, id)
	}
	return err
}

func (s *Store) uploadParts(ctx context.Context, c *call, id *string, data []byte) ([]types.CompletedPart, error) {
	size := int(max(s.cfg.PartSize, int64(len(data)+maxParts-1)/maxParts))
	parts := make([]types.CompletedPart, (len(data)+size-1)/size)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(partsAtOnce)
	for i := range parts {
		g.Go(func() error {
			part := data[i*size : min((i+1)*size, len(data))]
			sum, number := crc32c(part), aws.Int32(int32(i+1))
			send := call{op: c.op, key: c.key, bytes: len(part)}
			return s.do(ctx, &send, func(ctx context.Context) error {
				out, err := s.api.UploadPart(ctx, &s3.UploadPartInput{
					Bucket: &s.cfg.Bucket, Key: &c.key, UploadId: id, PartNumber: number,
					Body: bytes.NewReader(part), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumCRC32C: sum,
				}, once)
				if err == nil {
					parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: number, ChecksumCRC32C: sum}
				}
				return err
			})
		})
	}
	return parts, g.Wait()
}

func (s *Store) complete(ctx context.Context, c *call, id *string, parts []types.CompletedPart, data []byte) error {
	sum := crc32c(data)
	return s.do(ctx, c, func(ctx context.Context) error {
		_, err := s.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.cfg.Bucket, Key: &c.key, UploadId: id, IfNoneMatch: aws.String("*"),
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
			ChecksumCRC32C:  sum, ChecksumType: types.ChecksumTypeFullObject,
			MpuObjectSize: aws.Int64(int64(len(data))),
		}, once)
		if errorCode(err) == "ConditionalRequestConflict" {
			return fmt.Errorf("%w: %w", errRestart, err)
		}
		return err
	})
}

// abort drops the parts of a failed upload, also after ctx's end. It tries
// once: the bucket's lifecycle rule is there for the rest.
func (s *Store) abort(ctx context.Context, key string, id *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(abortTimeout, s.cfg.Timeout))
	defer cancel()
	_, _ = s.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &s.cfg.Bucket, Key: &key, UploadId: id,
	}, once)
}

func (s *Store) kmsKey() *string {
	if s.cfg.KMSKeyID == "" {
		return nil
	}
	return &s.cfg.KMSKeyID
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc32c(data []byte) *string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
	return aws.String(base64.StdEncoding.EncodeToString(sum))
}
