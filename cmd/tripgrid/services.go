package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/logging"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/filestore"
	"github.com/tripgrid/tripgrid/checkpoint/s3store"
	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/dynamodb"
	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/internal/amazon"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/opensearch"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/stream/natsconn"
	"github.com/tripgrid/tripgrid/worker/source"
	"github.com/tripgrid/tripgrid/worker/window"
)

// newLogger writes to w as the settings say.
func newLogger(w io.Writer, s settings.Log) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(s.Level)
	if err != nil {
		return nil, err
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime, enc.EncodeDuration = zapcore.ISO8601TimeEncoder, zapcore.StringDurationEncoder
	out := zapcore.Lock(zapcore.AddSync(w))
	if s.Format == "json" {
		return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(enc), out, level)), nil
	}
	enc.EncodeLevel = zapcore.CapitalLevelEncoder
	enc.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	enc.CallerKey, enc.StacktraceKey = "", ""
	enc.ConsoleSeparator = "  "
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(enc), out, level)), nil
}

// awsConfig is the AWS region and credentials for one service: the SDK's default
// chain, but for a stand-in on this machine, which needs neither.
func awsConfig(ctx context.Context, region, endpoint string) (aws.Config, error) {
	var creds aws.CredentialsProvider
	if onThisMachine(endpoint) {
		if !credentialsAreSet() {
			creds = credentials.NewStaticCredentialsProvider("local", "local", "")
		}
		if region == "" && os.Getenv("AWS_REGION") == "" && os.Getenv("AWS_DEFAULT_REGION") == "" {
			region = "us-east-1"
		}
	}
	cfg, err := amazon.Config(ctx, region, creds)
	cfg.Logger = logging.Nop{} // errors come back; what else it tells goes past our log
	if err == nil && cfg.Region == "" {
		err = errors.New("no AWS region is set: give --aws-region, or set AWS_REGION")
	}
	return cfg, err
}

// credentialsAreSet tells whether somebody has given credentials to the AWS
// chain. Those of the machine's role are none that a stand-in would want.
func credentialsAreSet() bool {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	file := cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), config.DefaultSharedCredentialsFilename())
	_, err := os.Stat(file)
	return err == nil
}

func onThisMachine(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func kinesisClient(ctx context.Context, s settings.Kinesis, region string) (*kinesis.Client, error) {
	cfg, err := awsConfig(ctx, region, s.Endpoint)
	if err != nil {
		return nil, err
	}
	return kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		if s.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.Endpoint)
		}
	}), nil
}

// openStore opens where checkpoints are.
func openStore(ctx context.Context, s settings.Snapshots, region string) (checkpoint.Store, error) {
	at, err := s.Target()
	if err != nil {
		return nil, err
	}
	if at.Folder != "" {
		return filestore.Open(at.Folder)
	}
	cfg, err := awsConfig(ctx, region, s.Endpoint)
	if err != nil {
		return nil, err
	}
	client, err := s3store.NewClient(ctx, s.Endpoint, cfg.Region, cfg.Credentials)
	if err != nil {
		return nil, err
	}
	return s3store.Open(ctx, client, s3store.Config{Bucket: at.Bucket, Prefix: at.Prefix, SSE: s.SSE, KMSKeyID: s.KMSKey})
}

// openNATS connects to the servers of the partition log.
func openNATS(ctx context.Context, s settings.NATS, log *zap.Logger) (*nats.Conn, jetstream.JetStream, error) {
	cfg := natsconn.Config{
		URLs: strings.Join(s.URL, ","), User: s.User, Password: natsconn.Secret{Value: string(s.Password)}, Token: natsconn.Secret{Value: string(s.Token)},
		Credentials: natsconn.Secret{File: s.Creds}, NKeySeed: natsconn.Secret{File: s.NKey},
		TLS:    natsconn.TLS{CAFile: s.CA, CertFile: s.Cert, KeyFile: s.Key, ServerName: s.ServerName},
		Domain: s.Domain, Logger: log.Named("nats"),
	}
	return natsconn.Connect(ctx, cfg)
}

// openLeases opens the table that says which worker reads which shard.
func openLeases(ctx context.Context, s settings.Leases, region string, j *job, owner cluster.Owner) (*cluster.Leases, error) {
	var store cluster.Store
	var err error
	if s.Store == "nats" {
		store, err = j.leaseBucket(ctx, shardLeases)
	} else {
		store, err = leaseTable(ctx, s, region, j)
	}
	if err != nil {
		return nil, err
	}
	return cluster.New(store, cluster.Options{Owner: owner, Failover: s.Failover, Logger: j.log.Named("leases")})
}

func leaseTable(ctx context.Context, s settings.Leases, region string, j *job) (cluster.Store, error) {
	cfg, err := awsConfig(ctx, region, s.Endpoint)
	if err != nil {
		return nil, err
	}
	client := sdkdynamodb.NewFromConfig(cfg, func(o *sdkdynamodb.Options) {
		if s.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.Endpoint)
		}
	})
	table, err := dynamodb.New(client, dynamodb.Config{
		Table: s.Table, Scope: j.leaseScope(), NoCreate: !s.Create, Provisioned: true,
		Logger: j.log.Named("leases"),
	})
	if err != nil {
		return nil, err
	}
	return table, table.Ensure(ctx)
}

// What of a generation's bucket of leases is whose.
const (
	shardLeases  = "shard."
	leaderLeases = "leader."
)

// identity is in the names of a job's leases. A job that began anew under its
// old name, or has a namesake on another log, must not read the other's: shards
// have ended there, or are in use.
func (j *job) identity() string { return fmt.Sprintf("%016x", j.nonce) }

// leaseScope is the job's part of the lease table.
func (j *job) leaseScope() string {
	return fmt.Sprintf("%s/%s/%s", j.spec.Job, j.generation, j.identity())
}

// leaseBucket is a lease table in the job's NATS.
func (j *job) leaseBucket(ctx context.Context, of string) (cluster.Store, error) {
	kv, err := stream.OpenBucket(ctx, j.js, stream.Bucket{
		Prefix: j.prefix, Name: fmt.Sprintf("%s-%s-leases", j.spec.Job, j.generation),
		Description: "tripgrid: leases of job " + j.spec.Job, Replicas: j.replicas,
	})
	if err != nil {
		return nil, err
	}
	return cluster.NewKV(kv, j.identity()+"."+of), nil
}

// newOwner names this life of this process in lease tables, by its machine.
func newOwner() (cluster.Owner, error) {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "worker"
	}
	return cluster.NewOwner(host)
}

// results is the store of results.
type results struct {
	sink.Sink
	// deadLetter is what takes the place of a document that the store refused;
	// nil if the store has no place for it.
	deadLetter func(d sink.Document, reason string) sink.Document
}

// openResults opens the store of results, which must be set up for the job.
func openResults(ctx context.Context, s settings.Results, region string, j *job) (results, error) {
	at, err := s.Target()
	if err != nil {
		return results{}, err
	}
	if at.File != "" {
		// What a checkpoint says is stored is not made again.
		if _, err := os.Stat(at.File); errors.Is(err, fs.ErrNotExist) && j.newest.N > 0 {
			return results{}, fmt.Errorf("job %s is at checkpoint %d, but its results are gone from %s: put the file back, or begin anew under another --job", j.spec.Job, j.newest.N, at.File)
		}
		db, err := sink.OpenSQLite(at.File)
		return results{Sink: db}, err
	}
	client, err := opensearchClient(ctx, s, region)
	if err != nil {
		return results{}, err
	}
	if err := client.Check(ctx, opensearch.Options{Prefix: s.Prefix, Job: j.spec.Job, Queries: fieldsOf(j.queries)}); err != nil {
		return results{}, errors.Join(err, client.Close())
	}
	out, err := opensearch.NewSink(client, opensearch.SinkConfig{
		Prefix: s.Prefix, Job: j.spec.Job, MaxDocs: s.BatchDocs, MaxBytes: int(s.BatchBytes), Concurrency: s.Concurrency, Gzip: s.Gzip,
		Log: j.log.Named("opensearch"),
	})
	if err != nil {
		return results{}, errors.Join(err, client.Close())
	}
	return results{out, func(d sink.Document, reason string) sink.Document {
		return opensearch.DeadLetter(j.spec.Job, d, reason)
	}}, nil
}

func opensearchClient(ctx context.Context, s settings.Results, region string) (*opensearch.Client, error) {
	at, err := s.Target()
	if err != nil {
		return nil, err
	}
	if at.File != "" {
		return nil, fmt.Errorf("results.url (--results-url) is the file %s, not OpenSearch: give an address such as https://host:9200", at.File)
	}
	return opensearch.Connect(ctx, opensearch.Config{
		Addresses: at.Addresses, Username: s.User, Password: string(s.Password), CAFile: s.CA,
		SigV4: s.SigV4, Region: region, Timeout: s.Timeout,
	})
}

// fieldsOf are the fields of the queries' documents, as a store needs to know them.
func fieldsOf(queries []window.Query) []opensearch.Query {
	out := make([]opensearch.Query, len(queries))
	for i, q := range queries {
		out[i].Name = q.Name
		for _, a := range q.Aggregates {
			kind := opensearch.Long
			if a.Op == window.Average {
				kind = opensearch.Double
			}
			out[i].Fields = append(out[i].Fields, opensearch.Field{Name: a.Name, Type: kind})
		}
	}
	return out
}

// newPending is the queue before the store of results. A document that the
// store refuses for good is logged, and stored as a dead letter where the store
// has a place for it.
func newPending(r results, s settings.Results, log *zap.Logger) (*sink.Pending, error) {
	var pending *sink.Pending
	pending, err := sink.NewPending(r, sink.PendingConfig{
		MaxBytes: s.PendingBytes, BatchDocs: s.BatchDocs, BatchBytes: s.BatchBytes, Writers: s.Concurrency, Log: log.Named("sink"),
		Rejected: func(partition uint32, d sink.Document, reason string) {
			if r.deadLetter != nil {
				pending.Add(partition, []sink.Document{r.deadLetter(d, reason)})
			}
		},
	})
	return pending, err
}

// firstShards are those that a job begins with: what others continue is read first.
func firstShards(ctx context.Context, client *kinesis.Client, name string) ([]checkpoint.ShardSpec, error) {
	all, err := source.ListShards(ctx, client, name)
	if err != nil {
		return nil, err
	}
	var first []checkpoint.ShardSpec
	for _, s := range all {
		if len(s.Parents) == 0 {
			first = append(first, checkpoint.ShardSpec{ID: s.ID, HashStart: s.HashStart, HashEnd: s.HashEnd})
		}
	}
	return first, nil
}
