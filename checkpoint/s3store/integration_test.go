//go:build integration

package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
)

// The servers that judge the store. They are not ours, are installed into the
// user's cache, and do not enter go.mod.
const (
	versitygwVersion = "v1.8.0"
	motoVersion      = "5.2.5"
	crc32cVersion    = "2.9.post0" // without it moto takes CRC-32 for CRC32C
)

func TestVersitygw(t *testing.T) {
	bin := filepath.Join(install(t, "versitygw-"+versitygwVersion, func(ctx context.Context, dir string) []*exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", "install", "github.com/versity/versitygw/cmd/versitygw@"+versitygwVersion)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
		return []*exec.Cmd{cmd}
	}), "versitygw")
	addr := freeAddr(t)
	data := t.TempDir()
	if err := syscall.Setxattr(data, "user.tripgrid", []byte("1"), 0); err != nil {
		t.Fatalf("%s has no extended attributes, which versitygw needs: %v; set TMPDIR to a folder that has them", data, err)
	}
	cmd := exec.Command(bin, "--access", "key", "--secret", "secret", "--port", addr, "--quiet", "posix", data)
	endpoint := start(t, cmd, addr)
	judgeStore(t, endpoint)
	t.Run("Refusals", func(t *testing.T) {
		bucket := "tripgrid-refusals"
		if _, err := newClient(t, endpoint).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
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

func TestMoto(t *testing.T) {
	dir := install(t, "moto-"+motoVersion+"-crc32c-"+crc32cVersion, func(ctx context.Context, dir string) []*exec.Cmd {
		return []*exec.Cmd{
			exec.CommandContext(ctx, "python3", "-m", "venv", dir),
			exec.CommandContext(ctx, filepath.Join(dir, "bin", "pip"), "install", "--quiet", "moto[server]=="+motoVersion, "crc32c=="+crc32cVersion),
		}
	})
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(filepath.Join(dir, "bin", "moto_server"), "--host", "127.0.0.1", "--port", port)
	judgeStore(t, start(t, cmd, addr))
}

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

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a server until the test's end and returns its endpoint once it answers.
func start(t *testing.T, cmd *exec.Cmd, addr string) string {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if b, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, b[max(0, len(b)-4096):])
		}
		log.Close()
	})
	endpoint := "http://" + addr
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		r, err := client.Get(endpoint)
		if err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			r.Body.Close()
			return endpoint
		}
		select {
		case <-ended:
			t.Fatalf("%s ended instead of listening on %s", cmd.Path, addr)
		case <-deadline.C:
			t.Fatalf("%s does not answer on %s: %v", cmd.Path, addr, err)
		case <-poll.C:
		}
	}
}

// install puts a server into the user's cache, if it is not there, and returns
// its folder. Test processes wait for each other.
func install(t *testing.T, name string, commands func(ctx context.Context, dir string) []*exec.Cmd) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "tripgrid-test", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	done := filepath.Join(dir, ".installed") // written last: a broken installation is done again
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	for _, cmd := range commands(ctx, dir) {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v; the test needs it, look at what it says:\n%s", cmd, err, out)
		}
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
