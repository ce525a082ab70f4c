package testservers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy passes HTTP requests on to a server, unchanged with their Host, which
// signatures cover, and streams their bodies. Its faults are switched while
// requests run. A request that the server leaves without an answer is left so
// by the proxy too: it closes the connection.
type Proxy struct {
	// URL is where clients find the proxy.
	URL string

	addr      string
	transport *http.Transport
	reverse   *httputil.ReverseProxy

	mu       sync.Mutex
	server   *http.Server // nil while connections are refused
	open     chan struct{}
	delay    time.Duration
	status   fault
	lose     fault
	rand     *rand.Rand
	requests int
	faults   int
}

// fault befalls a share of the requests that match.
type fault struct {
	share float64
	match func(*http.Request) bool
	code  int
	body  string
}

// NewProxy starts a proxy to the server at a URL until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	port, err := unusedPort()
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		addr: fmt.Sprint("127.0.0.1:", port),
		// Compression is between the client and the server.
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		open:      make(chan struct{}),
		rand:      rand.New(rand.NewPCG(1, 1)),
	}
	p.URL = "http://" + p.addr
	close(p.open)
	p.reverse = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host
		},
		Transport:      p.transport,
		FlushInterval:  -1,
		ModifyResponse: func(r *http.Response) error { return p.pass(r.Request.Context()) },
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	if err := p.Refuse(false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Freeze(false)
		if err := p.Refuse(true); err != nil {
			t.Error(err)
		}
		p.transport.CloseIdleConnections()
	})
	return p
}

// Refuse closes every connection and refuses new ones, until it is off.
func (p *Proxy) Refuse(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on == (p.server == nil) {
		return nil
	}
	if on {
		err := p.server.Close()
		p.server = nil
		return err
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve), ErrorLog: log.New(io.Discard, "", 0)}
	go func(s *http.Server) { _ = s.Serve(l) }(p.server) // until it is closed
	return nil
}

// Freeze accepts connections and holds requests and answers back, until it is off.
func (p *Proxy) Freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		if on {
			p.open = make(chan struct{})
		}
	default:
		if !on {
			close(p.open)
		}
	}
}

// Delay holds every request back for a while.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Status answers a share, 0 to 1, of the requests that match, nil for all,
// with a code and a body; the server never sees them. Share 0 is off.
func (p *Proxy) Status(code int, body string, share float64, match func(*http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = fault{share, match, code, body}
}

// Lose passes a share, 0 to 1, of the requests that match, nil for all, on to
// the server, and closes the connection instead of answering: the client
// cannot know what became of them. Share 0 is off.
func (p *Proxy) Lose(share float64, match func(*http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = fault{share: share, match: match}
}

// Requests counts the requests so far.
func (p *Proxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// Faults counts the requests that Status answered or Lose lost so far.
func (p *Proxy) Faults() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// PathContains matches requests by a part of their path.
func PathContains(part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) }
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests++
	delay, status := p.delay, p.status
	answer := status.befalls(r, p.rand)
	lose := !answer && p.lose.befalls(r, p.rand)
	if answer || lose {
		p.faults++
	}
	p.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
	}
	if p.pass(r.Context()) != nil {
		panic(http.ErrAbortHandler)
	}
	switch {
	case answer:
		_, _ = io.Copy(io.Discard, r.Body) // a client that still writes would see a broken connection
		w.WriteHeader(status.code)
		_, _ = io.WriteString(w, status.body)
	case lose:
		p.reverse.ServeHTTP(nowhere{}, r)
		panic(http.ErrAbortHandler)
	default:
		p.reverse.ServeHTTP(w, r)
	}
}

// pass waits until nothing is frozen.
func (p *Proxy) pass(ctx context.Context) error {
	p.mu.Lock()
	open := p.open
	p.mu.Unlock()
	select {
	case <-open:
		return ctx.Err()
	case <-ctx.Done():
		return errors.New("the client has gone")
	}
}

func (f *fault) befalls(r *http.Request, rnd *rand.Rand) bool {
	return f.share > 0 && (f.match == nil || f.match(r)) && rnd.Float64() < f.share
}

// nowhere takes an answer that nobody gets.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}
