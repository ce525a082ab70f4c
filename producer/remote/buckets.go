package remote

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// maxObjects bounds what a prefix may mean.
const maxObjects = 1 << 16

// buckets is a place: S3.
type buckets struct {
	connect func(context.Context) (S3, error)
	client  S3 // nil before the first use
}

// alone switches the retries of the SDK off: try does them.
func alone(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// find implements place.
func (b *buckets) find(ctx context.Context, name string, alive func()) ([]Object, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(name, "s3://"), "/")
	if bucket == "" {
		return nil, permanent("it names no bucket: write s3://bucket/prefix/")
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	pattern := ""
	if i := strings.IndexAny(key, "*?["); i >= 0 {
		pattern, key = key, key[:i]
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, permanent("the pattern is malformed: close its [ with a ]")
		}
	} else if key != "" && !strings.HasSuffix(key, "/") {
		return b.one(ctx, bucket, key)
	}
	objects, err := b.list(ctx, bucket, key, pattern, alive)
	if err != nil || len(objects) > 0 {
		return objects, err
	}
	return nil, permanent("no object in the bucket matches: check the prefix")
}

// ready makes the client, once.
func (b *buckets) ready(ctx context.Context) (err error) {
	if b.client != nil {
		return nil
	}
	if b.connect == nil {
		return permanent("there is no S3 here: give a path or an https:// URL")
	}
	if b.client, err = b.connect(ctx); err != nil {
		return permanent(err.Error())
	}
	return nil
}

// list returns the objects under a prefix that match a pattern, if there is one.
func (b *buckets) list(ctx context.Context, bucket, prefix, pattern string, alive func()) (objects []Object, err error) {
	in := &s3.ListObjectsV2Input{Bucket: &bucket}
	if prefix != "" {
		in.Prefix = &prefix
	}
	for {
		page, err := b.client.ListObjectsV2(ctx, in, alone)
		if err != nil {
			return nil, b.refused(err, bucket, "s3:ListBucket", "")
		}
		alive()
		for i := range page.Contents {
			found := &page.Contents[i]
			key, size := aws.ToString(found.Key), aws.ToInt64(found.Size)
			if size == 0 && strings.HasSuffix(key, "/") {
				continue // what consoles make of a folder
			}
			if pattern != "" {
				if ok, _ := path.Match(pattern, key); !ok {
					continue
				}
			}
			if len(objects) == maxObjects {
				return nil, permanent(fmt.Sprintf("it means more than %d objects: give a longer prefix", maxObjects))
			}
			objects = append(objects, object(bucket, key, size, found.ETag))
		}
		if !aws.ToBool(page.IsTruncated) {
			return objects, nil
		}
		if next := aws.ToString(page.NextContinuationToken); next == "" || next == aws.ToString(in.ContinuationToken) {
			return nil, permanent("the server says that there are more objects and not where: name them one by one, or use another server")
		}
		in.ContinuationToken = page.NextContinuationToken
	}
}

// one returns the object with a key.
func (b *buckets) one(ctx context.Context, bucket, key string) ([]Object, error) {
	head, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key}, alone)
	if err == nil {
		return []Object{object(bucket, key, aws.ToInt64(head.ContentLength), head.ETag)}, nil
	}
	if status(err) != 404 {
		return nil, b.refused(err, bucket, "s3:GetObject", key)
	}
	// The answer has no body, so it does not say what is missing.
	page, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: aws.String(key + "/"), MaxKeys: aws.Int32(1)}, alone)
	switch {
	case code(err) == "NoSuchBucket":
		return nil, b.refused(err, bucket, "", key)
	case err == nil && len(page.Contents) > 0:
		return nil, permanent("it is a prefix, and no object: end it with a slash to read all under it")
	}
	return nil, permanent("there is no such object: check the key, or end a prefix with a slash")
}

func object(bucket, key string, size int64, tag *string) Object {
	name := "s3://" + bucket + "/" + key
	return Object{Name: name, URL: name, Size: size, version: aws.ToString(tag)}
}

// open implements place.
func (b *buckets) open(ctx context.Context, o *Object, offset int64, pinned string) (answer, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(o.URL, "s3://"), "/")
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled}
	if pinned != "" {
		in.IfMatch = &pinned
	}
	if offset > 0 && pinned != "" {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	} else {
		offset = 0
	}
	got, err := b.client.GetObject(ctx, in, alone)
	if err != nil {
		return answer{}, b.refused(err, bucket, "s3:GetObject", key)
	}
	a := answer{body: got.Body, size: aws.ToInt64(got.ContentLength), version: aws.ToString(got.ETag)}
	if got.ContentLength == nil {
		a.size = -1
	}
	if got.ContentRange != nil {
		from, size, ok := contentRange(*got.ContentRange)
		if !ok || from != offset {
			got.Body.Close()
			return answer{}, errors.New("S3 sent other bytes than those that were asked for")
		}
		a.offset, a.size = from, size
	} else {
		a.sum = checksumOf(got)
	}
	return a, nil
}
