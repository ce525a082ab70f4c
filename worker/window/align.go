package window

import (
	"errors"
	"fmt"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
)

// queue holds the frames behind a barrier, as bytes, in stream order.
type queue struct {
	entries []entry
	scan    int // entries before it cannot run
	bytes   int
	frames  int
}

// entry is one queued message; data is nil once it is applied.
type entry struct {
	seq   uint64
	shard *shard
	data  []byte
}

func (q *queue) push(e entry) {
	if q.scan == len(q.entries) {
		q.scan++ // it is queued because it cannot run
	}
	q.entries = append(q.entries, e)
	q.bytes += len(e.data)
	q.frames++
}

// rescan begins a scan from the oldest entry: a shard may run again.
func (q *queue) rescan() { q.scan = 0 }

// pop returns the oldest message whose shard runs.
func (q *queue) pop() (entry, bool) {
	for ; q.scan < len(q.entries); q.scan++ {
		e := q.entries[q.scan]
		if e.data == nil || !e.shard.runs() {
			continue
		}
		q.entries[q.scan].data = nil
		q.scan++
		q.bytes -= len(e.data)
		q.frames--
		return e, true
	}
	kept := q.entries[:0]
	for _, e := range q.entries {
		if e.data != nil {
			kept = append(kept, e)
		}
	}
	clear(q.entries[len(kept):])
	q.entries, q.scan = kept, len(kept)
	return entry{}, false
}

// Step is what the shell does next.
type Step struct {
	// Documents go to the sink, in this order. The slice is valid until the
	// next call of Step, what it holds for ever. No id is in a Step twice.
	Documents []sink.Document
	// Aligned, if not 0, is the barrier whose cut the state is now: call Encode
	// and Ack before the next Step.
	Aligned stream.BarrierID
}

// Apply takes the next message of the partition's stream: an encoded frame. It
// is applied, or queued if its shard waits for a barrier or for its parents.
// Before each Apply, Step must have returned false. The machine may keep data:
// the caller must not change it afterwards. After an error the machine is dead.
func (m *Machine) Apply(seq uint64, data []byte) error {
	if m.err != nil {
		return m.err
	}
	if err := m.arrive(seq, data); err != nil {
		m.err = fmt.Errorf("partition %s: %w", m.cfg.Partition, err)
		return m.err
	}
	return nil
}

func (m *Machine) arrive(seq uint64, data []byte) error {
	if m.cut || m.handed || len(m.docs) > 0 || m.queue.scan < len(m.queue.entries) {
		return errors.New("window: Apply before Step returned false")
	}
	if seq != m.next {
		return fmt.Errorf("%w: message %d came, %d is next", stream.ErrGap, seq, m.next)
	}
	f := &m.frame
	if err := stream.Decode(data, f); err != nil {
		return fmt.Errorf("message %d: %w", seq, err)
	}
	if f.Nonce != m.cfg.Nonce {
		return fmt.Errorf("%w: message %d is of a generation with nonce %016x, not %016x", stream.ErrBroken, seq, f.Nonce, m.cfg.Nonce)
	}
	s := m.shards.find(f.Shard)
	if s == nil {
		return fmt.Errorf("%w: message %d is of shard %s, which is no shard of the generation and which no END has named",
			stream.ErrCorrupt, seq, f.Shard)
	}
	if seq <= s.anchor.Seq { // after a restore: the state has it
		if seq == s.anchor.Seq && f.Checksum != s.anchor.Checksum {
			return fmt.Errorf("%w: message %d of shard %s has checksum %016x, the snapshot has %016x",
				stream.ErrBroken, seq, f.Shard, f.Checksum, s.anchor.Checksum)
		}
		m.next++
		return nil
	}
	if err := m.check(seq, f); err != nil {
		return err
	}
	ghost := s.ending // I7: neither its barriers nor its children count
	if err := s.follow(seq, &f.Header); err != nil {
		return err
	}
	if m.ordinal+uint64(m.queue.frames) >= maxOrdinal {
		return fmt.Errorf("%w: message %d would be number %d of the generation", ErrOverflow, seq, m.ordinal+1)
	}
	if f.Flags&stream.FlagEnd != 0 && !ghost {
		if err := m.shards.announce(seq, &f.Header); err != nil {
			return err
		}
	}
	m.next++
	if f.Flags&stream.FlagBarrier != 0 && f.Barrier > m.barrier && !ghost {
		m.announceBarrier(f.Barrier)
	}
	// An announcement may have unblocked the shard, but what it has in the queue
	// comes first.
	if s.runs() && m.queue.scan == len(m.queue.entries) {
		m.applyFrame(seq, s)
		return nil
	}
	return m.enqueue(entry{seq, s, data})
}

// announceBarrier makes n the current barrier; it cancels an unfinished one (R6).
func (m *Machine) announceBarrier(n stream.BarrierID) {
	m.barrier = n
	if m.aligning {
		m.cancelled++
		m.release()
	}
	m.aligning = true
}

// release lets the blocked shards run.
func (m *Machine) release() {
	m.shards.unblock()
	m.queue.rescan()
}

func (m *Machine) enqueue(e entry) error {
	m.queue.push(e)
	if m.queue.bytes <= m.cfg.QueueLimit {
		return nil
	}
	if !m.aligning {
		return fmt.Errorf("%w: shard %s publishes before the END of its parents: %d bytes are queued and no barrier is awaited",
			stream.ErrCorrupt, e.shard.Shard, m.queue.bytes)
	}
	m.aligning = false
	m.cancelled++
	m.overflowed++
	m.release()
	return nil
}

// Step drains what the last Apply made possible: call it until it returns
// false. Documents of one frame may come in several Steps.
func (m *Machine) Step() (Step, bool) {
	if m.handed {
		clear(m.docs) // their bodies are the shell's now
		m.docs, m.handed = m.docs[:0], false
	}
	if m.cut {
		m.cut = false
		m.release()
	}
	for m.err == nil {
		m.fire()
		if len(m.docs) > 0 {
			m.handed = true
			return Step{Documents: m.docs}, true
		}
		if m.aligning && m.shards.aligned() {
			m.aligning, m.cut = false, true
			return Step{Aligned: m.barrier}, true
		}
		e, ok := m.queue.pop()
		if !ok {
			break
		}
		if err := stream.Decode(e.data, &m.frame); err != nil { // Apply could: the bytes were changed
			m.err = fmt.Errorf("partition %s: queued message %d: %w", m.cfg.Partition, e.seq, err)
			break
		}
		m.applyFrame(e.seq, e.shard)
	}
	return Step{}, false
}
