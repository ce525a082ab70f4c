// Package dynamodb keeps leases in a DynamoDB table: a [cluster.Store] for
// machines that share nothing else.
//
// # Table
//
// One table serves any number of jobs and generations; each has a scope of its
// own ([Config].Scope), and [Table.List] is one Query of it. The key schema:
//
//	scope     S  partition key (HASH)
//	resource  S  sort key (RANGE)
//
// Billing is on demand (PAY_PER_REQUEST). [Table.Ensure] creates the table so,
// or checks one that Terraform made:
//
//	resource "aws_dynamodb_table" "leases" {
//	  name         = "tripgrid-leases"
//	  billing_mode = "PAY_PER_REQUEST"
//	  hash_key     = "scope"
//	  range_key    = "resource"
//	  attribute {
//	    name = "scope"
//	    type = "S"
//	  }
//	  attribute {
//	    name = "resource"
//	    type = "S"
//	  }
//	}
//
// The table must have no time to live: a row that vanishes is a lost lease.
// The identity needs dynamodb:DescribeTable, GetItem, PutItem and Query on the
// table, and CreateTable unless [Config].NoCreate is set. All rows of a scope
// are one DynamoDB partition, good for 1,000 writes and 3,000 read units a
// second; a row is one write a renewal, and 4 KiB of rows (about 15) are one
// read unit a listing.
//
// # Item
//
//	attribute      type       content
//	scope          S          Config.Scope
//	resource       S          Lease.Resource, 1 to 1,024 bytes
//	v              N          version of the item: 1
//	rev            N          revision, see below
//	nonce          S          of the write that made this state, 32 hex digits
//	epoch          N          Lease.Epoch
//	counter        N          Lease.Counter
//	owner          S          Lease.Owner; absent: nobody's
//	checkpoint     S          Lease.Checkpoint, a decimal number of any length,
//	                          kept as a string; absent: none
//	checkpoint_id  N          Lease.CheckpointID; absent: 0
//	parents        L of S     Lease.Parents in order; absent: none
//	ended          BOOL       Lease.Ended; absent: false
//
// An item of another version is refused by name; unknown attributes are not
// read and go with the next write.
//
// # Revisions
//
// A row begins at a random revision below 2^62 and each write adds one. The
// random start keeps a writer that held a row of a table which was deleted and
// created again from hitting a row of the new one. A write is a PutItem of the
// whole row on the condition that rev is still what the writer read, or that
// there is no row. Reads are strongly consistent.
//
// # Lost answers
//
// A write whose answer is lost (a time-out, a cut connection, a 5xx) is sent
// again as it was, with its nonce. If the condition then fails, the row is read
// back, and what it says decides:
//
//	nonce       rev          the write
//	own         rev written  happened
//	another's   rev written  did not: cluster.ErrConflict
//	another's   above        is not in force, it did not happen or was
//	                         overwritten: cluster.ErrConflict
//	no row                   is not in force: cluster.ErrConflict
//	unreadable               is in the dark: an error that is no sentinel
//
// So a conflict always means that the row is not as the caller wrote it and
// must be read, which is all that [cluster.Held] concludes from one.
//
// A write that is applied after its caller gave up (a server that was frozen)
// does no harm: its condition lets it through only in the place where the
// caller's next write would go, and that one then finds a row of its own owner.
//
// # Failures
//
// Every attempt has a time-out of its own; throttling, time-outs, cut
// connections and 5xx are tried again after a random part of a pause that
// doubles. [Config].Timeout is to be well below the leases' failover less the
// margin, so that a lost packet does not cost a lease. The retries of the SDK's
// client are switched off for these calls: they would multiply the attempts and
// know nothing of the time-out. Errors say in one sentence what is wrong with
// the table, the region, the permissions, the credentials or the connection;
// only ResourceNotFoundException is taken for a table that is not there.
package dynamodb
