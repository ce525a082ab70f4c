//go:build integration

package source

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tripgrid/tripgrid/cluster"
	table "github.com/tripgrid/tripgrid/cluster/dynamodb"
	"github.com/tripgrid/tripgrid/internal/testservers"
)

// DynamoDB stands still for 20 s, twice the default failover time: two
// processes give their shards up in time and go on when it does.
func TestDynamoDBIsFrozen(t *testing.T) {
	server := testservers.DynamoDBLocal(t)
	const shards = 4
	_, client := newFake(t, keyspace(shards)...)
	w := newWorld(t)
	api := dynamodb.New(dynamodb.Options{Region: "eu-west-1", BaseEndpoint: &server.URL,
		Credentials: credentials.NewStaticCredentialsProvider("tripgrid", "tripgrid", "")})
	leases, err := table.New(api, table.Config{Table: "leases", Scope: "job/1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := leases.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.table = leases
	core, logs := observer.New(zapcore.WarnLevel)
	logged := func(c *Config, o *cluster.Options, _ *process) {
		c.Logger = zap.New(core)
		o.Logger = c.Logger
	}
	a, b := w.start("f/a", client, defaults, logged), w.start("g/b", client, defaults, logged)
	half := func() bool { return w.reading(a) == shards/2 && w.reading(b) == shards/2 }
	w.await("two processes read a half each", half)
	server.Pause()
	t.Cleanup(server.Resume)
	frozen := time.Now()
	w.await("every session is over", func() bool {
		for _, h := range w.opened {
			if !h.closed {
				return false
			}
		}
		return true
	})
	t.Logf("the last handler was closed %s after DynamoDB froze", time.Since(frozen).Round(time.Millisecond))
	if d := time.Since(frozen); d > 10*time.Second {
		t.Errorf("the last handler was closed %s after DynamoDB froze", d)
	}
	time.Sleep(20*time.Second - time.Since(frozen))
	server.Resume()
	thawed := time.Now()
	w.await("two processes read a half each", half)
	t.Logf("balanced %s after the thaw", time.Since(thawed).Round(time.Millisecond))
	for _, e := range logs.All() {
		t.Logf("%s: %v", e.Message, e.ContextMap())
	}
	if n := logs.Len(); n > 16 {
		t.Errorf("%d warnings of two processes", n)
	}
}
