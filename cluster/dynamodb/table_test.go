package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a table of the fake that is there.
func open(t testing.TB, f *fake, change ...func(*Config)) *Table {
	t.Helper()
	c := Config{Table: "leases", Scope: "job/1", Backoff: time.Microsecond, MaxBackoff: time.Microsecond}
	for _, ch := range change {
		ch(&c)
	}
	table, err := New(f, c)
	if err != nil {
		t.Fatal(err)
	}
	if f.tables[c.Table] == nil {
		if err := table.create(context.Background()); err != nil {
			t.Fatal(err)
		}
		f.tables[c.Table].TableStatus = types.TableStatusActive
	}
	return table
}

func TestConformance(t *testing.T) {
	clustertest.Run(t, func(t *testing.T) cluster.Store { return open(t, newFake()) })
}

// One table, a scope each.
func TestConformanceOfScopes(t *testing.T) {
	f, n := newFake(), 0
	clustertest.Run(t, func(t *testing.T) cluster.Store {
		n++
		return open(t, f, func(c *Config) { c.Scope = fmt.Sprint("job/", n) })
	})
}

// A third of the calls is throttled or loses its answer, before or after the
// effect: nobody notices.
func TestConformanceUnderFaults(t *testing.T) {
	clustertest.Run(t, func(t *testing.T) cluster.Store {
		f := newFake()
		table := open(t, f, func(c *Config) { c.Attempts = 100 })
		var mu sync.Mutex
		dice := rand.New(rand.NewPCG(1, uint64(len(t.Name()))))
		f.faults(func(context.Context, string) (before, after error) {
			mu.Lock()
			defer mu.Unlock()
			switch dice.IntN(9) {
			case 0:
				return throttle(), nil
			case 1:
				return errLost, nil
			case 2:
				return nil, errLost
			}
			return nil, nil
		})
		return table
	})
}

// lose makes the next n writes have their effect and lose their answer; then
// runs between the loss and the next attempt.
func (f *fake) lose(n int, then func()) {
	f.faults(func(_ context.Context, op string) (before, after error) {
		if op != "PutItem" {
			return nil, nil
		}
		if n--; n >= 0 {
			return nil, errLost
		}
		if then != nil {
			f.faults(nil)
			then()
		}
		return nil, nil
	})
}

func TestLostAnswers(t *testing.T) {
	ctx := t.Context()
	mine := cluster.Lease{Resource: "shard", Owner: "a/1", Epoch: 1}
	theirs := cluster.Lease{Resource: "shard", Owner: "b/1", Epoch: 2}

	t.Run("of a create that happened", func(t *testing.T) {
		f := newFake()
		table := open(t, f)
		f.lose(1, nil)
		rev, err := table.Create(ctx, mine)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := table.Get(ctx, "shard"); err != nil || e.Revision != rev || !e.Lease.Equal(mine) {
			t.Errorf("the row is %+v, %v; want revision %d", e, err, rev)
		}
	})
	t.Run("of an update that happened", func(t *testing.T) {
		f := newFake()
		table := open(t, f)
		rev := created(t, table, mine)
		f.lose(2, nil)
		next, err := table.Update(ctx, mine, rev)
		if err != nil || next != rev+1 {
			t.Fatalf("got %d, %v; want %d", next, err, rev+1)
		}
	})
	t.Run("of an update that another's preceded", func(t *testing.T) {
		f := newFake()
		table := open(t, f)
		rev := created(t, table, mine)
		f.faults(func(_ context.Context, op string) (before, after error) {
			f.faults(nil)
			if _, err := table.Update(ctx, theirs, rev); err != nil {
				t.Error(err)
			}
			return errLost, nil
		})
		if _, err := table.Update(ctx, mine, rev); !errors.Is(err, cluster.ErrConflict) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of an update that was overwritten", func(t *testing.T) {
		f := newFake()
		table := open(t, f)
		rev := created(t, table, mine)
		f.lose(1, func() {
			if _, err := table.Update(ctx, theirs, rev+1); err != nil {
				t.Error(err)
			}
		})
		if _, err := table.Update(ctx, mine, rev); !errors.Is(err, cluster.ErrConflict) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of a create that was overwritten", func(t *testing.T) {
		f := newFake()
		table := open(t, f)
		f.lose(1, func() {
			e, err := table.Get(ctx, "shard")
			if err != nil {
				t.Error(err)
			}
			if _, err := table.Update(ctx, theirs, e.Revision); err != nil {
				t.Error(err)
			}
		})
		if _, err := table.Create(ctx, mine); !errors.Is(err, cluster.ErrConflict) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of a release that the next owner followed", func(t *testing.T) {
		f := newFake()
		table := open(t, f)
		a, b := newLeases(t, table, "a/1"), newLeases(t, table, "b/1")
		h, err := a.Acquire(ctx, "shard", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.lose(1, func() {
			if _, err := b.Acquire(ctx, "shard", nil, 0); err != nil {
				t.Error(err)
			}
		})
		if err := h.Release(ctx); err != nil {
			t.Errorf("it was released: %v", err)
		}
	})
	t.Run("and the row cannot be read back", func(t *testing.T) {
		f := newFake()
		table := open(t, f)
		rev := created(t, table, mine)
		lost := false
		f.faults(func(_ context.Context, op string) (before, after error) {
			if op == "GetItem" {
				return refusal("AccessDeniedException", "no"), nil
			}
			if !lost {
				lost = true
				return nil, errLost
			}
			return nil, nil
		})
		_, err := table.Update(ctx, mine, rev)
		if err == nil || errors.Is(err, cluster.ErrConflict) || !strings.Contains(err.Error(), "dynamodb:GetItem") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of the only attempt, and the holder goes on", func(t *testing.T) {
		f := newFake()
		table := open(t, f, func(c *Config) { c.Attempts = 1 })
		leases, err := cluster.New(table, cluster.Options{Owner: "a/1"})
		if err != nil {
			t.Fatal(err)
		}
		h, err := leases.Acquire(ctx, "shard", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.lose(1, nil)
		if err := h.Renew(ctx); err == nil || errors.Is(err, cluster.ErrLost) {
			t.Fatalf("got %v, want an error that leaves it open", err)
		}
		f.faults(nil)
		if err := h.Renew(ctx); err != nil { // meets its own write
			t.Fatal(err)
		}
	})
}

func created(t *testing.T, table *Table, l cluster.Lease) cluster.Revision {
	t.Helper()
	rev, err := table.Create(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// A holder of a row in a deleted table does not hit the row of the new one.
func TestRecreatedTableHasOtherRevisions(t *testing.T) {
	f := newFake()
	table := open(t, f)
	old := created(t, table, cluster.Lease{Resource: "shard", Owner: "a/1", Epoch: 1})
	delete(f.tables, "leases")
	table = open(t, f)
	created(t, table, cluster.Lease{Resource: "shard", Owner: "b/1", Epoch: 9})
	if _, err := table.Update(t.Context(), cluster.Lease{Resource: "shard", Owner: "a/1", Epoch: 1}, old); !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("the old holder got %v", err)
	}
}

func TestListReadsPagesAndItsScope(t *testing.T) {
	f := newFake()
	one, other := open(t, f), open(t, f, func(c *Config) { c.Scope = "job/2" })
	for i := range 5 {
		created(t, one, cluster.Lease{Resource: cluster.Resource(fmt.Sprint("shard-", i))})
	}
	created(t, other, cluster.Lease{Resource: "shard-0"})
	all, err := one.List(t.Context())
	if err != nil || len(all) != 5 {
		t.Errorf("listed %+v, %v", all, err)
	}
	if n := f.count("Query"); n != 3 {
		t.Errorf("five rows were read in %d pages of two", n)
	}
}

func TestItemRoundTrip(t *testing.T) {
	table := open(t, newFake())
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		var parents []cluster.Resource
		for _, p := range rapid.SliceOfN(text, 0, 3).Draw(t, "parents") {
			parents = append(parents, cluster.Resource(p))
		}
		want := row{nonce: text.Draw(t, "nonce"), entry: cluster.Entry{Revision: cluster.Revision(rapid.Uint64().Draw(t, "rev")),
			Lease: cluster.Lease{Resource: cluster.Resource(text.Draw(t, "resource")), Owner: cluster.Owner(text.Draw(t, "owner")),
				Epoch: cluster.Epoch(rapid.Uint64().Draw(t, "epoch")), Counter: rapid.Uint64().Draw(t, "counter"),
				Checkpoint:   rapid.StringMatching(`[0-9]{0,129}`).Draw(t, "checkpoint"),
				CheckpointID: rapid.Uint64().Draw(t, "id"), Parents: parents, Ended: rapid.Bool().Draw(t, "ended")}}}
		got, err := table.decode(table.encode(want))
		if err != nil {
			t.Fatal(err)
		}
		if got.nonce != want.nonce || got.entry.Revision != want.entry.Revision || !got.entry.Lease.Equal(want.entry.Lease) {
			t.Fatalf("wrote %+v, read %+v", want, got)
		}
	})
}

// Whatever stands in an attribute, a row is read as it is documented or
// refused by name.
func TestForeignItemsAreRefused(t *testing.T) {
	list := func(v ...types.AttributeValue) types.AttributeValue { return &types.AttributeValueMemberL{Value: v} }
	for _, c := range []struct {
		name string
		v    types.AttributeValue // nil: absent
		want string
	}{
		{attrVersion, num(2), "lease of shard in leases has version 2, this program reads 1: upgrade it"},
		{attrVersion, nil, "attribute v is absent"},
		{attrResource, num(7), "attribute resource is the number 7, want a string"},
		{attrRevision, nil, "attribute rev is absent, want a number"},
		{attrRevision, &types.AttributeValueMemberN{Value: "1.5"}, "want a whole number below 2^64"},
		{attrEpoch, &types.AttributeValueMemberN{Value: "-1"}, "attribute epoch is the number -1"},
		{attrEpoch, str("3"), "attribute epoch is a string, want a number"},
		{attrCounter, &types.AttributeValueMemberN{Value: "18446744073709551616"}, "whole number below 2^64"},
		{attrNonce, nil, "attribute nonce is absent"},
		{attrOwner, &types.AttributeValueMemberNULL{Value: true}, "attribute owner is a"},
		{attrCheckpoint, num(495), "attribute checkpoint is the number 495, want a string"},
		{attrCheckpointID, str("4"), "attribute checkpoint_id"},
		{attrParents, &types.AttributeValueMemberSS{Value: []string{"a"}}, "want a list of strings"},
		{attrParents, list(str("a"), num(1)), "attribute parents is a list, want a list of strings"},
		{attrEnded, str("true"), "attribute ended is a string, want a boolean"},
	} {
		f := newFake()
		table := open(t, f)
		created(t, table, cluster.Lease{Resource: "shard", Owner: "a/1"})
		for _, m := range f.tables["leases"].items {
			if c.v == nil {
				delete(m, c.name)
			} else {
				m[c.name] = c.v
			}
		}
		_, err := table.Get(t.Context(), "shard")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Get says %v, want %q", c.name, err, c.want)
		}
		if _, err := table.List(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: List says %v, want %q", c.name, err, c.want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Table: "leases", Scope: "job/1"}
	arn := good
	arn.Table = "arn:aws:dynamodb:eu-west-1:123456789012:table/leases"
	for _, c := range []Config{good, arn} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
	for name, change := range map[string]func(*Config){
		"no table":  func(c *Config) { c.Table = "" },
		"bad table": func(c *Config) { c.Table = "my leases" },
		"no scope":  func(c *Config) { c.Scope = "" },
		"long":      func(c *Config) { c.Scope = strings.Repeat("x", 2049) },
		"negative":  func(c *Config) { c.Timeout = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(newFake(), c); err == nil {
			t.Errorf("%s: %+v was accepted", name, c)
		}
	}
	table := open(t, newFake())
	if _, err := table.Create(t.Context(), cluster.Lease{}); err == nil {
		t.Error("a lease of nothing was created")
	}
	if _, err := table.Get(t.Context(), ""); err == nil || errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("a lease of nothing: %v", err)
	}
}
