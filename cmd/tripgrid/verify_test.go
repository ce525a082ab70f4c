package main

import (
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/filestore"
)

// TestVerifyReadsThePartsAgain: a manifest whose counts add up, but are not
// those of its parts, does not pass (R21), nor does one with another part.
func TestVerifyReadsThePartsAgain(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, "demo", "--speedup", "0", "--trips", "3000", "--exit-when-done", "--dir", dir, "--addr", "127.0.0.1:0", "--shards", "2", "--partitions", "3")
	store, err := filestore.Open(folder(dir).snapshots())
	if err != nil {
		t.Fatal(err)
	}
	_, m, err := checkpoint.Recover(t.Context(), store, demoJob)
	if err != nil {
		t.Fatal(err)
	}
	if v := verify(t.Context(), store, m); len(v.Problems) > 0 {
		t.Fatal(v.Problems)
	}
	a, b := &m.Partitions[0].Counters.Shards[0], &m.Partitions[1].Counters.Shards[0]
	a.Outside, a.Items, b.Outside, b.Items = a.Outside+1, a.Items+1, b.Outside-1, b.Items-1
	if err := checkpoint.Verify(m); err != nil {
		t.Fatalf("the law is to hold, this test is about the rest: %v", err)
	}
	if v := verify(t.Context(), store, m); len(v.Problems) != 2 {
		t.Errorf("a record that moved from one partition's counts to another's: %v", v.Problems)
	}
	m.Partitions[2].Part.SHA256 = strings.Repeat("0", 64)
	if v := verify(t.Context(), store, m); len(v.Problems) != 3 {
		t.Errorf("another part than the manifest's: %v", v.Problems)
	}
}
