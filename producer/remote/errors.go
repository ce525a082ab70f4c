package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// permanent is an error in words for people, which no try can mend.
type permanent string

func (p permanent) Error() string { return string(p) }

const errChanged = permanent("it was changed while it was being read: start again when nobody writes it")

// errStatus is what a web server answers instead of the file.
type errStatus struct{ status int }

func (e errStatus) Error() string {
	text := fmt.Sprintf("the server answers %d %s", e.status, http.StatusText(e.status))
	switch {
	case e.status == http.StatusNotFound || e.status == http.StatusGone:
		return text + ": check the address"
	case e.status == http.StatusUnauthorized || e.status == http.StatusProxyAuthRequired:
		return text + ": it wants a user and a password, as in https://user:password@host/"
	case e.status == http.StatusForbidden:
		return text + ": check the address, as some servers say so of what is not there, and that you may read it"
	case e.status >= 500 || e.status == http.StatusTooManyRequests || e.status == http.StatusRequestTimeout:
		return text + ": try again later"
	}
	return text + " and not the file: check the address"
}

// errSilent ends a try.
type errSilent struct{ after time.Duration }

func (e errSilent) Error() string {
	return fmt.Sprintf("the server has been silent for %s: check the network, and start again", e.after)
}

// errCut says that an answer ended early, or wrong.
type errCut struct{ at, size int64 }

func (e errCut) Error() string {
	if e.size < 0 {
		return fmt.Sprintf("the connection was cut after %d bytes: check the network, and start again", e.at)
	}
	return fmt.Sprintf("the connection was cut after %d of %d bytes: check the network, and start again", e.at, e.size)
}

var errChecksum = errors.New("it fails its checksum: start again, and upload it again if that stays so")

// errRefused is what S3 says.
type errRefused struct {
	hint string // "" if it is unknown
	err  error
}

func (e errRefused) Unwrap() error { return e.err }

func (e errRefused) Error() string {
	said := e.err.Error()
	var api smithy.APIError
	var sent *smithyhttp.RequestSendError
	var op *smithy.OperationError
	switch {
	case errors.As(e.err, &api):
		said = "S3 says " + api.ErrorCode()
		if m := strings.TrimSuffix(api.ErrorMessage(), "."); m != "" {
			said += ": " + m
		}
		var request interface{ ServiceRequestID() string }
		if errors.As(e.err, &request) && request.ServiceRequestID() != "" {
			said += " (request " + request.ServiceRequestID() + ")"
		}
	case errors.As(e.err, &sent):
		said = sent.Err.Error()
	case errors.As(e.err, &op) && op.Err != nil:
		said, _, _ = strings.Cut(op.Err.Error(), ", operation error ec2imds") // the last place where credentials were looked for
	}
	if e.hint == "" {
		return said
	}
	return e.hint + " (" + said + ")"
}

// refused says what an error of S3 means. The key is "" for the bucket.
func (b *buckets) refused(err error, bucket, action, key string) error {
	resource := "arn:aws:s3:::" + bucket
	if key != "" {
		resource += "/" + key
	}
	switch code(err) {
	case "NoSuchBucket":
		return errRefused{fmt.Sprintf("there is no bucket %s: correct its name", bucket), err}
	case "NoSuchKey":
		return errRefused{"the object is gone: start again when nobody writes there", err}
	case "PreconditionFailed":
		return errChanged
	case "InvalidObjectState":
		return errRefused{"the object is archived: restore it first", err}
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId", "XAdminUserNotFound":
		return errRefused{"the credentials are wrong: check the access key, its secret and the session token", err}
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return errRefused{"the credentials have expired: renew them", err}
	case "RequestTimeTooSkewed":
		return errRefused{"this machine's clock is wrong: set it (NTP)", err}
	}
	region := header(err, "X-Amz-Bucket-Region")
	switch s := status(err); {
	case s == http.StatusPreconditionFailed:
		return errChanged
	case s == http.StatusMovedPermanently || code(err) == "AuthorizationHeaderMalformed" || s == http.StatusBadRequest && region != "":
		if region == "" {
			return errRefused{fmt.Sprintf("the bucket %s is in another region: set the region that it is in", bucket), err}
		}
		return errRefused{fmt.Sprintf("the bucket %s is in the region %s: set that region", bucket, region), err}
	case s == http.StatusForbidden || s == http.StatusUnauthorized:
		return errRefused{fmt.Sprintf("access denied: allow %s on %s", action, resource), err}
	case s == http.StatusTooManyRequests || s >= 500:
		return errRefused{"S3 is busy or failed: try again later", err}
	case s == 0 && (strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "get identity")):
		return errRefused{"there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role", err}
	}
	if code(err) == "" && status(err) != 0 {
		return permanent(fmt.Sprintf("what answers (status %d) is not S3: check the endpoint, and whether it begins with http:// or https://", status(err)))
	}
	return errRefused{"", err}
}

// code is S3's name of an error, "" if there is none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status is that of S3's answer, 0 without one.
func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil && r.Response.Response != nil {
		return r.HTTPStatusCode()
	}
	return 0
}

func header(err error, name string) string {
	if r := (*smithyhttp.ResponseError)(nil); errors.As(err, &r) && r.Response != nil && r.Response.Response != nil {
		return r.Response.Header.Get(name)
	}
	return ""
}

// mendable says whether another try may go better.
func mendable(err error) bool {
	var words permanent
	var answered errStatus
	var refused errRefused
	var disk *fs.PathError
	var dns *net.DNSError
	switch {
	case errors.As(err, &words), errors.As(err, &disk), isTLS(err):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &answered):
		return answered.status >= 500 && answered.status != http.StatusNotImplemented ||
			answered.status == http.StatusTooManyRequests || answered.status == http.StatusRequestTimeout
	case errors.As(err, &refused):
		s := status(err)
		var sent *smithyhttp.RequestSendError
		return s >= 500 && s != http.StatusNotImplemented || s == http.StatusTooManyRequests || s == http.StatusRequestTimeout ||
			code(err) == "RequestTimeout" || code(err) == "RequestTimeTooSkewed" || s == 0 && errors.As(err, &sent) || s/100 == 2
	}
	return true
}

// explain adds what to do to an error of the network.
func explain(err error) error {
	var words permanent
	var answered errStatus
	var refused errRefused
	var silent errSilent
	var cut errCut
	var disk *fs.PathError
	var link *os.LinkError
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, errChecksum), errors.As(err, &words), errors.As(err, &answered), errors.As(err, &silent), errors.As(err, &cut):
		return err
	case errors.As(err, &disk) && errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: free space there, or name another folder", err)
	case errors.As(err, &disk), errors.As(err, &link):
		return fmt.Errorf("%w: name a folder that can be written", err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("the server does not speak TLS: begin the address with http://")
	case isTLS(err):
		return fmt.Errorf("TLS failed (%w): check the address, and that the certificate's authority is known here (SSL_CERT_FILE, AWS_CA_BUNDLE)", inner(err))
	case errors.As(err, &dns):
		return fmt.Errorf("the host %s is unknown: check the address and the network (%w)", dns.Name, inner(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the server refuses the connection: check the address and its port (%w)", inner(err))
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("the server cannot be reached: check the address and the network (%w)", inner(err))
	case errors.As(err, &refused):
		return err
	}
	return fmt.Errorf("%w: check the network, and start again", err)
}

// inner is what the network said, without what the SDK says around it.
func inner(err error) error {
	var sent *smithyhttp.RequestSendError
	if errors.As(err, &sent) {
		return sent.Err
	}
	return err
}

// isTLS tells errors of the handshake.
func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var alert tls.AlertError
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &authority) || errors.As(err, &alert) ||
		errors.Is(err, http.ErrSchemeMismatch)
}

// backoff is the pause after some failures: it doubles, and half of it is random.
func backoff(base time.Duration, failures int) time.Duration {
	d := min(base<<min(failures-1, 20), maxBackoff)
	return d/2 + rand.N(d/2+1)
}
