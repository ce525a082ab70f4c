package opensearch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/sink"
)

// SinkConfig configures a [Sink]. Zero values mean the documented default.
type SinkConfig struct {
	// Prefix and Job begin the indices' names: lower-case letters, digits, - and _.
	Prefix, Job string
	MaxDocs     int  // documents of a request at most; 2,000
	MaxBytes    int  // bytes of a request at most, before gzip, unless one document has more; 5 MiB
	Concurrency int  // requests at a time; 2
	Gzip        bool // compress requests: for slow networks, it costs 10 us a document
	// MaxPause bounds what a Retry-After is heeded; 1 min.
	MaxPause time.Duration
	Log      *zap.Logger
}

// Validate reports the first setting that makes no sense.
func (c SinkConfig) Validate() error {
	if err := validateNames(c.Prefix, c.Job); err != nil {
		return err
	}
	if c.MaxDocs < 0 || c.MaxBytes < 0 || c.Concurrency < 0 || c.MaxPause < 0 {
		return errors.New("opensearch: a bound of requests is negative")
	}
	return nil
}

// Sink implements [sink.Sink] with bulk requests. Its methods may be called from
// several goroutines.
type Sink struct {
	client *Client
	cfg    SinkConfig
	room   chan struct{} // a place for each request under way
	zips   sync.Pool

	mu     sync.Mutex
	pace   pace
	until  time.Time // Retry-After
	why    string    // the last reason of a Retry that was logged
	closed bool
	calls  sync.WaitGroup
}

var _ sink.Sink = (*Sink)(nil)

// NewSink makes a Sink, which closes client when it is closed.
func NewSink(client *Client, cfg SinkConfig) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.MaxDocs == 0 {
		cfg.MaxDocs = 2000
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 5 << 20
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 2
	}
	if cfg.MaxPause == 0 {
		cfg.MaxPause = time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Sink{client: client, cfg: cfg, room: make(chan struct{}, cfg.Concurrency), pace: newPace(cfg.MaxDocs)}, nil
}

// Write implements [sink.Sink]. Documents of different requests are stored one
// without the other. Within Write nothing is tried twice, except that a request
// that is too large is cut in two; what would have been sent after a request that
// failed, or was answered with a 429, is put off.
func (s *Sink) Write(ctx context.Context, docs []sink.Document) ([]sink.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("write results: %w", err)
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.calls.Done()
	if err := s.heed(ctx); err != nil {
		return nil, fmt.Errorf("write results: %w", err)
	}
	verdicts := make([]verdict, len(docs))
	// The first request in trouble ends the Write: who is overloaded or gone
	// needs a pause, and Pending makes one.
	going, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	var sent sync.WaitGroup
	for _, ch := range s.cut(docs, verdicts) {
		select {
		case s.room <- struct{}{}:
		case <-ctx.Done():
			_ = ch.fail(ctx.Err())
			continue
		}
		if going.Err() != nil {
			<-s.room
			_ = ch.fail(context.Cause(going))
			continue
		}
		sent.Go(func() {
			defer func() { <-s.room }() // after stop: the next one sees it
			if err := s.send(ctx, ch); err != nil {
				stop(err)
			}
		})
	}
	sent.Wait()
	return s.conclude(ctx, verdicts)
}

func (s *Sink) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("write results: opensearch: %w", sink.ErrClosed)
	}
	s.calls.Add(1)
	return nil
}

// heed waits for as long as the server has asked for.
func (s *Sink) heed(ctx context.Context) error {
	s.mu.Lock()
	d := time.Until(s.until)
	s.mu.Unlock()
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// chunk is what one request carries.
type chunk struct {
	docs     []*sink.Document
	verdicts []*verdict // of each of them
	body     []byte
	starts   []int // of each document in body
}

// fail puts all of its documents off, and returns err.
func (c *chunk) fail(err error) error {
	for _, v := range c.verdicts {
		*v = verdict{Result: sink.Result{Retry: true}, why: err.Error()}
	}
	return err
}

func (c *chunk) half(from, to int) *chunk {
	end := len(c.body)
	if to < len(c.docs) {
		end = c.starts[to]
	}
	h := &chunk{docs: c.docs[from:to], verdicts: c.verdicts[from:to], body: c.body[c.starts[from]:end]}
	for _, at := range c.starts[from:to] {
		h.starts = append(h.starts, at-c.starts[from])
	}
	return h
}

// cut makes requests of documents, and rejects those that no request may carry.
func (s *Sink) cut(docs []sink.Document, verdicts []verdict) []*chunk {
	s.mu.Lock()
	most := s.pace.now
	s.mu.Unlock()
	var chunks []*chunk
	c := &chunk{}
	for i := range docs {
		d := &docs[i]
		if verdicts[i].Rejected = unfit(d); verdicts[i].Rejected != "" {
			continue
		}
		start := len(c.body)
		b := appendItem(c.body, IndexName(s.cfg.Prefix, s.cfg.Job, d.Query, d.WindowStart), d)
		if len(c.docs) > 0 && (len(c.docs) >= most || len(b) > s.cfg.MaxBytes) {
			next := &chunk{body: append(make([]byte, 0, len(c.body)), b[start:]...)}
			chunks, c, start, b = append(chunks, c), next, 0, next.body
		}
		c.body = b
		c.docs, c.verdicts, c.starts = append(c.docs, d), append(c.verdicts, &verdicts[i]), append(c.starts, start)
	}
	if len(c.docs) > 0 {
		chunks = append(chunks, c)
	}
	return chunks
}

// bulkPath asks for what judge reads and no more. The server gives up waiting
// for shards and new indices before we give up waiting for the server.
const bulkPath = "/_bulk?filter_path=items.*._id,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by&timeout="

func (s *Sink) path() string {
	return fmt.Sprintf("%s%dms", bulkPath, s.client.cfg.Timeout.Milliseconds()*3/4)
}

// send sends one request and notes what became of its documents. Its error says
// that the next request would be in vain.
func (s *Sink) send(ctx context.Context, c *chunk) error {
	header, body := http.Header{"Content-Type": {"application/x-ndjson"}}, c.body
	if s.cfg.Gzip {
		header.Set("Content-Encoding", "gzip")
		body = s.zip(body)
	}
	a, err := s.client.do(ctx, http.MethodPost, s.path(), header, body)
	switch {
	case err != nil:
		return c.fail(err)
	case a.status == http.StatusRequestEntityTooLarge && len(c.docs) > 1:
		mid := len(c.docs) / 2
		if err := s.send(ctx, c.half(0, mid)); err != nil {
			return c.half(mid, len(c.docs)).fail(err)
		}
		return s.send(ctx, c.half(mid, len(c.docs)))
	case a.status == http.StatusRequestEntityTooLarge:
		*c.verdicts[0] = verdict{Result: sink.Result{Rejected: fmt.Sprintf("a request of %d bytes is too large for the server", len(c.body))}}
		return nil
	case !a.ok():
		s.note(len(c.docs), a.status == http.StatusTooManyRequests, false, retryAfter(a.header, time.Now()))
		return c.fail(s.client.explain("bulk request", a))
	}
	verdicts, err := judge(c.docs, a.body)
	if err != nil {
		return c.fail(fmt.Errorf("opensearch at %s: %w", s.client.where(), err))
	}
	busy, well, why := false, true, ""
	for i, v := range verdicts {
		*c.verdicts[i] = v
		if v.busy {
			busy, why = true, v.why
		}
		well = well && !v.Retry
	}
	s.note(len(c.docs), busy, well, retryAfter(a.header, time.Now()))
	if busy {
		return errors.New(why)
	}
	return nil
}

// note lets what was answered to a request of n documents act on the next ones.
func (s *Sink) note(n int, busy, well bool, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case busy:
		s.pace.slower(n)
	case well:
		s.pace.faster(n)
	}
	if pause > 0 {
		s.until = time.Now().Add(min(pause, s.cfg.MaxPause))
	}
}

func (s *Sink) zip(b []byte) []byte {
	var out bytes.Buffer
	z, ok := s.zips.Get().(*gzip.Writer)
	if ok {
		z.Reset(&out)
	} else {
		z, _ = gzip.NewWriterLevel(&out, gzip.BestSpeed)
	}
	_, _ = z.Write(b) // into memory
	_ = z.Close()
	s.zips.Put(z)
	return out.Bytes()
}

// conclude turns verdicts into what Write returns.
func (s *Sink) conclude(ctx context.Context, verdicts []verdict) ([]sink.Result, error) {
	results := make([]sink.Result, len(verdicts))
	known, retries, why := 0, 0, ""
	for i, v := range verdicts {
		results[i] = v.Result
		if !v.Retry {
			known++
			continue
		}
		if retries++; why == "" {
			why = v.why
		}
	}
	if known < len(verdicts) && ctx.Err() != nil {
		return nil, fmt.Errorf("write results: %w", ctx.Err())
	}
	if retries > 0 && known == 0 {
		return nil, fmt.Errorf("write results: %s", why)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if why != "" && s.why == "" {
		s.cfg.Log.Warn("opensearch puts results off", zap.Int("documents", retries), zap.Int("of", len(verdicts)), zap.String("reason", why))
	}
	s.why = why
	return results, nil
}

// Pace returns how many documents a request may carry now, and how long the
// next Write waits because the server asked for it.
func (s *Sink) Pace() (docs int, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pace.now, max(time.Until(s.until), 0)
}

// Close waits for the Writes under way and closes the client.
func (s *Sink) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
	if was {
		return nil
	}
	return s.client.Close()
}
