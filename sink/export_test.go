package sink

import "fmt"

// Pragma reads a setting of the connection that writes.
func (s *SQLite) Pragma(name string) (value string, err error) {
	err = s.writer.QueryRow("PRAGMA " + name).Scan(&value)
	return value, err
}

// LimitPages makes the file full at that many pages.
func (s *SQLite) LimitPages(n int) error {
	_, err := s.writer.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n))
	return err
}
