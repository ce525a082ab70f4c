// Package settings is tripgrid's configuration: every setting has a flag, an
// environment variable and a key of the YAML file, in this order of precedence,
// and a default.
//
// A setting is a field of one of the sections below. The section is the field's
// kong group, so kinesis.stream in the file is --kinesis-stream and
// TRIPGRID_KINESIS_STREAM. Commands embed the sections that they use; the file
// is checked against all of them, since one file serves every command.
package settings

import "time"

// All is every section, for the commands that look at the whole file.
type All struct {
	Job        Job        `embed:""`
	AWS        AWS        `embed:"" prefix:"aws-"`
	Kinesis    Kinesis    `embed:"" prefix:"kinesis-"`
	Leases     Leases     `embed:"" prefix:"leases-"`
	NATS       NATS       `embed:"" prefix:"nats-"`
	Snapshots  Snapshots  `embed:"" prefix:"snapshots-"`
	Checkpoint Checkpoint `embed:"" prefix:"checkpoint-"`
	Results    Results    `embed:"" prefix:"results-"`
	Indices    Indices    `embed:""`
	Producer   Producer   `embed:""`
	Log        Log        `embed:"" prefix:"log-"`
}

// Job is what a job computes. It is fixed when the job begins; a worker that is
// started with other values is refused.
type Job struct {
	Name       string        `name:"job" key:"name" group:"job" default:"taxi" placeholder:"NAME" help:"Name of the job: 1 to 64 letters, digits, _ and -; lower-case for OpenSearch."`
	Profile    string        `group:"job" enum:"bbox,seed" default:"bbox" help:"Geofence and rules: bbox, or seed for those of the reference architecture."`
	Window     time.Duration `group:"job" default:"10m" help:"Length of the event-time windows, in whole seconds."`
	Partitions int           `group:"job" default:"64" help:"Partitions of the log, by hash of the grid cell."`
	Lanes      bool          `group:"job" default:"true" negatable:"" help:"The stream is fed by tripgrid produce, whose repeats are told by its lanes; --no-lanes for other producers."`
}

// AWS is what the AWS clients share. Credentials come from the SDK's default
// chain: environment, profile, or the machine's role.
type AWS struct {
	Region string `group:"aws" placeholder:"REGION" help:"Region of the stream, the table and the bucket; that of the AWS default chain if empty."`
}

// Kinesis is the stream of trips.
type Kinesis struct {
	Stream     string        `group:"kinesis" default:"trips" placeholder:"NAME" help:"Name of the stream."`
	Endpoint   string        `group:"kinesis" placeholder:"URL" help:"Address of a stand-in for Kinesis; AWS's own if empty."`
	Start      string        `group:"kinesis" default:"trim-horizon" placeholder:"trim-horizon|latest|TIME" help:"Where a new job begins to read: the oldest record, now, or a time such as 2016-01-01T06:00:00Z."`
	PollEvery  time.Duration `group:"kinesis" default:"200ms" help:"Time between two reads of a shard; AWS allows five a second for all readers."`
	MaxRecords int           `group:"kinesis" default:"10000" help:"Records of one read at most."`
}

// Leases is the table that says which worker reads which shard.
type Leases struct {
	Store    string        `group:"leases" enum:"dynamodb,nats" default:"dynamodb" help:"Where the leases are: dynamodb, or nats for a bucket in NATS."`
	Table    string        `group:"leases" default:"tripgrid-leases" placeholder:"NAME" help:"The DynamoDB table; made on demand."`
	Endpoint string        `group:"leases" placeholder:"URL" help:"Address of a stand-in for DynamoDB; AWS's own if empty."`
	Create   bool          `group:"leases" default:"true" negatable:"" help:"Make the table if there is none."`
	Failover time.Duration `group:"leases" default:"10s" help:"How long a worker must be silent before others take its shards; the same in all workers."`
}

// NATS is the partition log.
type NATS struct {
	URL        []string `group:"nats" name:"url" default:"nats://127.0.0.1:4222" placeholder:"URL" help:"Servers, such as nats://host:4222 or tls://host:4222."`
	Prefix     string   `group:"nats" placeholder:"PREFIX" help:"Put before every subject, stream and bucket: for an account that is shared."`
	Domain     string   `group:"nats" placeholder:"NAME" help:"JetStream domain."`
	Creds      string   `group:"nats" placeholder:"FILE" help:"Credentials file (JWT and NKey)."`
	NKey       string   `group:"nats" name:"nkey" placeholder:"FILE" help:"File with the seed of an NKey."`
	User       string   `group:"nats" placeholder:"NAME" help:"User name."`
	Password   Secret   `group:"nats" placeholder:"PASSWORD" help:"Password; better by the environment than by the flag."`
	Token      Secret   `group:"nats" placeholder:"TOKEN" help:"Token; better by the environment than by the flag."`
	CA         string   `group:"nats" name:"ca" placeholder:"FILE" help:"PEM file of the authorities that vouch for the servers; the system's if empty."`
	Cert       string   `group:"nats" placeholder:"FILE" help:"PEM file of the client's certificate."`
	Key        string   `group:"nats" placeholder:"FILE" help:"PEM file of the certificate's key."`
	ServerName string   `group:"nats" placeholder:"NAME" help:"Name that the servers' certificate must have; that of the URL if empty."`
	Replicas   int      `group:"nats" default:"1" help:"Copies of the log: 3 in a cluster of three servers or more."`
	MaxBytes   int64    `group:"nats" type:"size" default:"1GiB" help:"Size of a partition's log at most; a full log holds the shards back until a checkpoint empties it."`
}

// Snapshots is the store of checkpoints.
type Snapshots struct {
	URL      string `group:"snapshots" name:"url" placeholder:"s3://BUCKET/PREFIX|FOLDER" help:"Where checkpoints are: an S3 prefix, or a folder that all workers see."`
	Endpoint string `group:"snapshots" placeholder:"URL" help:"Address of a stand-in for S3; AWS's own if empty."`
	SSE      string `group:"snapshots" name:"sse" enum:",AES256,aws:kms" default:"" placeholder:"AES256|aws:kms" help:"Encryption at rest; the bucket's default if empty."`
	KMSKey   string `group:"snapshots" name:"kms-key" placeholder:"ID" help:"Key for aws:kms; the account's key for S3 if empty."`
}

// Checkpoint is the rhythm of checkpoints.
type Checkpoint struct {
	Interval time.Duration `group:"checkpoint" default:"10s" help:"Time between checkpoints."`
	Timeout  time.Duration `group:"checkpoint" default:"0s" help:"How long one may take; three intervals if 0."`
	Retain   int           `group:"checkpoint" default:"3" help:"How many are kept."`
}

// Results is the store of results.
type Results struct {
	URL          string        `group:"results" name:"url" placeholder:"https://HOST:PORT|FILE" help:"Where results go: an OpenSearch endpoint, or a SQLite file where all window workers are on one machine."`
	Prefix       string        `group:"results" placeholder:"PREFIX" help:"Begins the names of indices: lower-case letters, digits, -, _ and dots."`
	User         string        `group:"results" placeholder:"NAME" help:"User for basic authentication."`
	Password     Secret        `group:"results" placeholder:"PASSWORD" help:"Its password; better by the environment than by the flag."`
	CA           string        `group:"results" name:"ca" placeholder:"FILE" help:"PEM file of the authorities that vouch for the endpoint; the system's if empty."`
	SigV4        string        `group:"results" name:"sigv4" enum:",es,aoss" default:"" placeholder:"es|aoss" help:"Sign requests with AWS credentials: es for a domain, aoss for a serverless collection."`
	Timeout      time.Duration `group:"results" default:"30s" help:"How long a request may take."`
	BatchDocs    int           `group:"results" default:"2000" help:"Documents of a request at most."`
	BatchBytes   int64         `group:"results" type:"size" default:"4MiB" help:"Size of a request at most."`
	Concurrency  int           `group:"results" default:"2" help:"Requests at a time."`
	Gzip         bool          `group:"results" help:"Compress requests: for slow networks."`
	PendingBytes int64         `group:"results" type:"size" default:"256MiB" help:"Size of the results that may wait for the store; beyond it the windows wait too."`
}

// Indices is how OpenSearch is set up for a job.
type Indices struct {
	Serve      string        `group:"indices" placeholder:"NAME" help:"Name that readers use, in the aliases; that of the job if empty."`
	Shards     int           `group:"indices" default:"1" help:"Shards of each index. A month of a city in one query is under 1 GB."`
	Replicas   int           `group:"indices" default:"0" help:"Replicas of each shard; 0 lets OpenSearch keep one as soon as there are two nodes."`
	Refresh    time.Duration `group:"indices" default:"5s" help:"How soon a result can be found."`
	Retention  time.Duration `group:"indices" default:"0s" help:"Delete results so long after their index was made, where the cluster can; 0 keeps them."`
	Dashboards string        `group:"indices" placeholder:"URL" help:"OpenSearch Dashboards, where the job's dashboard is imported; nowhere if empty."`
	Tenant     string        `group:"indices" placeholder:"NAME" help:"Tenant of the security plug-in that gets the dashboard; the user's default one if empty."`
}

// Producer is the replay of trips into the stream.
type Producer struct {
	Data       []string  `group:"producer" placeholder:"PATH|s3://BUCKET/PREFIX|URL" help:"Trips: the TLC's CSV and Parquet files of any year, ride events or JSON lines, plain or compressed: files, patterns, S3 prefixes, URLs. Repeatable. Without it trips are generated."`
	Timezone   string    `group:"producer" placeholder:"ZONE" help:"Time zone of times that do not say theirs, such as America/New_York; UTC by default, like the reference architecture."`
	S3Endpoint string    `name:"s3-endpoint" group:"producer" placeholder:"URL" help:"Address of a stand-in for S3, for trips there; AWS's own if empty."`
	Zones      string    `group:"producer" placeholder:"FILE" help:"CSV of where the files' location ids are (LocationID, latitude, longitude); the TLC's taxi zones by default."`
	Trips      int64     `group:"producer" default:"3000000" help:"How many trips to generate; 3,000,000 are a week of New York."`
	Seed       uint64    `group:"producer" default:"1" help:"Seed of the generated trips."`
	Speedup    float64   `group:"producer" default:"1440" help:"Seconds of event time in one second; 1440 plays a day in a minute, 0 goes as fast as it can."`
	Dir        string    `group:"producer" default:"tripgrid-producer" placeholder:"FOLDER" help:"Working folder of the replay: sorted trips and how far they are sent. The same folder goes on where it stopped."`
	Seek       time.Time `group:"producer" placeholder:"TIME" help:"Start at the first trip that ends at or after this time, such as 2016-01-01T06:00:00Z."`
}

// Log is how a process tells what it does.
type Log struct {
	Level  string `group:"log" enum:"debug,info,warn,error" default:"info" help:"The least that is told: debug, info, warn or error."`
	Format string `group:"log" enum:"text,json" default:"text" help:"text for people, json for machines."`
}
