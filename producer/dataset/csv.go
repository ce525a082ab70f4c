package dataset

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"github.com/tripgrid/tripgrid/trip"
)

// column is one of the columns that a CSV row is read by.
type column int

const (
	columnPickupTime column = iota
	columnDropoffTime
	columnPickupLat
	columnPickupLon
	columnDropoffLat
	columnDropoffLon
	columnTotal // the only one that may be absent
	columnCount
)

const neededColumns = columnTotal

// columnNames are all names that TLC has given to each column, in lower case,
// the preferred one first.
var columnNames = [columnCount][]string{
	columnPickupTime: {"tpep_pickup_datetime", "lpep_pickup_datetime", "pickup_datetime",
		"trip_pickup_datetime", "pickup_time"},
	columnDropoffTime: {"tpep_dropoff_datetime", "lpep_dropoff_datetime", "dropoff_datetime",
		"trip_dropoff_datetime", "dropoff_time"},
	columnPickupLat:  {"pickup_latitude", "start_lat", "pickup_lat"},
	columnPickupLon:  {"pickup_longitude", "start_lon", "pickup_lon", "pickup_long"},
	columnDropoffLat: {"dropoff_latitude", "end_lat", "dropoff_lat"},
	columnDropoffLon: {"dropoff_longitude", "end_lon", "dropoff_lon", "dropoff_long"},
	columnTotal:      {"total_amount", "total_amt"},
}

// layout says where the columns are.
type layout struct {
	width int
	at    [columnCount]int // -1 where the column is absent
	debs  bool
	// zones is set where places are given by LocationIDs alone, and zoneAt says
	// where that of the pick-up and that of the drop-off are.
	zones  bool
	zoneAt [2]int
}

// zoneNames are the names of the columns of LocationIDs, in lower case.
var zoneNames = [2]string{"pulocationid", "dolocationid"}

// setZones decides whether a header's rows are placed by their zones, whose
// columns are at pickup and dropoff, or -1: if coordinates are not all there.
func (l *layout) setZones(pickup, dropoff int) {
	l.zoneAt = [2]int{pickup, dropoff}
	l.zones = pickup >= 0 && dropoff >= 0 &&
		min(l.at[columnPickupLat], l.at[columnPickupLon], l.at[columnDropoffLat], l.at[columnDropoffLon]) < 0
}

// needed returns which columns a row must have; some of them may be -1.
func (l *layout) needed() [neededColumns]int {
	if l.zones {
		at, zone := &l.at, &l.zoneAt
		return [neededColumns]int{at[columnPickupTime], at[columnDropoffTime], zone[0], zone[1], zone[0], zone[1]}
	}
	return [neededColumns]int(l.at[:neededColumns])
}

// debs is the layout of DEBS 2015, which has no header: medallion, hack_license,
// pickup_datetime, dropoff_datetime, trip_time_in_secs, trip_distance,
// pickup_longitude, pickup_latitude, dropoff_longitude, dropoff_latitude,
// payment_type, fare_amount, surcharge, mta_tax, tip_amount, tolls_amount,
// total_amount.
var debs = &layout{width: 17, at: [columnCount]int{2, 3, 7, 6, 9, 8, 16}, debs: true}

// parseHeader returns the layout of a header, nil if the cells are none: if no
// cell is the name of a needed column.
func parseHeader(cells [][]byte) *layout {
	header := &layout{width: len(cells)}
	found := false
	for c := range columnCount {
		header.at[c] = -1
		for _, name := range columnNames[c] {
			if i := cellIndex(cells, name); i >= 0 {
				header.at[c] = i
				found = found || c < neededColumns
				break
			}
		}
	}
	if !found {
		return nil
	}
	header.setZones(cellIndex(cells, zoneNames[0]), cellIndex(cells, zoneNames[1]))
	return header
}

// cellIndex returns the first cell that is name but for case and blanks.
func cellIndex(cells [][]byte, name string) int {
	for i, cell := range cells {
		if cell = trip.TrimSpace(cell); isName(cell, name) {
			return i
		}
	}
	return -1
}

// isName says whether a cell in lower case is name.
func isName(cell []byte, name string) bool {
	for i := 0; i < len(cell); {
		r, size := utf8.DecodeRune(cell[i:])
		// The dotted capital I is no i, although unicode.ToLower says so.
		if len(name) == 0 || r == 'İ' || unicode.ToLower(r) != rune(name[0]) {
			return false
		}
		name = name[1:]
		i += size
	}
	return len(name) == 0
}

// splitter cuts lines into cells. Its zero value is ready.
type splitter struct {
	cells [][]byte
	buf   []byte
	ends  []int
}

// split cuts a line without its end into cells, which are good until the next
// call. It is false for broken quoting.
func (s *splitter) split(line []byte) ([][]byte, bool) {
	if bytes.IndexByte(line, '"') >= 0 {
		return s.splitQuoted(line)
	}
	s.cells = s.cells[:0]
	for {
		i := bytes.IndexByte(line, ',')
		if i < 0 {
			s.cells = append(s.cells, line)
			return s.cells, true
		}
		s.cells = append(s.cells, line[:i:i])
		line = line[i+1:]
	}
}

// splitQuoted follows Python's csv.reader in its default dialect, given this one
// line: a quote at the start of a cell opens it, a doubled one within stands for
// itself, text behind the closing quote is appended, an open quote ends with the
// line, and CR outside of quotes ends the line: other text behind it is an error.
func (s *splitter) splitQuoted(line []byte) ([][]byte, bool) {
	const (
		startOfCell = iota
		inCell
		inQuotes
		quoteInQuotes
		endOfLine
	)
	s.buf, s.ends = s.buf[:0], s.ends[:0]
	state := startOfCell
	for _, c := range line {
		switch state {
		case endOfLine:
			if c != '\r' {
				return nil, false
			}
			continue
		case inQuotes:
			if c == '"' {
				state = quoteInQuotes
			} else {
				s.buf = append(s.buf, c)
			}
			continue
		}
		switch {
		case c == '"' && state == startOfCell:
			state = inQuotes
		case c == '"' && state == quoteInQuotes:
			s.buf = append(s.buf, c)
			state = inQuotes
		case c == ',':
			s.ends = append(s.ends, len(s.buf))
			state = startOfCell
		case c == '\r':
			s.ends = append(s.ends, len(s.buf))
			state = endOfLine
		default:
			s.buf = append(s.buf, c)
			state = inCell
		}
	}
	if state != endOfLine {
		s.ends = append(s.ends, len(s.buf))
	}
	s.cells = s.cells[:0]
	start := 0
	for _, end := range s.ends {
		s.cells = append(s.cells, s.buf[start:end:end])
		start = end
	}
	return s.cells, true
}

// isBlank says whether b is white space only, or empty.
func isBlank(b []byte) bool {
	if len(b) > 0 && b[0] > ' ' && b[0] < utf8.RuneSelf {
		return false
	}
	return len(trip.TrimSpace(b)) == 0
}
