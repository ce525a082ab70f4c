package s3store

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, endpoint string) *s3.Client {
	t.Helper()
	c, err := NewClient(t.Context(), endpoint, "us-east-1", credentials.NewStaticCredentialsProvider("key", "secret", ""))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// settings are for tests: retries are fast.
func settings(prefix string) Config {
	return Config{Bucket: "bucket", Prefix: prefix, PartSize: minPartSize, Backoff: time.Millisecond}
}

func open(t *testing.T, f *fakeS3, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), newClient(t, f.URL), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3StoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (checkpoint.Store, checkpoint.Store) {
		f := newFake(t)
		return open(t, f, settings("teams/a")), open(t, f, settings("teams/a"))
	})
}

func TestPrefixesDoNotMix(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	a, b := open(t, f, settings("a/")), open(t, f, settings("a-b"))
	if err := a.Put(ctx, "taxi/1/1/p", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(ctx, "taxi/1/1/p"); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Fatalf("the other prefix has it: %v", err)
	}
	if all, err := b.List(ctx, ""); err != nil || len(all) != 0 {
		t.Fatalf("the other prefix lists %v, %v", all, err)
	}
	if f.objects["a/taxi/1/1/p"] == nil {
		t.Fatal("the object is not where the package doc says")
	}
}

func TestListPages(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	f.pageSize = 2
	s := open(t, f, settings("p"))
	for _, name := range []string{"taxi/1/3/p", "taxi/1/1/p", "taxi/1/2/p", "taxi/1/4/p"} {
		if err := s.Put(ctx, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.List(ctx, "taxi/1/")
	if err != nil || len(all) != 4 || all[0].Name != "taxi/1/1/p" || all[3].Name != "taxi/1/4/p" || all[3].Size != 10 {
		t.Fatalf("listed %v, %v", all, err)
	}
}

func TestEncryptionIsAskedFor(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	cfg := settings("")
	cfg.SSE, cfg.KMSKeyID = "aws:kms", "alias/trips"
	s := open(t, f, cfg)
	if err := s.Put(ctx, "taxi/1/1/small", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "taxi/1/1/large", make([]byte, minPartSize+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SwapHead(ctx, "taxi", "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"taxi/1/1/small", "taxi/1/1/large", "taxi/HEAD"} {
		h := f.objects[key].headers
		if h.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "alias/trips" {
			t.Errorf("%s has the headers %v", key, h)
		}
	}
}

func TestGetVerifiesChecksums(t *testing.T) {
	const key = "taxi/1/1/p"
	for name, c := range map[string]struct {
		harm    func(f *fakeS3, o *fakeObject)
		corrupt bool
	}{
		"Both":            {func(_ *fakeS3, o *fakeObject) { o.data[77] ^= 1 }, true},
		"OursAlone":       {func(f *fakeS3, o *fakeObject) { f.noChecksums = true; o.data[77] ^= 1 }, true},
		"TheServersAlone": {func(_ *fakeS3, o *fakeObject) { o.headers.Del("X-Amz-Meta-" + sumKey); o.data[77] ^= 1 }, true},
		"ServerIsWrong":   {func(_ *fakeS3, o *fakeObject) { o.headers.Set("X-Amz-Checksum-Crc32c", "AAAAAA==") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, ctx := newFake(t), t.Context()
			s := open(t, f, settings(""))
			data := bytes.Repeat([]byte("state"), 1000)
			if err := s.Put(ctx, key, data); err != nil {
				t.Fatal(err)
			}
			f.objects[key].data = bytes.Clone(data)
			c.harm(f, f.objects[key])
			got, err := s.Get(ctx, key)
			again := s.Put(ctx, key, data)
			if !c.corrupt {
				if err != nil || !bytes.Equal(got, data) || again != nil {
					t.Fatalf("the good bytes are refused: %v, %v", err, again)
				}
				return
			}
			if !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), "get s3://bucket/"+key+": ") {
				t.Fatalf("the error is %v", err)
			}
			if !errors.Is(again, checkpoint.ErrConflict) {
				t.Fatalf("putting over a corrupt object says %v", again)
			}
		})
	}
}

func TestOpenRefusesServerWithoutConditions(t *testing.T) {
	f := newFake(t)
	f.ignoreConditions = true
	_, err := Open(t.Context(), newClient(t, f.URL), settings("p"))
	if err == nil || !strings.Contains(err.Error(), "ignores If-Match") {
		t.Fatalf("the error is %v", err)
	}
	if len(f.objects) != 0 {
		t.Fatalf("Open left %v", f.objects)
	}
}

func TestOpenLeavesNothing(t *testing.T) {
	f := newFake(t)
	open(t, f, settings("p"))
	if len(f.objects) != 0 {
		t.Fatalf("Open left %v", f.objects)
	}
}

func TestMultipartUpload(t *testing.T) {
	f, ctx := newFake(t), context.Background()
	s := open(t, f, settings(""))
	data := bytes.Repeat([]byte("0123456789abcdef"), (3*minPartSize+16)/16)
	if err := s.Put(ctx, "taxi/1/1/p", data); err != nil {
		t.Fatal(err)
	}
	if n := f.count("part"); n != 4 {
		t.Fatalf("%d parts were sent, want 4", n)
	}
	if !strings.HasSuffix(f.objects["taxi/1/1/p"].etag, `-4"`) || len(f.uploads) != 0 {
		t.Fatalf("the object is %q, uploads are left: %v", f.objects["taxi/1/1/p"].etag, f.uploads)
	}
	// The same again sends nothing.
	if err := s.Put(ctx, "taxi/1/1/p", data); err != nil || f.count("part") != 4 {
		t.Fatalf("again: %v, %d parts", err, f.count("part"))
	}
	data[0]++
	if err := s.Put(ctx, "taxi/1/1/p", data); !errors.Is(err, checkpoint.ErrConflict) {
		t.Fatalf("other bytes: %v", err)
	}
}
