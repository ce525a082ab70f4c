//go:build integration

package s3store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
	"github.com/tripgrid/tripgrid/internal/testservers"
)

func TestVersitygw(t *testing.T) {
	server := testservers.VersityGW(t)
	endpoint := server.URL
	judgeStore(t, endpoint)
	t.Run("Refusals", func(t *testing.T) {
		bucket := "tripgrid-refusals"
		server.CreateBucket(t, bucket)
		for _, c := range []struct{ region, key, secret, want string }{
			{"us-east-1", "nobody", "secret", "the credentials are wrong: check"},
			{"us-east-1", "key", "wrong", "the credentials are wrong: check"},
			{"eu-west-1", "key", "secret", "is in another region: set the region"},
		} {
			client, err := NewClient(t.Context(), endpoint, c.region, credentials.NewStaticCredentialsProvider(c.key, c.secret, ""))
			if err != nil {
				t.Fatal(err)
			}
			cfg := settings("")
			cfg.Bucket = bucket
			if _, err := Open(t.Context(), client, cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: the error is %v", c, err)
			}
		}
	})
}

func TestMoto(t *testing.T) { judgeStore(t, testservers.Moto(t).URL) }

// judgeStore runs what every server must show.
func judgeStore(t *testing.T, endpoint string) {
	var buckets int
	bucket := func(t *testing.T) string {
		t.Helper()
		buckets++
		name := fmt.Sprintf("tripgrid-%d", buckets)
		if _, err := newClient(t, endpoint).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Run("Conforms", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) (checkpoint.Store, checkpoint.Store) {
			cfg := settings("teams/a")
			cfg.Bucket = bucket(t)
			var stores [2]*Store
			for i := range stores {
				s, err := Open(t.Context(), newClient(t, endpoint), cfg)
				if err != nil {
					t.Fatal(err)
				}
				stores[i] = s
			}
			return stores[0], stores[1]
		})
	})
	t.Run("Outages", func(t *testing.T) {
		surviveOutages(t, endpoint, bucket(t), func(e string) API { return newClient(t, e) }, time.Second)
	})
	t.Run("MultipartIsConditional", func(t *testing.T) {
		cfg := settings("")
		cfg.Bucket = bucket(t)
		s, err := Open(t.Context(), newClient(t, endpoint), cfg)
		if err != nil {
			t.Fatal(err)
		}
		// Past the look that spares an upload: its completion must conflict.
		data := make([]byte, 2*minPartSize+1)
		racer := &lateRacer{API: s.api, put: func() error { return s.Put(t.Context(), "taxi/1/1/p", []byte("racer")) }}
		late := &Store{api: racer, cfg: s.cfg}
		if err := late.Put(t.Context(), "taxi/1/1/p", data); !errors.Is(err, checkpoint.ErrConflict) {
			t.Fatalf("the completion of an upload over an object says %v", err)
		}
		left, err := newClient(t, endpoint).ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &cfg.Bucket})
		if err != nil || len(left.Uploads) != 0 {
			t.Fatalf("uploads are left: %v %v", left.Uploads, err)
		}
		if got, err := s.Get(t.Context(), "taxi/1/1/p"); err != nil || string(got) != "racer" {
			t.Fatalf("the object is %d bytes, %v", len(got), err)
		}
	})
	t.Run("NoBucket", func(t *testing.T) {
		cfg := settings("")
		cfg.Bucket = "tripgrid-absent"
		_, err := Open(t.Context(), newClient(t, endpoint), cfg)
		if err == nil || !strings.Contains(err.Error(), "there is no bucket tripgrid-absent: create it") {
			t.Fatalf("the error is %v", err)
		}
	})
	t.Run("ChecksumIsStored", func(t *testing.T) {
		cfg := settings("")
		cfg.Bucket = bucket(t)
		client := newClient(t, endpoint)
		s, err := Open(t.Context(), client, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, minPartSize + 1} {
			name := fmt.Sprintf("taxi/1/%d/p", size)
			if err := s.Put(t.Context(), name, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			h, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &cfg.Bucket, Key: &name, ChecksumMode: "ENABLED"})
			if err != nil || h.Metadata[sumKey] != checksum(make([]byte, size)) || aws.ToString(h.ChecksumCRC32C) != *crc32c(make([]byte, size)) {
				t.Fatalf("%d bytes have the CRC32C %q (%s), the metadata %v, %v", size, aws.ToString(h.ChecksumCRC32C), h.ChecksumType, h.Metadata, err)
			}
		}
	})
}

// lateRacer puts an object right before an upload is completed.
type lateRacer struct {
	API
	put func() error
}

func (r *lateRacer) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, o ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	if err := r.put(); err != nil {
		return nil, err
	}
	return r.API.CompleteMultipartUpload(ctx, in, o...)
}
