package dataset

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sort"

	"github.com/tripgrid/tripgrid/trip"
)

const (
	chunkShift = 12
	chunkTrips = 1 << chunkShift
)

// table holds trips in memory, in chunks, so that it grows without a copy.
type table struct {
	chunks [][]trip.Trip // all but the last have chunkTrips
	len    int64
	keys   []sortKey // for sort, kept for the next time
}

// sortKey is a trip's drop-off and place before the sort.
type sortKey struct {
	dropoff int64
	from    uint32
}

// reset empties the table, whose memory is kept.
func (t *table) reset() {
	for i := range t.chunks {
		t.chunks[i] = t.chunks[i][:chunkTrips]
	}
	t.len = 0
}

// close implements sorted.
func (t *table) close() error {
	*t = table{}
	return nil
}

// next returns the place of one more trip; add makes it count.
func (t *table) next() *trip.Trip {
	if t.len&(chunkTrips-1) == 0 && len(t.chunks) == int(t.len>>chunkShift) {
		t.chunks = append(t.chunks, make([]trip.Trip, chunkTrips))
	}
	return t.at(t.len)
}

func (t *table) add() { t.len++ }

func (t *table) at(i int64) *trip.Trip {
	return &t.chunks[i>>chunkShift][i&(chunkTrips-1)]
}

// sort puts the trips in the order of their drop-offs, ties in the order in
// which they came, and cuts the last chunk to its length.
func (t *table) sort() {
	for i := range t.chunks {
		n := min(chunkTrips, max(0, t.len-int64(i)<<chunkShift))
		t.chunks[i] = t.chunks[i][:n]
	}
	if t.sorted() {
		return
	}
	t.keys = slices.Grow(t.keys[:0], int(t.len))[:t.len]
	keys := t.keys
	for i := range keys {
		keys[i] = sortKey{t.at(int64(i)).Dropoff, uint32(i)}
	}
	slices.SortFunc(keys, func(a, b sortKey) int {
		if a.dropoff != b.dropoff {
			return cmp.Compare(a.dropoff, b.dropoff)
		}
		return cmp.Compare(a.from, b.from)
	})
	// Move the trips along the cycles of the permutation: place i takes the trip
	// of place keys[i].from. A key that points to itself is done.
	for i := range keys {
		if int(keys[i].from) == i {
			continue
		}
		saved := *t.at(int64(i))
		for at := i; ; {
			from := int(keys[at].from)
			keys[at].from = uint32(at)
			if from == i {
				*t.at(int64(at)) = saved
				break
			}
			*t.at(int64(at)) = *t.at(int64(from))
			at = from
		}
	}
}

func (t *table) sorted() bool {
	last := int64(-1 << 63)
	for _, chunk := range t.chunks {
		for i := range chunk {
			if chunk[i].Dropoff < last {
				return false
			}
			last = chunk[i].Dropoff
		}
	}
	return true
}

func (t *table) read(from int64, buf []trip.Trip) (int, error) {
	n, err := extent(from, t.len, len(buf))
	for done := 0; done < n; {
		chunk := t.chunks[from>>chunkShift][from&(chunkTrips-1):]
		copied := copy(buf[done:n], chunk)
		done += copied
		from += int64(copied)
	}
	return n, err
}

func (t *table) searchTime(at int64) int64 {
	return int64(sort.Search(int(t.len), func(i int) bool { return t.at(int64(i)).Dropoff >= at }))
}

// extent returns how many of size trips there are from an index on, of length.
func extent(from, length int64, size int) (int, error) {
	switch {
	case from < 0:
		return 0, errors.New("read trips: the index is negative")
	case from >= length:
		return 0, io.EOF
	}
	return int(min(int64(size), length-from)), nil
}
