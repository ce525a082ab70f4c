package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/cluster"
)

// API is what a Table needs of DynamoDB; the SDK's *dynamodb.Client is one.
type API interface {
	DescribeTable(context.Context, *sdk.DescribeTableInput, ...func(*sdk.Options)) (*sdk.DescribeTableOutput, error)
	CreateTable(context.Context, *sdk.CreateTableInput, ...func(*sdk.Options)) (*sdk.CreateTableOutput, error)
	GetItem(context.Context, *sdk.GetItemInput, ...func(*sdk.Options)) (*sdk.GetItemOutput, error)
	PutItem(context.Context, *sdk.PutItemInput, ...func(*sdk.Options)) (*sdk.PutItemOutput, error)
	Query(context.Context, *sdk.QueryInput, ...func(*sdk.Options)) (*sdk.QueryOutput, error)
}

// Config says where the leases are. Everything but Table and Scope has a
// default.
type Config struct {
	// Table is the table's name or ARN.
	Table string
	// Scope is the partition key of all rows: the job and its generation.
	// 1 to 2,048 bytes.
	Scope string
	// NoCreate keeps Ensure from creating a table that is not there.
	NoCreate bool
	// Provisioned lets Ensure accept a table that is not billed on demand.
	Provisioned bool
	// Timeout is for one attempt of one call. Default 2 s.
	Timeout time.Duration
	// Attempts is how often a call is tried. Default 6.
	Attempts int
	// Backoff is the longest first pause between attempts; it doubles up to
	// MaxBackoff, and a random part of it is waited. Default 50 ms and 1 s.
	Backoff, MaxBackoff time.Duration
	// ActiveWithin is how long Ensure waits for a table to become active.
	// Default 2 min.
	ActiveWithin time.Duration
	// PageSize is the number of rows in a page of a listing. Default: what
	// fits into 1 MiB.
	PageSize int32
	Logger   *zap.Logger // default: none
}

var tableName = regexp.MustCompile(`^([a-zA-Z0-9_.-]{3,255}|arn:aws[a-z-]*:dynamodb:.+:table/[a-zA-Z0-9_.-]{3,255})$`)

// Validate names what cannot work.
func (c Config) Validate() error {
	switch {
	case c.Table == "":
		return errors.New("the lease table has no name: set Config.Table")
	case !tableName.MatchString(c.Table):
		return fmt.Errorf("%q cannot name a DynamoDB table: use 3 to 255 of a-z A-Z 0-9 _ - . or an ARN", c.Table)
	case c.Scope == "" || len(c.Scope) > 2048:
		return fmt.Errorf("the scope of the leases in %s has %d bytes: set Config.Scope to 1 to 2048", c.Table, len(c.Scope))
	case c.Timeout < 0 || c.Attempts < 0 || c.Backoff < 0 || c.MaxBackoff < 0 || c.ActiveWithin < 0 || c.PageSize < 0:
		return fmt.Errorf("times and counts of lease table %s must not be negative", c.Table)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Attempts == 0 {
		c.Attempts = 6
	}
	if c.Backoff == 0 {
		c.Backoff = 50 * time.Millisecond
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = time.Second
	}
	if c.ActiveWithin == 0 {
		c.ActiveWithin = 2 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// Table is the lease table of one scope. It may be used by many goroutines.
type Table struct {
	api    API
	c      Config
	region string // for messages; may be empty
}

var _ cluster.Store = (*Table)(nil)

// New returns the leases of c.Scope in c.Table. It does not connect; Ensure
// does.
func New(api API, c Config) (*Table, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	t := &Table{api: api, c: c.withDefaults()}
	if o, ok := api.(interface{ Options() sdk.Options }); ok {
		t.region = o.Options().Region
	}
	return t, nil
}

// Get implements cluster.Store.
func (t *Table) Get(ctx context.Context, r cluster.Resource) (cluster.Entry, error) {
	row, err := t.read(ctx, r)
	return row.entry, err
}

func (t *Table) read(ctx context.Context, r cluster.Resource) (row, error) {
	what := "read lease of " + string(r)
	if r == "" {
		return row{}, errUnnamed
	}
	var out *sdk.GetItemOutput
	err := t.call(ctx, func(ctx context.Context) (err error) {
		out, err = t.api.GetItem(ctx, &sdk.GetItemInput{TableName: &t.c.Table, Key: t.key(r), ConsistentRead: aws.Bool(true)}, once)
		return err
	})
	if err != nil {
		return row{}, t.explain(what, "GetItem", err)
	}
	if len(out.Item) == 0 {
		return row{}, fmt.Errorf("lease of %s in %s: %w", r, t.c.Table, cluster.ErrNotFound)
	}
	return t.decode(out.Item)
}

// List implements cluster.Store.
func (t *Table) List(ctx context.Context) ([]cluster.Entry, error) {
	in := &sdk.QueryInput{TableName: &t.c.Table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("#scope = :scope"),
		ExpressionAttributeNames:  map[string]string{"#scope": attrScope},
		ExpressionAttributeValues: map[string]types.AttributeValue{":scope": str(t.c.Scope)}}
	if t.c.PageSize > 0 {
		in.Limit = &t.c.PageSize
	}
	var all []cluster.Entry
	for {
		var page *sdk.QueryOutput
		err := t.call(ctx, func(ctx context.Context) (err error) {
			page, err = t.api.Query(ctx, in, once)
			return err
		})
		if err != nil {
			return nil, t.explain("list leases of "+t.c.Scope, "Query", err)
		}
		for _, item := range page.Items {
			row, err := t.decode(item)
			if err != nil {
				return nil, err
			}
			all = append(all, row.entry)
		}
		if len(page.LastEvaluatedKey) == 0 {
			return all, nil
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}

// once switches the client's own retries off.
func once(o *sdk.Options) { o.Retryer = aws.NopRetryer{} }

// where names the table for a message.
func (t *Table) where() string {
	if t.region == "" || strings.HasPrefix(t.c.Table, "arn:") {
		return t.c.Table
	}
	return t.c.Table + " in " + t.region
}

var errUnnamed = errors.New("a lease needs a resource: its id is empty")
