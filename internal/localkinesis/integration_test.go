//go:build integration

package localkinesis

import (
	"net/http"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/internal/localkinesis/conformance"
	"github.com/tripgrid/tripgrid/internal/testservers"
)

// judgeDeviations are what kinesis-local 0.6.2 does otherwise than AWS documents.
var judgeDeviations = map[string]string{
	"route-explicit-malformed":   "a malformed ExplicitHashKey is answered with status 500",
	"put-batch-empty":            "PutRecords without records is accepted",
	"put-batch-over-500":         "PutRecords of 501 records is accepted",
	"put-batch-over-10MiB":       "PutRecords of 11 MiB is accepted",
	"put-batch-record-over-1MiB": "PutRecords accepts a record that PutRecord refuses",
	"iterator-bad-type":          "an unknown ShardIteratorType is refused with SerializationException",
	"iterator-foreign-sequence":  "a sequence number of another shard is accepted",
	"iterator-garbage":           "a made-up iterator is answered with status 500",
}

// TestConformanceOfKinesisLocal runs the suite against npm's kinesis-local. It fails, and does not skip, where that cannot
// be installed or started.
func TestConformanceOfKinesisLocal(t *testing.T) {
	// It resets kept connections now and then, so each call has its own.
	c := client(t, testservers.KinesisLocal(t).URL, func(tr *http.Transport) { tr.DisableKeepAlives = true })
	conformance.Run(t, c, conformance.Options{Deviations: judgeDeviations, Timeout: 5 * time.Minute})
}
