package dashboard

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

//go:embed assets
var assets embed.FS

const (
	// answerWithin bounds the time that a Source has for one answer.
	answerWithin = 10 * time.Second
	// maxWindows is the most windows that one answer covers.
	maxWindows = 20_000
	// maxCellSpan is the longest span that /api/cells adds up: a week, seconds.
	maxCellSpan = 7 * 86400

	// contentSecurity lets the page use its own files and nothing else.
	contentSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// New returns the handler of the page and its API. log may be nil.
func New(source Source, log *zap.Logger) http.Handler {
	if log == nil {
		log = zap.NewNop()
	}
	s := &server{source: source, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", asset("index.html"))
	for name := range contents {
		mux.HandleFunc("GET /"+name, asset(name))
	}
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /api/state", s.answer(s.state))
	mux.HandleFunc("GET /api/windows", s.answer(s.windows))
	mux.HandleFunc("GET /api/cells", s.answer(s.cells))
	mux.HandleFunc("GET /api/airports", s.answer(s.airports))
	return secure(mux)
}

// secure sets the headers of every answer and turns away what only reads cannot be.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurity)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // ask again, with the ETag
		next.ServeHTTP(w, r)
	})
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // the client is gone: nobody to tell
}

// contents holds the embedded files by name.
var contents = func() map[string][]byte {
	all := make(map[string][]byte)
	entries, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // the binary was built wrong
	}
	for _, e := range entries {
		if all[e.Name()], err = assets.ReadFile("assets/" + e.Name()); err != nil {
			panic(err)
		}
	}
	return all
}()

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// asset serves one embedded file.
func asset(name string) http.HandlerFunc {
	body, contentType := contents[name], contentTypes[path.Ext(name)]
	return func(w http.ResponseWriter, r *http.Request) { serve(w, r, contentType, body) }
}

type server struct {
	source Source
	log    *zap.Logger
}

// badRequest is an error that the client can do something about.
type badRequest struct{ error }

// answer runs f and sends what it returns as JSON.
func (s *server) answer(f func(context.Context, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
		defer cancel()
		v, err := f(ctx, r)
		var body []byte
		if err == nil {
			body, err = json.Marshal(v)
		}
		if err == nil {
			serve(w, r, "application/json", append(body, '\n'))
			return
		}
		status := http.StatusServiceUnavailable
		var bad badRequest
		if errors.As(err, &bad) {
			status = http.StatusBadRequest
		} else if r.Context().Err() == nil {
			s.log.Warn("dashboard has no answer", zap.String("path", r.URL.Path), zap.Error(err))
		}
		body, _ = json.Marshal(map[string]string{"error": err.Error()}) // strings always have a JSON form
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(append(body, '\n')) // the client is gone: nobody to tell
	}
}

// serve sends body with an ETag made of it; http.ServeContent does HEAD and 304.
func serve(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	sum := fnv.New64a()
	_, _ = sum.Write(body) // never fails
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("ETag", fmt.Sprintf(`"%016x"`, sum.Sum64()))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// seconds reads a time of the query string, in seconds since 1970.
func seconds(r *http.Request, name string, otherwise int64) (int64, error) {
	v := strings.TrimSpace(r.URL.Query().Get(name))
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, badRequest{fmt.Errorf("%s=%q is not a time in seconds since 1970", name, v)}
	}
	return n, nil
}
