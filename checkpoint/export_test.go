package checkpoint

import "github.com/nats-io/nats.go/jetstream"

// Through makes the board use its bucket through what f makes of it.
func (b *Board) Through(f func(jetstream.KeyValue) jetstream.KeyValue) { b.kv = f(b.kv) }
