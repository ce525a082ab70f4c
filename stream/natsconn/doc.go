// Package natsconn connects to the NATS server that holds the partition log:
// an external one, or the embedded one in the same process. It checks on
// connecting what would fail later in a way that is hard to read, and says what
// is wrong in one sentence that names the setting to change.
//
// # What the server must be
//
//	version       2.10 or newer: the log's identity stands in stream metadata,
//	              which older servers drop without a word
//	JetStream     on, for the account, with file storage
//	max_payload   1 MiB or more (the default of nats-server)
//
// A server fsyncs every two minutes by itself, so acknowledged messages may be
// lost on power failure; sync_interval: always makes it fsync each message
// (R16 recognises such a loss, and a replicated stream survives one server's).
//
// # What the account must be allowed
//
// S is the log's and buckets' streams, P the subject prefix, if there is one:
//
//	publish    $JS.API.INFO, $JS.API.STREAM.*.S, $JS.API.STREAM.MSG.GET.S,
//	           $JS.API.CONSUMER.*.S.>, $JS.API.CONSUMER.MSG.NEXT.S.>,
//	           $JS.API.CONSUMER.CREATE.S, P.<job>.>, $KV.<bucket>.>
//	subscribe  _INBOX.>, or below the inbox prefix that is set
//
// With a domain D, $JS.API is $JS.D.API, and $KV is $JS.D.API.$KV; with an API
// prefix both begin with it.
//
// The server reports a missing permission apart from the request, which is then
// just not answered. Denied puts the two together.
//
// # The connection
//
// It reconnects for ever, also after authorisation errors: credentials are
// files that somebody renews, and are read again each time. What cannot be sent
// now fails now: its sender decides about it, and buffered copies would be sent
// after that decision. A dead server is noticed after some 20 seconds, by pings;
// requests time out before.
//
// Passwords, tokens and keys are never printed, nor what stands before the @ of
// a URL.
package natsconn
