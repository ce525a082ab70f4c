package source

import (
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/stream"
)

// topology is the last complete list of the stream's shards.
type topology struct {
	mu     sync.Mutex
	shards map[stream.ShardID]types.Shard
	out    *kinesis.ListShardsOutput
	at     time.Time
	cached bool
}

// recent returns the list if it is younger than maxAge and was not doubted since.
func (t *topology) recent(maxAge time.Duration) *kinesis.ListShardsOutput {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.cached || time.Since(t.at) >= maxAge {
		return nil
	}
	out := *t.out
	return &out
}

// set takes a complete list that was asked for at the given time, and tells
// whether it has other shards than the one before.
func (t *topology) set(shards []types.Shard, asked time.Time) (out *kinesis.ListShardsOutput, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed = len(shards) != len(t.shards)
	for _, s := range shards {
		_, known := t.shards[stream.ShardID(aws.ToString(s.ShardId))]
		changed = changed || !known
	}
	t.shards = make(map[stream.ShardID]types.Shard, len(shards))
	for _, s := range shards {
		t.shards[stream.ShardID(aws.ToString(s.ShardId))] = s
	}
	t.out, t.at, t.cached = &kinesis.ListShardsOutput{Shards: shards}, asked, true
	clone := *t.out
	return &clone, changed
}

// doubt makes the next look ask Kinesis.
func (t *topology) doubt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cached = false
}

// ids are the shards in the list.
func (t *topology) ids() []stream.ShardID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.shards))
}

// active are the shards that should be owned: those that have not ended, but
// whose listed parents have. It is nil before the first list.
func (t *topology) active(ended map[stream.ShardID]bool) []cluster.Resource {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shards == nil {
		return nil
	}
	active := make([]cluster.Resource, 0, len(t.shards))
	for id, s := range t.shards {
		waits := slices.ContainsFunc(parentsOf(s), func(p stream.ShardID) bool {
			_, listed := t.shards[p]
			return listed && !ended[p]
		})
		if !ended[id] && !waits {
			active = append(active, cluster.Resource(id))
		}
	}
	return active
}

// listed tells whether the shard is in the list.
func (t *topology) listed(s stream.ShardID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.shards[s]
	return ok
}

// parents are those that Kinesis names, listed or not.
func (t *topology) parents(s stream.ShardID) []stream.ShardID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return parentsOf(t.shards[s])
}

func parentsOf(s types.Shard) []stream.ShardID {
	var parents []stream.ShardID
	for _, p := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
		if id := stream.ShardID(aws.ToString(p)); id != "" && !slices.Contains(parents, id) {
			parents = append(parents, id)
		}
	}
	return parents
}

// children are the shards that continue s, sorted, or nil if those in the list
// do not cover its hash range yet.
func (t *topology) children(s stream.ShardID) []stream.Child {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ranges []*types.HashKeyRange
	var children []stream.Child
	for id, c := range t.shards {
		if parents := parentsOf(c); slices.Contains(parents, s) {
			children = append(children, stream.Child{Shard: id, Parents: parents})
			ranges = append(ranges, c.HashKeyRange)
		}
	}
	if !covers(t.shards[s].HashKeyRange, ranges) {
		return nil
	}
	sortChildren(children)
	return children
}

// childrenOf are the children that the last read of s names, or nil if they do
// not cover its hash range.
func (t *topology) childrenOf(s stream.ShardID, named []types.ChildShard) []stream.Child {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ranges []*types.HashKeyRange
	var children []stream.Child
	for _, c := range named {
		child := stream.Child{Shard: stream.ShardID(aws.ToString(c.ShardId))}
		for _, p := range c.ParentShards {
			child.Parents = append(child.Parents, stream.ShardID(p))
		}
		children = append(children, child)
		ranges = append(ranges, c.HashKeyRange)
	}
	if !covers(t.shards[s].HashKeyRange, ranges) {
		return nil
	}
	sortChildren(children)
	return children
}

func sortChildren(c []stream.Child) {
	slices.SortFunc(c, func(a, b stream.Child) int {
		switch {
		case a.Shard < b.Shard:
			return -1
		case a.Shard > b.Shard:
			return 1
		}
		return 0
	})
}

// covers tells whether parts together contain whole. Hash keys have 39 digits.
func covers(whole *types.HashKeyRange, parts []*types.HashKeyRange) bool {
	type span struct{ lo, hi *big.Int }
	parse := func(r *types.HashKeyRange) (span, bool) {
		if r == nil {
			return span{}, false
		}
		lo, ok1 := new(big.Int).SetString(aws.ToString(r.StartingHashKey), 10)
		hi, ok2 := new(big.Int).SetString(aws.ToString(r.EndingHashKey), 10)
		return span{lo, hi}, ok1 && ok2
	}
	w, ok := parse(whole)
	if !ok {
		return false
	}
	var spans []span
	for _, p := range parts {
		s, ok := parse(p)
		if !ok {
			return false
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int { return a.lo.Cmp(b.lo) })
	next := w.lo // the lowest key not covered yet
	for _, s := range spans {
		if s.lo.Cmp(next) <= 0 && s.hi.Cmp(next) >= 0 {
			next = new(big.Int).Add(s.hi, big.NewInt(1))
		}
	}
	return next.Cmp(w.hi) > 0
}
