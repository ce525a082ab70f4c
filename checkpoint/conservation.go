package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tripgrid/tripgrid/stream"
)

// ErrConservation says that a checkpoint's counters do not add up (R21). Something
// between Kinesis and the windows lost or repeated trips; such a checkpoint is
// not committed.
var ErrConservation = errors.New("the conservation law is violated")

// Violation is one equation of R21 that does not hold.
type Violation struct {
	// Shard is set for the equations of a shard, Query for those of a query.
	Shard stream.ShardID
	// Partition is -1 for an equation over all partitions.
	Partition int
	Query     string
	// Law is the equation in words, Left and Right its two sides.
	Law         string
	Left, Right uint64
}

func (v Violation) String() string {
	var b strings.Builder
	if v.Partition >= 0 {
		fmt.Fprintf(&b, "partition %d, ", v.Partition)
	}
	if v.Query != "" {
		fmt.Fprintf(&b, "query %s", v.Query)
	} else {
		fmt.Fprintf(&b, "shard %s", v.Shard)
	}
	fmt.Fprintf(&b, ": %s is %d on the left and %d on the right", v.Law, v.Left, v.Right)
	return b.String()
}

// Check returns every equation of R21 that does not hold at m's cut:
//
//	per shard:              read = watermark events + sum of items over partitions
//	per (shard, partition): items = applied + repeated + outside + dead
//	per (partition, query): sum of applied over shards = filtered + late + open + retired
//
// The read side was counted by ingest and travelled in barriers, the others
// were counted by the windows: the two sides are independent.
func Check(m *Manifest) []Violation {
	var out []Violation
	items := make(map[stream.ShardID]uint64)
	for i := range m.Partitions {
		e := &m.Partitions[i]
		var applied uint64
		for _, s := range e.Counters.Shards {
			if right := s.Applied + s.Repeated + s.Outside + s.Dead; s.Items != right {
				out = append(out, Violation{Shard: s.Shard, Partition: i,
					Law: "items = applied + repeated + outside + dead", Left: s.Items, Right: right})
			}
			items[s.Shard] += s.Items
			applied += s.Applied
		}
		for _, name := range queryNames(m, e) {
			var q QueryCounters
			for _, c := range e.Counters.Queries {
				if c.Query == name {
					q = c
				}
			}
			if right := q.Filtered + q.Late + q.Open + q.Retired; applied != right {
				out = append(out, Violation{Query: name, Partition: i,
					Law: "applied = filtered + late + open + retired", Left: applied, Right: right})
			}
		}
	}
	const law = "read = watermark events + items of all partitions"
	for _, c := range m.Vector {
		if right := c.Watermarks + items[c.Shard]; c.Read != right {
			out = append(out, Violation{Shard: c.Shard, Partition: -1, Law: law, Left: c.Read, Right: right})
		}
		delete(items, c.Shard)
	}
	for shard, n := range items { // counted, but not in the cut
		if n > 0 {
			out = append(out, Violation{Shard: shard, Partition: -1, Law: law, Right: n})
		}
	}
	return out
}

// queryNames are the job's queries and whatever else the partition counts.
func queryNames(m *Manifest, e *PartitionEntry) []string {
	var names []string
	for _, q := range m.Spec.Queries {
		names = append(names, q.Name)
	}
	for _, c := range e.Counters.Queries {
		if !slices.Contains(names, c.Query) {
			names = append(names, c.Query)
		}
	}
	return names
}

// Verify is Check as one error, nil if the law holds.
func Verify(m *Manifest) error {
	v := Check(m)
	if len(v) == 0 {
		return nil
	}
	more := ""
	if len(v) > 1 {
		more = fmt.Sprintf(", and %d more", len(v)-1)
	}
	return fmt.Errorf("checkpoint %d: %w: %s%s", m.N, ErrConservation, v[0], more)
}
