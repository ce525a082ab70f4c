package dataset

import (
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/tripgrid/tripgrid/trip"
)

// parquetColumn is a column of single values, with as many of them in memory as
// a batch has rows.
type parquetColumn struct {
	name  string
	index int // among the chunks of a row group
	// unit of a timestamp; 0 for other columns.
	unit time.Duration
	// adjusted says that timestamps are instants. Those of TLC are not: they are
	// what clocks in New York showed.
	adjusted bool

	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	batch  []parquet.Value
	// done are pages that values in the batch may point into.
	done []parquet.Page
}

// parquetLeaves returns the columns of a file that are neither nested nor
// repeated, and no decimal numbers, which TLC has none of.
func parquetLeaves(f *parquet.File) (columns []*parquetColumn) {
	// In the metadata, the order of leaves is that of their indexes.
	var elements []*format.SchemaElement
	for i := range f.Metadata().Schema {
		if e := &f.Metadata().Schema[i]; e.NumChildren.V == 0 {
			elements = append(elements, e)
		}
	}
	for _, column := range f.Root().Columns() {
		if !column.Leaf() || column.Repeated() || column.Index() >= len(elements) {
			continue
		}
		c := &parquetColumn{name: column.Name(), index: column.Index()}
		e := elements[c.index]
		switch logical := e.LogicalType.Value.(type) {
		case *format.DecimalType:
			continue
		case *format.TimestampType:
			if logical.Unit.Value != nil {
				c.unit, c.adjusted = logical.Unit.Value.Duration(), logical.IsAdjustedToUTC
			}
		case nil:
			// The older way to say it, without a word on zones.
			const decimal, millis, micros = 5, 9, 10
			switch converted := e.ConvertedType; {
			case converted.Valid && converted.V == decimal:
				continue
			case converted.Valid && converted.V == millis:
				c.unit = time.Millisecond
			case converted.Valid && converted.V == micros:
				c.unit = time.Microsecond
			}
		}
		columns = append(columns, c)
	}
	return columns
}

// findLeaf returns the column with the first of some names that there is.
func findLeaf(columns []*parquetColumn, names ...string) *parquetColumn {
	for _, name := range names {
		for _, c := range columns {
			if isName(trip.TrimSpace([]byte(c.name)), name) {
				return c
			}
		}
	}
	return nil
}

// open begins a row group.
func (c *parquetColumn) open(chunk parquet.ColumnChunk) {
	c.pages = chunk.Pages()
}

// fill reads the next n values into the batch.
func (c *parquetColumn) fill(n int) error {
	if c.batch == nil {
		c.batch = make([]parquet.Value, batchRows)
	}
	c.release()
	for filled := 0; filled < n; {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if errors.Is(err, io.EOF) {
				return errors.New("a column " + c.name + " has fewer values than there are rows")
			}
			if err != nil {
				return err
			}
			c.page, c.values = page, page.Values()
		}
		read, err := c.values.ReadValues(c.batch[filled:n])
		filled += read
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil || read == 0 {
			c.done = append(c.done, c.page)
			c.page, c.values = nil, nil
		}
	}
	return nil
}

// release gives back pages that are no longer used.
func (c *parquetColumn) release() {
	for _, page := range c.done {
		parquet.Release(page)
	}
	c.done = c.done[:0]
}

// close ends a row group.
func (c *parquetColumn) close() error {
	if c.page != nil {
		c.done = append(c.done, c.page)
		c.page, c.values = nil, nil
	}
	c.release()
	if c.pages == nil {
		return nil
	}
	err := c.pages.Close()
	c.pages = nil
	return err
}

// time reads value i as nanoseconds since 1970.
func (c *parquetColumn) time(i int, clock *clock) (int64, bool) {
	switch v := &c.batch[i]; v.Kind() {
	case parquet.Int64:
		n := v.Int64()
		if v.IsNull() || c.unit == 0 || n > math.MaxInt64/int64(c.unit) || n < math.MinInt64/int64(c.unit) {
			return 0, false
		}
		ns := n * int64(c.unit)
		if c.adjusted {
			return ns, trip.MinTime <= ns && ns <= trip.MaxTime
		}
		return clock.instant(ns)
	case parquet.Int96:
		// Nanoseconds of a day and the day's Julian number.
		const epoch, day = 2_440_588, 24 * int64(time.Hour)
		n := v.Int96()
		days, ns := int64(n[2])-epoch, int64(n[1])<<32|int64(n[0])
		if v.IsNull() || ns < 0 || ns >= day || days < trip.MinTime/day || days > trip.MaxTime/day {
			return 0, false
		}
		return clock.instant(days*day + ns)
	case parquet.ByteArray:
		return clock.parse(v.ByteArray())
	}
	return 0, false
}

// number reads value i; one that is not finite is none.
func (c *parquetColumn) number(i int) (x float64, ok bool) {
	v := &c.batch[i]
	if v.IsNull() {
		return 0, false
	}
	switch v.Kind() {
	case parquet.Int32:
		return float64(v.Int32()), true
	case parquet.Int64:
		return float64(v.Int64()), true
	case parquet.Float:
		x = float64(v.Float())
	case parquet.Double:
		x = v.Double()
	case parquet.ByteArray:
		return trip.ParseCoordinate(v.ByteArray())
	default:
		return 0, false
	}
	return x, !math.IsNaN(x) && !math.IsInf(x, 0)
}

// cents reads value i as an amount, 0 where there is none, by way of the decimal
// number that a CSV file has. It returns the scratch buffer that it was given.
func (c *parquetColumn) cents(i int, scratch []byte) (int64, []byte) {
	v := &c.batch[i]
	switch v.Kind() {
	case parquet.ByteArray:
		return trip.ParseCents(v.ByteArray()), scratch
	case parquet.Float:
		scratch = strconv.AppendFloat(scratch[:0], float64(v.Float()), 'f', -1, 32)
	default:
		x, ok := c.number(i)
		if !ok {
			return 0, scratch
		}
		scratch = strconv.AppendFloat(scratch[:0], x, 'f', -1, 64)
	}
	return trip.ParseCents(scratch), scratch
}
