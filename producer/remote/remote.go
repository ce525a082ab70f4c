package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// Object is a file that is elsewhere, as Find says.
type Object struct {
	// Name is its URL without password and query, for people and for the order.
	Name string
	// URL is the whole of it.
	URL string
	// Size is its length in bytes, -1 if the server does not say.
	Size int64

	version string // "" if the server says nothing
	place   place
}

// place is a kind of server that has objects.
type place interface {
	// find returns what a URL means, 1 or more objects. It calls alive whenever
	// the server has answered.
	find(ctx context.Context, url string, alive func()) ([]Object, error)
	// open reads an object from an offset on. With a version, it is of that
	// version: an answer in another one begins at 0, or is errChanged.
	open(ctx context.Context, o *Object, offset int64, version string) (answer, error)
}

// answer is an object from an offset on.
type answer struct {
	body    io.ReadCloser
	offset  int64 // the one asked for, or 0
	size    int64 // of the whole object, -1 if unknown
	version string
	sum     *checksum // of the whole object; nil if it is unknown
}

// Client fetches objects.
type Client struct {
	cfg    Config
	dir    string // for files that are not kept
	places map[string]place
}

// Is says whether a name is a URL, and not that of a file here.
func Is(name string) bool {
	scheme, _, ok := strings.Cut(name, "://")
	return ok && scheme != "" && strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") == ""
}

// New returns a Client that fetches files into a folder; "" is os.TempDir().
func New(cfg Config, dir string) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	web := &web{client: cfg.HTTP}
	return &Client{cfg: cfg, dir: dir, places: map[string]place{
		"s3": &buckets{connect: cfg.S3}, "https": web, "http": web,
	}}, nil
}

// Find returns the objects that a URL means, 1 or more, in the order of their
// names. It asks the server, which has less time than Fetch gives it: whoever
// names a wrong one is to be told soon.
func (c *Client) Find(ctx context.Context, name string) ([]Object, error) {
	scheme, _, _ := strings.Cut(name, "://")
	p := c.places[scheme]
	if p == nil {
		return nil, fmt.Errorf("read trips of %s: nothing is known of %s://: give a path, an https:// URL or s3://bucket/prefix/", display(name), scheme)
	}
	var objects []Object
	finding := *c
	finding.cfg.Timeout, finding.cfg.Attempts = min(c.cfg.Timeout, findTimeout), min(c.cfg.Attempts, findAttempts)
	err := finding.try(ctx, func(ctx context.Context, came func(int)) (err error) {
		objects, err = p.find(ctx, name, func() { came(0) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read trips of %s: %w", display(name), explain(err))
	}
	for i := range objects {
		objects[i].place = p
	}
	return objects, nil
}

const (
	findTimeout  = 5 * time.Second
	findAttempts = 3
)

// display is a URL without what is secret in it.
func display(name string) string {
	if strings.HasPrefix(name, "s3://") {
		return name // a key may have any character, and no secret
	}
	u, err := url.Parse(name)
	if err != nil {
		scheme, rest, _ := strings.Cut(name, "://")
		rest = rest[strings.LastIndex(rest, "@")+1:] // a password may have any character
		rest, _, _ = strings.Cut(rest, "?")
		return scheme + "://" + rest
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// progress is how much a try must bring to be no failure.
const progress = 1 << 20

// try calls fn until it succeeds, there is no hope, or too many tries in a row
// bring nothing. fn says how many bytes have come, as they come.
func (c *Client) try(ctx context.Context, fn func(ctx context.Context, came func(int)) error) error {
	for failures := 0; ; {
		brought := 0
		err := c.once(ctx, func(ctx context.Context, alive func()) error {
			return fn(ctx, func(n int) {
				brought += n
				alive()
			})
		})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !mendable(err):
			return err
		}
		if brought >= progress {
			failures = 0
		}
		if failures++; failures == c.cfg.Attempts {
			return err
		}
		if !pause(ctx, backoff(c.cfg.Backoff, failures)) {
			return context.Cause(ctx)
		}
	}
}

// once calls fn, whose context ends when it is silent for too long.
func (c *Client) once(ctx context.Context, fn func(ctx context.Context, alive func()) error) error {
	silent := errSilent{c.cfg.Timeout}
	try, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(c.cfg.Timeout, func() { cancel(silent) })
	defer timer.Stop()
	err := fn(try, func() { timer.Reset(c.cfg.Timeout) })
	if err != nil && errors.Is(context.Cause(try), silent) {
		return silent
	}
	return err
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
