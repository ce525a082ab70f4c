package s3store

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// fault treats the nth request of an operation.
type fault func(nth int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool

// first applies to the first n requests alone.
func first(n int, f fault) fault {
	return func(nth int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool {
		return nth <= n && f(nth, w, r, do)
	}
}

const always = 1 << 30

// answer refuses and does nothing.
func answer(status int, code string) fault {
	return func(_ int, w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) bool {
		refuse(w, status, code, "injected")
		return true
	}
}

var (
	answerLost fault = func(_ int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool {
		loseAnswer(w, r, do)
		return true
	}
	requestLost fault = func(_ int, w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) bool {
		loseRequest(w, r)
		return true
	}
	failedAndDone fault = func(_ int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool {
		do(discard{}, r)
		refuse(w, http.StatusInternalServerError, "InternalError", "injected")
		return true
	}
	// silent takes the request and answers when the client has gone.
	silent fault = func(_ int, _ http.ResponseWriter, r *http.Request, _ http.HandlerFunc) bool {
		_, _ = bytes.NewBuffer(nil).ReadFrom(r.Body) // net/http watches the connection after the body
		<-r.Context().Done()
		return true
	}
	bodyCut fault = func(_ int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool {
		halve(w, r, do)
		return true
	}
)

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// outcome names what a call says.
func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, checkpoint.ErrConflict):
		return "conflict"
	case errors.Is(err, checkpoint.ErrUncertain):
		return "uncertain"
	}
	return "failed"
}

// R10: what SwapHead says under each fault, and what HEAD is then.
func TestR10SwapUnderFaults(t *testing.T) {
	for _, c := range []struct {
		name     string
		fault    fault
		want     string
		head     string
		requests int
	}{
		{"no fault", answer(0, ""), "done", "new", 1},
		{"answer lost", first(1, answerLost), "uncertain", "new", 2},
		{"answers lost", first(always, answerLost), "uncertain", "new", 5},
		{"request lost", first(1, requestLost), "done", "new", 2},
		{"requests lost", first(always, requestLost), "uncertain", "old", 5},
		{"500, not done", first(1, answer(500, "InternalError")), "done", "new", 2},
		{"500, done", first(1, failedAndDone), "uncertain", "new", 2},
		{"503 for ever", first(always, answer(503, "SlowDown")), "uncertain", "old", 5},
		{"500, then 403", func(nth int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool {
			return answer([]int{500, 403}[min(nth, 2)-1], "AccessDenied")(nth, w, r, do)
		}, "uncertain", "old", 2},
		{"409 twice", first(2, answer(409, "ConditionalRequestConflict")), "done", "new", 3},
		{"409 for ever", first(always, answer(409, "ConditionalRequestConflict")), "failed", "old", 5},
		{"412", first(1, answer(412, "PreconditionFailed")), "conflict", "old", 1},
		{"403", first(1, answer(403, "AccessDenied")), "failed", "old", 1},
		{"429", first(1, answer(429, "TooManyRequests")), "done", "new", 2},
		{"silence once", first(1, silent), "done", "new", 2},
		{"silence", first(always, silent), "uncertain", "old", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, ctx := newFake(t), t.Context()
			cfg := settings("")
			switch c.name { // a short one where it always runs out, else time for the good answer
			case "silence":
				cfg.Timeout = 200 * time.Millisecond
			case "silence once":
				cfg.Timeout = 500 * time.Millisecond
			}
			setup := open(t, f, settings(""))
			version, err := setup.SwapHead(ctx, "taxi", "", []byte("old"))
			if err != nil {
				t.Fatal(err)
			}
			s := &Store{api: newClient(t, f.URL), cfg: cfg.withDefaults()}
			if c.name == "no fault" {
				c.fault = first(0, c.fault)
			}
			f.onFault("put", c.fault)
			_, err = s.SwapHead(ctx, "taxi", version, []byte("new"))
			requests := f.count("put")
			if got := outcome(err); got != c.want || requests != c.requests {
				t.Fatalf("it is %s (%v) after %d requests, want %s after %d", got, err, requests, c.want, c.requests)
			}
			f.onFault("", nil)
			data, _, err := setup.ReadHead(ctx, "taxi")
			if err != nil || string(data) != c.head {
				t.Fatalf("HEAD is %q, %v, want %s", data, err, c.head)
			}
		})
	}
}

func TestPutUnderFaults(t *testing.T) {
	small, large := []byte("state"), bytes.Repeat([]byte("large "), minPartSize/5)
	for _, c := range []struct {
		name  string
		op    string
		data  []byte
		fault fault
		want  string
		there bool
	}{
		{"answer lost", "put", small, first(1, answerLost), "done", true},
		{"answers lost", "put", small, first(always, answerLost), "uncertain", true},
		{"requests lost", "put", small, first(always, requestLost), "uncertain", false},
		{"500, done", "put", small, first(1, failedAndDone), "done", true},
		{"409", "put", small, first(2, answer(409, "ConditionalRequestConflict")), "done", true},
		{"corrupted on the way", "put", small, first(1, answer(400, "BadDigest")), "done", true},
		{"403", "put", small, first(always, answer(403, "AccessDenied")), "failed", false},
		{"412 and nothing there", "put", small, first(1, answer(412, "PreconditionFailed")), "done", true},
		{"looking fails", "head", large, first(2, answer(500, "")), "done", true},
		{"looking is denied", "head", large, first(always, answer(403, "")), "failed", false},
		{"beginning fails", "create", large, first(always, answer(500, "InternalError")), "failed", false},
		{"parts fail for a while", "part", large, first(3, answer(503, "SlowDown")), "done", true},
		{"parts are cut", "part", large, first(3, requestLost), "done", true},
		{"parts are denied", "part", large, first(always, answer(403, "AccessDenied")), "failed", false},
		{"completion's answer lost", "complete", large, first(1, answerLost), "done", true},
		{"completion lost", "complete", large, first(1, requestLost), "done", true},
		{"completions lost", "complete", large, first(always, requestLost), "uncertain", false},
		{"completion 409", "complete", large, first(2, answer(409, "ConditionalRequestConflict")), "done", true},
		{"completion 409 for ever", "complete", large, first(always, answer(409, "ConditionalRequestConflict")), "failed", false},
		{"completion 200 with an error", "complete", large, first(1, answer(200, "InternalError")), "done", true},
		{"completion 412 and nothing there", "complete", large, first(1, answer(412, "PreconditionFailed")), "done", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, ctx := newFake(t), t.Context()
			s := open(t, f, settings(""))
			f.onFault(c.op, c.fault)
			err := s.Put(ctx, "taxi/1/1/p", c.data)
			if got := outcome(err); got != c.want {
				t.Fatalf("it is %s (%v), want %s", got, err, c.want)
			}
			f.onFault("", nil)
			data, err := s.Get(ctx, "taxi/1/1/p")
			if c.there != (err == nil) || c.there && !bytes.Equal(data, c.data) {
				t.Fatalf("the object has %d bytes, %v", len(data), err)
			}
			if len(f.uploads) != 0 {
				t.Fatalf("uploads are left: %v", f.uploads)
			}
		})
	}
}

// A racer puts the object while this one uploads its parts.
func TestMultipartRacersConflict(t *testing.T) {
	large := bytes.Repeat([]byte("large "), minPartSize/5)
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"same", "done", large},
		{"other", "conflict", []byte("other")},
	} {
		f, ctx := newFake(t), t.Context()
		s := open(t, f, settings(""))
		f.onFault("complete", func(int, http.ResponseWriter, *http.Request, http.HandlerFunc) bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.store("taxi/1/1/p", c.data, `"racer"`, nil)
			return false
		})
		if got := outcome(s.Put(ctx, "taxi/1/1/p", large)); got != c.want || len(f.uploads) != 0 {
			t.Errorf("%s bytes: it is %s, want %s; uploads left: %v", c.name, got, c.want, f.uploads)
		}
	}
}

func TestReadsUnderFaults(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	f.pageSize = 1
	s := open(t, f, settings(""))
	want := bytes.Repeat([]byte("x"), 1<<20)
	if err := errors.Join(s.Put(ctx, "taxi/1/1/p", want), s.Put(ctx, "taxi/1/1/q", nil)); err != nil {
		t.Fatal(err)
	}
	for name, flt := range map[string]fault{
		"cut": bodyCut, "500": answer(500, "InternalError"), "no answer": requestLost, "silence": silent,
	} {
		s.cfg.Timeout = 500 * time.Millisecond
		f.onFault("get", first(1, flt))
		if got, err := s.Get(ctx, "taxi/1/1/p"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s once: got %d bytes, %v", name, len(got), err)
		}
		// net/http itself sends a GET again when a kept connection breaks.
		f.onFault("get", flt)
		s.cfg.Timeout = 20 * time.Millisecond
		if got, err := s.Get(ctx, "taxi/1/1/p"); err == nil || outcome(err) != "failed" || got != nil || f.count("get") < 5 || f.count("get") > 10 {
			t.Errorf("%s for ever: got %d bytes after %d requests, %v", name, len(got), f.count("get"), err)
		}
		if name == "cut" {
			continue
		}
		s.cfg.Timeout = 500 * time.Millisecond
		f.onFault("list", first(1, flt))
		if all, err := s.List(ctx, ""); err != nil || len(all) != 2 {
			t.Errorf("%s: listed %v, %v", name, all, err)
		}
	}
}

// A slow download may take longer than the timeout of one request, as long as
// something comes; one that stalls may not.
func TestSlowDownloads(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	s := open(t, f, settings(""))
	if err := s.Put(ctx, "taxi/1/1/p", make([]byte, 40)); err != nil {
		t.Fatal(err)
	}
	s.cfg.Timeout, s.cfg.Attempts = 300*time.Millisecond, 1
	for stallAt, want := range map[int]string{40: "done", 20: "failed"} {
		f.onFault("get", func(_ int, w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) bool {
			w.Header().Set("Content-Length", "40")
			tick := time.NewTicker(12 * time.Millisecond)
			defer tick.Stop()
			for i := range 40 {
				if i == stallAt {
					<-r.Context().Done()
					return true
				}
				<-tick.C
				_, _ = w.Write([]byte{0})
				_ = http.NewResponseController(w).Flush()
			}
			return true
		})
		if _, err := s.Get(ctx, "taxi/1/1/p"); outcome(err) != want {
			t.Errorf("stalled at byte %d: %v, want %s", stallAt, err, want)
		}
	}
}

func TestDeleteUnderFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault fault
		want  string
	}{
		"answer lost":   {first(1, answerLost), "done"},
		"404":           {answer(404, "NoSuchKey"), "done"},
		"500 for ever":  {answer(500, "InternalError"), "uncertain"},
		"403":           {answer(403, "AccessDenied"), "failed"},
		"requests lost": {requestLost, "uncertain"},
	} {
		f := newFake(t)
		s := open(t, f, settings(""))
		f.onFault("delete", c.fault)
		if err := s.Delete(t.Context(), "taxi/1/1/p"); outcome(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// The end of the caller's context is told, also after the request was sent.
func TestCancelledInFlight(t *testing.T) {
	f := newFake(t)
	s := open(t, f, settings(""))
	for name, call := range map[string]func(context.Context) error{
		"swap": func(ctx context.Context) error { _, err := s.SwapHead(ctx, "taxi", "", []byte("x")); return err },
		"put":  func(ctx context.Context) error { return s.Put(ctx, "taxi/1/1/p", []byte("x")) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		f.onFault("put", func(nth int, w http.ResponseWriter, r *http.Request, do http.HandlerFunc) bool {
			cancel()
			return silent(nth, w, r, do)
		})
		err := call(ctx)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, checkpoint.ErrUncertain) || f.count("put") != 1 {
			t.Errorf("%s says %v after %d requests", name, err, f.count("put"))
		}
	}
}

// A refused connection changed nothing, and is no uncertainty.
func TestRefusedConnectionIsNoUncertainty(t *testing.T) {
	f, ctx := newFake(t), t.Context()
	// Not an opened one: its kept connection may break after the request.
	s := &Store{api: newClient(t, f.URL), cfg: settings("").withDefaults()}
	f.Close()
	_, err := s.SwapHead(ctx, "taxi", "", []byte("x"))
	for what, err := range map[string]error{"swap": err, "put": s.Put(ctx, "taxi/1/1/p", nil), "delete": s.Delete(ctx, "taxi/1/1/p")} {
		if outcome(err) != "failed" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
