package sink

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
)

// makeDocs returns n documents as the window operator makes them: one window
// after the other, 1,500 cells each.
func makeDocs(n int, version uint64) []Document {
	const letters = "0123456789bcdefghjkmnpqrstuvwxyz"
	docs := make([]Document, n)
	for i := range docs {
		w := 1456790400 + int64(i/1500)*600
		c := i % 1500
		cell := "dr5r" + string([]byte{letters[c/32%32], letters[c%32]})
		docs[i] = Document{
			ID: fmt.Sprintf("taxi|pickup_count|%d|%s|%d", w, cell, c/1024), Version: version,
			Query: "pickup_count", WindowStart: w, WindowEnd: w + 600, Cell: cell,
			Body: fmt.Appendf(nil, `{"query":"pickup_count","cell":%q,"location":{"lat":40.75,"lon":-73.98},"window_start":%d,"window_end":%d,"timestamp":%d,"pickup_count":%d}`,
				cell, w, w+600, (w+600)*1000-1, c),
		}
	}
	return docs
}

func BenchmarkSQLiteWrite(b *testing.B) {
	for _, batch := range []int{500, 5000} {
		b.Run(fmt.Sprintf("new/batch=%d", batch), func(b *testing.B) { benchWrite(b, batch, 0) })
		b.Run(fmt.Sprintf("again/batch=%d", batch), func(b *testing.B) { benchWrite(b, batch, 200_000) })
	}
}

// benchWrite writes batches in a row: all new if window is 0, else the same
// window documents over and over with growing versions.
func benchWrite(b *testing.B, batch, window int) {
	s, err := OpenSQLite(filepath.Join(b.TempDir(), "results.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	total := max(b.N, batch)
	if window == 0 {
		window = total
	}
	docs := makeDocs(window, 1)
	b.ReportAllocs()
	b.ResetTimer()
	version := uint64(1)
	for i, at := 0, 0; i < b.N; i += batch {
		if at+batch > len(docs) {
			at = 0
			version++
		}
		part := docs[at:min(at+batch, len(docs))]
		for j := range part {
			part[j].Version = version
		}
		if _, err := s.Write(context.Background(), part); err != nil {
			b.Fatal(err)
		}
		at += batch
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "docs/s")
}
