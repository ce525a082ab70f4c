package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// flakyProxy forwards connections to a server, and drops all of them while it
// is down.
type flakyProxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func startProxy(t *testing.T, endpoint string) *flakyProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &flakyProxy{listener: l, target: strings.TrimPrefix(endpoint, "http://"), conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.setDown(true)
		l.Close()
		p.wg.Wait()
	})
	return p
}

func (p *flakyProxy) endpoint() string { return "http://" + p.listener.Addr().String() }

func (p *flakyProxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(c) {
			continue
		}
		s, err := net.Dial("tcp", p.target)
		if err != nil || !p.keep(s) {
			c.Close()
			continue
		}
		for _, d := range [][2]net.Conn{{c, s}, {s, c}} {
			p.wg.Go(func() {
				_, _ = io.Copy(d[0], d[1])
				d[0].Close()
				d[1].Close()
			})
		}
	}
}

// keep registers a connection, or closes it while the proxy is down.
func (p *flakyProxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *flakyProxy) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			c.Close()
		}
		clear(p.conns)
	}
}

// surviveOutages commits as a coordinator does, a part and then HEAD, with the
// commit's number as its nonce, while the server goes away and comes back.
// Every commit must be in HEAD exactly once, and what HEAD names must exist.
func surviveOutages(t *testing.T, endpoint, bucket string, client func(endpoint string) API, pause time.Duration) {
	const commits, outages = 60, 4
	ctx, p := t.Context(), startProxy(t, endpoint)
	cfg := settings("outage")
	cfg.Bucket, cfg.Attempts, cfg.Timeout = bucket, 2, 10*time.Second
	s, err := Open(ctx, client(p.endpoint()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	committed := make(chan int) // unbuffered: the commits do not run ahead of the outages
	var wg sync.WaitGroup
	wg.Go(func() { // the operator
		for range outages {
			for range commits / (outages + 2) {
				<-committed
			}
			p.setDown(true)
			for seen := false; !seen; {
				select {
				case <-committed: // it was done before
				case <-failed:
					seen = true
				}
			}
			<-time.After(pause)
			p.setDown(false)
		}
		for range committed {
		}
	})
	for i := range commits {
		for {
			err := commit(ctx, s, i)
			if err == nil {
				break
			}
			if outcome(err) == "conflict" && strings.Contains(err.Error(), "put ") {
				t.Fatalf("part %d of the only writer conflicts: %v", i, err)
			}
			// A conflicting swap is a lost one of before that landed late.
			select {
			case failed <- err:
			default:
			}
		}
		select { // an error of before may not count for the next outage
		case <-failed:
		default:
		}
		committed <- i
	}
	close(committed)
	wg.Wait()
	head, _, err := s.ReadHead(ctx, "taxi")
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.List(ctx, "taxi/")
	if err != nil || len(all) != commits {
		t.Fatalf("%d objects are there, %v", len(all), err)
	}
	var want strings.Builder
	for i := range commits {
		fmt.Fprintf(&want, "%d,", i)
	}
	if string(head) != want.String() {
		t.Fatalf("HEAD is %s", head)
	}
}

// commit appends i to HEAD unless it stands there already.
func commit(ctx context.Context, s checkpoint.Store, i int) error {
	if err := s.Put(ctx, fmt.Sprintf("taxi/1/%d/p", i), fmt.Appendf(nil, "part %d", i)); err != nil {
		return err
	}
	head, version, err := s.ReadHead(ctx, "taxi")
	if err != nil && !errors.Is(err, checkpoint.ErrNotFound) {
		return err
	}
	nonce := fmt.Sprintf("%d,", i)
	if strings.HasSuffix(","+string(head), ","+nonce) {
		return nil
	}
	_, err = s.SwapHead(ctx, "taxi", version, append(head, nonce...))
	return err
}

func TestOutages(t *testing.T) {
	f := newFake(t)
	surviveOutages(t, f.URL, "bucket", func(e string) API { return newClient(t, e) }, 0)
}

// TestUnavailable: an outage is told from what only a person can mend.
func TestUnavailable(t *testing.T) {
	f := newFake(t)
	p := startProxy(t, f.URL)
	cfg := settings("outage")
	cfg.Bucket, cfg.Attempts = "bucket", 2
	s, err := Open(t.Context(), newClient(t, p.endpoint()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "taxi/1/1/p"); !errors.Is(err, checkpoint.ErrNotFound) || errors.Is(err, checkpoint.ErrUnavailable) {
		t.Errorf("an object that is not there: %v", err)
	}
	p.setDown(true)
	if _, err := s.Get(t.Context(), "taxi/1/1/p"); !errors.Is(err, checkpoint.ErrUnavailable) {
		t.Errorf("get in an outage: %v", err)
	}
	if _, _, err := s.ReadHead(t.Context(), "taxi"); !errors.Is(err, checkpoint.ErrUnavailable) {
		t.Errorf("read HEAD in an outage: %v", err)
	}
	stranger, err := NewClient(t.Context(), f.URL, "us-east-1", credentials.NewStaticCredentialsProvider("k", "s", ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), stranger, cfg); err == nil || errors.Is(err, checkpoint.ErrUnavailable) {
		t.Errorf("wrong credentials: %v", err)
	}
}
