package opensearch

// pace is how many documents a request may carry now: all of it as long as
// nobody complains, half after each 429, a little more after each request that
// went well. It is pure; its owner has the lock.
type pace struct{ now, least, most int }

func newPace(most int) pace { return pace{now: most, least: min(most, 32), most: most} }

// slower notes a 429 to a request of n documents. Several requests that were
// under way together, and all refused, halve it once: the second one's n is
// larger than what may be sent by then.
func (p *pace) slower(n int) {
	if n <= p.now {
		p.now = max(min(p.now, n)/2, p.least)
	}
}

// faster notes a request that went well; a small one shows nothing.
func (p *pace) faster(n int) {
	if n >= p.now/2 {
		p.now = min(p.now+max(p.most/64, 1), p.most)
	}
}
