//go:build matrix

package main

import "testing"

// TestMatrix is the whole matrix over real trips; it takes minutes, since the
// KCL reads 2 MB/s a shard.
func TestMatrix(t *testing.T) {
	if shared() == "" {
		t.Fatal("the real trips and the oracle are not here: put them beside the checkout, or name them in TRIPGRID_SHARED")
	}
	for _, data := range []string{"csv", "foil"} {
		for _, profile := range []string{"bbox", "seed"} {
			for _, partitions := range []int{4, 16} {
				for _, shards := range []int{1, 8} {
					v := variant{data, profile, partitions, shards}
					t.Run(v.String(), func(t *testing.T) { demoEqualsOracle(t, v) })
				}
			}
		}
	}
}
