package sink

import "slices"

// backlog is the pure part of [Pending]: which documents no store has confirmed,
// and which of them may go out now. It has no clock, no lock and no I/O. A
// document is queued, or in flight, or in flight while a newer version of it
// waits; it is never twice in flight, so its versions go out in order.
type backlog struct {
	shelves map[uint32]*shelf
	queue   list  // what may go out now
	docs    int   // unconfirmed documents, an id counts once
	bytes   int64 // what documents take, those in flight included
}

// shelf holds one partition's unconfirmed documents side by side, in the order
// in which their ids came, so that a snapshot of them is one pass over memory.
type shelf struct {
	byID  map[string]*item
	docs  []Document
	items []*item // whose document it is; nil at a gap
	gaps  int
}

// item is one id of one partition.
type item struct {
	id        string
	partition uint32
	shelf     *shelf
	at        int // where its newest version stands; nowhere if its partition was released
	flying    bool
	sent      Document // what is in flight
	prev      *item    // its place in the queue
	next      *item
	in        bool
}

// nowhere is the place of an item that nobody asks for any more, but that is
// still in flight.
const nowhere = -1

// docOverhead is what a pending document costs beyond its strings and body: the
// item, its place in the index and in the queue.
const docOverhead = 400

func size(d *Document) int64 {
	return int64(docOverhead + len(d.ID) + len(d.Query) + len(d.Cell) + len(d.Airport) + len(d.Body))
}

func newBacklog() *backlog { return &backlog{shelves: make(map[uint32]*shelf)} }

// add takes documents of a partition; an older or equal version of an id that
// is there already changes nothing.
func (b *backlog) add(partition uint32, docs []Document) {
	if len(docs) == 0 {
		return
	}
	s := b.shelves[partition]
	if s == nil {
		s = &shelf{byID: make(map[string]*item)}
		b.shelves[partition] = s
	}
	for i := range docs {
		b.addOne(s, partition, &docs[i])
	}
}

func (b *backlog) addOne(s *shelf, partition uint32, d *Document) {
	it := s.byID[d.ID]
	if it == nil {
		it = &item{id: d.ID, partition: partition, shelf: s}
		s.byID[d.ID] = it
		b.put(it, d)
		b.queue.push(it)
		return
	}
	if it.at == nowhere { // its partition has come back while it was in flight
		b.put(it, &it.sent)
		b.bytes -= size(&it.sent)
	}
	newest := it.doc()
	if d.Version <= newest.Version {
		return
	}
	if b.bytes += size(d); it.waits() {
		b.bytes -= size(newest) // else it is in flight, and stays in memory
	}
	*newest = *d
}

// put places an item's document on its shelf, at the end.
func (b *backlog) put(it *item, d *Document) {
	it.at = len(it.shelf.docs)
	it.shelf.docs = append(it.shelf.docs, *d)
	it.shelf.items = append(it.shelf.items, it)
	b.docs++
	b.bytes += size(d)
}

func (it *item) doc() *Document { return &it.shelf.docs[it.at] }

// waits reports that the newest version is not what is in flight.
func (it *item) waits() bool { return !it.flying || it.sent.Version != it.doc().Version }

// take picks documents to go out together, the oldest first, at most maxDocs
// and, if there are more than one, at most maxBytes.
func (b *backlog) take(maxDocs int, maxBytes int64) []*item {
	var batch []*item
	var bytes int64
	for len(batch) < maxDocs {
		it := b.queue.first
		if it == nil {
			break
		}
		if bytes += size(it.doc()); len(batch) > 0 && bytes > maxBytes {
			break
		}
		b.queue.drop(it)
		it.flying, it.sent = true, *it.doc()
		batch = append(batch, it)
	}
	return batch
}

// landed notes what became of one item that was taken: done if the store has
// confirmed or finally rejected it, else it goes out again.
func (b *backlog) landed(it *item, done bool) {
	if it.at == nowhere {
		b.bytes -= size(&it.sent)
		b.forget(it)
		return
	}
	newer := it.waits()
	if newer {
		b.bytes -= size(&it.sent)
	}
	it.flying, it.sent = false, Document{}
	if done && !newer {
		b.clear(it)
		b.forget(it)
		return
	}
	b.queue.push(it)
}

// release forgets a partition's documents. Those in flight stay until they
// land, so that none can be in flight twice if the partition comes back.
func (b *backlog) release(partition uint32) {
	s := b.shelves[partition]
	if s == nil {
		return
	}
	for _, it := range slices.Clone(s.items) {
		switch {
		case it == nil:
		case !it.flying:
			b.clear(it)
			b.forget(it)
		default:
			if !it.waits() {
				b.bytes += size(&it.sent) // which clear takes off
			}
			b.clear(it)
		}
	}
}

// unconfirmed returns the newest version of every document of a partition that
// is not confirmed.
func (b *backlog) unconfirmed(partition uint32) []Document {
	s := b.shelves[partition]
	if s == nil || len(s.docs) == s.gaps {
		return nil
	}
	if s.gaps == 0 {
		return slices.Clone(s.docs)
	}
	docs := make([]Document, 0, len(s.docs)-s.gaps)
	for i := range s.docs {
		if s.items[i] != nil {
			docs = append(docs, s.docs[i])
		}
	}
	return docs
}

// clear takes an item's newest version from its shelf.
func (b *backlog) clear(it *item) {
	s := it.shelf
	b.docs--
	b.bytes -= size(it.doc())
	b.queue.drop(it)
	s.docs[it.at], s.items[it.at] = Document{}, nil
	it.at = nowhere
	if s.gaps++; s.gaps < 64 || s.gaps < len(s.docs)/2 {
		return
	}
	docs, items := s.docs, s.items
	s.docs, s.items, s.gaps = make([]Document, 0, len(docs)-s.gaps), make([]*item, 0, len(docs)-s.gaps), 0
	for i, other := range items {
		if other != nil {
			other.at = len(s.docs)
			s.docs, s.items = append(s.docs, docs[i]), append(s.items, other)
		}
	}
}

// forget ends an item that is neither on the shelf nor in flight any more.
func (b *backlog) forget(it *item) {
	delete(it.shelf.byID, it.id)
	if len(it.shelf.byID) == 0 {
		delete(b.shelves, it.partition)
	}
}

// list is a doubly linked list through the items themselves, so that an item
// leaves from the middle at once and without allocating.
type list struct {
	first, last *item
	n           int
}

func (l *list) push(it *item) {
	it.prev, it.next, it.in = l.last, nil, true
	if l.last != nil {
		l.last.next = it
	} else {
		l.first = it
	}
	l.last = it
	l.n++
}

// drop takes it out; an item that is not in l stays out.
func (l *list) drop(it *item) {
	if !it.in {
		return
	}
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		l.first = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		l.last = it.prev
	}
	it.prev, it.next, it.in = nil, nil, false
	l.n--
}
