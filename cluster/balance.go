package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Plan is what a process should do about the resources of its group, as of one
// look at the table.
type Plan struct {
	// Members is how many processes live, this one included.
	Members int
	// Target is how many resources this process should hold.
	Target int
	// Acquire are resources that this process may take while it holds fewer
	// than Target, best first.
	Acquire []Resource
	// Neglected are resources that nobody took for a failover time: take them
	// whatever Target says.
	Neglected []Resource
	// Release are resources to give up now: they are above Target.
	Release []Resource
	// Settled says that nothing is about to move.
	Settled bool
}

// Holdings are the resources of a group that a process holds.
type Holdings struct {
	Kept   []Resource
	Ending []Resource // about to be released
}

// look is what one process sees of a group at one time.
type look struct {
	now    Instant
	active []Resource // all that should be owned by somebody
	views  map[Resource]View
	mine   Holdings
}

// The balancer's times, in failover times.
const (
	settleShare  = 20 // 1/20: for how long an excess must last before it is given up
	neglectKeeps = 10 // for how long a neglected resource is kept above the target
)

// releasesAtOnce bounds how much of the work pauses at a time.
const releasesAtOnce = 4

// balancer is a group's share of one process: a function of its looks, without
// clock or I/O.
//
// Each of n resources and m members counts n/m; the n%m that are left over go
// to the members that hold the most, so that a balanced state stays as it is
// whoever looks, then to the lower slot. Members that see the same rows agree on
// everybody's target, and the targets add up to n. Who is below takes what is
// free, who is above releases, so a look that is out of date costs a move or
// two and the next one mends it.
type balancer struct {
	group string
	claim Claim

	looked    bool
	first     Instant       // look
	last      Instant       // look
	probation time.Duration // how long a member may stand still that never moved

	rows  map[Resource]Lease   // of members, at the last look
	moved map[Owner]bool       // members that were seen alive, not just a row
	lived map[Owner]string     // members at the last look
	grace Instant              // until then these are still
	free  map[Resource]Instant // since when this process could have had it
	above bool
	since Instant              // of above
	offer map[Resource]bool    // Plan.Neglected of the last look
	kept  map[Resource]Instant // until when a neglected resource is kept
}

func newBalancer(group string, c Claim, probation time.Duration) *balancer {
	return &balancer{group: group, claim: c, probation: probation, free: map[Resource]Instant{}, kept: map[Resource]Instant{}}
}

// step makes the plan of one look.
func (b *balancer) step(l look) Plan {
	// Nobody could renew while the table could not be read, so members whose
	// counters stood still meanwhile are not dead for that.
	if gap := l.now.Sub(b.last); b.looked && (gap > b.claim.Failover/2 || gap < 0) {
		b.grace = l.now + Instant(b.claim.Failover)
		clear(b.free)
		b.above = false
	}
	if !b.looked {
		b.first = l.now
	}
	members := b.members(l)
	b.looked, b.last, b.lived = true, l.now, members
	free, counts := b.count(l, members)
	p := Plan{Members: len(members), Target: target(b.claim.Me, len(l.active), members, counts)}
	held := len(l.mine.Kept)
	if held < p.Target {
		p.Acquire = free
	} else {
		for _, r := range free {
			if l.now.Sub(b.free[r]) >= b.claim.Failover {
				p.Neglected = append(p.Neglected, r)
			}
		}
	}
	p.Release = b.excess(l, p.Target)
	b.offer = map[Resource]bool{}
	for _, r := range p.Neglected {
		b.offer[r] = true
	}
	p.Settled = held == p.Target && len(free) == 0 && len(l.mine.Ending) == 0 && len(p.Release) == 0
	return p
}

// members are the processes that live, with their slots.
func (b *balancer) members(l look) map[Owner]string {
	members, rows, moved := map[Owner]string{}, map[Resource]Lease{}, map[Owner]bool{}
	for r, v := range l.views {
		o := v.Lease.Owner
		if o == "" || !strings.HasPrefix(string(r), b.group+"/") {
			continue
		}
		rows[r] = v.Lease
		moved[o] = moved[o] || b.moved[o] || b.looked && !v.Lease.Equal(b.rows[r])
	}
	b.rows, b.moved = rows, moved
	for r, row := range rows {
		if row.Owner != b.claim.Me && !b.lives(l.views[r], l.now) {
			continue
		}
		slot := strings.TrimPrefix(string(r), b.group+"/")
		if s, ok := members[row.Owner]; !ok || compareSlots(slot, s) < 0 {
			members[row.Owner] = slot
		}
	}
	if _, ok := members[b.claim.Me]; !ok {
		members[b.claim.Me] = "" // it is about to have one; nobody has it before that slot
	}
	return members
}

// lives tells whether another member does. At first a row may be that of a
// process that died long ago.
func (b *balancer) lives(v View, now Instant) bool {
	o := v.Lease.Owner
	if _, err := Acquire(v.Lease, v.Observation, b.claim); err == nil {
		_, lived := b.lived[o]
		return lived && now < b.grace
	}
	return b.moved[o] || now.Sub(b.first) < b.probation
}

// Slots are small numbers; no slot is after all of them.
func compareSlots(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(len(b), len(a))
	}
	return comparePositions(a, b)
}

// count says which resources are free to this process, best first, and how many
// each member holds.
func (b *balancer) count(l look, members map[Owner]string) (free []Resource, counts map[Owner]int) {
	counts = map[Owner]int{b.claim.Me: len(l.mine.Kept)}
	var own []Resource
	since := map[Resource]Instant{}
	for _, r := range slices.Sorted(slices.Values(l.active)) {
		v, there := l.views[r]
		switch _, err := Acquire(v.Lease, v.Observation, b.claim); {
		case slices.Contains(l.mine.Kept, r), slices.Contains(l.mine.Ending, r):
			continue
		case there && err != nil:
			counts[v.Lease.Owner]++
			continue
		case there && v.Lease.Owner == b.claim.Me: // lost, or a write whose answer was
			own = append(own, r)
		default:
			free = append(free, r)
		}
		since[r] = l.now
		if was, ok := b.free[r]; ok {
			since[r] = was
		}
	}
	b.free = since
	// Members begin at different places, so that they seldom want the same.
	if n := len(free); n > 0 {
		rank := 0
		for _, slot := range members {
			if compareSlots(slot, members[b.claim.Me]) < 0 {
				rank++
			}
		}
		at := rank * n / len(members) % n
		free = slices.Concat(free[at:], free[:at])
	}
	return append(own, free...), counts
}

// target is how many of n resources me should hold.
func target(me Owner, n int, members map[Owner]string, counts map[Owner]int) int {
	order := slices.SortedFunc(maps.Keys(members), func(x, y Owner) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), compareSlots(members[x], members[y]), cmp.Compare(x, y))
	})
	share, left := n/len(order), n%len(order)
	if slices.Index(order, me) < left {
		share++
	}
	return share
}

// excess is what to release now.
func (b *balancer) excess(l look, target int) []Resource {
	maps.DeleteFunc(b.kept, func(r Resource, until Instant) bool {
		return l.now >= until || !slices.Contains(l.mine.Kept, r)
	})
	for _, r := range l.mine.Kept {
		if b.offer[r] {
			b.kept[r] = l.now + Instant(neglectKeeps*b.claim.Failover)
		}
	}
	mine := slices.Sorted(slices.Values(l.mine.Kept))
	mine = slices.DeleteFunc(mine, func(r Resource) bool { _, kept := b.kept[r]; return kept })
	more := len(mine) - target
	if more <= 0 {
		b.above = false
		return nil
	}
	if !b.above {
		b.above, b.since = true, l.now
	}
	if l.now.Sub(b.since) < b.claim.Failover/settleShare {
		return nil
	}
	more = min(more, max(0, releasesAtOnce-len(l.mine.Ending)))
	return mine[len(mine)-more:]
}
