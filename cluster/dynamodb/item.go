package dynamodb

import (
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/tripgrid/tripgrid/cluster"
)

// Attributes of an item; doc.go has their types.
const (
	attrScope        = "scope"
	attrResource     = "resource"
	attrVersion      = "v"
	attrRevision     = "rev"
	attrNonce        = "nonce"
	attrEpoch        = "epoch"
	attrCounter      = "counter"
	attrOwner        = "owner"
	attrCheckpoint   = "checkpoint"
	attrCheckpointID = "checkpoint_id"
	attrParents      = "parents"
	attrEnded        = "ended"
)

const itemVersion = 1

// row is an item: an entry and the nonce of the write that made it.
type row struct {
	entry cluster.Entry
	nonce string
}

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(n uint64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatUint(n, 10)}
}

func (t *Table) key(r cluster.Resource) item {
	return item{attrScope: str(t.c.Scope), attrResource: str(string(r))}
}

func (t *Table) encode(r row) item {
	l := r.entry.Lease
	m := t.key(l.Resource)
	m[attrVersion] = num(itemVersion)
	m[attrRevision] = num(uint64(r.entry.Revision))
	m[attrNonce] = str(r.nonce)
	m[attrEpoch] = num(uint64(l.Epoch))
	m[attrCounter] = num(l.Counter)
	if l.Owner != "" {
		m[attrOwner] = str(string(l.Owner))
	}
	if l.Checkpoint != "" {
		m[attrCheckpoint] = str(l.Checkpoint)
	}
	if l.CheckpointID != 0 {
		m[attrCheckpointID] = num(l.CheckpointID)
	}
	if len(l.Parents) > 0 {
		parents := make([]types.AttributeValue, len(l.Parents))
		for i, p := range l.Parents {
			parents[i] = str(string(p))
		}
		m[attrParents] = &types.AttributeValueMemberL{Value: parents}
	}
	if l.Ended {
		m[attrEnded] = &types.AttributeValueMemberBOOL{Value: true}
	}
	return m
}

func (t *Table) decode(m item) (row, error) {
	d := decoder{item: m}
	resource := d.str(attrResource, true)
	if v := d.num(attrVersion, true); d.err == nil && v != itemVersion {
		return row{}, fmt.Errorf("lease of %s in %s has version %d, this program reads %d: upgrade it", resource, t.c.Table, v, itemVersion)
	}
	r := row{nonce: d.str(attrNonce, true)}
	r.entry.Revision = cluster.Revision(d.num(attrRevision, true))
	r.entry.Lease = cluster.Lease{
		Resource:     cluster.Resource(resource),
		Owner:        cluster.Owner(d.str(attrOwner, false)),
		Epoch:        cluster.Epoch(d.num(attrEpoch, true)),
		Counter:      d.num(attrCounter, true),
		Checkpoint:   d.str(attrCheckpoint, false),
		CheckpointID: d.num(attrCheckpointID, false),
		Parents:      d.parents(),
		Ended:        d.ended(),
	}
	if d.err != nil {
		return row{}, fmt.Errorf("lease of %s in %s is not readable: %w: another program writes to scope %s", resource, t.c.Table, d.err, t.c.Scope)
	}
	return r, nil
}

// decoder reads attributes and keeps the first error.
type decoder struct {
	item item
	err  error
}

func (d *decoder) fail(name, want string) {
	if d.err == nil {
		d.err = fmt.Errorf("attribute %s is %s, want %s", name, kind(d.item[name]), want)
	}
}

func (d *decoder) str(name string, needed bool) string {
	v, there := d.item[name]
	s, ok := v.(*types.AttributeValueMemberS)
	switch {
	case ok:
		return s.Value
	case there || needed:
		d.fail(name, "a string")
	}
	return ""
}

func (d *decoder) num(name string, needed bool) uint64 {
	v, there := d.item[name]
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		if there || needed {
			d.fail(name, "a number")
		}
		return 0
	}
	u, err := strconv.ParseUint(n.Value, 10, 64)
	if err != nil {
		d.fail(name, "a whole number below 2^64")
	}
	return u
}

func (d *decoder) parents() []cluster.Resource {
	v, there := d.item[attrParents]
	if !there {
		return nil
	}
	list, ok := v.(*types.AttributeValueMemberL)
	if !ok {
		d.fail(attrParents, "a list of strings")
		return nil
	}
	parents := make([]cluster.Resource, len(list.Value))
	for i, v := range list.Value {
		s, ok := v.(*types.AttributeValueMemberS)
		if !ok {
			d.fail(attrParents, "a list of strings")
			return nil
		}
		parents[i] = cluster.Resource(s.Value)
	}
	return parents
}

func (d *decoder) ended() bool {
	v, there := d.item[attrEnded]
	b, ok := v.(*types.AttributeValueMemberBOOL)
	if !ok {
		if there {
			d.fail(attrEnded, "a boolean")
		}
		return false
	}
	return b.Value
}

// kind names the type of an attribute for a message.
func kind(v types.AttributeValue) string {
	switch v := v.(type) {
	case nil:
		return "absent"
	case *types.AttributeValueMemberS:
		return "a string"
	case *types.AttributeValueMemberN:
		return "the number " + v.Value
	case *types.AttributeValueMemberBOOL:
		return "a boolean"
	case *types.AttributeValueMemberL:
		return "a list"
	default:
		return fmt.Sprintf("a %T", v)
	}
}
