//go:build integration

package dataset

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tripgrid/tripgrid/internal/testservers"
	"github.com/tripgrid/tripgrid/producer/remote"
)

// TLC's months, or generated ones, are the same data set in a bucket and in a
// folder, also when the second run takes them from a cache.
func TestVersityGW(t *testing.T) {
	dir := t.TempDir()
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "parquet", "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		random := newRandom(13, 0)
		for _, month := range []string{"01", "02", "03"} {
			rows := make([]greenRow, 50_000)
			for i := range rows {
				rows[i] = greenRow{Pickup: random.below(1e18), From: 1 + int32(i%50), To: 2, Total: 1}
				rows[i].Dropoff = rows[i].Pickup/1e6 + 1000
			}
			path := filepath.Join(dir, month+".parquet")
			if err := os.WriteFile(path, []byte(parquetFile(t, rows)), 0o644); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
	}
	server := testservers.VersityGW(t)
	bucket := "trips"
	server.CreateBucket(t, bucket)
	proxy := testservers.NewProxy(t, server.URL)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := s3.New(s3.Options{BaseEndpoint: &proxy.URL, UsePathStyle: true, Region: server.Region, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, "")})
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		key := "green/" + filepath.Base(path)
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
	want := open(t, paths...)
	opt := Options{SpillDir: t.TempDir(), Remote: remote.Config{
		S3:    func(context.Context) (remote.S3, error) { return client, nil },
		Cache: filepath.Join(dir, "cache"),
	}}
	for _, round := range []string{"fetched", "cached"} {
		var last Report
		opt.Progress = func(r Report) { last = r }
		f, err := Open(t.Context(), []string{"s3://trips/green/"}, opt)
		if err != nil {
			t.Fatal(err)
		}
		if f.Identity() != want.Identity() || !slices.Equal(all(t, f), all(t, want)) {
			t.Errorf("%s: %v, want %v", round, f.Identity(), want.Identity())
		}
		if (round == "fetched") != (last.Fetched == last.TotalBytes) || (round == "cached") != (last.Fetched == 0) {
			t.Errorf("%s: %+v", round, last)
		}
		checkEmpty(t, opt.SpillDir)
	}
}
