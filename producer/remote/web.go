package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// web is a place: all web servers.
type web struct{ client *http.Client }

// find asks for the size and the version. A server that does not answer that
// question may yet answer open's.
func (w *web) find(ctx context.Context, link string, _ func()) ([]Object, error) {
	o := Object{Name: display(link), URL: link, Size: -1}
	u, err := url.Parse(link)
	if err != nil || u.Host == "" {
		return nil, permanent("it is no valid URL: give one such as https://host/path/trips.parquet")
	}
	answer, err := w.ask(ctx, http.MethodHead, &o, nil)
	if err != nil {
		return nil, err
	}
	answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		o.Size, o.version = answer.ContentLength, version(answer.Header)
	case http.StatusNotFound, http.StatusGone:
		return nil, errStatus{answer.StatusCode}
	}
	return []Object{o}, nil
}

// open implements place.
func (w *web) open(ctx context.Context, o *Object, offset int64, pinned string) (answer, error) {
	header := http.Header{}
	if offset > 0 && pinned != "" {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		header.Set("If-Range", pinned)
	} else {
		offset = 0
	}
	got, err := w.ask(ctx, http.MethodGet, o, header)
	if err != nil {
		return answer{}, err
	}
	a := answer{body: got.Body, size: got.ContentLength, version: version(got.Header)}
	switch got.StatusCode {
	case http.StatusOK:
		return a, nil
	case http.StatusPartialContent:
		from, size, ok := contentRange(got.Header.Get("Content-Range"))
		if ok && from == offset {
			a.offset, a.size = from, size
			return a, nil
		}
		err = fmt.Errorf("the server sent other bytes (%q) than those from %d on", got.Header.Get("Content-Range"), offset)
	case http.StatusRequestedRangeNotSatisfiable:
		err = errChanged
	default:
		err = errStatus{got.StatusCode}
	}
	got.Body.Close()
	return answer{}, err
}

func (w *web) ask(ctx context.Context, method string, o *Object, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, o.URL, nil)
	if err != nil {
		return nil, permanent("it is no valid URL: give one such as https://host/path/trips.parquet")
	}
	if header != nil {
		req.Header = header
	}
	// As it is stored, not packed for the way: places are counted in that.
	req.Header.Set("Accept-Encoding", "identity")
	answer, err := w.client.Do(req)
	var verbose *url.Error
	if errors.As(err, &verbose) {
		err = verbose.Err // it has the whole URL
	}
	return answer, err
}

// version is a strong ETag, or the time of the last change.
func version(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes 5-9/10"; the size is -1 for "bytes 5-9/*".
func contentRange(text string) (from, size int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, total, ok2 := strings.Cut(text, "/")
	first, _, ok3 := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	size = -1
	if total != "*" && err == nil {
		size, err = strconv.ParseInt(total, 10, 64)
	}
	return from, size, ok && ok2 && ok3 && err == nil
}
