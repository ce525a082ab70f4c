package natsconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrDenied says that the user may not publish or subscribe to a subject that
// the log needs.
var ErrDenied = errors.New("NATS denies it")

// Denied is err, or an ErrDenied if the request failed because the server
// denied it: the server says so apart from the request, which is then not
// answered. before is nc.LastError() of before the request; about are texts
// that the denied subject must contain, all of them. A denied subscription to
// the answers' inbox concerns every request.
func Denied(nc *nats.Conn, before, err error, about ...string) error {
	said := nc.LastError()
	if err == nil || said == nil || errors.Is(said, before) || !errors.Is(said, nats.ErrPermissionViolation) {
		return err
	}
	m := violation.FindStringSubmatch(said.Error())
	if m == nil {
		return err
	}
	verb, subject := "publish to", m[2]
	switch m[1] {
	case "Publish to":
		for _, text := range about {
			if !strings.Contains(subject, text) {
				return err
			}
		}
	case "Publish with Reply of":
		verb = "publish with answers to"
	case "Subscription to":
		inbox := nc.Opts.InboxPrefix
		if inbox == "" {
			inbox = strings.TrimSuffix(nats.InboxPrefix, ".")
		}
		if !strings.HasPrefix(subject, inbox+".") {
			return err
		}
		verb = "subscribe to"
	}
	return fmt.Errorf("the user may not %s %s: extend its permissions: %w", verb, subject, ErrDenied)
}

var violation = regexp.MustCompile(`Violation for (Publish to|Publish with Reply of|Subscription to) "([^"]+)"`)

// explain says what an error of connecting, or of the first request, means and
// what to do.
func (c *Config) explain(err error) string {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		network   net.Error
		path      *fs.PathError
	)
	switch {
	case errors.Is(err, ErrDenied):
		return "the user lacks a permission"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		switch {
		case c.Domain != "":
			return fmt.Sprintf("no JetStream answers in the domain %q: correct the domain, or connect the server that has it", c.Domain)
		case c.APIPrefix != "":
			return fmt.Sprintf("no JetStream answers below %q: correct the API prefix, or export and import the other account's API", c.APIPrefix)
		}
		return "it is not enabled on the server: enable it (jetstream {}), or set the domain that has it"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return "it is not enabled for this account: enable it there, or use another account"
	case errors.As(err, &path):
		return "a file cannot be read: correct its path or permissions"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: start the server, or correct the address"
	case errors.As(err, &dns):
		return fmt.Sprintf("the host name %s is not known: correct the address", dns.Name)
	case errors.As(err, &authority):
		return "the server's TLS certificate is of an authority that is not trusted: give the authority's certificate as the CA file"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the server's TLS certificate is valid from %v to %v: renew it, or correct this machine's clock",
			invalid.Cert.NotBefore.Format(time.DateTime), invalid.Cert.NotAfter.Format(time.DateTime))
	case errors.As(err, &host):
		return fmt.Sprintf("the server's TLS certificate is not for %s: connect by a name that it is for, or set the TLS server name", host.Host)
	case errors.As(err, &record):
		return "the server does not begin with TLS: turn the TLS handshake first off"
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"), strings.Contains(err.Error(), "closed by remote after TLS handshake"):
		return "the server refuses the TLS connection: give the client certificate and key that it asks for"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server has no TLS: turn TLS off here, or on there"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return "the login has expired: renew the credentials"
	case errors.Is(err, nats.ErrAuthRevoked):
		return "the login is revoked: get new credentials"
	case errors.Is(err, nats.ErrAuthorization):
		return c.explainRefusal()
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return "the server knows no NKeys or JWTs: give another way to log in, or set them up there"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("no answer within %v: check the address, firewalls, and whether the server asks for the TLS handshake first", c.timeout())
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the server ended the connection: check that the address is a NATS server's, and whether it asks for TLS"
	}
	return "check the settings of the connection"
}

// explainRefusal looks into the credentials: the server does not say what it
// did not like.
func (c *Config) explainRefusal() string {
	switch {
	case !c.Credentials.IsZero():
		if jwt, key, err := c.userJWT(); err == nil {
			key.Wipe()
			if at := expiry(jwt); !at.IsZero() && at.Before(time.Now()) {
				return fmt.Sprintf("the credentials (%v) expired at %s: renew them", c.Credentials, at.UTC().Format(time.RFC3339))
			}
		}
		return fmt.Sprintf("the server refuses the credentials (%v): check that they are of an account of this server, and not revoked", c.Credentials)
	case !c.NKeySeed.IsZero():
		return fmt.Sprintf("the server refuses the NKey (%v): add its public key to the server's users", c.NKeySeed)
	case c.User != "":
		return fmt.Sprintf("the server refuses the user %s: correct the user or the password", c.User)
	case !c.Token.IsZero():
		return fmt.Sprintf("the server refuses the token (%v): correct it", c.Token)
	}
	return "the server wants a login, or refuses the one in the URL: give credentials, an NKey, a user or a token"
}

// expiry of a JWT, zero if it has none. It is not verified: the server has done that.
func expiry(jwt string) time.Time {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	var claims struct {
		Expires int64 `json:"exp"`
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(body, &claims) != nil || claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
}
