package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/parquet-go/parquet-go"

	"github.com/tripgrid/tripgrid/trip"
)

const (
	// batchRows is how many rows of a Parquet file are decoded at once: what is in
	// memory is these and a page of each column that is read.
	batchRows = 1024
	// parquetMagic is at both ends of a Parquet file. Behind the first one is the
	// header of a page or, without any row, the footer: both begin with a 0x15.
	parquetMagic = "PAR1"
	parquetStart = parquetMagic + "\x15"
)

// isParquet looks at the start of a file that can be read at any place.
func isParquet(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	head := make([]byte, len(parquetStart))
	n, err := file.ReadAt(head, 0)
	return n == len(head) && err == nil && string(head) == parquetStart
}

// parquetReader reads the trips of a Parquet file.
type parquetReader struct {
	reading
	columns [columnCount]*parquetColumn // nil where it is absent
	zoneAt  [2]*parquetColumn
	zones   bool
	kind    kinds
	file    *parquet.File
	raw     io.ReaderAt // what file reads
	size    int64
	text    []byte
}

// openParquet reads the footer.
func openParquet(file io.ReaderAt, size int64, how reading) (r *parquetReader, err error) {
	defer recoverParquet(&err)
	if err := checkParquetEnd(file, size); err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(file, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true),
		parquet.OptimisticRead(false), parquet.ReadBufferSize(bufferSize/4))
	if err != nil {
		return nil, parquetError(err)
	}
	if err := checkFooter(f.Metadata(), size); err != nil {
		return nil, err
	}
	r = &parquetReader{file: f, raw: file, size: size, reading: how}
	leaves := parquetLeaves(f)
	for c := range columnCount {
		r.columns[c] = findLeaf(leaves, columnNames[c]...)
	}
	zone := [2]int{-1, -1}
	var where layout
	for i := range r.zoneAt {
		if r.zoneAt[i] = findLeaf(leaves, zoneNames[i]); r.zoneAt[i] != nil {
			zone[i] = i
		}
	}
	for c := range columnCount {
		if where.at[c] = -1; r.columns[c] != nil {
			where.at[c] = int(c)
		}
	}
	where.setZones(zone[0], zone[1])
	r.zones, r.kind = where.zones, where.kind()
	return r, nil
}

// checkParquetEnd looks at the footer, for whose claims the library would take
// any amount of memory, and at what is behind it.
func checkParquetEnd(file io.ReaderAt, size int64) error {
	end := make([]byte, 4+len(parquetMagic))
	if _, err := file.ReadAt(end, max(0, size-int64(len(end)))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch string(end[4:]) {
	case parquetMagic:
	case "PARE":
		return errors.New("the Parquet file is encrypted: decrypt it")
	default:
		return errors.New("the Parquet file is cut short: fetch it again")
	}
	length := int64(binary.LittleEndian.Uint32(end))
	if length > min(maxFooter, size-int64(len(parquetMagic)+len(end))) {
		return claimError("a footer of %d bytes in a file of %d", length, size)
	}
	footer := make([]byte, length)
	if _, err := file.ReadAt(footer, size-int64(len(end))-length); err != nil {
		return err
	}
	if _, err := skipStruct(footer, 0); err != nil {
		return claimError("its footer: %v", err)
	}
	return nil
}

// recoverParquet turns a panic of the library over a damaged file into an error.
func recoverParquet(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("the Parquet file is damaged (%.200v): fetch it again", cause)
	}
}

// parquetError tells damage from a disk that cannot be read.
func parquetError(err error) error {
	var disk syscall.Errno
	if errors.As(err, &disk) {
		return err
	}
	return fmt.Errorf("the Parquet file is damaged or encrypted (%.200w): fetch it again, or decrypt it", err)
}

// used returns the columns that are read.
func (r *parquetReader) used() (used []*parquetColumn) {
	columns := r.columns[:]
	if r.zones {
		columns = append([]*parquetColumn{r.columns[columnPickupTime], r.columns[columnDropoffTime], r.columns[columnTotal]}, r.zoneAt[:]...)
	}
	for _, c := range columns {
		if c != nil {
			used = append(used, c)
		}
	}
	return used
}

// read calls each for every row, numbered from 1, with its trip in what next
// returned, or with the reason why it has none.
func (r *parquetReader) read(next func() *trip.Trip, each func(row int64, reason trip.Reason) error) (err error) {
	defer recoverParquet(&err)
	used := r.used()
	number := int64(0)
	for i, group := range r.file.RowGroups() {
		chunks := group.ColumnChunks()
		for _, c := range used {
			meta := &r.file.Metadata().RowGroups[i].Columns[c.index].MetaData
			if err := checkChunk(r.raw, r.size, meta, group.NumRows()); err != nil {
				return errors.Join(err, closeAll(used))
			}
			c.open(chunks[c.index])
		}
		for left := group.NumRows(); left > 0 && err == nil; {
			n := int(min(left, batchRows))
			for _, c := range used {
				if err := c.fill(n); err != nil {
					return errors.Join(parquetError(err), closeAll(used))
				}
			}
			for i := range n {
				number++
				if err = each(number, r.row(i, next())); err != nil {
					break
				}
			}
			left -= int64(n)
		}
		if err := errors.Join(err, closeAll(used)); err != nil {
			return err
		}
	}
	return nil
}

func closeAll(columns []*parquetColumn) (err error) {
	for _, c := range columns {
		err = errors.Join(err, c.close())
	}
	return err
}

// row reads row i of the batch. The order of the checks is that of readCells.
func (r *parquetReader) row(i int, t *trip.Trip) trip.Reason {
	if r.kind == kindPartial {
		return trip.ReasonColumns
	}
	var ok bool
	if t.Pickup, ok = r.columns[columnPickupTime].time(i, r.clock); !ok {
		return trip.ReasonPickupTime
	}
	if t.Dropoff, ok = r.columns[columnDropoffTime].time(i, r.clock); !ok {
		return trip.ReasonDropoffTime
	}
	if r.zones {
		from, _ := r.zoneAt[0].number(i)
		to, _ := r.zoneAt[1].number(i)
		if reason := r.place(t, wholeID(from), wholeID(to)); reason != "" {
			return reason
		}
	} else {
		for c, into := range [...]*float64{
			columnPickupLat: &t.PickupLat, columnPickupLon: &t.PickupLon,
			columnDropoffLat: &t.DropoffLat, columnDropoffLon: &t.DropoffLon,
		} {
			if into == nil {
				continue
			}
			if *into, ok = r.columns[c].number(i); !ok {
				return trip.ReasonCoordinate
			}
		}
		if bad := t.CheckCoordinates(); bad != nil {
			return bad.Reason
		}
	}
	t.TotalCents = 0
	if total := r.columns[columnTotal]; total != nil {
		t.TotalCents, r.text = total.cents(i, r.text)
	}
	return ""
}

// describe is row i of the batch for an Example: the columns that were read.
func (r *parquetReader) describe(i int) []byte {
	var text []byte
	for _, c := range r.used() {
		if len(text) > 0 {
			text = append(text, ", "...)
		}
		text = append(append(text, c.name...), ' ')
		if ns, ok := c.time(i, nil); ok {
			text = trip.AppendTime(text, ns)
		} else {
			text = append(text, c.batch[i].String()...)
		}
	}
	return text
}
