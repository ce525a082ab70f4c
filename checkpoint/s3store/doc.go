// Package s3store keeps checkpoints in an S3 bucket (checkpoint.Store):
//
//	s3://<bucket>/<prefix>/<object name>   objects, immutable
//	s3://<bucket>/<prefix>/<job>/HEAD      the job's HEAD; its version is its ETag
//
// Object names begin with the job and the generation, so many jobs may share a
// prefix. Jobs that must not see each other get prefixes of their own, which an
// IAM policy can tell apart.
//
// # Conditions
//
// Every write has a condition that S3 itself checks: objects and a first HEAD
// are created with If-None-Match: *, later HEADs replace the ETag that was read
// (If-Match). A server that ignores conditions would break I5 silently, so Open
// sends one write whose condition cannot hold and refuses a server that takes
// it. What the answers mean:
//
//	200  done
//	412  the condition does not hold: HEAD is ErrConflict; an object is read and
//	     compared, the same bytes are fine, others are ErrConflict
//	404  If-Match on a HEAD that is not there: ErrConflict
//	409  another write of the name is under way: tried again
//	5xx, no answer, a cut answer: it is not known what happened; tried again
//
// Each request is tried up to Config.Attempts times, with a timeout each and
// full jitter between them; the SDK's own retries are off, because they hide
// whether an earlier try may have been carried out. That decides two things.
// Once a try of a swap had no answer, a later 412 may be the swap's own success:
// it is ErrUncertain, not ErrConflict, and the commit nonce in HEAD resolves it
// one level up. And a write that ends in an error is ErrUncertain if any of its
// tries may have been carried out, else a plain error: refused connections,
// missing permissions and 4xx answers happened before anything changed.
//
// A request that was given up may still arrive. It does no harm: its condition
// names the ETag of a HEAD that is gone, and no HEAD's bytes, hence no ETag, come
// twice, since each has a commit nonce of its own.
//
// # Checksums
//
// Every upload carries its CRC32C, which S3 verifies and stores, and its SHA-256
// as the metadata item tripgrid-sha256. Get and ReadHead verify both, so bytes
// that changed on a disk or on the way are checkpoint.ErrCorrupt, also with
// servers that store no checksums.
//
// # Large objects
//
// Objects above Config.PartSize are multipart uploads, four parts at a time; the
// completion has the If-None-Match condition. An upload that fails is aborted. A
// killed process leaves its parts, which S3 bills and nobody lists: give the
// bucket a lifecycle rule with AbortIncompleteMultipartUpload of a day or more.
//
// # Permissions
//
// s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the
// prefix, s3:ListBucket on the bucket (without it S3 answers 403, not 404, for
// what does not exist); with SSE-KMS kms:GenerateDataKey and kms:Decrypt on the
// key. Errors name the one that is missing.
//
// # What it was run against
//
// A fake in the tests that fails on demand, versitygw and moto (the integration
// tests). It has never run against Amazon's S3: KMS, IAM refusals, 409 answers and
// redirects between regions are known from its documentation alone.
package s3store
