package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// fake is as much of DynamoDB as a Table uses: conditions, pages of two items,
// tables that take a while. Its faults say what fails.
type fake struct {
	mu     sync.Mutex
	tables map[string]*fakeTable
	calls  map[string]int
	slow   int // descriptions until a new table can be seen, and again until it is active
	// fault may return an error before or after a call has its effect.
	fault func(ctx context.Context, op string) (before, after error)
}

type fakeTable struct {
	types.TableDescription
	items  map[string]item
	hidden int // descriptions until it can be seen
	coming int // and then until it is active
}

func newFake() *fake { return &fake{tables: map[string]*fakeTable{}, calls: map[string]int{}} }

// in does one call with its faults.
func in[T any](ctx context.Context, f *fake, op string, effect func() (*T, error)) (*T, error) {
	f.mu.Lock()
	f.calls[op]++
	fault := f.fault
	f.mu.Unlock()
	var before, after error
	if fault != nil {
		before, after = fault(ctx, op)
	}
	if before != nil {
		return nil, before
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out, err := effect()
	if after != nil { // refusals are lost too
		return nil, after
	}
	return out, err
}

func (f *fake) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func (f *fake) faults(fault func(ctx context.Context, op string) (before, after error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func refusal(code, message string) error {
	return &smithy.OperationError{ServiceID: "DynamoDB", OperationName: "Fake",
		Err: &smithy.GenericAPIError{Code: code, Message: message, Fault: smithy.FaultClient}}
}

func throttle() error {
	return &types.ProvisionedThroughputExceededException{Message: aws.String("slow down")}
}

func (f *fake) table(name *string) (*fakeTable, error) {
	t := f.tables[aws.ToString(name)]
	if t == nil || t.TableStatus != types.TableStatusActive {
		return nil, &types.ResourceNotFoundException{Message: aws.String("Requested resource not found")}
	}
	return t, nil
}

func (f *fake) DescribeTable(ctx context.Context, i *sdk.DescribeTableInput, _ ...func(*sdk.Options)) (*sdk.DescribeTableOutput, error) {
	return in(ctx, f, "DescribeTable", func() (*sdk.DescribeTableOutput, error) {
		t := f.tables[*i.TableName]
		switch {
		case t == nil:
			return nil, &types.ResourceNotFoundException{Message: aws.String("Table not found")}
		case t.hidden > 0:
			t.hidden--
			return nil, &types.ResourceNotFoundException{Message: aws.String("Table not found")}
		case t.TableStatus == types.TableStatusCreating && t.coming > 0:
			t.coming--
		case t.TableStatus == types.TableStatusCreating:
			t.TableStatus = types.TableStatusActive
		}
		d := t.TableDescription
		return &sdk.DescribeTableOutput{Table: &d}, nil
	})
}

func (f *fake) CreateTable(ctx context.Context, i *sdk.CreateTableInput, _ ...func(*sdk.Options)) (*sdk.CreateTableOutput, error) {
	return in(ctx, f, "CreateTable", func() (*sdk.CreateTableOutput, error) {
		if f.tables[*i.TableName] != nil {
			return nil, &types.ResourceInUseException{Message: aws.String("Table already exists")}
		}
		f.tables[*i.TableName] = &fakeTable{items: map[string]item{}, hidden: f.slow, coming: f.slow,
			TableDescription: types.TableDescription{TableName: i.TableName, TableStatus: types.TableStatusCreating,
				KeySchema: i.KeySchema, AttributeDefinitions: i.AttributeDefinitions,
				BillingModeSummary: &types.BillingModeSummary{BillingMode: i.BillingMode}}}
		return &sdk.CreateTableOutput{}, nil
	})
}

func keyString(m item) string {
	s, _ := m[attrScope].(*types.AttributeValueMemberS)
	r, _ := m[attrResource].(*types.AttributeValueMemberS)
	if s == nil || r == nil || s.Value == "" || r.Value == "" {
		return ""
	}
	return s.Value + "\x00" + r.Value
}

func (f *fake) GetItem(ctx context.Context, i *sdk.GetItemInput, _ ...func(*sdk.Options)) (*sdk.GetItemOutput, error) {
	return in(ctx, f, "GetItem", func() (*sdk.GetItemOutput, error) {
		t, err := f.table(i.TableName)
		if err != nil {
			return nil, err
		}
		if !aws.ToBool(i.ConsistentRead) || len(i.Key) != 2 || keyString(i.Key) == "" {
			return nil, refusal("ValidationException", "a key of two, read consistently")
		}
		return &sdk.GetItemOutput{Item: maps.Clone(t.items[keyString(i.Key)])}, nil
	})
}

func (f *fake) PutItem(ctx context.Context, i *sdk.PutItemInput, _ ...func(*sdk.Options)) (*sdk.PutItemOutput, error) {
	return in(ctx, f, "PutItem", func() (*sdk.PutItemOutput, error) {
		t, err := f.table(i.TableName)
		if err != nil {
			return nil, err
		}
		key := keyString(i.Item)
		if key == "" {
			return nil, refusal("ValidationException", "One of the required keys was not given a value")
		}
		old, there := t.items[key]
		name := i.ExpressionAttributeNames["#a"]
		var holds bool
		switch c := aws.ToString(i.ConditionExpression); c {
		case "attribute_not_exists(#a)":
			holds = !there || old[name] == nil
		case "#a = :at":
			was, _ := old[name].(*types.AttributeValueMemberN)
			want := i.ExpressionAttributeValues[":at"].(*types.AttributeValueMemberN)
			holds = was != nil && was.Value == want.Value
		default:
			return nil, refusal("ValidationException", "Invalid ConditionExpression: "+c)
		}
		if !holds {
			return nil, &types.ConditionalCheckFailedException{Message: aws.String("The conditional request failed")}
		}
		t.items[key] = maps.Clone(i.Item)
		return &sdk.PutItemOutput{}, nil
	})
}

func (f *fake) Query(ctx context.Context, i *sdk.QueryInput, _ ...func(*sdk.Options)) (*sdk.QueryOutput, error) {
	return in(ctx, f, "Query", func() (*sdk.QueryOutput, error) {
		t, err := f.table(i.TableName)
		if err != nil {
			return nil, err
		}
		scope, _ := i.ExpressionAttributeValues[":scope"].(*types.AttributeValueMemberS)
		if aws.ToString(i.KeyConditionExpression) != "#scope = :scope" || i.ExpressionAttributeNames["#scope"] != attrScope ||
			scope == nil || !aws.ToBool(i.ConsistentRead) {
			return nil, refusal("ValidationException", fmt.Sprintf("Query was not expected: %+v", *i))
		}
		after := keyString(i.ExclusiveStartKey)
		out := &sdk.QueryOutput{}
		for _, key := range slices.Sorted(maps.Keys(t.items)) {
			if !strings.HasPrefix(key, scope.Value+"\x00") || key <= after {
				continue
			}
			m := t.items[key]
			out.Items = append(out.Items, maps.Clone(m))
			if len(out.Items) == 2 { // a full page has a next one, which may be empty
				out.LastEvaluatedKey = item{attrScope: m[attrScope], attrResource: m[attrResource]}
				break
			}
		}
		return out, nil
	})
}

var errLost = errors.New("connection reset by peer")
