package source

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Trap 9: a session that keeps the pace never meets the library's own limits,
// which it would sleep out without hearing a stop. The limits are written down
// here a second time as polling-shard-consumer.go has them.
func TestTrap9PaceStaysBelowTheLibrarysLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pace{every: 200 * time.Millisecond}
		now := time.Unix(0, 0)
		lag := func(name string) { // code takes its time
			now = now.Add(time.Duration(rapid.Int64Range(1, int64(2*time.Millisecond)).Draw(t, name)))
		}
		callsLeft, window := 5, now
		bytesRead, remaining, checked := 0, bytesBurst, time.Time{}
		for range rapid.IntRange(10, 60).Draw(t, "calls") {
			lag("loop")
			if bytesRead != 0 { // checkCoolOffPeriod
				remaining = min(remaining+int(now.Sub(checked).Seconds()*bytesPerSecond), bytesBurst)
				checked = now
				if remaining < 1 {
					t.Fatalf("the byte budget is used up at %s", now.Sub(time.Unix(0, 0)))
				}
				remaining -= bytesRead
			}
			if now.Sub(window) > time.Second {
				callsLeft, window = 5, now
			}
			if callsLeft < 1 {
				t.Fatalf("six calls in a second at %s", now.Sub(time.Unix(0, 0)))
			}
			lag("before")
			p.call(now)
			lag("call")
			callsLeft--
			bytesRead = rapid.SampledFrom([]int{0, 200, 100_000, 400_000, 2_000_000, 10_000_000}).Draw(t, "bytes")
			if checked.IsZero() {
				checked = now
			}
			lag("handler")
			if at := p.next(bytesRead, now); at.After(now) {
				now = at
			}
		}
	})
}

func TestPace(t *testing.T) {
	p := pace{every: 200 * time.Millisecond}
	at := time.Unix(1, 0)
	p.call(at)
	if got := p.next(1000, at.Add(time.Millisecond)).Sub(at); got != 200*time.Millisecond {
		t.Errorf("a small reply waits until %s", got)
	}
	at = at.Add(200 * time.Millisecond)
	p.call(at)
	if got := p.next(1000, at.Add(time.Second)).Sub(at); got != time.Second {
		t.Errorf("after a slow handler it waits until %s", got)
	}
	// 10 MB at once, then again: the second has used the burst up.
	at = at.Add(time.Hour)
	p.call(at)
	at = p.next(bytesBurst, at)
	p.call(at)
	if got := p.next(bytesBurst, at).Sub(at); got > 300*time.Millisecond {
		t.Errorf("the burst is refused, waiting %s", got)
	}
	at = at.Add(time.Second)
	p.call(at)
	if got := p.next(1000, at).Sub(at); got < 3*time.Second || got > 5*time.Second {
		t.Errorf("after 20 MB it waits %s", got)
	}
}
