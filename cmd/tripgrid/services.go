package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/stream"
)

// natsLeases is a lease table in the job's NATS.
func natsLeases(ctx context.Context, j *job) (cluster.Store, error) {
	kv, err := j.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: fmt.Sprintf("%s-%s-leases", j.spec.Job, j.generation), Description: "tripgrid: leases of shards",
	})
	if err != nil {
		return nil, fmt.Errorf("open the lease table: %w", err)
	}
	return cluster.NewKV(kv, "shard."), nil
}

// listShards lists the stream's open shards.
func listShards(ctx context.Context, client *kinesis.Client, name string) ([]checkpoint.ShardSpec, error) {
	var shards []checkpoint.ShardSpec
	in := &kinesis.ListShardsInput{StreamName: aws.String(name)}
	for {
		out, err := client.ListShards(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list the shards of %s: %w", name, err)
		}
		for _, s := range out.Shards {
			shards = append(shards, checkpoint.ShardSpec{
				ID: stream.ShardID(*s.ShardId), HashStart: *s.HashKeyRange.StartingHashKey, HashEnd: *s.HashKeyRange.EndingHashKey,
			})
		}
		if out.NextToken == nil {
			return shards, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}
