package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite" // it is the driver "sqlite", too
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// rowsPerInsert is how many documents one INSERT carries: fewer cost a
	// round through the driver each, more gain nothing.
	rowsPerInsert = 64
	columns       = 8

	// A transaction is cut at the first of these two, so that neither the
	// write-ahead log nor the time that other writers wait grows with the input.
	maxTxDocs  = 4096
	maxTxBytes = 16 << 20

	// applicationID ("tgsk") and schemaVersion stand in the file's header: a
	// file that another program made, or a newer tripgrid, is refused by name.
	applicationID = 0x7467736b
	schemaVersion = 1
)

const schema = `
CREATE TABLE document (
	id           TEXT    NOT NULL PRIMARY KEY,
	version      INTEGER NOT NULL,
	query        TEXT    NOT NULL,
	window_start INTEGER NOT NULL,
	window_end   INTEGER NOT NULL,
	cell         TEXT    NOT NULL,
	airport      TEXT    NOT NULL,
	body         TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- The order of an export, and the way to one window's documents.
CREATE INDEX document_order ON document (query, window_start, cell, airport);

-- What the dashboard's airport lines need, kept up to date by the triggers
-- below, in the same transaction: adding up a month of documents each second
-- would take longer than a second.
CREATE TABLE airport_window (
	window_start INTEGER NOT NULL,
	window_end   INTEGER NOT NULL,
	airport      TEXT    NOT NULL,
	trips        INTEGER NOT NULL,
	minutes      INTEGER NOT NULL,
	PRIMARY KEY (window_start, window_end, airport)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER document_added AFTER INSERT ON document
WHEN new.airport <> '' AND new.query = 'trip_duration' BEGIN
	INSERT INTO airport_window VALUES (new.window_start, new.window_end, new.airport,
		coalesce(CAST(new.body ->> '$.trip_count' AS INTEGER), 0),
		coalesce(CAST(new.body ->> '$.sum_trip_duration' AS INTEGER), 0))
	ON CONFLICT DO UPDATE SET trips = trips + excluded.trips, minutes = minutes + excluded.minutes;
END;

CREATE TRIGGER document_corrected AFTER UPDATE ON document
WHEN new.airport <> '' AND new.query = 'trip_duration' BEGIN
	UPDATE airport_window SET
		trips = trips
			+ coalesce(CAST(new.body ->> '$.trip_count' AS INTEGER), 0)
			- coalesce(CAST(old.body ->> '$.trip_count' AS INTEGER), 0),
		minutes = minutes
			+ coalesce(CAST(new.body ->> '$.sum_trip_duration' AS INTEGER), 0)
			- coalesce(CAST(old.body ->> '$.sum_trip_duration' AS INTEGER), 0)
	WHERE window_start = new.window_start AND window_end = new.window_end AND airport = new.airport;
END;
`

// upsert is completed by rows. An equal version changes nothing: its content is
// the same (I6). The columns besides version and body are functions of the id.
const (
	upsertHead = `INSERT INTO document (id, version, query, window_start, window_end, cell, airport, body) VALUES `
	upsertRow  = `(?,?,?,?,?,?,?,?)`
	upsertTail = ` ON CONFLICT (id) DO UPDATE SET version = excluded.version, body = excluded.body` +
		` WHERE excluded.version > document.version`
)

// SQLite is a [Sink] in one file, in write-ahead mode with synchronous=FULL: a
// Write that returned survives a loss of power. Writers take turns; reading
// goes on beside them and sees whole transactions. Its methods may be called
// from several goroutines.
type SQLite struct {
	path    string
	writer  *sql.DB // one connection
	readers *sql.DB
	turn    chan struct{} // held by the Write that has its turn
	many    *sql.Stmt     // rowsPerInsert rows
	one     *sql.Stmt     // a single one
}

var _ Sink = (*SQLite)(nil)

// OpenSQLite opens the file at path, and creates it if it is absent; its folder
// has to be there. A file that is damaged, or not ours, is refused with
// [ErrCorrupt].
func OpenSQLite(path string) (*SQLite, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open results %s: %w", path, err)
	}
	s := &SQLite{path: abs, turn: make(chan struct{}, 1)}
	// Of processes that make a file at once SQLite tells all but one that it is
	// locked, without waiting: the switch to WAL does not heed busy_timeout.
	for deadline := time.Now().Add(busyTimeout); ; time.Sleep(20 * time.Millisecond) {
		err := s.open()
		if err == nil {
			return s, nil
		}
		_ = s.closeAll() // the first error is the one to tell
		if !locked(err) || time.Now().After(deadline) {
			return nil, s.explain("open", err)
		}
		*s = SQLite{path: abs, turn: s.turn}
	}
}

const busyTimeout = 10 * time.Second

func locked(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
}

func (s *SQLite) open() error {
	dsn := func(pragmas ...string) string {
		v := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())}, pragmas...)}
		return (&url.URL{Scheme: "file", Path: s.path, RawQuery: v.Encode()}).String()
	}
	var err error
	s.writer, err = sql.Open("sqlite", dsn("journal_mode(WAL)", "synchronous(FULL)",
		"wal_autocheckpoint(4000)", "cache_size(-32768)")+"&_txlock=immediate")
	if err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if err := s.migrate(); err != nil {
		return err
	}
	s.readers, err = sql.Open("sqlite", dsn("query_only(1)", "cache_size(-8192)"))
	if err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(4)
	rows := strings.Repeat(upsertRow+",", rowsPerInsert-1) + upsertRow
	if s.many, err = s.writer.Prepare(upsertHead + rows + upsertTail); err != nil {
		return err
	}
	s.one, err = s.writer.Prepare(upsertHead + upsertRow + upsertTail)
	return err
}

// migrate creates the tables in a new file and checks whose file it is else.
func (s *SQLite) migrate() error {
	tx, err := s.writer.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var app, version, tables int64
	for name, to := range map[string]*int64{
		"PRAGMA application_id": &app, "PRAGMA user_version": &version,
		"SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if err := tx.QueryRow(name).Scan(to); err != nil {
			return err
		}
	}
	switch {
	case app == applicationID && version == schemaVersion:
		return nil
	case app == applicationID:
		return fmt.Errorf("its format is version %d, this tripgrid reads version %d", version, schemaVersion)
	case app != 0 || version != 0 || tables != 0:
		return errForeign
	}
	_, err = tx.Exec(schema + fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, schemaVersion))
	if err != nil {
		return err
	}
	return tx.Commit()
}

// Path is where the file is.
func (s *SQLite) Path() string { return s.path }

// Write implements [Sink]. Each transaction takes at most 4,096 documents or
// 16 MiB of bodies; if one fails, or ctx ends, those before it stay.
func (s *SQLite) Write(ctx context.Context, docs []Document) ([]Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.explain("write", err)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, s.explain("write", ctx.Err())
	}
	results := make([]Result, len(docs))
	good := make([]int, 0, len(docs))
	for i := range docs {
		if results[i].Rejected = unfit(&docs[i]); results[i].Rejected == "" {
			good = append(good, i)
		}
	}
	for len(good) > 0 {
		n, bytes := 0, 0
		for n < len(good) && n < maxTxDocs && bytes < maxTxBytes {
			bytes += len(docs[good[n]].Body)
			n++
		}
		if err := s.writeTx(ctx, docs, good[:n]); err != nil {
			return nil, s.explain("write", err)
		}
		good = good[n:]
	}
	return results, nil
}

// writeTx upserts docs[i] for every i of pick, in that order, in one transaction.
func (s *SQLite) writeTx(ctx context.Context, docs []Document, pick []int) error {
	// The driver starts a goroutine per statement to watch a context that can
	// end; looking between statements is as good, since each is short.
	tx, err := s.writer.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	many, one := tx.Stmt(s.many), tx.Stmt(s.one)
	args := make([]any, 0, rowsPerInsert*columns)
	for len(pick) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, stmt := 1, one
		if len(pick) >= rowsPerInsert {
			n, stmt = rowsPerInsert, many
		}
		args = args[:0]
		for _, i := range pick[:n] {
			d := &docs[i]
			args = append(args, d.ID, int64(d.Version), d.Query, d.WindowStart, d.WindowEnd, d.Cell, d.Airport, string(d.Body))
		}
		if _, err := stmt.Exec(args...); err != nil {
			return err
		}
		pick = pick[n:]
	}
	return tx.Commit()
}

// unfit says why no store could ever take d, or is empty.
func unfit(d *Document) string {
	switch {
	case d.ID == "":
		return "the id is empty"
	case d.Version > math.MaxInt64:
		return fmt.Sprintf("version %d is above %d", d.Version, int64(math.MaxInt64))
	case !isObject(d.Body):
		return "the body is not one JSON object"
	}
	return ""
}

// Close ends all reading and writing, and folds the write-ahead log into the file.
func (s *SQLite) Close() error {
	s.turn <- struct{}{} // after the last Write
	defer func() { <-s.turn }()
	if err := s.closeAll(); err != nil {
		return s.explain("close", err)
	}
	return nil
}

func (s *SQLite) closeAll() error {
	var errs []error
	for _, c := range []interface{ Close() error }{s.many, s.one, s.readers, s.writer} {
		switch c := c.(type) {
		case *sql.Stmt:
			if c != nil {
				errs = append(errs, c.Close())
			}
		case *sql.DB:
			if c != nil {
				errs = append(errs, c.Close())
			}
		}
	}
	return errors.Join(errs...)
}
