package localkinesis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Config tells a Server where to keep its data and where to listen.
type Config struct {
	// Dir is the data folder. It is created when absent, and locked: one process at a time may have it open.
	Dir string
	// Addr is the listen address, "127.0.0.1:0" when empty.
	Addr string
	// Region and AccountID stand in ARNs: "us-east-1" and "000000000000" when empty.
	Region, AccountID string
	// Logger gets transitions, such as a torn tail being cut off; nil logs nothing.
	Logger *zap.Logger
}

var (
	regionPattern  = regexp.MustCompile(`^[a-z0-9-]+$`)
	accountPattern = regexp.MustCompile(`^\d{12}$`)
)

// Validate reports the first setting that cannot be used.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("localkinesis: Dir is empty; name the data folder")
	case c.Region != "" && !regionPattern.MatchString(c.Region):
		return fmt.Errorf("localkinesis: Region %q is no region's name; use one like us-east-1", c.Region)
	case c.AccountID != "" && !accountPattern.MatchString(c.AccountID):
		return fmt.Errorf("localkinesis: AccountID %q is not made of 12 digits; use one like 000000000000", c.AccountID)
	}
	return nil
}

func (c Config) withDefaults() Config {
	set := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	set(&c.Addr, "127.0.0.1:0")
	set(&c.Region, "us-east-1")
	set(&c.AccountID, "000000000000")
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// Server is a Kinesis endpoint. Open makes it, Run serves it.
type Server struct {
	store *store
	log   *zap.Logger
	tune  tuning
	ln    net.Listener
	http  *http.Server
	ran   atomic.Bool

	connMu   sync.Mutex
	fresh    map[net.Conn]bool // connections that have not asked anything yet
	draining bool
	conns    sync.WaitGroup // all connections
}

// drainBudget is how long Run lets calls finish when its context has ended.
const drainBudget = 5 * time.Second

// Open reads the data folder, cutting torn tails off, and binds the listener. Connections are accepted from now on, but
// answered by Run only. What Open takes, Run gives back: call it even if only with a context that has ended. The error is
// an ErrCorrupt if a file is damaged where a crash cannot have damaged it.
func Open(cfg Config) (*Server, error) { return open(cfg, defaultTuning()) }

func open(cfg Config, tune tuning) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	st, err := openStore(cfg, tune, cfg.Logger)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("localkinesis: listen: %w", err), st.close())
	}
	s := &Server{store: st, log: cfg.Logger, tune: tune, ln: ln, fresh: map[net.Conn]bool{}}
	// No time-outs: connections are kept alive for as long as clients want them.
	s.http = &http.Server{
		Handler:   http.HandlerFunc(s.serve),
		ConnState: s.connState,
		ErrorLog:  zap.NewStdLog(cfg.Logger),
	}
	return s, nil
}

// Endpoint is the URL of the server, http://HOST:PORT.
func (s *Server) Endpoint() string { return "http://" + s.ln.Addr().String() }

// Run serves until ctx ends. Then it lets calls finish for up to 5 seconds, makes everything durable and closes the files
// and connections; nothing of the server is left when it returns. The error is nil if that went well. It may be called
// once.
func (s *Server) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("localkinesis: Run was called twice; open the folder again instead")
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.ln) }()
	var err error
	select {
	case <-ctx.Done():
		err = s.drain()
		if served := <-served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("localkinesis: serve: %w", served))
		}
	case err = <-served:
		err = errors.Join(fmt.Errorf("localkinesis: serve: %w", err), s.drain())
	}
	return errors.Join(err, s.store.close())
}

// drain ends the serving.
func (s *Server) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainBudget)
	defer cancel()
	s.http.SetKeepAlivesEnabled(false)
	// Shutdown would wait for connections that a client opened in reserve.
	s.connMu.Lock()
	s.draining = true
	for c := range s.fresh {
		_ = c.Close()
	}
	s.connMu.Unlock()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("localkinesis: calls did not end within %s: %w", drainBudget, err), s.http.Close())
	}
	s.conns.Wait()
	return err
}

// connState keeps the account of connections.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	s.connMu.Lock()
	defer s.connMu.Unlock()
	switch state {
	case http.StateNew:
		s.conns.Add(1)
		s.fresh[c] = true
		if s.draining {
			_ = c.Close()
		}
	case http.StateActive:
		delete(s.fresh, c)
	case http.StateClosed, http.StateHijacked:
		delete(s.fresh, c)
		s.conns.Done()
	}
}
