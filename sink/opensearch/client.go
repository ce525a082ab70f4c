package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds an answer in memory: a megabyte is 5,000 rejections.
const maxAnswer = 64 << 20

// answer is what the server said; every status is an answer.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// do sends one request, and returns an error if no whole answer came.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, path, r)
	if err != nil {
		return answer{}, fmt.Errorf("opensearch: %w", err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if body != nil && header == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.api.Stream(req)
	if res == nil {
		return answer{}, c.explainTransport(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return answer{}, c.explainTransport(err)
	}
	return answer{status: res.StatusCode, header: res.Header, body: b}, nil
}

// call sends JSON and reads JSON; found is false for 404, which is no error.
func (c *Client) call(ctx context.Context, verb, method, path string, in, out any) (found bool, err error) {
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return false, fmt.Errorf("opensearch: %w", err)
		}
	}
	a, err := c.do(ctx, method, path, nil, body)
	switch {
	case err != nil:
		return false, err
	case a.status == http.StatusNotFound && method == http.MethodGet:
		return false, nil
	case !a.ok():
		return false, c.explain(verb, a)
	case out == nil:
		return true, nil
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return false, fmt.Errorf("%s: %s answered with something else than JSON: check that the endpoint is OpenSearch's", verb, c.where())
	}
	return true, nil
}

func (c *Client) where() string { return strings.Join(c.cfg.Addresses, ", ") }

// who is the other side, as errors name it.
func (c *Client) who() string { return c.name + " at " + c.where() }

func (c *Client) serverless() bool { return c.cfg.SigV4 == "aoss" }

// Server is what the cluster says of itself.
type Server struct {
	Distribution string
	Version      string
	Cluster      string
}

// Ping asks the cluster who it is. Its error is one sentence that says whether
// it cannot be reached, is no OpenSearch, or does not let us in. A serverless
// collection has no such answer; it is asked for its indices instead.
func (c *Client) Ping(ctx context.Context) (Server, error) {
	if c.serverless() {
		_, err := c.call(ctx, "ask opensearch for its indices", http.MethodGet, "/_cat/indices?format=json", nil, nil)
		return Server{Distribution: "opensearch", Version: "serverless"}, err
	}
	a, err := c.do(ctx, http.MethodGet, "/", nil, nil)
	if err != nil {
		return Server{}, err
	}
	if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || retryable(a.status) {
		return Server{}, c.explain("ask opensearch for its version", a)
	}
	var info struct {
		Cluster string `json:"cluster_name"`
		Tagline string `json:"tagline"`
		Version struct {
			Distribution string `json:"distribution"`
			Number       string `json:"number"`
		} `json:"version"`
	}
	err = json.Unmarshal(a.body, &info)
	switch {
	case !a.ok() && bytes.Contains(a.body, []byte("HTTP request to an HTTPS server")):
		return Server{}, fmt.Errorf("%s wants TLS: write the address with https://", c.who())
	case !a.ok() || err != nil || info.Version.Number == "":
		return Server{}, fmt.Errorf("what answers at %s (status %d) is not OpenSearch: check the endpoint", c.where(), a.status)
	case info.Version.Distribution != "opensearch":
		return Server{}, fmt.Errorf("what answers at %s is not OpenSearch, it says %q, version %s: check the endpoint", c.where(),
			info.Tagline, info.Version.Number)
	}
	return Server{info.Version.Distribution, info.Version.Number, info.Cluster}, nil
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return time.Duration(min(s, 3600)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}
