package localkinesis

import "sync"

func putRecord(c *call) error {
	st, err := c.parsePut(true)
	if err != nil {
		return err
	}
	failed, err := c.storeAll(st)
	if failed > 0 {
		return err
	}
	e := &c.put.entries[0]
	c.out = append(c.out, '{')
	c.out = st.appendPlace(c.out, e)
	c.out = append(c.out, '}')
	return nil
}

func putRecords(c *call) error {
	st, err := c.parsePut(false)
	if err != nil {
		return err
	}
	failed, err := c.storeAll(st)
	if failed == len(c.put.entries) {
		return err
	}
	c.out = append(c.out, `{"FailedRecordCount":`...)
	c.out = appendInt(c.out, int64(failed))
	c.out = append(c.out, `,"Records":[`...)
	for i := range c.put.entries {
		if i > 0 {
			c.out = append(c.out, ',')
		}
		c.out = append(c.out, '{')
		if e := &c.put.entries[i]; e.ord > 0 {
			c.out = st.appendPlace(c.out, e)
		} else {
			c.out = append(c.out, `"ErrorCode":"InternalFailure","ErrorMessage":`...)
			c.out = appendString(c.out, err.Error())
		}
		c.out = append(c.out, '}')
	}
	c.out = append(c.out, `]}`...)
	return nil
}

// parsePut reads and checks the body and finds the stream.
func (c *call) parsePut(one bool) (*stream, error) {
	if err := c.put.parse(c.body, one); err != nil {
		return nil, err
	}
	if err := c.put.check(); err != nil {
		return nil, err
	}
	return c.store.find(c.put.streamRef)
}

// appendPlace appends the members that say where an entry is stored.
func (s *stream) appendPlace(b []byte, e *putEntry) []byte {
	m := &s.shards[e.shard].meta
	b = append(b, `"SequenceNumber":"`...)
	b = sequence{m.Epoch, m.ID, e.ord, uint64(e.arrival / 1000)}.appendTo(b)
	b = append(b, `","ShardId":"`...)
	b = m.ID.appendTo(b)
	return append(b, '"')
}

// part is what one shard gets of a call.
type part struct {
	shard int32
	head  int32 // its first entry
	group *commitGroup
	err   error
}

// storeAll stores the entries, each shard's in their order, and returns when they are durable. It tells how many could not
// be stored, which have no ordinal then, and why.
func (c *call) storeAll(st *stream) (failed int, err error) {
	entries := c.put.entries
	parts := st.split(entries)
	for i := range parts {
		p := &parts[i]
		var ord ordinal
		var arrival int64
		log := st.shards[p.shard].log
		if ord, arrival, p.group, p.err = log.stage(entries, p.head); p.err != nil {
			continue
		}
		for n := p.head; n >= 0; n = entries[n].next {
			entries[n].ord, entries[n].arrival = ord, arrival
			ord++
		}
	}
	// The shards' disks work at the same time; this goroutine takes one itself.
	var wg sync.WaitGroup
	for i := range parts {
		p := &parts[i]
		if p.err != nil {
			continue
		}
		if i == len(parts)-1 {
			p.err = st.shards[p.shard].log.commit(p.group)
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			p.err = st.shards[p.shard].log.commit(p.group)
		}()
	}
	wg.Wait()
	for _, p := range parts {
		if p.err == nil {
			continue
		}
		err = p.err
		for n := p.head; n >= 0; n = entries[n].next {
			entries[n].ord = 0
			failed++
		}
	}
	return failed, err
}

// split routes the entries: it chains those of each shard.
func (s *stream) split(entries []putEntry) []part {
	last := make([]int32, len(s.shards)) // part of a shard, from 1
	var parts []part
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		e.shard = s.owner(e.hash)
		n := last[e.shard]
		if n == 0 {
			parts = append(parts, part{shard: e.shard, head: -1})
			n = int32(len(parts))
			last[e.shard] = n
		}
		e.next = parts[n-1].head
		parts[n-1].head = int32(i)
	}
	return parts
}
