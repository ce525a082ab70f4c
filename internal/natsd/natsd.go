package natsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// MaxPayload is the greatest message that the server takes.
const MaxPayload = 8 << 20

// storeLimit is what streams may reserve together. JetStream's own default is
// 75% of the free disk, and reservations are the sum of the streams' limits: a
// log of 64 partitions of 1 GiB would not start on a small disk that it will
// never fill. A full disk is refused when it is met.
const storeLimit = 1 << 50

// Config says how to run the server.
type Config struct {
	// Dir is the folder of the streams. Required.
	Dir string
	// Logger takes the server's log; nil logs nothing. The server's notices
	// are debug messages here.
	Logger *zap.Logger
	// Listen is host:port to serve clients of other processes, all of them, for
	// no login is asked for; port 0 chooses one. Without a host it is every
	// address of the machine. Empty: no socket at all, connections are in-process.
	Listen string
	// SyncInterval is how often writes are fsynced. 0, the default, is on
	// every write, before its acknowledgement. Anything else may lose
	// acknowledged messages on power failure: for tests and benchmarks.
	SyncInterval time.Duration
}

// Validate tells what is wrong with c.
func (c Config) Validate() error {
	if c.Dir == "" {
		return errors.New("natsd: no folder given")
	}
	if c.SyncInterval < 0 {
		return fmt.Errorf("natsd: sync interval %v is negative", c.SyncInterval)
	}
	if c.Listen != "" {
		if _, _, err := splitListen(c.Listen); err != nil {
			return err
		}
	}
	return nil
}

func splitListen(listen string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("natsd: listen address %q: %w", listen, err)
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("natsd: listen address %q: no port", listen)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// Server is a running server.
type Server struct {
	srv *server.Server
	log *zap.Logger

	mu     sync.Mutex
	conns  []*nats.Conn
	closed bool
}

// Start starts a server and returns when it serves: streams are recovered.
func Start(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	log := cfg.Logger
	if log == nil {
		log = zap.NewNop()
	}
	opts := &server.Options{
		ServerName:         "tripgrid",
		JetStream:          true,
		StoreDir:           cfg.Dir,
		JetStreamMaxStore:  storeLimit,
		JetStreamMaxMemory: 256 << 20,
		MaxPayload:         MaxPayload,
		SyncInterval:       cfg.SyncInterval,
		SyncAlways:         cfg.SyncInterval == 0,
		NoSigs:             true,
		NoSystemAccount:    true,
		DontListen:         cfg.Listen == "",
	}
	if cfg.Listen != "" {
		opts.Host, opts.Port, _ = splitListen(cfg.Listen)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("natsd: create server: %w", err)
	}
	bridge := &bridge{log: log.Named("nats").Sugar()}
	srv.SetLoggerV2(bridge, false, false, false)
	srv.Start()
	if err := awaitReady(srv, bridge); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("natsd: start server in %s: %w", cfg.Dir, err)
	}
	s := &Server{srv: srv, log: log}
	if cfg.Listen != "" {
		s.sayListening(opts.Host)
	}
	return s, nil
}

// sayListening says where clients of other processes find the server, and who
// else does: it asks nobody for a password.
func (s *Server) sayListening(host string) {
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		s.log.Info("NATS listens", zap.String("url", s.URL()))
		return
	}
	s.log.Warn("NATS listens, and serves everybody who reaches it without a login: listen on 127.0.0.1 if only this machine needs it",
		zap.String("url", s.URL()), zap.String("host", host))
}

// awaitReady polls: a server that fails in Start says so in its log alone.
func awaitReady(srv *server.Server, bridge *bridge) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		if fatal := bridge.failure(); fatal != "" {
			return errors.New(fatal)
		}
		if srv.ReadyForConnections(20 * time.Millisecond) {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("not ready after 30 s")
		}
	}
	if !srv.JetStreamEnabled() {
		return errors.New("JetStream is not enabled")
	}
	return nil
}

// URL is the address for clients of other processes; empty without a socket.
// A server that listens on every address is named by the loopback one.
func (s *Server) URL() string {
	addr, ok := s.srv.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// InProcessConn is a connection without a socket, for a client that connects
// as it does to external servers (nats.InProcessConnProvider). The client
// closes it, before the server is closed.
func (s *Server) InProcessConn() (net.Conn, error) { return s.srv.InProcessConn() }

// Connect returns a new in-process connection. Close closes it, if nobody did.
func (s *Server) Connect(name string) (*nats.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("natsd: server is closed")
	}
	log := s.log.Named("nats").With(zap.String("connection", name))
	nc, err := nats.Connect("", nats.InProcessServer(s.srv), nats.Name(name),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0),
		// What cannot be sent now must fail now: its sender decides about it.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection lost", zap.Error(err))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("connection error", zap.String("subject", subject), zap.Error(err))
		}))
	if err != nil {
		return nil, fmt.Errorf("natsd: connect %s: %w", name, err)
	}
	s.conns = append(s.conns, nc)
	return nc, nil
}

// Close closes the connections, then the server, and waits for its end. It
// may be called again.
func (s *Server) Close() {
	s.mu.Lock()
	conns := s.conns
	s.conns, s.closed = nil, true
	s.mu.Unlock()
	for _, nc := range conns {
		nc.Close()
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Run serves until ctx is done, then closes the server.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.Close()
	return nil
}

// bridge is the server's logger. Fatal ones are kept for Start: the server
// only logs them.
type bridge struct {
	log *zap.SugaredLogger

	mu    sync.Mutex
	fatal string
}

func (b *bridge) failure() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fatal
}

func (b *bridge) Fatalf(format string, v ...any) {
	b.mu.Lock()
	b.fatal = fmt.Sprintf(format, v...)
	b.mu.Unlock()
	b.log.Errorf(format, v...)
}

func (b *bridge) Errorf(format string, v ...any)  { b.log.Errorf(format, v...) }
func (b *bridge) Warnf(format string, v ...any)   { b.log.Warnf(format, v...) }
func (b *bridge) Noticef(format string, v ...any) { b.log.Debugf(format, v...) }
func (b *bridge) Debugf(format string, v ...any)  { b.log.Debugf(format, v...) }
func (b *bridge) Tracef(format string, v ...any)  { b.log.Debugf(format, v...) }
