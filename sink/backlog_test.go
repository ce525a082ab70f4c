package sink

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// model is the backlog as one would explain it: per partition and id the newest
// version that is not confirmed, and what is in flight.
type model struct {
	newest map[key]uint64
	flying map[key]uint64
	went   map[key]uint64 // the last version that went out
}

type key struct {
	partition uint32
	id        string
}

// TestBacklogModel drives the backlog and the model with the same random events:
// nothing is lost, nothing old goes out after something newer, nothing is twice
// in flight, and what is counted is what is there.
func TestBacklogModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBacklog()
		m := model{map[key]uint64{}, map[key]uint64{}, map[key]uint64{}}
		var flights []*item
		partition := rapid.Uint32Range(0, 2)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				p := partition.Draw(t, "partition")
				var docs []Document
				for range rapid.IntRange(1, 5).Draw(t, "documents") {
					k := key{p, fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "id"))}
					v := rapid.Uint64Range(1, 20).Draw(t, "version")
					docs = append(docs, Document{ID: k.id, Version: v, Body: make([]byte, v)})
					m.newest[k] = max(v, m.newest[k], m.flying[k])
				}
				b.add(p, docs)
			},
			"take": func(t *rapid.T) {
				maxDocs := rapid.IntRange(1, 4).Draw(t, "documents at most")
				batch := b.take(maxDocs, 3*docOverhead)
				if len(batch) > maxDocs || len(batch) == 0 && b.queue.n > 0 {
					t.Fatalf("took %d of %d, at most %d", len(batch), b.queue.n, maxDocs)
				}
				for _, it := range batch {
					k := key{it.partition, it.id}
					if m.flying[k] != 0 {
						t.Fatalf("%v is twice in flight", k)
					}
					if it.sent.Version != m.newest[k] || it.sent.Version < m.went[k] {
						t.Fatalf("%v goes out with version %d after %d, newest is %d", k, it.sent.Version, m.went[k], m.newest[k])
					}
					m.flying[k], m.went[k] = it.sent.Version, it.sent.Version
				}
				flights = append(flights, batch...)
			},
			"land": func(t *rapid.T) {
				if len(flights) == 0 {
					t.Skip("nothing is in flight")
				}
				i := rapid.IntRange(0, len(flights)-1).Draw(t, "flight")
				it, done := flights[i], rapid.Bool().Draw(t, "confirmed")
				flights = append(flights[:i], flights[i+1:]...)
				k := key{it.partition, it.id}
				if done && m.newest[k] == m.flying[k] {
					delete(m.newest, k)
					delete(m.went, k) // a replay may bring an older version again
				}
				delete(m.flying, k)
				b.landed(it, done)
			},
			"release": func(t *rapid.T) {
				p := partition.Draw(t, "partition")
				for _, of := range []map[key]uint64{m.newest, m.went} {
					for k := range of {
						if k.partition == p {
							delete(of, k)
						}
					}
				}
				b.release(p)
			},
			"": func(t *rapid.T) { m.check(t, b) },
		})
	})
}

func (m model) check(t *rapid.T, b *backlog) {
	found, bytes := 0, int64(0)
	for p := range uint32(3) {
		docs := b.unconfirmed(p)
		for _, d := range docs {
			if m.newest[key{p, d.ID}] != d.Version {
				t.Fatalf("partition %d has %q version %d, want %d", p, d.ID, d.Version, m.newest[key{p, d.ID}])
			}
		}
		found += len(docs)
		if s := b.shelves[p]; s != nil {
			if len(s.docs) != len(s.items) || len(s.docs)-s.gaps != len(docs) {
				t.Fatalf("partition %d: %d places, %d items, %d gaps", p, len(s.docs), len(s.items), s.gaps)
			}
			for _, it := range s.byID {
				if it.at != nowhere {
					bytes += size(it.doc())
				}
				if it.flying && (it.at == nowhere || it.waits()) {
					bytes += size(&it.sent)
				}
			}
		}
	}
	if found != len(m.newest) || b.docs != found {
		t.Fatalf("%d documents, counted as %d, want %d", found, b.docs, len(m.newest))
	}
	if b.bytes != bytes {
		t.Fatalf("%d bytes, counted as %d", bytes, b.bytes)
	}
}

func BenchmarkUnconfirmed(b *testing.B) {
	docs := makeDocs(100_000, 1)
	for _, partitions := range []int{1, 16} {
		b.Run(fmt.Sprintf("documents=100000/partitions=%d", partitions), func(b *testing.B) {
			l := newBacklog()
			for i := range docs {
				l.add(uint32(i%partitions), docs[i:i+1])
			}
			b.ReportAllocs()
			for b.Loop() {
				if len(l.unconfirmed(0)) < len(docs)/partitions {
					b.Fatal("documents are missing")
				}
			}
		})
	}
}

func BenchmarkBacklog(b *testing.B) {
	docs := makeDocs(100_000, 1)
	l := newBacklog()
	b.ReportAllocs()
	for i := 0; i < b.N; i += 500 {
		at := i % len(docs)
		l.add(uint32(i/500%16), docs[at:at+500])
		for _, it := range l.take(500, 1<<30) {
			l.landed(it, true)
		}
	}
}
