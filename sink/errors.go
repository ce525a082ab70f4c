package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrCorrupt says that a store's file is damaged, or is none of ours.
	ErrCorrupt = errors.New("corrupt")
	// ErrFull says that the disk has no room. What was not written can be
	// written again once there is.
	ErrFull = errors.New("disk full")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("closed")
)

var errForeign = errors.New("another program made this file")

// explain makes one clear sentence of an error of the driver: what was to be
// done, with which file, and what the user can do about it.
func (s *SQLite) explain(verb string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s results %s: %w", verb, s.path, err)
	}
	if errors.Is(err, errForeign) {
		return fmt.Errorf("%s results %s: %w: %w, move it away or choose another folder", verb, s.path, ErrCorrupt, err)
	}
	if errors.Is(err, sql.ErrConnDone) || err.Error() == "sql: database is closed" || err.Error() == "sql: statement is closed" {
		return fmt.Errorf("%s results %s: %w", verb, s.path, ErrClosed)
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s results %s: %w", verb, s.path, err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%s results %s: %w, free some space there and it goes on", verb, s.path, ErrFull)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s results %s: %w: the file is damaged, move it away and replay the job", verb, s.path, ErrCorrupt)
	case sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%s results %s: the file cannot be opened, check that its folder exists and may be written", verb, s.path)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fmt.Errorf("%s results %s: the file may not be written, check its permissions", verb, s.path)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%s results %s: another process has locked the file", verb, s.path)
	case sqlite3.SQLITE_IOERR:
		if strings.Contains(e.Error(), "no space") {
			return fmt.Errorf("%s results %s: %w, free some space there and it goes on", verb, s.path, ErrFull)
		}
		return fmt.Errorf("%s results %s: the disk failed (%w)", verb, s.path, err)
	}
	return fmt.Errorf("%s results %s: %w", verb, s.path, err)
}
