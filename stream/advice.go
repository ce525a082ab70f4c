package stream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/stream/natsconn"
)

// Codes with which the server refuses a stream.
const (
	codeAccountResources = 10002
	codeNoPeers          = 10005
	codeInsufficient     = 10023
	codeMaximumStreams   = 10027
	codeStorageResources = 10047
	codeSubjectsOverlap  = 10065
	codeReplicas         = 10074
	codeMaxStreamBytes   = 10122
	codeNoLimits         = 10120
)

// advised puts what to do before err, which is why one of number streams like
// cfg could not be made.
func advised(ctx context.Context, js jetstream.JetStream, err error, cfg jetstream.StreamConfig, number int) error {
	var what string
	switch {
	case hasCode(err, codeStorageResources, codeAccountResources, codeInsufficient, codeNoLimits):
		what = fmt.Sprintf("%d streams of %s with %d replicas do not fit in the storage that NATS gives this account%s: raise its limit, or make the log's smaller",
			number, size(cfg.MaxBytes), cfg.Replicas, storage(ctx, js))
	case hasCode(err, codeMaxStreamBytes):
		what = fmt.Sprintf("the account's streams may be smaller than %s alone: raise that limit, or make the log's smaller", size(cfg.MaxBytes))
	case hasCode(err, codeMaximumStreams):
		what = fmt.Sprintf("the account may have no more streams, and %d are needed: raise its limit, or delete old ones", number)
	case hasCode(err, codeReplicas, codeNoPeers):
		what = fmt.Sprintf("%d replicas need as many servers with JetStream and room in one cluster: ask for fewer replicas, or add servers", cfg.Replicas)
	case hasCode(err, codeSubjectsOverlap):
		what = fmt.Sprintf("another stream takes messages of %s: choose another subject prefix, or change that stream's subjects", cfg.Subjects[0])
	default:
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// storage says what the account may store, if the server tells.
func storage(ctx context.Context, js jetstream.JetStream) string {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := js.AccountInfo(ctx)
	if err != nil || info.Limits.MaxStore <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%s, of which %s are used or reserved)", size(info.Limits.MaxStore), size(int64(max(info.Store, info.ReservedStore))))
}

func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}

// request is retry for requests about a stream or bucket: a permission that is
// missing is an error instead of a time-out.
func request(ctx context.Context, nc *nats.Conn, about string, f func(context.Context) error) error {
	return retry(ctx, func(ctx context.Context) error {
		before := nc.LastError()
		return natsconn.Denied(nc, before, f(ctx), about)
	})
}
