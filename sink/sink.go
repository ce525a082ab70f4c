package sink

import "context"

// Document is one result as it goes to a store of results.
type Document struct {
	// ID is deterministic: job, query, window and key (PROTOCOL R7).
	ID string
	// Version is generation<<48 | ordinal: a store keeps the highest, an equal
	// one is the same content.
	Version uint64
	// Query names what the document is a result of; LateQuery and DeadQuery
	// hold late trips and dead letters.
	Query string
	// WindowStart and WindowEnd are seconds since 1970; for late trips and dead
	// letters both are 0.
	WindowStart, WindowEnd int64
	Cell, Airport          string
	// Body is the whole document as one JSON object.
	Body []byte
}

const (
	LateQuery = "late"
	DeadQuery = "dead_letter"
)

// Result is what became of one document.
type Result struct {
	// Rejected is empty if the document, or a newer version of it, is stored;
	// else the store's reason. Rejections are final.
	Rejected string
	// Retry asks for this document again, later.
	Retry bool
}

// Sink stores documents. Write returns one Result per document, in order, once
// they are durable; an error says that nothing is known of any of them and all
// may be written again. Write may be called from several goroutines; two calls
// never carry the same ID at once.
type Sink interface {
	Write(ctx context.Context, docs []Document) ([]Result, error)
	Close() error
}
