// Package checkpoint completes snapshots: it announces barriers, collects the
// partitions' acks, commits a manifest through HEAD, and afterwards purges the
// log and sweeps old objects.
package checkpoint
