package window

import (
	"cmp"
	"math/bits"
	"slices"
)

// slot is one group of a pane; a count of 0 marks a free one.
type slot struct {
	key     uint64 // see operator.key
	count   uint64
	minutes int64 // sum of DurationMinutes, if the query has it
	cents   int64 // sum of TotalCents, if the query has it
}

// table is a hash table of slots with linear probing, a power of two in size,
// at most three quarters full. Keys are never removed one by one.
type table struct {
	slots []slot
	used  int
	shift uint8 // of the hash, so that it indexes slots
}

const minSlots = 8

// slotsFor is the size of a table of n groups.
func slotsFor(n int) int {
	size := minSlots
	for size/4*3 < n {
		size *= 2
	}
	return size
}

func newTable(size int) table {
	return table{slots: make([]slot, size), shift: uint8(64 - bits.TrailingZeros(uint(size)))}
}

// at returns the slot of a key. The slot is free, and now has the key, if its
// count is 0: the caller must count.
func (t *table) at(key uint64) *slot {
	mask := uint64(len(t.slots) - 1)
	for i := key * 0x9e3779b97f4a7c15 >> (t.shift & 63); ; i++ {
		s := &t.slots[i&mask]
		switch {
		case s.count == 0:
			if t.used >= len(t.slots)/4*3 {
				t.grow()
				return t.at(key)
			}
			t.used++
			s.key = key
			return s
		case s.key == key:
			return s
		}
	}
}

func (t *table) grow() {
	old := t.slots
	*t = newTable(2 * len(old))
	for i := range old {
		if old[i].count != 0 {
			*t.at(old[i].key) = old[i]
		}
	}
}

func (t *table) reset() {
	clear(t.slots)
	t.used = 0
}

// appendSorted appends the table's groups to dst, sorted by key.
func (t *table) appendSorted(dst []slot) []slot {
	start := len(dst)
	for i := range t.slots {
		if t.slots[i].count != 0 {
			dst = append(dst, t.slots[i])
		}
	}
	slices.SortFunc(dst[start:], func(a, b slot) int { return cmp.Compare(a.key, b.key) })
	return dst
}

// pane holds the groups of the event times [start, end) of one query. A window
// is made of panes; a tumbling one of exactly one.
type pane struct {
	start, end int64 // ns
	trips      uint64
	groups     table
}

// pool keeps the panes that retired, so that a run's memory is flat. Panes with
// tables much larger than usual are left to the collector.
type pool struct{ free []*pane }

const (
	maxFreePanes = 16
	maxFreeSlots = 1 << 14
)

func (p *pool) get(start, end int64) *pane {
	var x *pane
	if n := len(p.free); n > 0 {
		x, p.free = p.free[n-1], p.free[:n-1]
	} else {
		x = &pane{groups: newTable(minSlots)}
	}
	x.start, x.end, x.trips = start, end, 0
	return x
}

func (p *pool) put(x *pane) {
	if len(p.free) < maxFreePanes && len(x.groups.slots) <= maxFreeSlots {
		x.groups.reset()
		p.free = append(p.free, x)
	}
}
