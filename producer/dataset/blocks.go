package dataset

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/tripgrid/tripgrid/trip"
)

// blockFile has runs of trips in a temporary file, as blocks of a spool: block i
// is at i*blockSize and its checksum covers i. A run begins with a block of its
// own; behind the last block of a run, which may be short, is nothing of use.
type blockFile struct {
	file   *os.File
	remove bool // close must do it
	out    *bufio.Writer
	blocks int64
	buf    []byte // of the block at hand
	trips  int64  // of the run at hand
}

// run is a run of a blockFile.
type run struct{ block, trips int64 }

// newBlockFile makes a file in a folder. It is removed at once where that can be
// done, so that it goes away with the process.
func newBlockFile(dir string) (*blockFile, error) {
	file, err := os.CreateTemp(dir, "tripgrid-sort-*")
	if err != nil {
		return nil, fmt.Errorf("sort trips on disk: %w: name a folder that can be written", err)
	}
	return &blockFile{file: file, remove: os.Remove(file.Name()) != nil,
		out: bufio.NewWriterSize(file, 1<<20), buf: make([]byte, 0, blockSize)}, nil
}

// append adds a trip to the run at hand.
func (f *blockFile) append(t *trip.Trip) error {
	f.buf = appendTrip(f.buf, t)
	f.trips++
	if len(f.buf) == blockTrips*tripSize {
		return f.endBlock()
	}
	return nil
}

func (f *blockFile) endBlock() error {
	size := len(f.buf)
	f.buf = binary.LittleEndian.AppendUint32(f.buf, blockChecksum(f.blocks, f.buf))
	if size < blockTrips*tripSize {
		clear(f.buf[len(f.buf):blockSize])
	}
	_, err := f.out.Write(f.buf[:blockSize])
	f.buf = f.buf[:0]
	f.blocks++
	return spillError(err)
}

// endRun ends the run at hand, and makes all so far readable.
func (f *blockFile) endRun() (run, error) {
	if len(f.buf) > 0 {
		if err := f.endBlock(); err != nil {
			return run{}, err
		}
	}
	r := run{f.blocks - blocksOf(f.trips), f.trips}
	f.trips = 0
	return r, spillError(f.out.Flush())
}

func spillError(err error) error {
	if err != nil {
		return fmt.Errorf("sort trips on disk: %w: free space there, or name another folder", err)
	}
	return nil
}

// close closes the file and removes it.
func (f *blockFile) close() {
	_ = f.file.Close() // what was in it is of no use any more
	if f.remove {
		_ = os.Remove(f.file.Name()) // it is in a folder for temporary files
	}
}

// cursor reads a run.
type cursor struct {
	run   run // what is not in trips
	trips []byte
	buf   []byte
	trip  trip.Trip
}

// next reads the next trip; it is false at the end.
func (f *blockFile) next(c *cursor) (bool, error) {
	if len(c.trips) == 0 {
		if c.run.trips == 0 {
			return false, nil
		}
		n := min(blockTrips, c.run.trips)
		b := c.buf[:n*tripSize+checksumSize]
		if _, err := f.file.ReadAt(b, c.run.block*blockSize); err != nil {
			return false, fmt.Errorf("sort trips on disk: %w: check the disk and start again", err)
		}
		c.trips = b[:n*tripSize]
		if blockChecksum(c.run.block, c.trips) != binary.LittleEndian.Uint32(b[len(c.trips):]) {
			return false, fmt.Errorf("sort trips on disk: %s is %w (block %d fails its checksum): check the disk and start again",
				f.file.Name(), ErrCorrupt, c.run.block)
		}
		c.run.block++
		c.run.trips -= n
	}
	decodeTrip(c.trips, &c.trip)
	c.trips = c.trips[tripSize:]
	return true, nil
}

// merge calls each for the trips of all runs in order.
func (f *blockFile) merge(ctx context.Context, runs []run, each func(*trip.Trip) error) error {
	var heap mergeHeap
	for i := range runs {
		c := &cursor{run: runs[i], buf: make([]byte, blockSize)}
		more, err := f.next(c)
		if err != nil {
			return err
		}
		if more {
			heap = append(heap, mergeEntry{c, i})
		}
	}
	for i := len(heap)/2 - 1; i >= 0; i-- {
		heap.down(i)
	}
	for n := 0; len(heap) > 0; n++ {
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		c := heap[0].cursor
		if err := each(&c.trip); err != nil {
			return err
		}
		more, err := f.next(c)
		if err != nil {
			return err
		}
		if !more {
			heap[0] = heap[len(heap)-1]
			heap = heap[:len(heap)-1]
		}
		heap.down(0)
	}
	return nil
}

// mergeHeap has the run with the next trip first: the earliest drop-off, and of
// several runs with that, the first run.
type mergeHeap []mergeEntry

type mergeEntry struct {
	cursor *cursor
	run    int
}

func (h mergeHeap) less(i, j int) bool {
	a, b := h[i].cursor.trip.Dropoff, h[j].cursor.trip.Dropoff
	return a < b || a == b && h[i].run < h[j].run
}

// down restores the order below place i.
func (h mergeHeap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
