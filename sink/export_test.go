package sink

import "fmt"

// LimitPages makes the file full at that many pages.
func (s *SQLite) LimitPages(n int) error {
	_, err := s.writer.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n))
	return err
}
