// Package opensearch keeps results in OpenSearch: [Sink] writes documents
// through the bulk API, and [Client.Setup] prepares the indices for them.
//
// # Writing
//
// A document goes to the one index that its job, query and window's month name
// ([IndexName]), under its own id, with its own version and
// version_type=external_gte. So who writes it, how often and in what order does
// not matter: OpenSearch keeps the highest version. The answer 409 says that a
// higher one is there; the document is done.
//
// It is external_gte and not external for durability. OpenSearch syncs its
// translog for operations that succeed, not for a 409. With external, a
// document that was sent again after a lost answer would be confirmed by a 409
// about a copy that no disk may have yet. With external_gte it is written again
// and its own success says that it is durable. (Equal versions have equal
// content, I6.) A higher version that a 409 tells of is the affair of who wrote
// it: that writer has no confirmation either, and goes on until it has.
//
// A Write is cut into requests by documents and bytes; a few are under way at a
// time. The most documents of a request halve when OpenSearch says 429 and grow
// again slowly. Every document of a request is looked for in the answer by its
// id, and one that is not found there is put off. What an answer means:
//
//	item 200, 201           stored
//	item 409                a newer one is stored
//	item 400, 413, 422      rejected, with the server's reason, if it is about the document
//	other items             put off: back-pressure, no permission, no index, a full or closed one
//	request 413             cut in two; a single document is rejected
//	other requests          put off; Retry-After holds up the next one
//
// Only an item is ever rejected for what the server said of it, never all of a
// request: a wrong setting must not turn results into dead letters.
// A request that is put off, and an item with a 429, end the Write: what was not
// sent yet is put off too. If nothing of a Write is stored or rejected, Write returns the reason as its
// error. [sink.Pending] does the waiting and the trying again.
//
// # Indices
//
// An id lives in one index for ever, so there is no rollover and no data
// stream: `<prefix><job>-<query>-2016.03` holds the windows that begin in that
// month (UTC), and late trips and dead letters, which have no window, are in
// `<prefix><job>-late-all` and `<prefix><job>-dead_letter-all`. Readers use
// aliases, `<prefix><name>` and `<prefix><name>.<query>`, which [Client.Setup]
// can move from one job to another in one step. docs/format/index.md has the
// fields of each.
//
// # Dashboards
//
// [SavedObjects] makes what OpenSearch Dashboards needs to show a job: index
// patterns over its aliases, and one dashboard with a map, lines, late trips and
// dead letters. It is a pure function; [ImportDashboards] sends what it made.
// Neither has met a real OpenSearch Dashboards: tests run every request that the
// panels make against a real node, and the import against a fake.
package opensearch
