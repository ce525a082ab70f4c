package opensearch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	osclient "github.com/opensearch-project/opensearch-go/v4"
	"github.com/opensearch-project/opensearch-go/v4/signer"
	"github.com/opensearch-project/opensearch-go/v4/signer/awsv2"
)

// Config says which cluster, and who we are there.
type Config struct {
	// Addresses are the cluster's nodes, or its one endpoint: "https://host:9200".
	Addresses []string
	// Username and Password are for basic authentication; empty for none.
	Username, Password string
	// CAFile is a PEM file with the authorities that are trusted, besides the
	// system's, to vouch for the cluster; empty for the system's alone.
	CAFile string
	// SigV4 signs requests with the credentials of AWS's default chain. It is
	// the service: "es" for a domain, "aoss" for a serverless collection.
	SigV4 string
	// Region is for SigV4; empty for that of the default chain.
	Region string
	// Timeout is the longest that one request may take; 30 s.
	Timeout time.Duration
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if len(c.Addresses) == 0 {
		return errors.New("opensearch: no address: give the endpoint, like https://host:9200")
	}
	for _, a := range c.Addresses {
		u, err := url.Parse(a)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("opensearch: %q is no address: write it like https://host:9200", redact(a))
		}
		if u.User != nil {
			return fmt.Errorf("opensearch: the address %s holds a password: give user and password as settings of their own", u.Redacted())
		}
		if c.SigV4 != "" && u.Scheme != "https" && !loopback(u.Hostname()) {
			return fmt.Errorf("opensearch: %s is not encrypted: signed requests want https", a)
		}
	}
	switch {
	case c.SigV4 != "" && c.SigV4 != "es" && c.SigV4 != "aoss":
		return fmt.Errorf("opensearch: %q is no service to sign for: use es (a domain) or aoss (serverless)", c.SigV4)
	case c.SigV4 != "" && c.Username != "":
		return errors.New("opensearch: both a user and SigV4 are set: choose one way to authenticate")
	case c.Username == "" && c.Password != "":
		return errors.New("opensearch: a password is set but no user")
	case c.Timeout < 0:
		return errors.New("opensearch: the time-out is negative")
	}
	return nil
}

func redact(a string) string {
	if u, err := url.Parse(a); err == nil {
		return u.Redacted()
	}
	return "(unreadable)"
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Client is a connection to one cluster. Its methods may be called from any
// goroutine.
type Client struct {
	cfg       Config
	name      string // of what is there: "opensearch"
	api       *osclient.Client
	transport *http.Transport
	stop      context.CancelFunc
}

// Connect makes a client. It reads the credentials' configuration, but does not
// talk to the cluster: [Client.Ping] does.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	roots, err := trusted(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	sign, err := signerOf(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	off := false
	api, err := osclient.NewClient(osclient.Config{
		Addresses: cfg.Addresses, Username: cfg.Username, Password: cfg.Password,
		Transport: transport, Signer: sign, Context: background,
		// Trying again is Pending's, which knows what is newest by then.
		DisableRetry: true,
		// Their probes of / and /_cluster/health are refused by serverless
		// collections and by narrow permissions.
		HealthCheckMaxRetries: -1, MaxRetryClusterHealth: -1, DiscoverNodesOnStart: &off,
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("opensearch: %w", err)
	}
	return &Client{cfg: cfg, name: "opensearch", api: api, transport: transport, stop: stop}, nil
}

func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("opensearch: read the CA file: %w: correct the path or its permissions", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("opensearch: the CA file %s holds no certificate: name a PEM file", file)
	}
	return pool, nil
}

func signerOf(ctx context.Context, cfg *Config) (signer.Signer, error) {
	if cfg.SigV4 == "" {
		return nil, nil
	}
	var opts []func(*config.LoadOptions) error
	if cfg.Region != "" {
		opts = append(opts, config.WithRegion(cfg.Region))
	}
	aws, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("opensearch: read the AWS configuration: %w: check AWS_PROFILE, AWS_CA_BUNDLE and its files", err)
	}
	if aws.Region == "" {
		return nil, errors.New("opensearch: no AWS region: set it, or AWS_REGION")
	}
	cfg.Region = aws.Region
	s, err := awsv2.NewSignerWithService(aws, cfg.SigV4)
	if err != nil {
		return nil, fmt.Errorf("opensearch: %w", err)
	}
	return s, nil
}

// Close ends the connections.
func (c *Client) Close() error {
	c.stop()
	err := c.api.Close()
	c.transport.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("close opensearch: %w", err)
	}
	return nil
}
