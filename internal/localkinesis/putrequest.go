package localkinesis

import "unicode/utf8"

// Limits of PutRecord and PutRecords, from the API reference.
const (
	maxPutRecords   = 500
	maxCallBytes    = 10 << 20
	maxRecordBytes  = 1 << 20
	maxPartitionKey = 256 // characters
)

// putEntry is a record to store.
type putEntry struct {
	key, data, explicit      []byte
	hasKey, hasData, hasExpl bool
	hash                     hashKey
	shard                    int32 // index among the shards of the stream
	next                     int32 // the next entry of the same shard, or -1
	ord                      ordinal
	arrival                  int64
}

// putRequest is the body of a PutRecord or PutRecords.
type putRequest struct {
	streamRef
	dryRun   bool
	ordering []byte // SequenceNumberForOrdering
	records  bool   // Records was there
	entries  []putEntry
	scan     scanner
}

// parse reads the body. One is PutRecord's form, whose record is the request itself. Names count exactly, as AWS has it;
// the last of equal names wins.
func (r *putRequest) parse(body []byte, one bool) error {
	arena := r.scan.arena[:0]
	if cap(arena) < len(body) {
		arena = make([]byte, 0, len(body))
	}
	*r = putRequest{entries: r.entries[:0], scan: scanner{b: body, arena: arena}}
	s := &r.scan
	if one {
		r.records = true
		r.entries = append(r.entries, putEntry{})
	}
	err := s.object(func(name []byte) error {
		switch string(name) {
		case "StreamName":
			return s.optional(&r.name)
		case "StreamARN":
			return s.optional(&r.arn)
		case "DryRun":
			if s.null() {
				return nil
			}
			var err error
			r.dryRun, err = s.boolean()
			return err
		case "Records":
			if !one {
				return r.list()
			}
		case "SequenceNumberForOrdering":
			if one {
				var err error
				r.ordering, _, err = s.maybe()
				return err
			}
		}
		if one {
			return r.entries[0].member(s, name)
		}
		return s.skip(0)
	})
	if err != nil {
		return err
	}
	return s.end()
}

// list reads Records.
func (r *putRequest) list() error {
	r.entries, r.records = r.entries[:0], false
	if r.scan.null() {
		return nil
	}
	r.records = true
	member := func(name []byte) error { return r.entries[len(r.entries)-1].member(&r.scan, name) }
	return r.scan.list('[', ']', func() error {
		if len(r.entries) == maxPutRecords {
			return validation("The call has more than %d Records; send them in several calls.", maxPutRecords)
		}
		r.entries = append(r.entries, putEntry{})
		return r.scan.object(member)
	})
}

// member reads a member of a record.
func (e *putEntry) member(s *scanner, name []byte) (err error) {
	switch string(name) {
	case "Data":
		if e.data, e.hasData = nil, !s.null(); e.hasData {
			e.data, err = s.blob()
		}
	case "PartitionKey":
		e.key, e.hasKey, err = s.maybe()
	case "ExplicitHashKey":
		e.explicit, e.hasExpl, err = s.maybe()
	default:
		err = s.skip(0)
	}
	return err
}

// maybe reads a string or null.
func (s *scanner) maybe() ([]byte, bool, error) {
	if s.null() {
		return nil, false, nil
	}
	t, err := s.text()
	return t, err == nil, err
}

// optional reads a string or null into p.
func (s *scanner) optional(p **string) error {
	t, ok, err := s.maybe()
	if *p = nil; ok {
		str := string(t)
		*p = &str
	}
	return err
}

// check validates everything that does not need the stream, and computes the hash keys.
func (r *putRequest) check() error {
	if r.dryRun {
		return invalidArgument("DryRun is not served by the local endpoint; send the call without it.")
	}
	if r.ordering != nil && !validSequence(string(r.ordering)) {
		return validation("SequenceNumberForOrdering %q is no sequence number; send one that PutRecord returned.", r.ordering)
	}
	if len(r.entries) == 0 {
		return validation("The call has no Records; send 1 to %d.", maxPutRecords)
	}
	total := 0
	for i := range r.entries {
		e := &r.entries[i]
		if err := e.check(i); err != nil {
			return err
		}
		total += len(e.data) + len(e.key)
	}
	if total > maxCallBytes {
		return invalidArgument("The call's records have %d bytes with their keys, more than %d; send them in several calls.", total, maxCallBytes)
	}
	return nil
}

func (e *putEntry) check(i int) error {
	switch {
	case !e.hasData:
		return validation("Record %d has no Data; send it, if empty as \"\".", i)
	case len(e.key) == 0:
		return validation("Record %d has no PartitionKey; send 1 to %d characters.", i, maxPartitionKey)
	case len(e.key) > maxPartitionKey && utf8.RuneCount(e.key) > maxPartitionKey:
		return validation("The PartitionKey of record %d has %d characters, more than %d; shorten it.", i, utf8.RuneCount(e.key), maxPartitionKey)
	case len(e.data)+len(e.key) > maxRecordBytes:
		return validation("Record %d has %d bytes with its key, more than %d; make it smaller.", i, len(e.data)+len(e.key), maxRecordBytes)
	case !e.hasExpl:
		e.hash = hashOf(e.key)
		return nil
	}
	var ok bool
	if e.hash, ok = parseHashKey(e.explicit); !ok {
		return invalidArgument("The ExplicitHashKey %q of record %d is no decimal number from 0 to 2^128-1; send one without sign or leading zeros.", e.explicit, i)
	}
	return nil
}
