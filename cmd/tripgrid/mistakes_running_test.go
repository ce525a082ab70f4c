package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMistakesOfEnvironment makes those that the AWS clients meet in the
// environment.
func TestMistakesOfEnvironment(t *testing.T) {
	w := newWorld(t)
	s3, remote := "s3://snapshots/a", "https://search.example"
	for _, c := range []struct {
		name string
		env  map[string]string
		list []mistake
	}{
		{"no-credentials", map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, []mistake{
			{"worker-kinesis", with(w.worker(w.folder()), "--kinesis-endpoint="), 1, []string{"no AWS credentials", "trips", "profile"}},
			{"worker-dynamodb", with(w.worker(w.folder()), "--leases-store=dynamodb"), 1, []string{"no AWS credentials", table, "profile"}},
			{"worker-s3", with(w.worker(w.folder()), "--snapshots-url="+s3), 1, []string{"no credentials", "s3://snapshots/", "AWS_PROFILE"}},
			{"worker-opensearch", with(w.worker(w.folder()), "--results-url="+remote, "--results-sigv4=es"), 1, []string{"no AWS credentials", remote, "AWS_PROFILE"}},
			{"checkpoint", with(w.checkpoints(w.folder()), "--snapshots-url="+s3), 1, []string{"no credentials", "s3://snapshots/", "AWS_PROFILE"}},
			{"produce-kinesis", with(w.produce(w.folder()), "--kinesis-endpoint="), 1, []string{"no AWS credentials", "trips", "profile"}},
			{"produce-s3", with(w.produce(w.folder()), "--data=s3://trips/2016/"), 1, []string{"no credentials", "s3://trips/2016/", "AWS_PROFILE"}},
			{"setup", with(w.setup(w.folder()), "--results-url="+remote, "--results-sigv4=es"), 1, []string{"no AWS credentials", remote, "AWS_PROFILE"}},
			{"dashboards", with(w.setup(w.folder()), "--results-sigv4=es", "--dashboards="+remote), 1, []string{"no AWS credentials", "AWS_PROFILE"}},
		}},
		{"no-region", nil, []mistake{
			{"worker-kinesis", with(w.worker(w.folder()), "--aws-region=", "--kinesis-endpoint="), 1, []string{"no AWS region", "--aws-region"}},
			{"worker-dynamodb", with(w.worker(w.folder()), "--aws-region=", "--leases-store=dynamodb"), 1, []string{"no AWS region", "--aws-region"}},
			{"worker-s3", with(w.worker(w.folder()), "--aws-region=", "--snapshots-url="+s3), 1, []string{"no AWS region", "--aws-region"}},
			{"worker-opensearch", with(w.worker(w.folder()), "--aws-region=", "--results-url="+remote, "--results-sigv4=es"), 1, []string{"no AWS region", "AWS_REGION"}},
			{"checkpoint", with(w.checkpoints(w.folder()), "--aws-region=", "--snapshots-url="+s3), 1, []string{"no AWS region", "--aws-region"}},
			{"produce-kinesis", with(w.produce(w.folder()), "--aws-region=", "--kinesis-endpoint="), 1, []string{"no AWS region", "--aws-region"}},
			{"produce-s3", with(w.produce(w.folder()), "--aws-region=", "--data=s3://trips/2016/"), 1, []string{"no AWS region", "--aws-region"}},
		}},
		{"no-profile", map[string]string{"AWS_PROFILE": "nobody"}, []mistake{
			{"worker", w.worker(w.folder()), 1, []string{"profile", "nobody"}},
			{"setup", with(w.setup(w.folder()), "--results-sigv4=es"), 1, []string{"profile", "nobody"}},
		}},
		{"no-ca-bundle", map[string]string{"AWS_CA_BUNDLE": filepath.Join(w.dir, "absent.pem")}, []mistake{
			{"worker", w.worker(w.folder()), 1, []string{"absent.pem"}},
			{"checkpoint", with(w.checkpoints(w.folder()), "--snapshots-url="+s3), 1, []string{"absent.pem"}},
		}},
		{"ca-bundle-no-pem", map[string]string{"AWS_CA_BUNDLE": picture(t)}, []mistake{
			{"worker", w.worker(w.folder()), 1, []string{"AWS_CA_BUNDLE"}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			for _, m := range c.list {
				t.Run(m.name, m.make)
			}
		})
	}
}

// TestMistakesOfOthers is what is done to programs that run: they tell it, and
// go on.
func TestMistakesOfOthers(t *testing.T) {
	w := newWorld(t)
	const slow = "ProvisionedThroughputExceededException"
	throttled := refusal{http.StatusBadRequest, slow, "Rate exceeded for shard shardId-000000000000 in stream trips under account 123456789012."}
	expired := refusal{http.StatusBadRequest, "ExpiredTokenException", "The security token included in the request is expired"}
	arn := "arn:aws:kinesis:" + home + ":123456789012:stream/trips"
	kinesis := func(args []string, action string, r refusal) []string {
		return with(args, "--kinesis-endpoint="+jsonService(t, w.kinesis, map[string]refusal{action: r}))
	}
	leases := func(action string) []string {
		refusals := map[string]refusal{action: denied("dynamodb:"+action, "arn:aws:dynamodb:"+home+":123456789012:table/"+table)}
		if action == "GetItem" { // which is asked after a write that another was faster with
			refusals["PutItem"] = refusal{http.StatusBadRequest, "ConditionalCheckFailedException", "The conditional request failed"}
		}
		return with(w.worker(w.folder()), "--leases-store=dynamodb", "--leases-endpoint="+jsonService(t, tableThatIs(t, "ACTIVE", "scope"), refusals))
	}
	var all sync.WaitGroup
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"worker/denied-GetShardIterator", kinesis(w.worker(w.folder()), "GetShardIterator", denied("kinesis:GetShardIterator", arn)), []string{"may not call kinesis:GetShardIterator on stream trips", "grant it"}},
		{"worker/denied-GetRecords", kinesis(w.worker(w.folder()), "GetRecords", denied("kinesis:GetRecords", arn)), []string{"may not call kinesis:GetRecords on stream trips", "grant it"}},
		{"worker/throttled", kinesis(w.worker(w.folder()), "GetRecords", throttled), []string{"stream trips", "is throttled", "add shards", slow}},
		{"worker/expired", kinesis(w.worker(w.folder()), "GetRecords", expired), []string{"refused the credentials for stream trips", "check them"}},
		{"worker/denied-Query", leases("Query"), []string{"may not call dynamodb:Query on lease table " + table, "grant it"}},
		{"worker/denied-PutItem", leases("PutItem"), []string{"may not call dynamodb:PutItem on lease table " + table, "grant it"}},
		{"worker/denied-GetItem", leases("GetItem"), []string{"may not call dynamodb:GetItem on lease table " + table, "grant it"}},
		{"produce/throttled", kinesis(w.produce(w.folder()), "PutRecords", throttled), []string{"tried again", slow}},
	} {
		all.Go(func() {
			t.Run(c.name, func(t *testing.T) { goesOn(t, c.args, c.want) })
		})
	}
	all.Wait()
}

// goesOn runs a program until it has logged the texts, all in one line, and
// tells it to end; it must not end before.
func goesOn(t *testing.T, args, want []string) {
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	log := &hearing{}
	log.heard = func(line string) {
		for _, text := range want {
			if !strings.Contains(line, text) {
				return
			}
		}
		t.Logf("%.600s", line)
		cancel()
	}
	began := time.Now()
	code := run(ctx, args, streams{io.Discard, log})
	switch {
	case ctx.Err() == nil:
		t.Fatalf("it ended with %d\n%s", code, log)
	case time.Since(began) >= patient:
		t.Fatalf("it did not tell %q\n%s", want, log)
	case code != 0 && code != 130:
		t.Fatalf("it ended with %d when it was told to\n%s", code, log)
	}
}

// TestMistakesWithSnapshots takes the folder of checkpoints away from a worker
// that runs.
func TestMistakesWithSnapshots(t *testing.T) {
	w := newWorld(t)
	dir := w.folder()
	snapshots := filepath.Join(dir, "snapshots")
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	taken, told := false, false
	log := &hearing{}
	log.heard = func(line string) {
		switch {
		case !taken && strings.Contains(line, "checkpoint completed"):
			taken = true
			if err := os.Rename(snapshots, snapshots+".away"); err != nil {
				t.Error(err)
			}
			write(t, snapshots, nil)
		case taken && strings.Contains(line, "  WARN  ") && strings.Contains(line, snapshots):
			told = true
			cancel()
		}
	}
	if code := run(ctx, with(w.worker(dir), "--checkpoint-interval=200ms"), streams{io.Discard, log}); code != 0 || !taken || !told {
		t.Errorf("exit status %d, taken away: %t, told: %t\n%s", code, taken, told, log)
	}
}
