package checkpoint_test

import (
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
)

// Acks that are large enough to be packed arrive by the watch as small ones do.
func TestServiceTakesPackedAcks(t *testing.T) {
	r := newRig(t)
	s, _ := r.run(checkpoint.Config{Interval: time.Hour})
	s.Request()
	b := wait(t, r.started, "barrier")
	for p := range shellPartitions {
		a := testAck(t, r.store, 1, b.N, stream.Partition(p), 4, shellPartitions)
		for i := range a.Vector {
			for lane := range 2000 {
				a.Vector[i].Marks = append(a.Vector[i].Marks, stream.Mark{Producer: 7, Lane: uint16(lane), Seq: 1 << 40})
			}
		}
		if err := r.board.PutAck(r.ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case c := <-r.committed:
		if c.Manifest.N != b.N || len(c.Manifest.Vector[0].Marks) < 2000 {
			t.Errorf("committed %d with %d marks", c.Manifest.N, len(c.Manifest.Vector[0].Marks))
		}
	case f := <-r.failed:
		t.Errorf("failed: %s", f.Reason)
	case <-time.After(10 * time.Second):
		t.Error("no commit came")
	}
}
