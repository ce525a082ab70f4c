package clustertest

import (
	"fmt"
	"testing"

	"github.com/tripgrid/tripgrid/cluster"
)

// listing checks tables of more rows than a page has.
func listing(t *testing.T, r *rig) {
	const rows = 25
	want := map[cluster.Resource]cluster.Entry{}
	for i := range rows {
		l := cluster.Lease{Resource: cluster.Resource(fmt.Sprintf("shardId-%012d", i)), Owner: "f/1", Epoch: 1, Counter: uint64(i)}
		rev, err := r.store.Create(r.ctx, l)
		must(t, err)
		if i%3 == 0 {
			l.Epoch++
			rev, err = r.store.Update(r.ctx, l, rev)
			must(t, err)
		}
		want[l.Resource] = cluster.Entry{Lease: l, Revision: rev}
	}
	all, err := r.store.List(r.ctx)
	must(t, err)
	if len(all) != rows {
		t.Errorf("listed %d rows, wrote %d", len(all), rows)
	}
	for _, e := range all {
		if w := want[e.Lease.Resource]; !e.Lease.Equal(w.Lease) || e.Revision != w.Revision {
			t.Errorf("listed %+v, wrote %+v", e, w)
		}
		delete(want, e.Lease.Resource)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}
