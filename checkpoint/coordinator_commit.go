package checkpoint

import (
	"errors"
	"fmt"
	"time"

	"github.com/tripgrid/tripgrid/stream"
)

// drainPause is how soon a checkpoint follows one at which every shard was
// FINAL but documents were pending; it doubles each time, up to the interval.
const drainPause = 250 * time.Millisecond

// prepare encodes the commit of m; it is sent, byte for byte, until it is
// known whether it landed.
func (c *Coordinator) prepare(m *Manifest) error {
	data, ref, err := m.Encode()
	if err != nil {
		return err
	}
	h := c.head
	h.N, h.CommitNonce = m.N, commitNonce(c.cfg.Nonce, m.N)
	h.Manifests = append([]ManifestRef{ref}, h.Manifests[:min(len(h.Manifests), c.cfg.Retain-1)]...)
	head, err := h.Encode()
	if err != nil {
		return err
	}
	c.manifest, c.newHead = m, h
	c.commit = &Commit{N: m.N, Ref: ref, Manifest: data, Old: c.ver, Head: head}
	c.phase, c.waiting, c.retries = committing, true, 0
	return nil
}

func (c *Coordinator) commitFailed(e CommitFailed) []Action {
	if c.phase != committing || e.N != c.cur.N || !c.waiting {
		return nil
	}
	c.waiting = false
	c.backOff()
	return []Action{Report{Failed{e.N, fmt.Sprintf("commit: %v", e.Err)}}}
}

// commitAnswered compares HEAD with what it was to become. Only a swap by the
// own commit nonce is success, whichever answer got lost (R10).
func (c *Coordinator) commitAnswered(e CommitAnswered) []Action {
	if c.phase != committing || e.N != c.cur.N || !c.waiting {
		return nil
	}
	c.waiting = false
	h := e.Head
	switch {
	case h.Generation != c.head.Generation || h.Nonce != c.head.Nonce:
		return c.stop(fmt.Errorf("%w: HEAD is of generation %d, this is a coordinator of %d", ErrSuperseded, h.Generation, c.head.Generation))
	case h.CommitNonce == c.newHead.CommitNonce:
		c.ver = e.Version
		return c.committed()
	case e.Version == c.commit.Old:
		c.backOff() // not landed, or not yet: the same bytes again
		return []Action{Report{Failed{e.N, "commit: the swap of HEAD did not land yet"}}}
	case h.N >= c.cur.N && !c.adopted:
		return c.stop(fmt.Errorf("%w: checkpoint %d was to be committed on %d, HEAD shows %d by %s",
			ErrRival, c.cur.N, c.cur.Base, h.N, h.CommitNonce))
	case h.N < c.head.N:
		return c.stop(fmt.Errorf("%w: HEAD went back from checkpoint %d to %d, the store does not keep its promise", ErrSuperseded, c.head.N, h.N))
	}
	// A predecessor's late swap landed under an older id, or it committed what
	// this coordinator adopted. The base is gone: announce on the new one.
	n := c.cur.N
	c.head, c.ver = h, e.Version
	if c.adopted {
		c.phase, c.next = idle, c.now
		return append([]Action{Report{Cancelled{n, fmt.Sprintf("its predecessor committed %d meanwhile", h.N)}}}, c.tick()...)
	}
	return c.cancel(fmt.Sprintf("HEAD moved from checkpoint %d to %d meanwhile", c.cur.Base, h.N))
}

func (c *Coordinator) committed() []Action {
	m, ref := c.manifest, c.commit.Ref
	c.head = c.newHead
	c.known[ref.Name] = m
	retained := make(map[string]*Manifest, len(c.head.Manifests))
	for _, r := range c.head.Manifests {
		if k := c.known[r.Name]; k != nil {
			retained[r.Name] = k
		}
	}
	c.known = retained
	c.phase, c.retries = idle, 0
	if m.Drained() && !Finished(m) {
		c.next = minTime(c.next, c.now.Add(drainPause<<min(c.drains, 16)))
		c.drains++
	} else {
		c.drains = 0
	}
	out := []Action{
		Complete{Completed{N: m.N, Manifest: ref}},
		Report{Committed{Manifest: m, Ref: ref, Bytes: m.Bytes(), Took: c.now.Sub(c.started)}},
	}
	out = append(out, c.purges()...)
	out = append(out, Sweep{c.head})
	if c.wanted {
		return append(out, c.announce()...)
	}
	return append(out, c.tick()...)
}

// purges are strictly below the anchors of the oldest retained manifest; if
// that one could not be read, or is of another log, nothing is purged (R12).
func (c *Coordinator) purges() []Action {
	ref := c.head.Manifests[len(c.head.Manifests)-1]
	oldest := c.known[ref.Name]
	if oldest == nil || ref.Generation != c.head.Generation {
		return nil
	}
	var out []Action
	for p, below := range PurgeBelow(oldest) {
		if below > 0 {
			out = append(out, Purge{stream.Partition(p), below})
		}
	}
	return out
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// isUnanswered tells errors after which HEAD has to be read to know what happened.
func isUnanswered(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrUncertain)
}
