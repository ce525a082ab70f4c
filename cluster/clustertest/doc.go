// Package clustertest has the conformance suite that every lease table
// ([cluster.Store]) passes, and a table in memory for the tests of those who
// use leases. The suite drives owners with clocks of their own that only move
// when a test says so.
package clustertest
