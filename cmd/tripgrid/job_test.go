package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/filestore"
	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/internal/localkinesis"
	"github.com/tripgrid/tripgrid/internal/natsd"
	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/worker/source"
)

// kinesisOfTwo has the stream trips, of two shards.
func kinesisOfTwo(t *testing.T) (client *kinesis.Client, endpoint string) {
	t.Helper()
	local, err := localkinesis.Open(localkinesis.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- local.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	client, err = source.NewKinesisClient(t.Context(), local.Endpoint(), "us-east-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := source.EnsureStream(t.Context(), client, "trips", 2); err != nil {
		t.Fatal(err)
	}
	return client, local.Endpoint()
}

// embedded are services in this process, with a stream of two shards.
func embedded(t *testing.T) services {
	t.Helper()
	client, _ := kinesisOfTwo(t)
	nats, err := natsd.Start(natsd.Config{Dir: t.TempDir(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Close)
	conn, err := nats.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return services{store: store, kinesis: client, js: js, log: zap.NewNop()}
}

// overtaken is a store in which somebody else begins the job just before the
// first swap of its HEAD.
type overtaken struct {
	checkpoint.Store
	by func()
}

func (o *overtaken) SwapHead(ctx context.Context, job, old string, data []byte) (string, error) {
	if by := o.by; by != nil {
		o.by = nil
		by()
	}
	return o.Store.SwapHead(ctx, job, old, data)
}

// TestTwoBeginAJob: of two processes that begin a job at once one loses, and
// works on what the other began; unless it asks for another job.
func TestTwoBeginAJob(t *testing.T) {
	for name, tc := range map[string]struct {
		start   string
		window  time.Duration
		refused string
	}{
		"trim horizon": {checkpoint.TrimHorizon, 10 * time.Minute, ""},
		"latest":       {startLatest, 10 * time.Minute, ""},
		"another spec": {startLatest, 20 * time.Minute, "--window is 20m in the job, 10m asked"},
	} {
		t.Run(name, func(t *testing.T) {
			svc := embedded(t)
			open := func(svc services, window time.Duration) (*job, error) {
				spec, queries, err := specOf(settings.Job{Name: "taxi", Profile: "bbox", Window: window, Partitions: 2}, "trips", tc.start, checkpoint.Data{})
				if err != nil {
					t.Fatal(err)
				}
				return openJob(t.Context(), svc, spec, queries)
			}
			var first *job
			second := svc
			second.store = &overtaken{svc.store, func() {
				var err error
				if first, err = open(svc, tc.window); err != nil {
					t.Error(err)
				}
			}}
			j, err := open(second, 10*time.Minute)
			switch {
			case tc.refused != "":
				if err == nil || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("the error is %v", err)
				}
			case err != nil:
				t.Error(err)
			case j.nonce != first.nonce || j.spec.Diff(first.spec) != "" || len(j.spec.Shards) != 2:
				t.Errorf("one works on %x (%+v), the other on %x (%+v)", first.nonce, first.spec, j.nonce, j.spec)
			}
		})
	}
}

// begun opens a job of two partitions.
func begun(t *testing.T, svc services) *job {
	t.Helper()
	spec, queries, err := specOf(settings.Job{Name: "taxi", Profile: "bbox", Window: time.Minute, Partitions: 2}, "trips", checkpoint.TrimHorizon, checkpoint.Data{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := openJob(t.Context(), svc, spec, queries)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestLeasesOfANamesake: a job that begins anew under its old name, its old
// leases still there, takes no notice of them: its shards have not ended.
func TestLeasesOfANamesake(t *testing.T) {
	svc := embedded(t)
	leases := func(j *job) *cluster.Leases {
		l, err := openLeases(t.Context(), settings.Leases{Store: "nats", Failover: time.Minute}, "", j, "me")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	old := begun(t, svc)
	shard := cluster.Resource(old.spec.Shards[0].ID)
	held, err := leases(old).Acquire(t.Context(), shard, nil, 0)
	if err == nil {
		err = held.End(t.Context())
	}
	if err == nil {
		err = old.partlog.Delete(t.Context())
	}
	if err == nil {
		svc.store, err = filestore.Open(t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	anew := begun(t, svc)
	if _, err := leases(anew).Acquire(t.Context(), shard, nil, 0); err != nil {
		t.Errorf("the shard of the new job: %v", err)
	}
	if old.leaseScope() == anew.leaseScope() {
		t.Errorf("both have the scope %s in DynamoDB", old.leaseScope())
	}
}

// TestProduceOtherData: a folder's replay goes on with its own data alone, and
// is not harmed by the attempt to go on with other data, such as a prefix that
// has one more file.
func TestProduceOtherData(t *testing.T) {
	_, endpoint := kinesisOfTwo(t)
	dir := t.TempDir()
	const header = "pickup_datetime,dropoff_datetime,pickup_longitude,pickup_latitude,dropoff_longitude,dropoff_latitude\n"
	month := func(n int) {
		row := fmt.Sprintf("2016-%02d-01 00:07:55,2016-%02d-01 00:47:54,-73.9840,40.7549,-73.7826,40.6440\n", n, n)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.csv", n)), []byte(header+row), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := folder(filepath.Join(dir, "run"))
	args := []string{"produce", "--kinesis-endpoint", endpoint, "--data", filepath.Join(dir, "*.csv"), "--dir", string(run), "--speedup", "0"}
	month(1)
	mustRun(t, args...)
	month(2)
	if code, _, stderr := program(t, args...); code != 1 || !strings.Contains(stderr, "belongs to data") {
		t.Errorf("other data: exit status %d, %s", code, stderr)
	}
	spool, err := dataset.OpenSpool(run.spool())
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	if spool.Len() != 1 {
		t.Errorf("the folder has %d trips of the refused replay", spool.Len())
	}
}

// TestResultsGone: a job goes on with the file of results that it has filled
// alone; one that begins makes it.
func TestResultsGone(t *testing.T) {
	j := begun(t, embedded(t))
	file := settings.Results{URL: filepath.Join(t.TempDir(), "results.db")}
	first := j.newest
	went := *first
	went.N = 7
	for _, step := range []struct {
		newest *checkpoint.Manifest
		want   string
	}{{&went, "is at checkpoint 7, but its results are gone from " + file.URL}, {first, ""}, {&went, ""}} {
		j.newest = step.newest
		out, err := openResults(t.Context(), file, "", j)
		switch {
		case step.want != "":
			if err == nil || !strings.Contains(err.Error(), step.want) {
				t.Errorf("the error is %v", err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			if err := out.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
