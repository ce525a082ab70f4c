package sink

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

const selectDocument = `SELECT id, version, query, window_start, window_end, cell, airport, body FROM document `

// Get returns the document with that id, and whether there is one.
func (s *SQLite) Get(ctx context.Context, id string) (Document, bool, error) {
	d, err := scan(s.readers.QueryRowContext(ctx, selectDocument+`WHERE id = ?`, id))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Document{}, false, nil
	case err != nil:
		return Document{}, false, s.explain("read", err)
	}
	return d, true, nil
}

// Window is a half-open span of event time, in seconds since 1970.
type Window struct{ Start, End int64 }

// Windows returns the first and the last window that has a document of query,
// and false if there is none.
func (s *SQLite) Windows(ctx context.Context, query string) (first, last Window, ok bool, err error) {
	for _, w := range []struct {
		to    *Window
		order string
	}{{&first, "ASC"}, {&last, "DESC"}} {
		row := s.readers.QueryRowContext(ctx, `SELECT window_start, window_end FROM document INDEXED BY document_order
			WHERE query = ? ORDER BY query, window_start `+w.order+` LIMIT 1`, query)
		if err := row.Scan(&w.to.Start, &w.to.End); errors.Is(err, sql.ErrNoRows) {
			return Window{}, Window{}, false, nil
		} else if err != nil {
			return Window{}, Window{}, false, s.explain("read", err)
		}
	}
	return first, last, true, nil
}

// Starts returns the starts of the windows at from or later that have a
// document of query, in order; if there are more than limit, the newest.
func (s *SQLite) Starts(ctx context.Context, query string, from int64, limit int) ([]int64, error) {
	// One seek in the index per window, however many documents it has.
	rows, err := s.readers.QueryContext(ctx, `WITH RECURSIVE w (start) AS (
			SELECT max(window_start) FROM document WHERE query = ?1 AND window_start >= ?2
			UNION ALL
			SELECT (SELECT max(window_start) FROM document WHERE query = ?1 AND window_start >= ?2 AND window_start < w.start)
			FROM w WHERE w.start IS NOT NULL LIMIT ?3)
		SELECT start FROM w WHERE start IS NOT NULL ORDER BY start`, query, from, limit)
	if err != nil {
		return nil, s.explain("read", err)
	}
	return collect(s, rows, func(v *int64) []any { return []any{v} })
}

// CellValue is what a number of one cell's documents adds up to.
type CellValue struct {
	Cell  string
	Value int64
}

// Cells returns the whole numbers that stand in field of the documents of query,
// added up by cell, for the windows that begin at from or later and before to.
func (s *SQLite) Cells(ctx context.Context, query, field string, from, to int64) ([]CellValue, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT cell, sum(coalesce(CAST(body ->> ? AS INTEGER), 0)) FROM document
		WHERE query = ? AND window_start >= ? AND window_start < ? GROUP BY cell ORDER BY cell`, field, query, from, to)
	if err != nil {
		return nil, s.explain("read", err)
	}
	return collect(s, rows, func(v *CellValue) []any { return []any{&v.Cell, &v.Value} })
}

// AirportValue is what all trips to one airport in one window add up to.
type AirportValue struct {
	Window         Window
	Airport        string
	Trips, Minutes int64
}

// Airports returns the sums of the query trip_duration over all cells, for the
// windows that begin at from or later and before to, by window and airport.
func (s *SQLite) Airports(ctx context.Context, from, to int64) ([]AirportValue, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT window_start, window_end, airport, trips, minutes FROM airport_window
		WHERE window_start >= ? AND window_start < ? ORDER BY window_start, window_end, airport`, from, to)
	if err != nil {
		return nil, s.explain("read", err)
	}
	return collect(s, rows, func(v *AirportValue) []any {
		return []any{&v.Window.Start, &v.Window.End, &v.Airport, &v.Trips, &v.Minutes}
	})
}

// Count returns how many documents of query there are.
func (s *SQLite) Count(ctx context.Context, query string) (int64, error) {
	var n int64
	if err := s.readers.QueryRowContext(ctx, `SELECT count(*) FROM document WHERE query = ?`, query).Scan(&n); err != nil {
		return 0, s.explain("read", err)
	}
	return n, nil
}

// Each calls f with every document of query, or with every document if query is
// empty, in the order of an export. The Body belongs to f.
func (s *SQLite) Each(ctx context.Context, query string, f func(Document) error) error {
	return s.each(ctx, f, `WHERE ? IN ('', query)`, query)
}

func (s *SQLite) each(ctx context.Context, f func(Document) error, where string, args ...any) error {
	rows, err := s.readers.QueryContext(ctx, selectDocument+`INDEXED BY document_order `+where+
		` ORDER BY query, window_start, cell, airport, id`, args...)
	if err != nil {
		return s.explain("read", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		d, err := scan(rows)
		if err != nil {
			return s.explain("read", err)
		}
		if err := f(d); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return s.explain("read", err)
	}
	return nil
}

// Export writes the results, not late trips and dead letters, as JSON lines:
// query, cell, airport_code if there is one, window_start and window_end
// (RFC 3339, UTC), then the numbers of the body, then its other fields, each in
// the body's order. Lines are sorted by (query, window_start, cell,
// airport_code), so two stores with the same results export the same bytes. It
// sees one moment of the store, holds one document in memory and returns the
// number of lines.
func (s *SQLite) Export(ctx context.Context, w io.Writer) (int64, error) {
	out := bufio.NewWriterSize(w, 1<<16)
	var n int64
	var line []byte
	err := s.each(ctx, func(d Document) error {
		var err error
		if line, err = appendLine(line[:0], &d); err != nil {
			return err
		}
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("export results: %w", err)
		}
		n++
		return nil
	}, `WHERE query NOT IN (?, ?)`, LateQuery, DeadQuery)
	if err != nil {
		return n, err
	}
	if err := out.Flush(); err != nil {
		return n, fmt.Errorf("export results: %w", err)
	}
	return n, nil
}

func appendLine(b []byte, d *Document) ([]byte, error) {
	b = append(b, `{"query":`...)
	b = appendString(b, d.Query)
	b = append(b, `,"cell":`...)
	b = appendString(b, d.Cell)
	if d.Airport != "" {
		b = append(b, `,"airport_code":`...)
		b = appendString(b, d.Airport)
	}
	b = append(b, `,"window_start":"`...)
	b = time.Unix(d.WindowStart, 0).UTC().AppendFormat(b, time.RFC3339)
	b = append(b, `","window_end":"`...)
	b = time.Unix(d.WindowEnd, 0).UTC().AppendFormat(b, time.RFC3339)
	b = append(b, '"')
	fields, err := splitObject(d.Body)
	if err != nil {
		return b, fmt.Errorf("export document %s: %w", strconv.Quote(d.ID), err)
	}
	for _, numbers := range []bool{true, false} {
		for _, f := range fields {
			if f.number() != numbers || f.leads() {
				continue
			}
			b = append(b, ',')
			b = append(b, f.key...)
			b = append(b, ':')
			b = append(b, f.value...)
		}
	}
	return append(b, '}', '\n'), nil
}

func scan(row interface{ Scan(...any) error }) (d Document, err error) {
	var version int64
	err = row.Scan(&d.ID, &version, &d.Query, &d.WindowStart, &d.WindowEnd, &d.Cell, &d.Airport, &d.Body)
	d.Version = uint64(version)
	return d, err
}

func collect[T any](s *SQLite, rows *sql.Rows, fields func(*T) []any) ([]T, error) {
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		var v T
		if err := rows.Scan(fields(&v)...); err != nil {
			return nil, s.explain("read", err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, s.explain("read", err)
	}
	return all, nil
}
