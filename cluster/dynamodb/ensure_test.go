package dynamodb

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/tripgrid/tripgrid/cluster"
)

func unopened(t *testing.T, f *fake, change ...func(*Config)) *Table {
	t.Helper()
	c := Config{Table: "leases", Scope: "job/1"}
	for _, ch := range change {
		ch(&c)
	}
	table, err := New(f, c)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A table that takes a while to be seen and to be active is waited for, by all
// who start at once; the second Ensure finds it.
func TestEnsureCreates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.slow = 3
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := unopened(t, f).Ensure(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		table := unopened(t, f)
		if err := table.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := table.Create(t.Context(), cluster.Lease{Resource: "shard"}); err != nil {
			t.Fatal(err)
		}
	})
}

// A created table whose answer was lost is there.
func TestEnsureSurvivesALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.faults(func(_ context.Context, op string) (before, after error) {
			if op == "CreateTable" && f.count(op) == 1 {
				return nil, errLost
			}
			return nil, nil
		})
		if err := unopened(t, f).Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// Only ResourceNotFoundException means that there is no table.
func TestEnsureCreatesForNoOtherReason(t *testing.T) {
	for code, want := range map[string]string{
		"AccessDeniedException":       "may not call dynamodb:DescribeTable on lease table leases: grant it",
		"UnrecognizedClientException": "refused the credentials",
		"ThrottlingException":         "still throttled after 6 attempts",
		"InternalServerError":         "lease table leases failed: InternalServerError",
		"ValidationException":         "does not take it",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.faults(func(context.Context, string) (before, after error) { return refusal(code, "because"), nil })
			err := unopened(t, f).Ensure(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "because") {
				t.Errorf("%s: got %v, want %q", code, err, want)
			}
			if n := f.count("CreateTable"); n > 0 {
				t.Errorf("%s led to CreateTable", code)
			}
		})
	}
	f := newFake()
	err := unopened(t, f, func(c *Config) { c.NoCreate = true }).Ensure(t.Context())
	if err == nil || !strings.Contains(err.Error(), "lease table leases does not exist: create it, or set the right table and region") {
		t.Errorf("got %v", err)
	}
	if n := f.count("CreateTable"); n > 0 {
		t.Error("NoCreate led to CreateTable")
	}
}

func TestEnsureNamesThePermissionToCreate(t *testing.T) {
	f := newFake()
	f.faults(func(_ context.Context, op string) (before, after error) {
		if op == "CreateTable" {
			return refusal("AccessDeniedException", "User: x is not authorized"), nil
		}
		return nil, nil
	})
	err := unopened(t, f).Ensure(t.Context())
	if err == nil || !strings.Contains(err.Error(), "dynamodb:CreateTable") {
		t.Errorf("got %v", err)
	}
}

// What Terraform made is checked, and everything that differs is named.
func TestEnsureChecks(t *testing.T) {
	define := func(names ...string) (d []types.AttributeDefinition) {
		for _, n := range names {
			d = append(d, types.AttributeDefinition{AttributeName: aws.String(strings.TrimPrefix(n, "#")), AttributeType: types.ScalarAttributeTypeS})
			if strings.HasPrefix(n, "#") {
				d[len(d)-1].AttributeType = types.ScalarAttributeTypeN
			}
		}
		return d
	}
	key := func(names ...string) (k []types.KeySchemaElement) {
		for i, n := range names {
			k = append(k, types.KeySchemaElement{AttributeName: aws.String(n), KeyType: []types.KeyType{types.KeyTypeHash, types.KeyTypeRange}[i]})
		}
		return k
	}
	onDemand := &types.BillingModeSummary{BillingMode: types.BillingModePayPerRequest}
	five := &types.ProvisionedThroughputDescription{ReadCapacityUnits: aws.Int64(5), WriteCapacityUnits: aws.Int64(5)}
	for _, c := range []struct {
		name   string
		d      types.TableDescription
		change func(*Config)
		want   []string // none: fine
	}{
		{name: "as created", d: types.TableDescription{BillingModeSummary: onDemand,
			AttributeDefinitions: define("scope", "resource"), KeySchema: key("scope", "resource")}},
		{name: "more attributes", d: types.TableDescription{BillingModeSummary: onDemand,
			AttributeDefinitions: define("owner", "scope", "resource"), KeySchema: key("scope", "resource")}},
		{name: "being updated", d: types.TableDescription{BillingModeSummary: onDemand, TableStatus: types.TableStatusUpdating,
			AttributeDefinitions: define("scope", "resource"), KeySchema: key("scope", "resource")}},
		{name: "provisioned", d: types.TableDescription{ProvisionedThroughput: five,
			AttributeDefinitions: define("scope", "resource"), KeySchema: key("scope", "resource")},
			want: []string{"its billing is provisioned, want on demand (PAY_PER_REQUEST): change it"}},
		{name: "provisioned on purpose", d: types.TableDescription{ProvisionedThroughput: five,
			AttributeDefinitions: define("scope", "resource"), KeySchema: key("scope", "resource")},
			change: func(c *Config) { c.Provisioned = true }},
		{name: "everything", d: types.TableDescription{BillingModeSummary: &types.BillingModeSummary{BillingMode: types.BillingModeProvisioned},
			AttributeDefinitions: define("ShardID"), KeySchema: key("ShardID")},
			want: []string{"its partition key is ShardID (S), want scope (S)", "it has no sort key, want resource (S)", "its billing is provisioned"}},
		{name: "types", d: types.TableDescription{BillingModeSummary: onDemand,
			AttributeDefinitions: define("scope", "#resource"), KeySchema: key("scope", "resource")},
			want: []string{"its sort key is resource (N), want resource (S)"}},
		{name: "going", d: types.TableDescription{TableStatus: types.TableStatusDeleting}, want: []string{"its status is DELETING"}},
		{name: "locked", d: types.TableDescription{TableStatus: types.TableStatusInaccessibleEncryptionCredentials},
			want: []string{"its status is INACCESSIBLE_ENCRYPTION_CREDENTIALS"}},
	} {
		if c.d.TableStatus == "" {
			c.d.TableStatus = types.TableStatusActive
		}
		if c.change == nil {
			c.change = func(*Config) {}
		}
		f := newFake()
		f.tables["leases"] = &fakeTable{TableDescription: c.d}
		err := unopened(t, f, c.change).Ensure(t.Context())
		if len(c.want) == 0 && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want %q", c.name, err, w)
			}
		}
	}
}

func TestEnsureDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.slow = 1e6
		began := time.Now()
		err := unopened(t, f, func(c *Config) { c.ActiveWithin = time.Minute }).Ensure(t.Context())
		if err == nil || !strings.Contains(err.Error(), "it is not active after 1m0s") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d != time.Minute {
			t.Errorf("waited %s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := unopened(t, f).Ensure(ctx); err == nil || !strings.Contains(err.Error(), "deadline") {
			t.Errorf("got %v", err)
		}
	})
}
