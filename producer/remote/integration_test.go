//go:build integration

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/internal/testservers"
)

// cutter breaks the body of every other download in the middle.
type cutter struct {
	http.RoundTripper
	downloads atomic.Int64
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && !r.URL.Query().Has("list-type") && answer.ContentLength > 1<<20 && c.downloads.Add(1)%2 == 1 {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(answer.Body, answer.ContentLength/2), broken{}), answer.Body}
	}
	return answer, err
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestVersityGW(t *testing.T) {
	server := testservers.VersityGW(t)
	server.CreateBucket(t, "trips")
	proxy := testservers.NewProxy(t, server.URL)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	cuts := &cutter{RoundTripper: transport}
	client := func(region, key, secret string) *s3.Client {
		return s3.New(s3.Options{BaseEndpoint: &proxy.URL, UsePathStyle: true, Region: region, HTTPClient: &http.Client{Transport: cuts},
			Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")})
	}
	as := func(region, key, secret string) Config {
		return quick(Config{Attempts: 10, S3: func(context.Context) (S3, error) { return client(region, key, secret), nil }})
	}
	cfg := as(server.Region, server.AccessKey, server.SecretKey)
	owner := client(server.Region, server.AccessKey, server.SecretKey)
	bucket := "trips"

	// More keys than a page of a listing has, and some that are hard to spell.
	var want []string
	for i := range 1005 {
		want = append(want, fmt.Sprintf("many/%04d.csv", i))
	}
	want = append(want, "many/a b+c%20.csv", "many/é.csv")
	put := new(errgroup.Group)
	put.SetLimit(8)
	for _, key := range want {
		put.Go(func() error {
			_, err := owner.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(key)})
			return err
		})
	}
	if err := put.Wait(); err != nil {
		t.Fatal(err)
	}
	names, contents, err := fetchAll(t, cfg, "s3://trips/many/")
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], "s3://trips/")
	}
	if !slices.Equal(names, want) || !slices.Equal(contents, want) {
		t.Errorf("%d objects, %d contents, want %d", len(names), len(contents), len(want))
	}
	if names, _, err := fetchAll(t, cfg, "s3://trips/many/00?7*"); err != nil || len(names) != 10 {
		t.Errorf("a pattern: %v, %v", names, err)
	}

	// Large ones, with connections that are cut and answers that are lost.
	random := rand.NewChaCha8([32]byte{1})
	for _, sum := range []types.ChecksumAlgorithm{types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha256} {
		content := make([]byte, 8<<20)
		_, _ = random.Read(content)
		key := "large/" + string(sum)
		if _, err := owner.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content), ChecksumAlgorithm: sum}); err != nil {
			t.Fatal(err)
		}
		cuts.downloads.Store(0)
		proxy.Lose(0.3, func(r *http.Request) bool { return r.Method == http.MethodGet })
		_, got, err := fetchAll(t, cfg, "s3://trips/"+key)
		proxy.Lose(0, nil)
		if err != nil || len(got) != 1 || got[0] != string(content) {
			t.Errorf("%s: %v", key, err)
		}
		if n := cuts.downloads.Load(); n != 2 {
			t.Errorf("%s: %d downloads, want one that is cut and one of the rest", key, n)
		}
	}

	// An object that changes between the two halves.
	c, err := New(cfg, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Find(t.Context(), "s3://trips/large/CRC32C")
	if err != nil {
		t.Fatal(err)
	}
	key := "large/CRC32C"
	if _, err := owner.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("other")}); err != nil {
		t.Fatal(err)
	}
	fetch := c.Fetch(t.Context(), found)
	if _, err := fetch.Next(t.Context(), func() {}); !errors.Is(err, errChanged) {
		t.Errorf("changed: %v", err)
	}
	fetch.Close()

	for _, row := range []struct {
		cfg       Config
		url, want string
	}{
		{cfg, "s3://absent/x/", "there is no bucket absent: correct its name"},
		{cfg, "s3://absent/x", "there is no bucket absent: correct its name"},
		{cfg, "s3://trips/x", "there is no such object"},
		{cfg, "s3://trips/many", "end it with a slash to read all under it"},
		{cfg, "s3://trips/absent/", "no object in the bucket matches"},
		{as(server.Region, "nobody", "secret"), "s3://trips/many/", "the credentials are wrong"},
		{as(server.Region, server.AccessKey, "wrong"), "s3://trips/many/", "the credentials are wrong"},
		{as("eu-west-1", server.AccessKey, server.SecretKey), "s3://trips/many/", "is in"},
	} {
		if _, _, err := fetchAll(t, row.cfg, row.url); err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", row.url, err, row.want)
		}
	}
	if err := proxy.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := fetchAll(t, cfg, "s3://trips/many/"); err == nil || !strings.Contains(err.Error(), "the server refuses the connection") {
		t.Errorf("refused: %v", err)
	}
}
