package opensearch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
)

// explainTransport makes one sentence of a request that got no answer.
func (c *Client) explainTransport(err error) error {
	at := c.who()
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		dns       *net.DNSError
		timeout   net.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", at, context.Canceled)
	case errors.As(err, &authority):
		return fmt.Errorf("%s shows a certificate of an authority that is not trusted here: name its CA file in the settings (%w)", at, err)
	case errors.As(err, &host):
		return fmt.Errorf("%s shows a certificate for another name: use the name in the certificate (%w)", at, host)
	case errors.As(err, &invalid):
		return fmt.Errorf("%s shows a certificate that is not valid: renew it, or set this machine's clock (%w)", at, invalid)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%s does not speak TLS: write the address with http:// or turn TLS on there", at)
	case strings.Contains(err.Error(), "credentials"):
		why, _, _ := strings.Cut(err.Error(), ", operation error ec2imds") // the last place where they were looked for
		return explained{fmt.Sprintf("%s: no AWS credentials to sign with: give this machine a role, or set AWS_PROFILE (%s)", at, why), err}
	case errors.As(err, &dns):
		return fmt.Errorf("opensearch: no such host as %s: check the address", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return explained{at + " refuses connections: check that it runs and the port is right", syscall.ECONNREFUSED}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return explained{at + " did not answer in time: check that this machine may reach it (security group, proxy), or its load", context.DeadlineExceeded}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%s broke the connection off: check the address, and whether it begins with http:// or https:// (%w)", at, err)
	}
	return fmt.Errorf("%s cannot be reached: check the address and the network (%w)", at, err)
}

// explained is an error in one sentence; what it is to the program is below it.
type explained struct {
	text string
	err  error
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.err }

// serverError is how OpenSearch and AWS's front of it say what is wrong.
type serverError struct {
	Type   string       `json:"type"`
	Reason string       `json:"reason"`
	Cause  *serverError `json:"caused_by"`
}

// String is the reason, and the deepest cause of it, which is the one that names
// the field.
func (e *serverError) String() string {
	s := e.Type + ": " + e.Reason
	deepest := e
	for deepest.Cause != nil && deepest.Cause.Reason != "" {
		deepest = deepest.Cause
	}
	if deepest != e && !strings.Contains(e.Reason, deepest.Reason) {
		s += " (" + deepest.Type + ": " + deepest.Reason + ")"
	}
	return s
}

// reasonOf finds the reason in the body of a refusal.
func reasonOf(a answer) string {
	var e struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"` // Dashboards; "Message": AWS
	}
	if json.Unmarshal(a.body, &e) == nil {
		var full serverError
		var text string
		switch {
		case json.Unmarshal(e.Error, &full) == nil && full.Type != "":
			return full.String()
		case e.Message != "":
			return e.Message
		case json.Unmarshal(e.Error, &text) == nil && text != "":
			return text
		}
	}
	s := strings.Join(strings.Fields(string(a.body)), " ")
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	if s == "" {
		s = http.StatusText(a.status)
	}
	return s
}

// permission finds the permission that a refusal says is missing:
// "indices:data/write/bulk" of the security plugin, "es:ESHttpPost" of AWS.
var permission = regexp.MustCompile(`\b(?:indices|cluster):[a-z_]+/[a-z_/]+(?:\[[a-z*]+\])?|\b(?:es|aoss):[A-Za-z]+`)

// explain makes one sentence of a refusal.
func (c *Client) explain(verb string, a answer) error {
	at, reason := c.who(), reasonOf(a)
	switch a.status {
	case http.StatusUnauthorized:
		return fmt.Errorf("%s: %s does not know us (401): check user and password, or use SigV4: %s", verb, at, reason)
	case http.StatusForbidden:
		who := "the user"
		if c.cfg.SigV4 != "" {
			who = "the role"
		}
		switch p := permission.FindString(reason); {
		case strings.Contains(reason, "signature") || strings.Contains(reason, "scoped to a valid region") || strings.Contains(reason, "security token"):
			return fmt.Errorf("%s: %s does not accept the signature (403): check region %q, service %q and the credentials: %s",
				verb, at, c.cfg.Region, c.cfg.SigV4, reason)
		case p != "":
			return fmt.Errorf("%s: %s: permission %s is missing (403): grant it to %s: %s", verb, at, p, who, reason)
		case c.serverless():
			return fmt.Errorf("%s: the collection at %s lets us in no further (403): allow %s in its data access policy: %s", verb, c.where(), who, reason)
		}
		return fmt.Errorf("%s: %s forbids it (403): check what %s may do: %s", verb, at, who, reason)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %s is overloaded (429): %s", verb, at, reason)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("%s: %s is not available (%d): %s", verb, at, a.status, reason)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fmt.Errorf("%s: what answers at %s does not know the request (%d), check that the endpoint is OpenSearch's: %s", verb, c.where(), a.status, reason)
	}
	return fmt.Errorf("%s: %s refuses it (%d): %s", verb, at, a.status, reason)
}

// retryable tells the statuses that pass by themselves.
func retryable(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500
}
