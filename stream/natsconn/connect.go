package natsconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	// LeastPayload is the smallest max_payload of a server that does: twice the
	// largest frame.
	LeastPayload = 1 << 20
	leastMajor   = 2
	leastMinor   = 10

	pingInterval = 10 * time.Second // twice without an answer: lost
)

// Connect connects to a server and checks that it does for the log. The caller
// closes the connection. Errors say in one sentence what to do.
func Connect(ctx context.Context, cfg Config) (*nats.Conn, jetstream.JetStream, error) {
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	d := &dialer{ctx: ctx, timeout: cfg.timeout()}
	opts, err := cfg.options(d)
	if err != nil {
		return nil, nil, err
	}
	var urls string
	if cfg.Server == nil {
		urls = cfg.URLs
	}
	nc, err := nats.Connect(urls, opts...)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("connect to NATS at %s: %w", cfg.where(), ctx.Err())
		}
		if failed := d.failure(); errors.Is(err, nats.ErrNoServers) && failed != nil {
			err = failed
		}
		return nil, nil, fmt.Errorf("connect to NATS at %s: %s (%w)", cfg.where(), cfg.explain(err), err)
	}
	d.connected()
	js, err := cfg.jetStream(nc)
	if err == nil {
		err = cfg.check(ctx, nc, js)
	}
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

func (c *Config) jetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	switch {
	case c.Domain != "":
		return jetstream.NewWithDomain(nc, c.Domain)
	case c.APIPrefix != "":
		return jetstream.NewWithAPIPrefix(nc, c.APIPrefix)
	}
	return jetstream.New(nc)
}

func (c *Config) options(d *dialer) ([]nats.Option, error) {
	name := c.Name
	if name == "" {
		name = "tripgrid"
	}
	opts := []nats.Option{
		nats.Name(name), nats.Timeout(c.timeout()), nats.SetCustomDialer(d),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
	}
	if c.Server != nil {
		opts = append(opts, nats.InProcessServer(c.Server), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0))
	} else {
		opts = append(opts, nats.ReconnectWait(500*time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, 500*time.Millisecond))
	}
	if c.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	tlsConfig, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	if c.TLS.set() {
		opts = append(opts, nats.Secure(tlsConfig))
	}
	if c.TLS.HandshakeFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	login, err := c.login()
	if err != nil {
		return nil, err
	}
	opts = append(opts, login...)
	return append(opts, c.handlers(name)...), nil
}

// handlers log transitions: one line when the connection is lost, one with the
// reason why it stays so, one when it is back, one for each missing permission.
func (c *Config) handlers(name string) []nats.Option {
	log := c.Logger
	if log == nil {
		log = zap.NewNop()
	}
	log = log.With(zap.String("connection", name))
	var mu sync.Mutex
	var reason string // why the last attempt of this outage failed
	said := make(map[string]bool)
	return []nats.Option{
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if nc.IsClosed() || nc.IsDraining() {
				return
			}
			log.Warn("the connection to NATS is lost, it is made again as soon as possible",
				zap.String("servers", c.where()), zap.Error(err))
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			why := c.explain(err)
			mu.Lock()
			again := why == reason
			reason = why
			mu.Unlock()
			if !again {
				log.Warn("NATS cannot be reached: "+why, zap.String("servers", c.where()), zap.Error(err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			mu.Lock()
			reason = ""
			mu.Unlock()
			log.Info("connected to NATS again", zap.String("server", connectedTo(nc)))
		}),
		nats.LameDuckModeHandler(func(nc *nats.Conn) {
			log.Info("the NATS server is about to stop, another one is looked for", zap.String("server", connectedTo(nc)))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				mu.Lock()
				again := said[err.Error()] || len(said) >= 100
				said[err.Error()] = true
				mu.Unlock()
				if !again {
					log.Error("NATS denies what this program needs: extend the user's permissions", zap.Error(err))
				}
				return
			}
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS reports an error", zap.String("subject", subject), zap.Error(err))
		}),
	}
}

// check looks for what would fail later.
func (c *Config) check(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) error {
	var major, minor int
	version := nc.ConnectedServerVersion()
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil ||
		major < leastMajor || major == leastMajor && minor < leastMinor {
		return fmt.Errorf("the NATS server at %s has version %q, which loses what identifies the log: upgrade it to %d.%d or newer",
			c.where(), version, leastMajor, leastMinor)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	before := nc.LastError()
	info, err := js.AccountInfo(ctx)
	if err != nil {
		err = Denied(nc, before, err, c.api())
		return fmt.Errorf("JetStream at %s: %s (%w)", c.where(), c.explain(err), err)
	}
	// 0 is none, -1 no limit; with tiers, the account's own limit says nothing.
	store := info.Limits.MaxStore
	for _, tier := range info.Tiers {
		if tier.Limits.MaxStore != 0 {
			store = tier.Limits.MaxStore
		}
	}
	if store == 0 {
		return fmt.Errorf("JetStream at %s gives this account no file storage, which the log needs: raise the account's limit of disk storage", c.where())
	}
	// Not before: a user's own limit is announced after the server's.
	return CheckPayload(nc)
}

// api is what requests to JetStream begin with.
func (c *Config) api() string {
	switch {
	case c.Domain != "":
		return "$JS." + c.Domain + ".API."
	case c.APIPrefix != "":
		return strings.TrimSuffix(c.APIPrefix, ".") + "."
	}
	return jetstream.DefaultAPIPrefix
}

// CheckPayload tells whether the server takes messages as large as the log's.
func CheckPayload(nc *nats.Conn) error {
	if limit := nc.MaxPayload(); limit < LeastPayload {
		return fmt.Errorf("the NATS server at %s takes messages of at most %d bytes, the log needs %d: raise max_payload of the server, or the payload limit of the user or account",
			connectedTo(nc), limit, LeastPayload)
	}
	return nil
}

// connectedTo is the server's URL without what logs in.
func connectedTo(nc *nats.Conn) string {
	u, err := url.Parse(nc.ConnectedUrl())
	if err != nil {
		return nc.ConnectedAddr()
	}
	return bare(u)
}

// dialer keeps why dialling failed, which the client replaces by "no servers".
type dialer struct {
	timeout time.Duration

	mu   sync.Mutex
	ctx  context.Context // until connected
	last error
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	ctx := d.ctx
	d.mu.Unlock()
	conn, err := (&net.Dialer{Timeout: d.timeout}).DialContext(ctx, network, address)
	if err != nil {
		d.mu.Lock()
		d.last = err
		d.mu.Unlock()
	}
	return conn, err
}

func (d *dialer) connected() {
	d.mu.Lock()
	d.ctx = context.Background()
	d.mu.Unlock()
}

func (d *dialer) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}
