package source

import "time"

// Limits of a shard that the library enforces by sleeping.
const (
	bytesPerSecond = 2_000_000
	bytesBurst     = 10_000_000
	// bytesReserve keeps the budget here below the library's.
	bytesReserve = 64_000
)

// pace says when a shard may be asked again. Its byte budget follows the
// library's: it grows by 2 MB/s up to 10 MB, and must be positive before what
// the last call returned is taken from it.
type pace struct {
	every  time.Duration
	called time.Time // start of the last call
	filled time.Time // when budget was right
	budget float64
}

// call notes that a call begins.
func (p *pace) call(now time.Time) { p.called = now }

// next is when the next call may begin, after one that returned n bytes.
func (p *pace) next(n int, now time.Time) time.Time {
	if p.filled.IsZero() {
		p.filled, p.budget = now, bytesBurst
	}
	at := p.called.Add(p.every)
	if at.Before(now) {
		at = now
	}
	if n == 0 {
		return at
	}
	budget := min(p.budget+at.Sub(p.filled).Seconds()*bytesPerSecond, bytesBurst)
	if short := bytesReserve - budget; short > 0 {
		wait := time.Duration(short / bytesPerSecond * float64(time.Second))
		at, budget = at.Add(wait), bytesReserve
	}
	p.filled, p.budget = at, budget-float64(n)
	return at
}
