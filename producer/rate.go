package producer

import "time"

// rateMeter measures a counter's rate over the last few seconds.
type rateMeter struct {
	samples [24]struct {
		at time.Time
		n  int64
	}
	head, len int
}

const (
	rateStep = 250 * time.Millisecond // at least between samples
	rateSpan = 5 * time.Second        // what is older does not count
)

// add takes the counter's value at now.
func (r *rateMeter) add(now time.Time, n int64) {
	if r.len > 0 && now.Sub(r.samples[r.head].at) < rateStep {
		return
	}
	r.head = (r.head + 1) % len(r.samples)
	r.len = min(r.len+1, len(r.samples))
	r.samples[r.head].at, r.samples[r.head].n = now, n
}

// perSecond returns the rate between the oldest sample that counts and the
// newest.
func (r *rateMeter) perSecond(now time.Time) float64 {
	if r.len < 2 {
		return 0
	}
	newest := r.samples[r.head]
	for back := r.len - 1; back > 0; back-- {
		old := r.samples[(r.head-back+len(r.samples))%len(r.samples)]
		if now.Sub(old.at) <= rateSpan || back == 1 {
			return float64(newest.n-old.n) / newest.at.Sub(old.at).Seconds()
		}
	}
	return 0
}

// lag returns how long the oldest unacknowledged trip has been due.
func (c *core) lag(now time.Time) time.Duration {
	if c.cfg.Speedup == 0 || !c.started || c.low >= c.due {
		return 0
	}
	return max(0, now.Sub(c.dueAt(c.ring.at(c.low).EventTime())))
}
