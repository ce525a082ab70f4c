package s3store

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// actions are the IAM actions that an operation needs.
var actions = map[string]string{
	"GetObject":               "s3:GetObject (and s3:ListBucket on the bucket, without which a missing object is denied)",
	"HeadObject":              "s3:GetObject (and s3:ListBucket on the bucket, without which a missing object is denied)",
	"PutObject":               "s3:PutObject and s3:GetObject",
	"CreateMultipartUpload":   "s3:PutObject",
	"UploadPart":              "s3:PutObject",
	"CompleteMultipartUpload": "s3:PutObject and s3:GetObject",
	"AbortMultipartUpload":    "s3:AbortMultipartUpload",
	"DeleteObject":            "s3:DeleteObject",
	"ListObjectsV2":           "s3:ListBucket",
}

// denied finds the action that AWS names in most refusals.
var denied = regexp.MustCompile(`not authorized to perform:? ([a-z0-9]+:[A-Za-z]+)`)

// describe says what an error means and what to do about it.
func (s *Store) describe(c *call, err error) error {
	var end errEnded
	if errors.As(err, &end) {
		return err
	}
	if hint := s.hint(c, err); hint != "" {
		return fmt.Errorf("%s: %w", hint, brief{err})
	}
	return brief{err}
}

// brief shortens what the SDK says to what S3 said, or the network.
type brief struct{ err error }

func (b brief) Unwrap() error { return b.err }

func (b brief) Error() string {
	var api smithy.APIError
	var sent *smithyhttp.RequestSendError
	switch {
	case errors.As(b.err, &api):
		text := "S3 says " + api.ErrorCode()
		if m := strings.TrimSuffix(api.ErrorMessage(), "."); m != "" {
			text += ": " + m
		}
		var request interface{ ServiceRequestID() string }
		if errors.As(b.err, &request) && request.ServiceRequestID() != "" {
			text += " (request " + request.ServiceRequestID() + ")"
		}
		return text
	case errors.As(b.err, &sent):
		return sent.Err.Error()
	case errorStatus(b.err) != 0:
		return fmt.Sprintf("an answer of status %d without an error of S3", errorStatus(b.err))
	}
	var op *smithy.OperationError
	err := b.err
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	text, _, _ := strings.Cut(err.Error(), ", operation error ec2imds") // the last place where credentials were looked for
	return text
}

func (s *Store) hint(c *call, err error) string {
	code, status := errorCode(err), errorStatus(err)
	switch code {
	case "NoSuchBucket":
		return fmt.Sprintf("there is no bucket %s: create it or correct its name", s.cfg.Bucket)
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently":
		return s.wrongRegion(err)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId", "XAdminUserNotFound":
		return "the credentials are wrong: check the access key, its secret and the session token"
	case "ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException":
		return "the credentials have expired: renew them"
	case "RequestTimeTooSkewed":
		return "this machine's clock is wrong: set it (NTP)"
	case "SlowDown", "ServiceUnavailable", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded":
		return "S3 throttles the requests or is down for a while: try again later, checkpoint less often if it stays"
	case "KMS.NotFoundException", "KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.InvalidKeyUsageException":
		return fmt.Sprintf("the KMS key %q cannot be used: name an enabled symmetric key of the bucket's region", s.cfg.KMSKeyID)
	case "ConditionalRequestConflict", "OperationAborted":
		return "other writers of the same name keep S3 busy: try again"
	case "NotImplemented":
		return "the server lacks what the store needs: use one with conditional writes, multipart uploads and CRC32C checksums"
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage":
		return "the bucket is full: free some space or raise its quota"
	}
	var timeout errTimeout
	var host x509.HostnameError
	switch {
	case status == http.StatusMovedPermanently, status == http.StatusBadRequest && bucketRegion(err) != "":
		return s.wrongRegion(err)
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return s.accessDenied(c, err)
	case status >= 500:
		return "S3 failed: try again later"
	case status != 0 && code == "":
		return "what answers is not S3: check the endpoint, and whether it begins with http:// or https://"
	case status != 0:
		return ""
	case isTLS(err) && errors.Is(err, http.ErrSchemeMismatch):
		return "the endpoint does not speak TLS: begin it with http://"
	case errors.As(err, &host):
		return "the certificate is for another name: use the name that it is for"
	case isTLS(err):
		return "TLS failed: check that the endpoint begins with https:// rightly and that AWS_CA_BUNDLE names the file of its CA"
	case isUnreachable(err):
		return "the endpoint cannot be reached: check its address, the region and the network"
	case errors.As(err, &timeout):
		return "the endpoint does not answer: check its address and the network"
	case strings.Contains(err.Error(), "get credentials"), strings.Contains(err.Error(), "get identity"):
		return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role"
	}
	var sent *smithyhttp.RequestSendError
	var cut errCut
	if errors.As(err, &sent) || errors.As(err, &cut) {
		return "the connection broke: check the endpoint and the network"
	}
	return ""
}

func (s *Store) wrongRegion(err error) string {
	if r := bucketRegion(err); r != "" {
		return fmt.Sprintf("the bucket %s is in the region %s: set that region", s.cfg.Bucket, r)
	}
	return fmt.Sprintf("the bucket %s is in another region: set the region that it is in", s.cfg.Bucket)
}

// bucketRegion is where S3 says that the bucket is, "" if it does not.
func bucketRegion(err error) string {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil && r.Response.Response != nil {
		return r.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

func (s *Store) accessDenied(c *call, err error) string {
	key := c.key
	var op *smithy.OperationError
	action, on := "the action", "arn:aws:s3:::"+s.cfg.Bucket+"/"+key
	if errors.As(err, &op) && actions[op.OperationName] != "" {
		action = actions[op.OperationName]
		if op.OperationName == "ListObjectsV2" {
			on = "arn:aws:s3:::" + s.cfg.Bucket
		}
	}
	if m := denied.FindStringSubmatch(err.Error()); m != nil {
		action = m[1]
	}
	if strings.HasPrefix(action, "kms:") {
		on = "the KMS key " + s.cfg.KMSKeyID
	} else if s.cfg.SSE == "aws:kms" {
		on += ", and kms:GenerateDataKey and kms:Decrypt on the KMS key " + s.cfg.KMSKeyID
	}
	return fmt.Sprintf("access denied: allow %s on %s", action, strings.TrimSpace(on))
}
