package natsconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
)

// Config says where the server is and who connects.
type Config struct {
	// URLs of the servers of one cluster, with commas between: nats://host:4222,
	// tls://, ws:// or wss://; without a scheme nats:// is meant. One is enough,
	// the servers name the others. Empty: Server is to be set.
	URLs string
	// Server is an embedded server to connect to in process, instead of URLs.
	Server nats.InProcessConnProvider
	// Name is what the server's monitoring calls the connection; "tripgrid" if empty.
	Name string

	// At most one way to log in is given, here or in the URLs.

	// Credentials is a user's JWT and its key, as nsc writes them (.creds).
	Credentials Secret
	// NKeySeed is a user's key alone, "SU...".
	NKeySeed Secret
	User     string
	Password Secret
	Token    Secret

	TLS TLS

	// Domain is the JetStream domain, if it is not the connected server's own.
	Domain string
	// APIPrefix is where the JetStream API of another account was imported, for
	// instance "JS.main.API". Not together with Domain.
	APIPrefix string
	// InboxPrefix is where answers are received, "_INBOX" if empty.
	InboxPrefix string

	// Timeout is for the connection to one server, and for its first answer.
	// 5 s if 0.
	Timeout time.Duration
	// Logger is told when the connection is lost and made again; nil: nobody.
	Logger *zap.Logger
}

// TLS is used if any of it is set, if a URL begins with tls:// or wss://, or if
// the server asks for it.
type TLS struct {
	Enabled bool
	// CAFile has the certificates to trust, PEM. Empty: those of the system.
	CAFile string
	// CertFile and KeyFile are the client's certificate and key, PEM.
	CertFile, KeyFile string
	// ServerName is what the server's certificate must be for, if not the URL's host.
	ServerName string
	// HandshakeFirst is for servers with handshake_first: TLS before all else.
	HandshakeFirst bool
}

func (t TLS) set() bool { return t != TLS{} }

var validSubject = regexp.MustCompile(`^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*$`)

// Validate tells what is wrong with c. It reads the files that c names.
func (c *Config) Validate() error {
	if c.Server != nil {
		if c.URLs != "" {
			return errors.New("nats: both an embedded server and URLs are given")
		}
	} else if _, err := c.servers(); err != nil {
		return err
	}
	var ways []string
	for _, w := range []struct {
		what  string
		given bool
	}{
		{"credentials", !c.Credentials.IsZero()}, {"an NKey seed", !c.NKeySeed.IsZero()},
		{"a user", c.User != "" || !c.Password.IsZero()}, {"a token", !c.Token.IsZero()},
	} {
		if w.given {
			ways = append(ways, w.what)
		}
	}
	if len(ways) > 1 {
		return fmt.Errorf("nats: %s are given: log in one way", strings.Join(ways, " and "))
	}
	if c.User == "" && !c.Password.IsZero() {
		return errors.New("nats: a password is given without a user")
	}
	for what, s := range map[string]Secret{"the credentials": c.Credentials, "the NKey seed": c.NKeySeed, "the password": c.Password, "the token": c.Token} {
		if err := s.validate(what); err != nil {
			return err
		}
	}
	if !c.Credentials.IsZero() {
		if _, _, err := c.userJWT(); err != nil {
			return err
		}
	}
	if !c.NKeySeed.IsZero() {
		if _, err := c.nkey(); err != nil {
			return err
		}
	}
	if c.Domain != "" && c.APIPrefix != "" {
		return fmt.Errorf("nats: both a JetStream domain (%s) and an API prefix (%s) are given: give one", c.Domain, c.APIPrefix)
	}
	if c.Domain != "" && (!validSubject.MatchString(c.Domain) || strings.Contains(c.Domain, ".")) {
		return fmt.Errorf("nats: %q is no JetStream domain: use letters, digits, _ and -", c.Domain)
	}
	for what, s := range map[string]string{"API prefix": strings.TrimSuffix(c.APIPrefix, "."), "inbox prefix": c.InboxPrefix} {
		if s != "" && !validSubject.MatchString(s) {
			return fmt.Errorf("nats: %q is no %s: use letters, digits, _, - and $, with dots between", s, what)
		}
	}
	if c.Timeout < 0 {
		return fmt.Errorf("nats: the time-out %v is negative", c.Timeout)
	}
	_, err := c.TLS.config()
	return err
}

// servers are the URLs, parsed.
func (c *Config) servers() ([]*url.URL, error) {
	var all []*url.URL
	for text := range strings.SplitSeq(c.URLs, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			// url.Error repeats the URL, with its password.
			var parse *url.Error
			if errors.As(err, &parse) {
				err = parse.Err
			}
			return nil, fmt.Errorf("nats: URL %d of the list cannot be read: %w", len(all)+1, err)
		}
		if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return nil, fmt.Errorf("nats: the URL %s begins with %s://: use nats://, tls://, ws:// or wss://", bare(u), u.Scheme)
		}
		if u.Hostname() == "" {
			return nil, fmt.Errorf("nats: the URL %s has no host", bare(u))
		}
		all = append(all, u)
	}
	if len(all) == 0 {
		return nil, errors.New("nats: no URL of a server is given: for instance nats://127.0.0.1:4222")
	}
	return all, nil
}

// bare is u without what logs in: a token stands where users do.
func bare(u *url.URL) string {
	c := *u
	c.User = nil
	return c.String()
}

// where names the servers for messages.
func (c *Config) where() string {
	if c.Server != nil {
		return "the embedded server"
	}
	servers, err := c.servers()
	if err != nil {
		return "the configured URLs"
	}
	var names []string
	for _, u := range servers {
		names = append(names, bare(u))
	}
	return strings.Join(names, ", ")
}

func (c *Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return 5 * time.Second
	}
	return c.Timeout
}

func (t TLS) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("nats: read the TLS certificates to trust: %w: correct the path or its permissions", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("nats: the file %s has no certificates to trust: name one with PEM blocks CERTIFICATE", t.CAFile)
		}
	}
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		return nil, errors.New("nats: of the client's TLS certificate and key only one is given: give both")
	case t.CertFile != "":
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats: read the client's TLS certificate %s and key %s, correct the paths or the files: %w", t.CertFile, t.KeyFile, err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// userJWT is what the credentials hold.
func (c *Config) userJWT() (jwt string, key nkeys.KeyPair, err error) {
	text, err := c.Credentials.read()
	if err == nil {
		jwt, err = nkeys.ParseDecoratedJWT([]byte(text))
	}
	if err == nil {
		key, err = nkeys.ParseDecoratedUserNKey([]byte(text))
	}
	if err != nil {
		return "", nil, fmt.Errorf("nats: the credentials (%v) cannot be read, they have to hold a user's JWT and key as nsc writes them: %w", c.Credentials, err)
	}
	return jwt, key, nil
}

func (c *Config) nkey() (nkeys.KeyPair, error) {
	text, err := c.NKeySeed.read()
	if err != nil {
		return nil, fmt.Errorf("nats: read the NKey seed: %w", err)
	}
	key, err := nkeys.ParseDecoratedNKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("nats: the NKey seed (%v) is none: a user's begins with SU: %w", c.NKeySeed, err)
	}
	return key, nil
}

// login are the options that say who connects. Files are read at each connect.
func (c *Config) login() ([]nats.Option, error) {
	switch {
	case !c.Credentials.IsZero():
		return []nats.Option{nats.UserJWT(func() (string, error) {
			jwt, key, err := c.userJWT()
			if err == nil {
				key.Wipe()
			}
			return jwt, err
		}, func(nonce []byte) ([]byte, error) {
			_, key, err := c.userJWT()
			if err != nil {
				return nil, err
			}
			defer key.Wipe()
			return key.Sign(nonce)
		})}, nil
	case !c.NKeySeed.IsZero():
		key, err := c.nkey()
		if err != nil {
			return nil, err
		}
		defer key.Wipe()
		public, err := key.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("nats: the NKey seed (%v): %w", c.NKeySeed, err)
		}
		return []nats.Option{nats.Nkey(public, func(nonce []byte) ([]byte, error) {
			key, err := c.nkey()
			if err != nil {
				return nil, err
			}
			defer key.Wipe()
			return key.Sign(nonce)
		})}, nil
	case c.User != "":
		return []nats.Option{nats.UserInfoHandler(func() (string, string) {
			// Unreadable for a moment is as good as wrong: the next try reads again.
			password, _ := c.Password.read()
			return c.User, password
		})}, nil
	case !c.Token.IsZero():
		return []nats.Option{nats.TokenHandler(func() string {
			token, _ := c.Token.read()
			return token
		})}, nil
	}
	return nil, nil
}
