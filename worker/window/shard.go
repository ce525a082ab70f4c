package window

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
)

// announced is the state of a child whose parent's END has arrived and is
// queued: the child is no part of the state yet, only its frames are expected.
const announced checkpoint.ShardState = 0

// shard is what a partition knows of a shard. The first group of fields is
// state: a function of the frames applied. The second is about frames that have
// arrived and may still be queued.
type shard struct {
	checkpoint.ShardCut // as of the last frame applied; Cut's fields as of its last BARRIER or END
	anchor              checkpoint.Anchor
	counters            checkpoint.ShardCounters
	ghosts              uint64 // frames after END

	tail    stream.Position // Upto of the last frame that arrived
	ending  bool            // END has arrived
	blocked bool            // the current barrier is applied: frames are queued
}

// hasState tells whether s is part of a cut.
func (s *shard) hasState() bool { return s.State != announced }

// runs tells whether the shard's next frame is applied at once.
func (s *shard) runs() bool {
	return !s.blocked && (s.State == checkpoint.Open || s.State == checkpoint.Ended)
}

// follow checks that h continues the frames that have arrived (R3) and notes it.
func (s *shard) follow(seq uint64, h *stream.Header) error {
	if s.ending {
		return nil // a ghost: counted when applied
	}
	if h.After != s.tail {
		return fmt.Errorf("%w: message %d of shard %s continues position %s, the last one ended at %s",
			stream.ErrGap, seq, h.Shard, h.After, s.tail)
	}
	if h.Upto.Compare(h.After) < 0 {
		return fmt.Errorf("%w: message %d of shard %s goes back from %s to %s",
			stream.ErrCorrupt, seq, h.Shard, h.After, h.Upto)
	}
	s.tail = h.Upto
	s.ending = h.Flags&stream.FlagEnd != 0
	return nil
}

// advance takes over a frame's header: the shard's line of the vector.
func (s *shard) advance(h *stream.Header) {
	s.Position = h.Upto
	s.Idle = h.Flags&stream.FlagIdle != 0
	if h.Flags&stream.FlagFinal != 0 {
		s.Final = true
	}
	s.Watermark = max(s.Watermark, h.Watermark)
	if c := h.Cut; c != nil {
		s.Restart, s.Read, s.Watermarks, s.Marks = c.Restart, c.Read, c.Watermarks, c.Marks
	}
}

// shardSet holds a partition's shards, sorted by id.
type shardSet struct {
	byID   map[stream.ShardID]*shard
	sorted []*shard
}

func (set *shardSet) find(id stream.ShardID) *shard { return set.byID[id] }

func (set *shardSet) add(cut checkpoint.ShardCut) *shard {
	s := &shard{ShardCut: cut, tail: cut.Position, ending: cut.State == checkpoint.Ended}
	if set.byID == nil {
		set.byID = make(map[stream.ShardID]*shard)
	}
	set.byID[cut.Shard] = s
	i, _ := slices.BinarySearchFunc(set.sorted, cut.Shard, func(s *shard, id stream.ShardID) int { return cmp.Compare(s.Shard, id) })
	set.sorted = slices.Insert(set.sorted, i, s)
	return s
}

// announce registers the children that an END names, on arrival.
func (set *shardSet) announce(seq uint64, h *stream.Header) error {
	for _, c := range h.Children {
		parents := slices.Sorted(slices.Values(c.Parents))
		refuse := func(why string) error {
			return fmt.Errorf("%w: message %d, the END of shard %s, names the child %s, which %s",
				stream.ErrCorrupt, seq, h.Shard, c.Shard, why)
		}
		if _, ok := slices.BinarySearch(parents, h.Shard); !ok {
			return refuse("does not have it as a parent")
		}
		switch s := set.find(c.Shard); {
		case c.Shard == h.Shard:
			return refuse("is itself")
		case s == nil:
			set.add(checkpoint.ShardCut{Shard: c.Shard, State: announced, Watermark: stream.MinWatermark, Parents: parents})
		case s.State != announced && s.State != checkpoint.Dormant:
			return refuse("is " + s.State.String() + " already")
		case !slices.Equal(s.Parents, parents):
			return refuse(fmt.Sprintf("has the parents %v here and %v there", s.Parents, parents))
		}
	}
	return nil
}

// end applies a shard's END: its children become dormant, and those whose
// parents have all ended open (R8). It tells whether one opened.
func (set *shardSet) end(h *stream.Header) (opened bool) {
	for _, c := range h.Children {
		if child := set.find(c.Shard); child.State == announced {
			child.State = checkpoint.Dormant
		}
	}
	for _, s := range set.sorted {
		if s.State != checkpoint.Dormant {
			continue
		}
		set.hold(s)
		if !slices.ContainsFunc(s.Parents, func(id stream.ShardID) bool { return !set.ended(id) }) {
			s.State = checkpoint.Open
			opened = true
		}
	}
	return opened
}

func (set *shardSet) ended(id stream.ShardID) bool {
	s := set.find(id)
	return s != nil && s.State == checkpoint.Ended
}

// hold sets a child's watermark to the least final one of its parents. An open
// parent is in the partition's minimum itself.
func (set *shardSet) hold(child *shard) {
	least, some := int64(0), false
	for _, id := range child.Parents {
		if set.ended(id) {
			if w := set.find(id).Watermark; !some || w < least {
				least, some = w, true
			}
		}
	}
	if some {
		child.Watermark = least
	}
}

// watermark is the partition's watermark after current (R15): the minimum over
// open shards that are not idle and dormant ones, never less than before. A
// final shard's idleness does not count.
func (set *shardSet) watermark(current int64) int64 {
	least, some := int64(0), false
	for _, s := range set.sorted {
		in := s.State == checkpoint.Dormant || s.State == checkpoint.Open && (!s.Idle || s.Final)
		if in && (!some || s.Watermark < least) {
			least, some = s.Watermark, true
		}
	}
	if !some {
		return current
	}
	return max(current, least)
}

// aligned tells whether every open shard has applied the current barrier.
func (set *shardSet) aligned() bool {
	for _, s := range set.sorted {
		if s.State == checkpoint.Open && !s.blocked {
			return false
		}
	}
	return true
}

func (set *shardSet) unblock() {
	for _, s := range set.sorted {
		s.blocked = false
	}
}
