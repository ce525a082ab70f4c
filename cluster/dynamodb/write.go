package dynamodb

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/tripgrid/tripgrid/cluster"
)

// Create implements cluster.Store.
func (t *Table) Create(ctx context.Context, l cluster.Lease) (cluster.Revision, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	rev := cluster.Revision(binary.BigEndian.Uint64(b[:])>>2 | 1)
	return t.write(ctx, "create", l, rev, condition{
		text:  "attribute_not_exists(#a)",
		names: map[string]string{"#a": attrResource},
	})
}

// Update implements cluster.Store.
func (t *Table) Update(ctx context.Context, l cluster.Lease, at cluster.Revision) (cluster.Revision, error) {
	return t.write(ctx, "update", l, at+1, condition{
		text:   "#a = :at",
		names:  map[string]string{"#a": attrRevision},
		values: map[string]types.AttributeValue{":at": num(uint64(at))},
	})
}

type condition struct {
	text   string
	names  map[string]string
	values map[string]types.AttributeValue
}

// write puts the row as revision rev if the condition holds, and finds out
// whether it did when an answer was lost.
func (t *Table) write(ctx context.Context, verb string, l cluster.Lease, rev cluster.Revision, c condition) (cluster.Revision, error) {
	if l.Resource == "" {
		return 0, errUnnamed
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	nonce := hex.EncodeToString(b[:])
	in := &sdk.PutItemInput{TableName: &t.c.Table, Item: t.encode(row{entry: cluster.Entry{Lease: l, Revision: rev}, nonce: nonce}),
		ConditionExpression: &c.text, ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values}
	err := t.call(ctx, func(ctx context.Context) error {
		_, err := t.api.PutItem(ctx, in, once)
		return err
	})
	what := fmt.Sprintf("%s lease of %s", verb, l.Resource)
	var failed *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		return rev, nil
	case !errors.As(err, &failed):
		return 0, t.explain(what, "PutItem", err)
	}
	// Another's row, or an own one whose answer was lost, here or in the client.
	now, err := t.read(ctx, l.Resource)
	switch {
	case errors.Is(err, cluster.ErrNotFound):
		return 0, fmt.Errorf("%s: %w, its row is gone", what, cluster.ErrConflict)
	case err != nil:
		return 0, fmt.Errorf("%s: it is not known whether it was written: %w", what, err)
	case now.nonce == nonce && now.entry.Revision == rev:
		return rev, nil
	}
	return 0, fmt.Errorf("%s: %w, now %q has it at epoch %d", what, cluster.ErrConflict, now.entry.Lease.Owner, now.entry.Lease.Epoch)
}
