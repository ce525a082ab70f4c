package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/zap"
)

// Ensure creates the table if there is none, waits until it is active, and
// checks it: an error names everything in which it differs from what is needed.
// Many processes may call it at once.
func (t *Table) Ensure(ctx context.Context) error {
	what := "set up lease table " + t.c.Table
	ctx, cancel := context.WithTimeoutCause(ctx, t.c.ActiveWithin, errNotActive)
	defer cancel()
	created := false
	pause := 100 * time.Millisecond
	for {
		d, err := t.describe(ctx)
		var missing *types.ResourceNotFoundException
		switch {
		case err == nil && usable(d.TableStatus):
			return t.check(d)
		case err == nil && d.TableStatus != types.TableStatusCreating:
			return fmt.Errorf("%s: its status is %s: wait for that to end, or set another table", what, d.TableStatus)
		case err == nil:
		case errors.As(err, &missing) && created: // not to be seen yet
		case errors.As(err, &missing) && !t.c.NoCreate:
			if err := t.create(ctx); err != nil {
				return t.timely(ctx, what, "CreateTable", err)
			}
			created = true
		default:
			return t.timely(ctx, what, "DescribeTable", err)
		}
		if !sleep(ctx, pause) {
			return t.timely(ctx, what, "DescribeTable", endedError{ctx.Err(), errNotActive})
		}
		pause = min(2*pause, 2*time.Second)
	}
}

var errNotActive = errors.New("the table is not active yet")

// timely explains err; if Ensure's own time is over it says so.
func (t *Table) timely(ctx context.Context, what, action string, err error) error {
	if errors.Is(context.Cause(ctx), errNotActive) {
		return explained{err: err, text: fmt.Sprintf("%s: it is not active after %s: look at its status in %s", what, t.c.ActiveWithin, t.where())}
	}
	return t.explain(what, action, err)
}

// usable tells whether items can be read and written.
func usable(s types.TableStatus) bool {
	return s == types.TableStatusActive || s == types.TableStatusUpdating
}

func (t *Table) describe(ctx context.Context) (d *types.TableDescription, err error) {
	err = t.call(ctx, func(ctx context.Context) error {
		out, err := t.api.DescribeTable(ctx, &sdk.DescribeTableInput{TableName: &t.c.Table}, once)
		if err == nil {
			d = out.Table
		}
		return err
	})
	if err == nil && d == nil {
		return nil, errors.New("DescribeTable answered without a table: check the endpoint")
	}
	return d, err
}

func (t *Table) create(ctx context.Context) error {
	err := t.call(ctx, func(ctx context.Context) error {
		_, err := t.api.CreateTable(ctx, &sdk.CreateTableInput{TableName: &t.c.Table, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String(attrScope), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String(attrResource), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String(attrScope), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String(attrResource), KeyType: types.KeyTypeRange}}}, once)
		return err
	})
	var exists *types.ResourceInUseException
	if errors.As(err, &exists) { // another process was faster, or the answer was lost
		return nil
	}
	if err == nil {
		t.c.Logger.Info("lease table created", zap.String("table", t.where()))
	}
	return err
}

// check names in what the table differs from the one that create makes.
func (t *Table) check(d *types.TableDescription) error {
	var differs []string
	for _, k := range []struct {
		role types.KeyType
		name string
		want string
	}{{types.KeyTypeHash, "partition key", attrScope}, {types.KeyTypeRange, "sort key", attrResource}} {
		if got, want := keyOf(d, k.role), k.want+" (S)"; got == "" {
			differs = append(differs, fmt.Sprintf("it has no %s, want %s", k.name, want))
		} else if got != want {
			differs = append(differs, fmt.Sprintf("its %s is %s, want %s", k.name, got, want))
		}
	}
	if provisioned(d) && !t.c.Provisioned {
		differs = append(differs, "its billing is provisioned, want on demand (PAY_PER_REQUEST)")
	}
	if len(differs) == 0 {
		return nil
	}
	return fmt.Errorf("lease table %s is not as it must be: %s: change it, or set another table", t.where(), strings.Join(differs, "; "))
}

// keyOf is the name and type of a key, or empty.
func keyOf(d *types.TableDescription, role types.KeyType) string {
	for _, k := range d.KeySchema {
		if k.KeyType != role {
			continue
		}
		for _, a := range d.AttributeDefinitions {
			if aws.ToString(a.AttributeName) == aws.ToString(k.AttributeName) {
				return fmt.Sprintf("%s (%s)", aws.ToString(k.AttributeName), a.AttributeType)
			}
		}
		return aws.ToString(k.AttributeName)
	}
	return ""
}

func provisioned(d *types.TableDescription) bool {
	if b := d.BillingModeSummary; b != nil && b.BillingMode != "" {
		return b.BillingMode == types.BillingModeProvisioned
	}
	p := d.ProvisionedThroughput
	return p != nil && aws.ToInt64(p.WriteCapacityUnits) > 0
}
