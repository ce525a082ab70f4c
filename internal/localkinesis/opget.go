package localkinesis

import (
	"encoding/base64"
	"math"
)

// Limits of GetRecords.
const (
	maxGetRecords = 10_000
	maxGetBytes   = 10 << 20 // of data and partition keys
)

func getShardIterator(c *call) error {
	var in struct {
		refJSON
		ShardID                *string `json:"ShardId"`
		ShardIteratorType      string
		StartingSequenceNumber *string
		Timestamp              *float64
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	st, err := c.store.find(in.ref())
	if err != nil {
		return err
	}
	sh, err := st.named(in.ShardID)
	if err != nil {
		return err
	}
	t := token{kind: iteratorToken, epoch: st.meta.Epoch, shard: sh.meta.ID, issued: c.tune.now().UnixMilli()}
	switch in.ShardIteratorType {
	case "TRIM_HORIZON":
	case "LATEST":
		t.ord = sh.log.tip()
	case "AT_SEQUENCE_NUMBER":
		t.ord, err = sh.position(in.StartingSequenceNumber)
	case "AFTER_SEQUENCE_NUMBER":
		t.ord, err = sh.position(in.StartingSequenceNumber)
		t.ord++
	case "AT_TIMESTAMP":
		if in.Timestamp == nil {
			return invalidArgument("Timestamp is missing though ShardIteratorType is AT_TIMESTAMP; send it.")
		}
		millis := math.Round(*in.Timestamp * 1000)
		if millis > float64(t.issued) {
			return invalidArgument("Timestamp %.3f is in the future; send one up to now, or use LATEST.", *in.Timestamp)
		}
		t.ord, err = sh.log.at(int64(max(millis, 0)))
	default:
		return validation("ShardIteratorType %q is unknown; send AT_SEQUENCE_NUMBER, AFTER_SEQUENCE_NUMBER, AT_TIMESTAMP, TRIM_HORIZON or LATEST.", in.ShardIteratorType)
	}
	if err != nil {
		return err
	}
	return c.answer(map[string]string{"ShardIterator": t.string(c.store.meta.TokenKey)})
}

// position is the ordinal in a sequence number of this shard.
func (s *shard) position(number *string) (ordinal, error) {
	if number == nil {
		return 0, invalidArgument("StartingSequenceNumber is missing; send the number of a record of %s.", s.meta.ID)
	}
	if !validSequence(*number) {
		return 0, validation("StartingSequenceNumber %q is no sequence number; send that of a record of %s.", *number, s.meta.ID)
	}
	q, ok := parseSequence(*number)
	if !ok || q.epoch != s.meta.Epoch || q.shard != s.meta.ID {
		return 0, invalidArgument("StartingSequenceNumber %s is not of %s; send that of one of its records.", *number, s.meta.ID)
	}
	if q.ord >= s.log.tip() {
		return 0, invalidArgument("StartingSequenceNumber %s is beyond the last record of %s; send that of a record, or use LATEST.", *number, s.meta.ID)
	}
	return q.ord, nil
}

func getRecords(c *call) error {
	var in struct {
		ShardIterator *string
		StreamARN     *string
		Limit         *int64
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	limit := int64(maxGetRecords)
	if in.Limit != nil {
		if limit = *in.Limit; limit < 1 || limit > maxGetRecords {
			return invalidArgument("Limit is %d; send 1 to %d.", limit, maxGetRecords)
		}
	}
	if in.ShardIterator == nil {
		return validation("ShardIterator is missing; send one that GetShardIterator or GetRecords gave.")
	}
	now := c.tune.now()
	t, ok := parseToken(*in.ShardIterator, iteratorToken, c.store.meta.TokenKey)
	switch {
	case !ok:
		return invalidArgument("ShardIterator %q is none that GetShardIterator or GetRecords gave; get a new one.", *in.ShardIterator)
	case t.expired(now):
		return expiredIterator("The iterator was issued over %s ago; get a new one from the last sequence number read.", tokenLife)
	}
	st, sh, err := c.store.tokened(t)
	if err != nil {
		return err
	}
	if in.StreamARN != nil && *in.StreamARN != st.arn {
		return invalidArgument("StreamARN %q is not of the iterator's stream %s; leave it out.", *in.StreamARN, st.arn)
	}
	behind, err := c.appendRecords(sh, &t, limit, now.UnixMilli())
	if err != nil {
		return err
	}
	t.issued = now.UnixMilli()
	c.out = append(c.out, `"NextShardIterator":"`...)
	c.out = t.appendTo(c.out, c.store.meta.TokenKey)
	c.out = append(c.out, `","MillisBehindLatest":`...)
	c.out = appendInt(c.out, behind)
	c.out = append(c.out, '}')
	return nil
}

// appendRecords appends the records from the token's place on, moves it behind them, and returns how many milliseconds
// it is behind the tip: 0 there, and only there.
func (c *call) appendRecords(sh *shard, t *token, limit, now int64) (behind int64, err error) {
	c.out = append(c.out, `{"Records":[`...)
	var n, size, arrival int64
	all, err := sh.log.read(t.ord, func(r record) bool {
		bytes := int64(len(r.key) + len(r.data))
		if n > 0 && (n == limit || size+bytes > maxGetBytes) {
			return false
		}
		if n++; n > 1 {
			c.out = append(c.out, ',')
		}
		size += bytes
		arrival, t.ord = r.arrival, r.ord+1
		c.out = append(c.out, `{"SequenceNumber":"`...)
		c.out = sequence{sh.meta.Epoch, sh.meta.ID, r.ord, uint64(r.arrival / 1000)}.appendTo(c.out)
		c.out = append(c.out, `","ApproximateArrivalTimestamp":`...)
		c.out = appendSeconds(c.out, r.arrival)
		c.out = append(c.out, `,"Data":"`...)
		c.out = base64.StdEncoding.AppendEncode(c.out, r.data)
		c.out = append(c.out, `","PartitionKey":`...)
		c.out = appendString(c.out, r.key)
		c.out = append(c.out, '}')
		return true
	})
	c.out = append(c.out, `],`...)
	if all {
		return 0, err
	}
	return max(1, now-arrival), err
}
