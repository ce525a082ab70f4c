package dataset

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"github.com/tripgrid/tripgrid/trip"
)

// The format is in the package's documentation.
const (
	spoolMagic   = "TGSPOOL\n"
	spoolVersion = 1
	blockTrips   = 1024
	fixedHeader  = 68 // up to the name
	maxName      = 1 << 16
	checksumSize = 4
	blockSize    = blockTrips*tripSize + checksumSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockChecksum covers the block's number, so that blocks cannot change places.
func blockChecksum(block int64, trips []byte) uint32 {
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(block))
	return crc32.Update(crc32.Checksum(number[:], castagnoli), castagnoli, trips)
}

// blocksOf returns how many blocks n trips take.
func blocksOf(n int64) int64 { return (n + blockTrips - 1) / blockTrips }

// Spool writes d into the file at path, which OpenSpool reads back with the same
// identity. The file is there entirely or not at all, also after a crash: it is
// written under the name path+".tmp", made durable, and renamed.
func Spool(path string, d Dataset) (err error) {
	temporary := path + ".tmp"
	defer func() {
		if err != nil {
			_ = os.Remove(temporary) // the first error is the one to report
			err = fmt.Errorf("spool trips: %w", err)
		}
	}()
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = writeSpool(file, d)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err = os.Rename(temporary, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func writeSpool(w io.Writer, d Dataset) error {
	id := d.Identity()
	if d.Len() < 1 || id.Trips != d.Len() || len(id.Name) > maxName {
		return fmt.Errorf("the data set %.80s has %d trips and an identity of %d: it cannot be spooled", id.Name, d.Len(), id.Trips)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	if _, err := out.Write(spoolHeader(id)); err != nil {
		return err
	}
	trips := make([]trip.Trip, blockTrips)
	buf := make([]byte, 0, blockSize)
	last := int64(-1 << 63)
	for block := range blocksOf(id.Trips) {
		want := min(blockTrips, id.Trips-block*blockTrips)
		n, err := d.Read(block*blockTrips, trips)
		if err != nil {
			return err
		}
		if int64(n) != want {
			return fmt.Errorf("the data set %s gave %d trips from %d on, not %d", id.Name, n, block*blockTrips, want)
		}
		buf = buf[:0]
		for i := range trips[:n] {
			if trips[i].Dropoff < last {
				return fmt.Errorf("the data set %s is out of order at trip %d", id.Name, block*blockTrips+int64(i))
			}
			last = trips[i].Dropoff
			buf = appendTrip(buf, &trips[i])
		}
		buf = binary.LittleEndian.AppendUint32(buf, blockChecksum(block, buf))
		if _, err := out.Write(buf); err != nil {
			return err
		}
	}
	return out.Flush()
}

func spoolHeader(id Identity) []byte {
	head := []byte(spoolMagic)
	head = binary.LittleEndian.AppendUint32(head, spoolVersion)
	head = binary.LittleEndian.AppendUint32(head, blockTrips)
	head = binary.LittleEndian.AppendUint64(head, uint64(spoolSize(len(id.Name), id.Trips)))
	head = binary.LittleEndian.AppendUint64(head, uint64(id.Trips))
	head = append(head, id.Digest[:]...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(id.Name)))
	head = append(head, id.Name...)
	return binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
}

// spoolSize is the length of a spool's file.
func spoolSize(name int, trips int64) int64 {
	return fixedHeader + int64(name) + checksumSize + trips*tripSize + blocksOf(trips)*checksumSize
}

// spool is a Dataset in a file.
type spool struct {
	path     string
	file     *os.File
	identity Identity
	start    int64   // of the first block in the file
	first    []int64 // the first drop-off of each block
	buffers  sync.Pool
}

// OpenSpool opens a file that Spool wrote. It reads and checks all of it once, at
// the speed of the disk, and each block again whenever that is used. The trips
// stay in the file. A damaged file is refused by name, wrapping ErrCorrupt; a
// file that is not there wraps os.ErrNotExist.
func OpenSpool(path string) (Dataset, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	s := &spool{path: path, file: file}
	s.buffers.New = func() any { return new([blockSize]byte) }
	if err := s.load(); err != nil {
		_ = file.Close() // it was only read
		return nil, err
	}
	return s, nil
}

// corrupt is the error of a damaged spool.
func (s *spool) corrupt(format string, args ...any) error {
	return fmt.Errorf("the spool %s is %w (%s): delete it and start again from the data", s.path, ErrCorrupt, fmt.Sprintf(format, args...))
}

// load reads the header and all blocks.
func (s *spool) load() error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	head := make([]byte, fixedHeader)
	if err := s.readAt(head, 0); err != nil {
		return err
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(head[at:]) }
	short := func(at int) uint32 { return binary.LittleEndian.Uint32(head[at:]) }
	if string(head[:8]) != spoolMagic {
		return s.corrupt("it does not begin as a spool")
	}
	if version := short(8); version != spoolVersion {
		return fmt.Errorf("the spool %s has version %d, this program reads %d: use the program that wrote it, or delete it and start again from the data",
			s.path, version, spoolVersion)
	}
	name, trips := int(short(64)), int64(word(24))
	if short(12) != blockTrips || name > maxName || trips < 1 || trips > info.Size()/tripSize ||
		word(16) != uint64(spoolSize(name, trips)) {
		return s.corrupt("its header contradicts itself")
	}
	if info.Size() != int64(word(16)) {
		return s.corrupt("it has %d bytes, not %d", info.Size(), word(16))
	}
	s.start = int64(fixedHeader + name + checksumSize)
	rest := make([]byte, name+checksumSize)
	if err := s.readAt(rest, fixedHeader); err != nil {
		return err
	}
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, rest[:name])
	if sum != binary.LittleEndian.Uint32(rest[name:]) {
		return s.corrupt("its header fails its checksum")
	}
	s.identity = Identity{Name: string(rest[:name]), Trips: trips}
	copy(s.identity.Digest[:], head[32:64])
	s.first = make([]int64, blocksOf(trips))
	last := int64(-1 << 63)
	for block := range s.first {
		err := s.withBlock(int64(block), func(trips []byte) error {
			for i := 0; i < len(trips); i += tripSize {
				dropoff := int64(binary.LittleEndian.Uint64(trips[i+8:]))
				if i == 0 {
					s.first[block] = dropoff
				}
				if dropoff < last {
					return s.corrupt("block %d is out of order", block)
				}
				last = dropoff
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readAt fills b.
func (s *spool) readAt(b []byte, at int64) error {
	switch _, err := s.file.ReadAt(b, at); {
	case errors.Is(err, io.EOF):
		return s.corrupt("it is cut short")
	case err != nil:
		return fmt.Errorf("read the spool: %w", err)
	}
	return nil
}

// withBlock calls use with the encoded trips of a block, once they are checked.
func (s *spool) withBlock(block int64, use func(trips []byte) error) error {
	buf := s.buffers.Get().(*[blockSize]byte)
	defer s.buffers.Put(buf)
	size := min(blockTrips, s.identity.Trips-block*blockTrips) * tripSize
	b := buf[:size+checksumSize]
	if err := s.readAt(b, s.start+block*blockSize); err != nil {
		return err
	}
	if blockChecksum(block, b[:size]) != binary.LittleEndian.Uint32(b[size:]) {
		return s.corrupt("block %d fails its checksum", block)
	}
	return use(b[:size])
}

// Read implements Dataset.
func (s *spool) Read(from int64, buf []trip.Trip) (int, error) {
	n, err := extent(from, s.identity.Trips, len(buf))
	if err != nil {
		return 0, err
	}
	for done := 0; done < n; {
		at := from + int64(done)
		err := s.withBlock(at/blockTrips, func(trips []byte) error {
			for trips = trips[at%blockTrips*tripSize:]; len(trips) > 0 && done < n; trips = trips[tripSize:] {
				decodeTrip(trips, &buf[done])
				done++
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// SearchTime implements Dataset. If the file cannot be read any more, it gives a
// place at or before the right one, where Read will say so.
func (s *spool) SearchTime(t int64) int64 {
	block := int64(sort.Search(len(s.first), func(i int) bool { return s.first[i] >= t })) - 1
	if block < 0 {
		return 0
	}
	found := block * blockTrips
	// The error is Read's to report.
	_ = s.withBlock(block, func(trips []byte) error {
		found += int64(sort.Search(len(trips)/tripSize, func(i int) bool {
			return int64(binary.LittleEndian.Uint64(trips[i*tripSize+8:])) >= t
		}))
		return nil
	})
	return found
}

// Len implements Dataset.
func (s *spool) Len() int64 { return s.identity.Trips }

// Identity implements Dataset.
func (s *spool) Identity() Identity { return s.identity }

// Close closes the file.
func (s *spool) Close() error { return s.file.Close() }
