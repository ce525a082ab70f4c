//go:build integration

package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
	"github.com/tripgrid/tripgrid/internal/testservers"
)

func TestDynalite(t *testing.T)      { judged(t, testservers.Dynalite(t)) }
func TestDynamoDBLocal(t *testing.T) { judged(t, testservers.DynamoDBLocal(t)) }

// judged runs everything against one server.
func judged(t *testing.T, s *testservers.Server) {
	client := connect(t, s, nil)
	t.Run("Ensure", func(t *testing.T) { ensured(t, client) })
	table := opened(t, client)
	scopes := 0
	fresh := func(t *testing.T) cluster.Store { // an empty table is a new scope
		scopes++
		return opened(t, client, func(c *Config) { c.Scope, c.PageSize = fmt.Sprint("job/", scopes), 2 })
	}
	t.Run("Conformance", func(t *testing.T) { clustertest.Run(t, fresh) })
	t.Run("ConformanceWithLostAnswers", func(t *testing.T) {
		var lost atomic.Int64
		losing := connect(t, s, func(rt http.RoundTripper) http.RoundTripper { return &loser{rt: rt, lost: &lost} })
		clustertest.Run(t, func(t *testing.T) cluster.Store {
			scopes++
			return opened(t, losing, func(c *Config) { c.Scope, c.Attempts = fmt.Sprint("job/", scopes), 100 })
		})
		if lost.Load() == 0 {
			t.Error("no answer was lost")
		}
		t.Logf("%d answers were lost", lost.Load())
	})
	t.Run("Frozen", func(t *testing.T) { frozen(t, s, client) })
	t.Run("Renewals", func(t *testing.T) {
		const renewals = 500
		l := newLeases(t, table, "a/1")
		h, err := l.Acquire(t.Context(), "shard", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range renewals {
			if err := h.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d renewals, %.2f ms each", renewals, time.Since(began).Seconds()*1e3/renewals)
	})
}

func connect(t *testing.T, s *testservers.Server, wrap func(http.RoundTripper) http.RoundTripper) *sdk.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	var rt http.RoundTripper = tr
	if wrap != nil {
		rt = wrap(tr)
	}
	return sdk.New(sdk.Options{Region: "eu-west-1", BaseEndpoint: &s.URL, HTTPClient: &http.Client{Transport: rt},
		Credentials: credentials.NewStaticCredentialsProvider("tripgrid", "tripgrid", "")})
}

func opened(t *testing.T, api API, change ...func(*Config)) *Table {
	t.Helper()
	c := Config{Table: "leases", Scope: "job/0", Backoff: time.Millisecond}
	for _, ch := range change {
		ch(&c)
	}
	table, err := New(api, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return table
}

// loser loses every third answer to a write after the server gave it, and
// every seventh to the rest.
type loser struct {
	rt    http.RoundTripper
	calls atomic.Int64
	lost  *atomic.Int64
}

func (l *loser) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.rt.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	every := int64(7)
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".PutItem") {
		every = 3
	}
	if l.calls.Add(1)%every != 0 {
		return answer, nil
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	l.lost.Add(1)
	return nil, io.ErrUnexpectedEOF
}

func ensured(t *testing.T, client *sdk.Client) {
	ctx := t.Context()
	missing, err := New(client, Config{Table: "leases", Scope: "job/0", NoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	const want = "lease table leases in eu-west-1 does not exist: create it, or set the right table and region"
	says(t, "Ensure", missing.Ensure(ctx), want)
	_, err = missing.Get(ctx, "shard")
	says(t, "Get", err, want)
	_, err = missing.List(ctx)
	says(t, "List", err, want)
	_, err = missing.Create(ctx, cluster.Lease{Resource: "shard"})
	says(t, "Create", err, want)

	const processes = 3 // start at once
	results := make(chan error, processes)
	for range processes {
		go func() {
			table, err := New(client, Config{Table: "leases", Scope: "job/0"})
			if err == nil {
				err = table.Ensure(ctx)
			}
			results <- err
		}()
	}
	for range processes {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := missing.Ensure(ctx); err != nil {
		t.Errorf("the table that was created is not as it must be: %v", err)
	}

	// As the stock Kinesis Client Library makes it.
	_, err = client.CreateTable(ctx, &sdk.CreateTableInput{TableName: aws.String("stock"),
		AttributeDefinitions:  []types.AttributeDefinition{{AttributeName: aws.String("ShardID"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:             []types.KeySchemaElement{{AttributeName: aws.String("ShardID"), KeyType: types.KeyTypeHash}},
		ProvisionedThroughput: &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(10), WriteCapacityUnits: aws.Int64(10)}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(client, Config{Table: "stock", Scope: "job/0"})
	if err != nil {
		t.Fatal(err)
	}
	says(t, "Ensure", other.Ensure(ctx), "lease table stock in eu-west-1 is not as it must be: its partition key is ShardID (S), want scope (S); "+
		"it has no sort key, want resource (S); its billing is provisioned, want on demand (PAY_PER_REQUEST): change it, or set another table")
	_, err = other.Get(ctx, "shard")
	says(t, "Get", err, "lease table stock in eu-west-1 does not take it: check that its keys are scope and resource")
}

// frozen stops the server: a freeze shorter than the trust costs nothing, not
// even the writes that the server applies late; in a longer one the owner stops
// to trust its lease first, and after it the next owner is above.
func frozen(t *testing.T, s *testservers.Server, client *sdk.Client) {
	const failover = 6 * time.Second
	table := opened(t, client, func(c *Config) { c.Scope, c.Timeout, c.Attempts = "frozen", 300*time.Millisecond, 3 })
	options := func(o cluster.Owner) *cluster.Leases {
		l, err := cluster.New(table, cluster.Options{Owner: o, Failover: failover, RenewEvery: 200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := options("a/1"), options("b/1")
	h, err := a.Acquire(t.Context(), "shard", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- h.Keep(ctx) }()

	t.Cleanup(s.Resume)
	s.Pause()
	_, err = table.List(t.Context()) // takes about a second to give up
	says(t, "List", err, "DynamoDB gave no answer within 300ms in 3 attempts")
	s.Resume()
	if err := h.Renew(t.Context()); err != nil {
		t.Fatalf("after a short freeze: %v", err)
	}
	if _, err := b.Acquire(t.Context(), "shard", nil, 0); !errors.Is(err, cluster.ErrHeld) {
		t.Fatalf("B got %v", err)
	}

	began := time.Now()
	s.Pause()
	if err := <-over; !errors.Is(err, cluster.ErrLost) {
		t.Fatalf("Keep ended with %v", err)
	}
	if d := time.Since(began); d >= failover || h.Trusted() > 0 {
		t.Errorf("trust ended after %s, %s left", d, h.Trusted())
	}
	t.Logf("trust ended %s after the server froze", time.Since(began).Round(time.Millisecond))
	s.Resume()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	var next *cluster.Held
	for next == nil {
		<-poll.C
		next, err = b.Acquire(t.Context(), "shard", nil, 0)
		if err != nil && !errors.Is(err, cluster.ErrHeld) && time.Since(began) > 5*failover {
			t.Fatal(err)
		}
	}
	t.Logf("the next owner has it %s after the server froze", time.Since(began).Round(time.Millisecond))
	if next.Epoch() != h.Epoch()+1 {
		t.Errorf("epoch %d follows %d", next.Epoch(), h.Epoch())
	}
	if err := h.Renew(t.Context()); !errors.Is(err, cluster.ErrLost) {
		t.Errorf("the old owner renews: %v", err)
	}
	if err := next.Renew(t.Context()); err != nil {
		t.Error(err)
	}
}
