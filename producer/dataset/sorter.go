package dataset

import (
	"context"
	"os"

	"github.com/tripgrid/tripgrid/trip"
)

// sorted is a run of trips in order: a table that was sorted, or a spool.
type sorted interface {
	read(from int64, buf []trip.Trip) (int, error)
	searchTime(t int64) int64
	close() error
}

// maxRuns is how many runs are merged at once, with 57 kB of memory each.
const maxRuns = 256

// sorter sorts trips by their drop-offs, those of one drop-off in the order in
// which they came. Those beyond limit go to disk in runs, each sorted, which are
// merged in the end; the runs are in the order of their trips, so that of several
// trips with one drop-off that of the first run is first.
type sorter struct {
	table table
	limit int64
	total int64
	dir   string
	spill *blockFile // nil while all is in memory
	runs  []run
	fanIn int
}

func newSorter(limit int64, dir string) *sorter {
	if dir == "" {
		dir = os.TempDir()
	}
	return &sorter{limit: limit, dir: dir, fanIn: maxRuns}
}

// next returns where the next trip is to be put; add keeps it.
func (s *sorter) next() *trip.Trip { return s.table.next() }

// add keeps what was put into next.
func (s *sorter) add(ctx context.Context) error {
	if s.table.len == s.limit {
		t := *s.table.next()
		if err := s.spillTable(ctx); err != nil {
			return err
		}
		*s.table.next() = t
	}
	s.table.add()
	s.total++
	return nil
}

// spillTable moves the trips in memory to disk.
func (s *sorter) spillTable(ctx context.Context) (err error) {
	if s.spill == nil {
		if s.spill, err = newBlockFile(s.dir); err != nil {
			return err
		}
	}
	s.table.sort()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, chunk := range s.table.chunks {
		for i := range chunk {
			if err := s.spill.append(&chunk[i]); err != nil {
				return err
			}
		}
	}
	r, err := s.spill.endRun()
	s.runs = append(s.runs, r)
	s.table.reset()
	return err
}

// finish returns all trips in order, and their digest.
func (s *sorter) finish(ctx context.Context) (sorted, [32]byte, error) {
	if s.spill == nil {
		table := s.table
		table.sort()
		table.keys = nil
		return &table, digestOf(table.chunks), ctx.Err()
	}
	if err := s.spillTable(ctx); err != nil {
		return nil, [32]byte{}, err
	}
	s.table = table{} // before the merge takes memory
	for len(s.runs) > s.fanIn {
		if err := s.mergeSome(ctx); err != nil {
			return nil, [32]byte{}, err
		}
	}
	out, err := newBlockFile(s.dir)
	if err != nil {
		return nil, [32]byte{}, err
	}
	digest := newDigester()
	var first []int64
	n := int64(0)
	err = s.spill.merge(ctx, s.runs, func(t *trip.Trip) error {
		if n%blockTrips == 0 {
			first = append(first, t.Dropoff)
		}
		n++
		digest.add(t)
		return out.append(t)
	})
	if err == nil {
		_, err = out.endRun()
	}
	if err != nil {
		out.close()
		return nil, [32]byte{}, err
	}
	return newSpilled(out, n, first), digest.sum(), nil
}

// mergeSome makes one run of each fanIn runs.
func (s *sorter) mergeSome(ctx context.Context) error {
	out, err := newBlockFile(s.dir)
	if err != nil {
		return err
	}
	var merged []run
	for at := 0; at < len(s.runs) && err == nil; at += s.fanIn {
		err = s.spill.merge(ctx, s.runs[at:min(at+s.fanIn, len(s.runs))], out.append)
		if err == nil {
			var r run
			r, err = out.endRun()
			merged = append(merged, r)
		}
	}
	if err != nil {
		out.close()
		return err
	}
	s.spill.close()
	s.spill, s.runs = out, merged
	return nil
}

// close removes what finish did not return.
func (s *sorter) close() {
	if s.spill != nil {
		s.spill.close()
	}
}

// spilled is a spool without a header, whose identity is known elsewhere, in a
// file that is removed.
type spilled struct {
	*spool
	blocks *blockFile
}

func newSpilled(blocks *blockFile, trips int64, first []int64) *spilled {
	s := &spool{path: blocks.file.Name(), file: blocks.file, identity: Identity{Trips: trips}, first: first}
	s.buffers.New = func() any { return new([blockSize]byte) }
	blocks.out = nil
	return &spilled{s, blocks}
}

func (s *spilled) read(from int64, buf []trip.Trip) (int, error) { return s.Read(from, buf) }
func (s *spilled) searchTime(t int64) int64                      { return s.SearchTime(t) }

func (s *spilled) close() error {
	s.blocks.close()
	return nil
}
