package stream

import (
	"flag"
	"testing"

	"pgregory.net/rapid"
)

func TestDecide(t *testing.T) {
	own := Identity{Epoch: 5, Writer: 50}
	tail := func(seq uint64, epoch Epoch, writer uint64) Tail {
		return Tail{Seq: seq, Header: Header{Epoch: epoch, Writer: writer}}
	}
	for _, c := range []struct {
		name     string
		expected uint64
		tail     Tail
		want     Verdict
	}{
		{"R2 nothing there, nothing expected", 0, Tail{}, Resend},
		{"R2 not landed", 7, tail(7, 5, 50), Resend},
		{"R2 not landed, behind a lower epoch", 7, tail(7, 4, 40), Resend},
		{"R2 not landed, behind a higher epoch that was rebased on", 7, tail(7, 6, 60), Resend},
		{"R2 own frame, lost acknowledgement", 7, tail(9, 5, 50), Rebase},
		{"R2 own frame of an earlier epoch", 7, tail(9, 4, 50), Rebase},
		{"R2 lower epoch", 7, tail(9, 4, 40), Rebase},
		{"R2 higher epoch", 7, tail(9, 6, 60), Fenced},
		{"R1 own nonce, higher epoch", 7, tail(9, 6, 50), Fenced},
		{"R1 same epoch, other nonce", 7, tail(9, 5, 51), SameEpoch},
		{"R16 below", 7, tail(6, 5, 50), Broken},
		{"R16 gone", 7, Tail{}, Broken},
		{"R16 below, and of a higher epoch", 7, tail(6, 6, 60), Broken},
	} {
		if got := Decide(own, c.expected, c.tail); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// The model: a subject of a stream, a network that loses, delays and repeats,
// and writers that do what Decide says. It is the protocol without the shell.

type modelFrame struct {
	seq, expected uint64
	id            Identity
	after, upto   int
}

type modelWriter struct {
	id       Identity
	expected uint64
	upto     int
	pending  *modelFrame
	stopped  bool
}

type model struct {
	t       *rapid.T
	log     []modelFrame // the subject
	seq     uint64       // of the stream, which other subjects share
	network []modelFrame // every copy ever sent: any may arrive, again and again
	writers []*modelWriter
	nonces  uint64
}

func (m *model) tail() Tail {
	if len(m.log) == 0 {
		return Tail{}
	}
	f := m.log[len(m.log)-1]
	return Tail{Seq: f.seq, Header: Header{Epoch: f.id.Epoch, Writer: f.id.Writer, Upto: at(f.upto)}}
}

func (m *model) tailUpto() int {
	if len(m.log) == 0 {
		return 0
	}
	return m.log[len(m.log)-1].upto
}

// deliver is the stream: it takes what expects its subject's last sequence.
func (m *model) deliver(f modelFrame) (uint64, bool) {
	if f.expected != m.tail().Seq {
		return 0, false
	}
	if f.after != m.tailUpto() {
		m.t.Fatalf("I1: (%d, %d] of %+v lands behind upto %d", f.after, f.upto, f.id, m.tailUpto())
	}
	m.seq += 1 + uint64(rapid.IntRange(0, 2).Draw(m.t, "others"))
	f.seq = m.seq
	m.log = append(m.log, f)
	return f.seq, true
}

// acquire starts a writer as R1 says, with a lease epoch that may be old.
func (m *model) acquire() *modelWriter {
	m.nonces++
	tail := m.tail()
	lease := Epoch(rapid.IntRange(1, 5).Draw(m.t, "lease epoch"))
	return &modelWriter{id: Identity{max(lease, tail.Header.Epoch+1), m.nonces}, expected: tail.Seq, upto: m.tailUpto()}
}

func (m *model) step(w *modelWriter, send string) {
	if w.pending == nil {
		size := rapid.IntRange(1, 5).Draw(m.t, "size")
		w.pending = &modelFrame{expected: w.expected, id: w.id, after: w.upto, upto: w.upto + size}
	}
	frame := *w.pending
	m.network = append(m.network, frame) // a ghost of it may come, again and again
	if send != "lost" {
		if seq, ok := m.deliver(frame); ok && send == "acked" {
			w.expected, w.upto, w.pending = seq, frame.upto, nil
			return
		}
	}
	switch Decide(w.id, w.expected, m.tail()) {
	case Resend: // the identical bytes: pending stays
	case Rebase:
		w.expected, w.upto, w.pending = m.tail().Seq, m.tailUpto(), nil
	case Fenced:
		w.stopped = true
	case SameEpoch: // the lease's authority decides
		if *w = *m.acquire(); rapid.Bool().Draw(m.t, "not the holder") {
			w.stopped = true
		}
	case Broken:
		m.t.Fatal("broken, but nothing was lost")
	}
}

func TestR2ModelOfRandomSchedules(t *testing.T) {
	manyChecks(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: rt}
		for range rapid.IntRange(1, 4).Draw(rt, "writers") {
			m.writers = append(m.writers, m.acquire())
		}
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(m.writers)-1).Draw(rt, "writer")
			w := m.writers[i]
			event := rapid.SampledFrom([]string{"acked", "acked", "lost ack", "lost", "ghost", "give up", "take over"}).Draw(rt, "event")
			switch event {
			case "acked", "lost ack", "lost":
				if !w.stopped {
					m.step(w, event)
				}
			case "ghost":
				if len(m.network) > 0 {
					m.deliver(m.network[rapid.IntRange(0, len(m.network)-1).Draw(rt, "which")])
				}
			case "give up": // Publish ended by its context: forget the bytes, learn the tail
				if !w.stopped && w.pending != nil {
					if v := Decide(w.id, w.expected, m.tail()); v == Resend || v == Rebase {
						w.expected, w.upto = m.tail().Seq, m.tailUpto()
					}
					w.pending = nil
				}
			case "take over":
				m.writers[i] = m.acquire()
			}
		}
		// I1 at the end, by a second look at it.
		upto := 0
		for i, f := range m.log {
			if f.after != upto || f.upto <= f.after || i > 0 && f.seq <= m.log[i-1].seq {
				rt.Fatalf("I1: %+v after upto %d", f, upto)
			}
			upto = f.upto
		}
		// Liveness: a new owner gets on, also if the old one has
		// written once more after the new one had read the tail.
		w := m.acquire()
		before := m.tailUpto()
		if rapid.Bool().Draw(rt, "late frame") {
			before++
			if _, ok := m.deliver(modelFrame{expected: w.expected, id: Identity{m.tail().Header.Epoch, 0}, after: w.upto, upto: before}); !ok {
				rt.Fatal("refused")
			}
		}
		for _, event := range []string{"lost", "acked", "acked"} {
			if m.step(w, event); w.stopped {
				break
			}
		}
		if w.stopped || w.upto != m.tailUpto() || w.upto <= before {
			rt.Fatalf("the new owner is stuck: %+v, log at %d", w, m.tailUpto())
		}
		// R16: the log loses its tail; whoever had it acknowledged sees that.
		if len(m.log) > 1 {
			m.log = m.log[:rapid.IntRange(0, len(m.log)-1).Draw(rt, "kept")]
			if v := Decide(w.id, w.expected, m.tail()); v != Broken {
				rt.Fatalf("lost tail: %v", v)
			}
		}
	})
}

// manyChecks makes rapid run 5,000 schedules instead of 100, unless asked for more.
func manyChecks(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if old := checks.Value.String(); old == checks.DefValue {
		if err := checks.Value.Set("5000"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = checks.Value.Set(old) })
	}
}
