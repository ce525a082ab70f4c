package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"

	"github.com/tripgrid/tripgrid/trip"
)

// Dataset is a finite, sorted run of trips: index i is the trip's place in
// (drop-off, file, row) order. It never changes, and its methods may be called
// from several goroutines at once.
type Dataset interface {
	// Len is the number of trips, 1 or more.
	Len() int64
	// Read fills buf with the trips from index from on. It returns fewer than
	// len(buf) only at the end, and 0, io.EOF from Len() on.
	Read(from int64, buf []trip.Trip) (int, error)
	// SearchTime returns the index of the first trip whose drop-off is at or
	// after t (ns since 1970), Len() if there is none.
	SearchTime(t int64) int64
	// Identity says which data this is.
	Identity() Identity
	// Close frees what the data set holds; it is of no use after it.
	Close() error
}

// Identity says which data a Dataset has. Two data sets with the same Digest
// have the same trips in the same order.
type Identity struct {
	// Name is for people only.
	Name string
	// Digest is over content, not over paths, compression or times of files.
	Digest [32]byte
	Trips  int64
}

// String is the name, the number of trips and the start of the digest.
func (id Identity) String() string {
	return fmt.Sprintf("%s (%d trips, %s)", id.Name, id.Trips, hex.EncodeToString(id.Digest[:6]))
}

// ErrCorrupt is wrapped by the errors of a spool that is damaged.
var ErrCorrupt = errors.New("corrupt")

// tripSize is the length of a trip in a spool and in a digest.
const tripSize = 56

func appendTrip(dst []byte, t *trip.Trip) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.Pickup))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.Dropoff))
	for _, f := range [...]float64{t.PickupLat, t.PickupLon, t.DropoffLat, t.DropoffLon} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(t.TotalCents))
}

// decodeTrip is the inverse of appendTrip, of tripSize bytes.
func decodeTrip(b []byte, t *trip.Trip) {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i : 8*i+8]) }
	_ = b[tripSize-1]
	t.Pickup, t.Dropoff = int64(word(0)), int64(word(1))
	t.PickupLat, t.PickupLon = math.Float64frombits(word(2)), math.Float64frombits(word(3))
	t.DropoffLat, t.DropoffLon = math.Float64frombits(word(4)), math.Float64frombits(word(5))
	t.TotalCents = int64(word(6))
}

// digester makes the digest of an Identity: the SHA-256 of a tag and of all
// trips in their order.
type digester struct {
	hash hash.Hash
	buf  []byte
}

func newDigester() *digester {
	d := &digester{sha256.New(), make([]byte, 0, 1024*tripSize)}
	d.hash.Write([]byte("tripgrid trips 1\n"))
	return d
}

func (d *digester) add(t *trip.Trip) {
	if d.buf = appendTrip(d.buf, t); len(d.buf) == cap(d.buf) {
		d.hash.Write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *digester) sum() (digest [32]byte) {
	d.hash.Write(d.buf)
	d.buf = d.buf[:0]
	d.hash.Sum(digest[:0])
	return digest
}

// digestOf is the digest of trips that are in memory.
func digestOf(chunks [][]trip.Trip) [32]byte {
	digest := newDigester()
	for _, chunk := range chunks {
		for i := range chunk {
			digest.add(&chunk[i])
		}
	}
	return digest.sum()
}
