package zones

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
)

// MaxID is the greatest LocationID that a table may have.
const MaxID = 1_000_000

// point is latitude and longitude in degrees. No zone is at 0, 0: that is none.
type point struct{ lat, lon float64 }

// Table gives zones their points. It never changes; its methods may be called
// from several goroutines at once.
type Table struct {
	points []point // by id less 1
	len    int
}

// NewYork returns the built-in table of TLC's taxi zones.
func NewYork() *Table { return newYork() }

var newYork = sync.OnceValue(func() *Table {
	t := &Table{points: centroids[:]}
	for _, p := range t.points {
		if p != (point{}) {
			t.len++
		}
	}
	return t
})

// Len is the number of zones that have a point.
func (t *Table) Len() int { return t.len }

// Point returns the latitude and longitude of a zone in degrees; it is false for
// a zone that the table lacks.
func (t *Table) Point(id int64) (lat, lon float64, ok bool) {
	if id < 1 || id > int64(len(t.points)) {
		return 0, 0, false
	}
	p := t.points[id-1]
	return p.lat, p.lon, p != point{}
}

// Open reads the table in a CSV file. The error names the file.
func Open(path string) (*Table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read zones: %w: check the path", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	t, err := Read(file)
	if err != nil {
		return nil, fmt.Errorf("read zones of %s: %w", path, err)
	}
	return t, nil
}

// The columns of a table, and those of them that it must have.
const (
	columnID = iota
	columnLat
	columnLon
	columnMinLat
	columnMaxLat
	columnMinLon
	columnMaxLon
	columnCount
	neededColumns = columnMinLat
)

var columnNames = [columnCount][]string{
	{"locationid"},
	{"centroid_lat", "latitude", "lat"},
	{"centroid_lon", "longitude", "lon", "long"},
	{"min_lat"}, {"max_lat"}, {"min_lon"}, {"max_lon"},
}

// Read reads a table as CSV. Any row that is malformed is an error with its line.
func Read(r io.Reader) (*Table, error) {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord = -1
	rows.ReuseRecord = true
	header, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the table is empty: give a CSV file with a header and a row for each zone")
	}
	if err != nil {
		return nil, fmt.Errorf("the header is malformed: %w", err)
	}
	columns := columnsOf(header)
	for c, at := range columns[:neededColumns] {
		if at < 0 {
			return nil, fmt.Errorf("there is no column %s in the header: name it so", columnNames[c][0])
		}
	}
	t := new(Table)
	var boxes []float64 // the area of each zone's box in square degrees
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("a row is malformed: %w", err)
		}
		id, at, box, err := parseRow(row, columns)
		if err != nil {
			line, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		for len(t.points) < id {
			t.points, boxes = append(t.points, point{}), append(boxes, 0)
		}
		if t.points[id-1] == (point{}) {
			t.len++
		} else if box <= boxes[id-1] {
			continue
		}
		t.points[id-1], boxes[id-1] = at, box
	}
	if t.len == 0 {
		return nil, errors.New("the table has no zone: give a row for each")
	}
	return t, nil
}

// columnsOf returns where each column is, -1 where it is not.
func columnsOf(header []string) (columns [columnCount]int) {
	for c, names := range columnNames {
		columns[c] = -1
	names:
		for _, name := range names {
			for i, cell := range header {
				if strings.EqualFold(strings.TrimSpace(strings.TrimPrefix(cell, "\uFEFF")), name) {
					columns[c] = i
					break names
				}
			}
		}
	}
	return columns
}

// parseRow reads a row; box is 0 where it has no box.
func parseRow(row []string, columns [columnCount]int) (id int, at point, box float64, err error) {
	cell := func(c int) string {
		if i := columns[c]; i >= 0 && i < len(row) {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	id, err = strconv.Atoi(cell(columnID))
	if err != nil || id < 1 || id > MaxID {
		return 0, at, 0, fmt.Errorf("the LocationID %.20q is no whole number from 1 to %d", cell(columnID), MaxID)
	}
	if at.lat, err = degrees(cell(columnLat), 90); err != nil {
		return 0, at, 0, fmt.Errorf("the latitude of zone %d %w", id, err)
	}
	if at.lon, err = degrees(cell(columnLon), 180); err != nil {
		return 0, at, 0, fmt.Errorf("the longitude of zone %d %w", id, err)
	}
	if at == (point{}) {
		return 0, at, 0, fmt.Errorf("zone %d has no place: it is at 0, 0", id)
	}
	var edges [4]float64
	for i := range edges {
		edges[i], err = degrees(cell(columnMinLat+i), 180)
		if err != nil {
			return id, at, 0, nil // a box is not needed
		}
	}
	return id, at, max(0, edges[1]-edges[0]) * max(0, edges[3]-edges[2]), nil
}

// degrees reads a number within a bound.
func degrees(text string, bound float64) (float64, error) {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || !(-bound <= x && x <= bound) {
		return 0, fmt.Errorf("is %.20q: give degrees from %g to %g", text, -bound, bound)
	}
	return x, nil
}
