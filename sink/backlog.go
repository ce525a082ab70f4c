package sink

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

// shelf holds one partition's items, in the order in which their ids came.
type shelf struct {
	byID  map[string]*item
	order list
}

// item is one id of one partition.
type item struct {
	partition uint32
	doc       Document // the newest version
	flying    bool
	sent      Document // what is in flight
	given     bool     // its partition was released: nobody asks for it any more
	links     [2]link  // its places on the shelf and in the queue
}

// docOverhead is what a pending document costs beyond its strings and body: the
// item, its place in the index and in the queue.
const docOverhead = 400

func size(d *Document) int64 {
	return int64(docOverhead + len(d.ID) + len(d.Query) + len(d.Cell) + len(d.Airport) + len(d.Body))
}

func newBacklog() *backlog {
	return &backlog{shelves: make(map[uint32]*shelf), queue: list{link: inQueue}}
}

// add takes documents of a partition; an older or equal version of an id that
// is there already changes nothing.
func (b *backlog) add(partition uint32, docs []Document) {
	s := b.shelves[partition]
	if s == nil {
		s = &shelf{byID: make(map[string]*item), order: list{link: onShelf}}
		b.shelves[partition] = s
	}
	for i := range docs {
		b.addOne(s, partition, &docs[i])
	}
}

func (b *backlog) addOne(s *shelf, partition uint32, d *Document) {
	it := s.byID[d.ID]
	if it == nil {
		it = &item{partition: partition, doc: *d}
		s.byID[d.ID] = it
		s.order.push(it)
		b.docs++
		b.bytes += size(d)
		b.queue.push(it)
		return
	}
	if it.given { // its partition has come back while it was in flight
		it.given = false
		b.docs++
	}
	if d.Version <= it.doc.Version {
		return
	}
	if !it.waits() {
		// The version in flight stays in memory beside the new one.
		b.bytes += size(d)
	} else {
		b.bytes += size(d) - size(&it.doc)
	}
	it.doc = *d
}

// waits reports that it.doc is not what is in flight.
func (it *item) waits() bool { return !it.flying || it.sent.Version != it.doc.Version }

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
		if bytes += size(&it.doc); len(batch) > 0 && bytes > maxBytes {
			break
		}
		b.queue.drop(it)
		it.flying, it.sent = true, it.doc
		batch = append(batch, it)
	}
	return batch
}

// landed notes what became of one item that was taken: done if the store has
// confirmed or finally rejected it, else it goes out again.
func (b *backlog) landed(it *item, done bool) {
	newer := it.waits()
	if newer {
		b.bytes -= size(&it.sent)
	}
	it.flying, it.sent = false, Document{}
	switch {
	case it.given, done && !newer:
		b.remove(it)
	default:
		b.queue.push(it)
	}
}

// release forgets a partition's documents. Those in flight stay until they
// land, so that none can be in flight twice if the partition comes back.
func (b *backlog) release(partition uint32) {
	s := b.shelves[partition]
	if s == nil {
		return
	}
	for it := s.order.first; it != nil; {
		next := it.links[onShelf].next
		switch {
		case it.given:
		case it.flying:
			if it.waits() {
				b.bytes -= size(&it.doc)
				it.doc = it.sent
			}
			it.given = true
			b.docs--
		default:
			b.remove(it)
		}
		it = next
	}
}

// unconfirmed returns the newest version of every document of a partition that
// is not confirmed.
func (b *backlog) unconfirmed(partition uint32) []Document {
	s := b.shelves[partition]
	if s == nil {
		return nil
	}
	docs := make([]Document, 0, len(s.byID))
	for it := s.order.first; it != nil; it = it.links[onShelf].next {
		if !it.given {
			docs = append(docs, it.doc)
		}
	}
	return docs
}

func (b *backlog) remove(it *item) {
	if !it.given {
		b.docs--
	}
	b.bytes -= size(&it.doc)
	b.queue.drop(it)
	s := b.shelves[it.partition]
	delete(s.byID, it.doc.ID)
	s.order.drop(it)
	if s.order.first == nil {
		delete(b.shelves, it.partition)
	}
}

// list is a doubly linked list through the items themselves, so that an item
// leaves from the middle at once and without allocating.
type list struct {
	link        int // which of an item's links
	first, last *item
	n           int
}

type link struct {
	prev, next *item
	in         bool
}

const (
	onShelf = iota
	inQueue
)

func (l *list) push(it *item) {
	at := &it.links[l.link]
	*at = link{prev: l.last, in: true}
	if l.last != nil {
		l.last.links[l.link].next = it
	} else {
		l.first = it
	}
	l.last = it
	l.n++
}

// drop takes it out; an item that is not in l stays out.
func (l *list) drop(it *item) {
	at := &it.links[l.link]
	if !at.in {
		return
	}
	if at.prev != nil {
		at.prev.links[l.link].next = at.next
	} else {
		l.first = at.next
	}
	if at.next != nil {
		at.next.links[l.link].prev = at.prev
	} else {
		l.last = at.prev
	}
	*at = link{}
	l.n--
}
