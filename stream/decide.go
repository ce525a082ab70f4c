package stream

import "fmt"

// Identity is a writer: what its frames carry (R1). "Own" means own nonce.
type Identity struct {
	Epoch  Epoch
	Writer uint64 // nonce
}

// Verdict is what a subject's tail means to a writer whose publish was
// refused or not answered.
type Verdict uint8

const (
	// Resend: not landed, or not yet. Send the identical bytes again, with the
	// same expectation: whichever copy comes first lands, the others are refused.
	Resend Verdict = iota + 1
	// Rebase: an own frame (the lost acknowledgement's) or one of a lower
	// epoch. Go on from it, and drop what it covers.
	Rebase
	// Fenced: a higher epoch writes the shard. Stop.
	Fenced
	// SameEpoch: another writer has the same epoch. Re-read the lease.
	SameEpoch
	// Broken: the tail is below an acknowledged sequence (R16).
	Broken
)

func (v Verdict) String() string {
	switch v {
	case Resend:
		return "resend"
	case Rebase:
		return "rebase"
	case Fenced:
		return "fenced"
	case SameEpoch:
		return "same epoch"
	case Broken:
		return "broken"
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// Decide is R1 and R2: what the subject's tail means to a writer that expected
// the sequence expected to be the last one. It is a pure function.
func Decide(own Identity, expected uint64, tail Tail) Verdict {
	h := &tail.Header
	switch {
	case tail.Seq < expected:
		return Broken
	case tail.Seq == expected:
		return Resend
	case h.Epoch > own.Epoch:
		return Fenced
	case h.Epoch == own.Epoch && h.Writer != own.Writer:
		return SameEpoch
	}
	return Rebase
}
