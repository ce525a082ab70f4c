package cluster

import (
	"errors"
	"testing"
)

// R1: a transition by anybody but the holder at the present epoch is refused,
// also by an earlier life of the same lease.
func TestR1TransitionsAskForOwnerAndEpoch(t *testing.T) {
	l := Lease{Resource: "r", Owner: "me", Epoch: 5, Counter: 9, Checkpoint: "100", CheckpointID: 2}
	for name, f := range map[string]func(Owner, Epoch) (Lease, error){
		"Renew":   func(o Owner, e Epoch) (Lease, error) { return Renew(l, o, e) },
		"Release": func(o Owner, e Epoch) (Lease, error) { return Release(l, o, e) },
		"Record":  func(o Owner, e Epoch) (Lease, error) { return Record(l, o, e, 3, "101") },
		"End":     func(o Owner, e Epoch) (Lease, error) { return End(l, o, e) },
	} {
		for _, c := range []struct {
			owner Owner
			epoch Epoch
			ok    bool
		}{{"me", 5, true}, {"me", 4, false}, {"me", 6, false}, {"you", 5, false}, {"", 5, false}} {
			next, err := f(c.owner, c.epoch)
			if c.ok && (err != nil || next.Counter != l.Counter+1 || next.Epoch != l.Epoch) {
				t.Errorf("%s by the holder gives %+v, %v", name, next, err)
			}
			if !c.ok && !errors.Is(err, ErrLost) {
				t.Errorf("%s by %q at epoch %d: %v", name, c.owner, c.epoch, err)
			}
		}
	}
}

func TestEpochsDoNotWrap(t *testing.T) {
	_, err := Acquire(Lease{Resource: "r"}, Observation{}, Claim{Me: "me", Floor: 1<<64 - 1})
	if err == nil {
		t.Error("an epoch above the highest was given out")
	}
}

func TestOwnersOfAFolder(t *testing.T) {
	a, err := NewOwner("folder")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := NewOwner("folder")
	if _, err := NewOwner("a/b"); err == nil {
		t.Error("a folder's identity with a slash was taken")
	}
	dead := SameFolder(b)
	for o, want := range map[Owner]bool{a: true, b: false, "other/1": false, "folder": false, "": false} {
		if dead(o) != want {
			t.Errorf("%q: dead is %v", o, !want)
		}
	}
	if SameFolder("nofolder")("nofolder2") {
		t.Error("owners without a folder prove nothing")
	}
}
