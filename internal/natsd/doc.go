// Package natsd runs a NATS server with JetStream inside the process: the log,
// the leases and the local Kinesis of the embedded default live in it.
//
// It differs from a stand-alone nats-server in what an embedded one must not
// do: it opens no socket unless asked to, installs no signal handlers, never
// ends the process, and logs through zap. It differs from JetStream's defaults
// in durability: every write is fsynced before it is acknowledged (the default
// fsyncs every two minutes, so acknowledged messages are lost on power
// failure), and payloads may have 8 MiB.
//
// The folder must belong to one server: the caller holds a lock on it.
package natsd
