package testservers

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin answers with the sum of the body it got, and counts.
func origin(t *testing.T) (url string, served *atomic.Int64) {
	served = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		if _, err := io.Copy(h, r.Body); err != nil {
			return
		}
		served.Add(1)
		w.Header().Set("X-Host", r.Host)
		w.Header().Set("X-URI", r.RequestURI)
		_, _ = io.WriteString(w, hex.EncodeToString(h.Sum(nil)))
	}))
	t.Cleanup(s.Close)
	return s.URL, served
}

func send(ctx context.Context, t *testing.T, url string, body []byte) (*http.Response, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http1.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r, string(b), err
}

func TestProxyPassesRequestsUnchanged(t *testing.T) {
	at, _ := origin(t)
	p := NewProxy(t, at)
	body := make([]byte, 20<<20)
	_, _ = rand.Read(body)
	const uri = "/bucket/a%2Fb//c?list-type=2&prefix=a%20b"
	r, sum, err := send(t.Context(), t, p.URL+uri, body)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(body)
	if sum != hex.EncodeToString(want[:]) || r.Header.Get("X-Host") != p.addr || r.Header.Get("X-URI") != uri {
		t.Errorf("the server got the sum %s, the host %s and the URI %s", sum, r.Header.Get("X-Host"), r.Header.Get("X-URI"))
	}
	if p.Requests() != 1 || p.Faults() != 0 {
		t.Errorf("%d requests, %d faults", p.Requests(), p.Faults())
	}
}

// TestProxyStreams reads the begin of an answer whose end is not written yet.
func TestProxyStreams(t *testing.T) {
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "begin")
		_ = http.NewResponseController(w).Flush()
		<-end
		_, _ = io.WriteString(w, "end")
	}))
	t.Cleanup(s.Close)
	p := NewProxy(t, s.URL)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http1.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b := make([]byte, 5)
	if _, err := io.ReadFull(r.Body, b); err != nil || string(b) != "begin" {
		t.Fatalf("%q, %v", b, err)
	}
	close(end)
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != "end" {
		t.Fatalf("%q, %v", rest, err)
	}
}

func TestProxyFaults(t *testing.T) {
	at, served := origin(t)
	p := NewProxy(t, at)
	ok := func(when string) {
		t.Helper()
		if r, _, err := send(t.Context(), t, p.URL, nil); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", when, r, err)
		}
	}
	ok("before")

	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := send(t.Context(), t, p.URL, nil); err == nil {
		t.Error("it answers although it refuses")
	}
	if err := p.Refuse(false); err != nil {
		t.Fatal(err)
	}
	ok("after Refuse")

	p.Status(http.StatusServiceUnavailable, "slow down", 1, PathContains("/bulk"))
	before := served.Load()
	r, body, err := send(t.Context(), t, p.URL+"/x/bulk", make([]byte, 5<<20))
	if err != nil || r.StatusCode != http.StatusServiceUnavailable || body != "slow down" || served.Load() != before {
		t.Errorf("%v, %q, %v; the server saw %d requests", r, body, err, served.Load()-before)
	}
	ok("another path")
	p.Status(http.StatusServiceUnavailable, "", 0.5, nil)
	refused := 0
	for range 100 {
		if r, _, err := send(t.Context(), t, p.URL, nil); err != nil {
			t.Fatal(err)
		} else if r.StatusCode == http.StatusServiceUnavailable {
			refused++
		}
	}
	if refused < 30 || refused > 70 || p.Faults() != refused+1 {
		t.Errorf("%d of 100 requests were refused, %d faults are counted", refused, p.Faults())
	}
	p.Status(0, "", 0, nil)
	ok("after Status")

	p.Lose(1, nil)
	before = served.Load()
	if r, _, err := send(t.Context(), t, p.URL, nil); err == nil || served.Load() != before+1 {
		t.Errorf("a lost answer: %v; the server saw %d requests", r, served.Load()-before)
	}
	p.Lose(0, nil)
	ok("after Lose")

	p.Delay(50 * time.Millisecond)
	start := time.Now()
	ok("delayed")
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("a delayed answer took %v", took)
	}
	p.Delay(0)
}

func TestProxyFreezes(t *testing.T) {
	at, served := origin(t)
	p := NewProxy(t, at)
	p.Freeze(true)
	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := send(impatient, t, p.URL, nil); err == nil {
		t.Error("it answers although it is frozen")
	}
	done := make(chan error)
	go func() {
		_, _, err := send(t.Context(), t, p.URL, nil)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it answers although it is frozen: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if n := served.Load(); n != 0 {
		t.Errorf("the server saw %d requests", n)
	}
	p.Freeze(false)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestProxyClosesWhenTheServerIsGone: it makes up no answers.
func TestProxyClosesWhenTheServerIsGone(t *testing.T) {
	port, err := unusedPort()
	if err != nil {
		t.Fatal(err)
	}
	p := NewProxy(t, fmt.Sprint("http://127.0.0.1:", port))
	if r, _, err := send(t.Context(), t, p.URL, nil); err == nil {
		t.Errorf("it answers %s", r.Status)
	}
}
