package testservers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Versions are pinned: a suite's list of what a server does otherwise than AWS
// holds for one of them.
const (
	dynaliteVersion      = "4.0.0"
	dynamoDBLocalVersion = "2.6.1" // needs Java 17
	kinesaliteVersion    = "3.3.3"
	kinesisLocalVersion  = "0.6.2"
	motoVersion          = "5.2.5"
	crc32cVersion        = "2.9.post0" // without it moto takes CRC-32 for CRC32C
	versitygwVersion     = "v1.8.0"
)

// Dynalite starts npm's dynalite: DynamoDB on LevelDB. Tables are active after
// 200 ms. Credentials and region are any.
func Dynalite(t testing.TB) *Server {
	t.Helper()
	dir, node := npm(t, "dynalite", dynaliteVersion), tool(t, "node")
	return start(t, kind{name: "dynalite", scheme: "http", ready: answersDynamoDB,
		command: func(data string, port int) *exec.Cmd {
			return exec.Command(node, filepath.Join(dir, "cli.js"), "--host", "127.0.0.1", "--port", strconv.Itoa(port),
				"--path", filepath.Join(data, "leveldb"), "--createTableMs", "200")
		}})
}

// DynamoDBLocal starts Amazon's own DynamoDB Local. Its tables are shared by
// all credentials and regions.
func DynamoDBLocal(t testing.TB) *Server {
	t.Helper()
	lib, java := maven(t, "dynamodb-local", "com.amazonaws", "DynamoDBLocal", dynamoDBLocalVersion), tool(t, "java")
	return start(t, kind{name: "DynamoDB Local", scheme: "http", ready: answersDynamoDB,
		command: func(data string, port int) *exec.Cmd {
			return exec.Command(java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
				"-Dsqlite4java.library.path="+lib, "-cp", filepath.Join(lib, "*"),
				"com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
				"-dbPath", data, "-sharedDb", "-disableTelemetry", "-port", strconv.Itoa(port))
		}})
}

// Kinesalite starts npm's kinesalite: Kinesis on LevelDB, for load. It knows no
// resharding, and its MillisBehindLatest is always 0.
func Kinesalite(t testing.TB) *Server {
	t.Helper()
	dir, node := npm(t, "kinesalite", kinesaliteVersion), tool(t, "node")
	return start(t, kind{name: "kinesalite", scheme: "http", ready: answersKinesis,
		command: func(data string, port int) *exec.Cmd {
			// Its command line knows no address to listen on, and a client that is
			// killed in the middle of a request would end it.
			return exec.Command(node, "-e", `const [dir, path, port] = process.argv.slice(1)
process.on('uncaughtException', err => { if (err.code !== 'ECONNRESET') throw err })
require(dir)({path, createStreamMs: 20, deleteStreamMs: 20, updateStreamMs: 20, shardLimit: 1000}).listen(Number(port), '127.0.0.1')`,
				dir, filepath.Join(data, "leveldb"), strconv.Itoa(port))
		}})
}

// KinesisLocal starts npm's kinesis-local: Kinesis in memory, with resharding,
// for little load. It listens on all interfaces, and now and then resets kept
// connections.
func KinesisLocal(t testing.TB) *Server {
	t.Helper()
	dir, node := npm(t, "kinesis-local", kinesisLocalVersion), tool(t, "node")
	return start(t, kind{name: "kinesis-local", scheme: "http", ready: answersKinesis,
		command: func(_ string, port int) *exec.Cmd {
			tls, err := unusedPort()
			if err != nil {
				t.Error(err)
			}
			cmd := exec.Command(node, "main.js")
			cmd.Dir = dir // it reads server.json there
			cmd.Env = append(os.Environ(), fmt.Sprint("KINESIS_MOCK_PLAIN_PORT=", port), fmt.Sprint("KINESIS_MOCK_TLS_PORT=", tls),
				"SHARD_LIMIT=200", "CREATE_STREAM_DURATION=50ms", "DELETE_STREAM_DURATION=50ms", "LOG_LEVEL=ERROR")
			return cmd
		}})
}

// Moto starts PyPI's moto: many services of AWS in memory at one URL. It takes
// any credentials.
func Moto(t testing.TB) *Server {
	t.Helper()
	dir := installed(t, "moto-"+motoVersion+"-crc32c-"+crc32cVersion, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{
			exec.Command(tool(t, "python3"), "-m", "venv", dir),
			exec.Command(filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "moto[server]=="+motoVersion, "crc32c=="+crc32cVersion),
		}
	})
	return start(t, kind{name: "moto", scheme: "http",
		ready: func(ctx context.Context, url string) error { return get(ctx, url+"/moto-api/data.json") },
		command: func(_ string, port int) *exec.Cmd {
			// The scripts of a virtual environment name the folder where it was made.
			return exec.Command(filepath.Join(dir, "bin", "python"), "-m", "moto.server", "--host", "127.0.0.1", "--port", strconv.Itoa(port))
		}})
}

// S3Server is a server with buckets. Clients need path style.
type S3Server struct {
	*Server
	AccessKey, SecretKey, Region string
}

// VersityGW starts versitygw: S3 on a folder, with conditional writes and
// checked signatures. The folder for temporary files must have extended attributes.
func VersityGW(t testing.TB) *S3Server {
	t.Helper()
	dir := installed(t, "versitygw-"+versitygwVersion, func(dir string) []*exec.Cmd {
		cmd := exec.Command(tool(t, "go"), "install", "github.com/versity/versitygw/cmd/versitygw@"+versitygwVersion)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
		return []*exec.Cmd{cmd}
	})
	s := &S3Server{AccessKey: "key", SecretKey: "secret", Region: "us-east-1"}
	s.Server = start(t, kind{name: "versitygw", scheme: "http",
		ready: func(ctx context.Context, url string) error {
			_, err := s.client(url).ListBuckets(ctx, &s3.ListBucketsInput{})
			return err
		},
		command: func(data string, port int) *exec.Cmd {
			return exec.Command(filepath.Join(dir, "versitygw"), "--access", s.AccessKey, "--secret", s.SecretKey, "--region", s.Region,
				"--port", fmt.Sprint("127.0.0.1:", port), "--quiet", "posix", data)
		}})
	return s
}

// CreateBucket creates an empty bucket.
func (s *S3Server) CreateBucket(t testing.TB, name string) {
	t.Helper()
	if _, err := s.client(s.URL).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
}

func (s *S3Server) client(url string) *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: &url, UsePathStyle: true, Region: s.Region, HTTPClient: http1,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""), RetryMaxAttempts: 1})
}

// http1 leaves no connection behind that a killed server would break.
var http1 = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func answersDynamoDB(ctx context.Context, url string) error {
	return callJSON(ctx, url, "dynamodb", "DynamoDB_20120810.ListTables", "application/x-amz-json-1.0")
}

func answersKinesis(ctx context.Context, url string) error {
	return callJSON(ctx, url, "kinesis", "Kinesis_20131202.ListStreams", "application/x-amz-json-1.1")
}

// callJSON calls an operation of a server that asks for a signature and does
// not check it.
func callJSON(ctx context.Context, url, service, operation, contentType string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Amz-Target", operation)
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/"+service+
		"/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=0")
	return succeed(req)
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return succeed(req)
}

func succeed(req *http.Request) error {
	r, err := http1.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s: %s", r.Status, b)
	}
	return nil
}
