package localkinesis

import (
	"encoding/base64"
	"encoding/json"
	"sort"
	"strconv"
)

// Limits of the operations on streams.
const (
	maxShards           = 1000 // of one stream
	onDemandShards      = 4    // with which AWS begins an on-demand stream
	retentionHours      = 24
	defaultDescribePage = 100
	maxListPage         = 10_000
)

// refJSON is a streamRef in a request.
type refJSON struct {
	StreamName *string
	StreamARN  *string
}

func (r refJSON) ref() streamRef { return streamRef{r.StreamName, r.StreamARN} }

// timestamp is the API's form of a time: seconds since 1970, to the millisecond.
type timestamp int64 // milliseconds

func (t timestamp) MarshalJSON() ([]byte, error) { return appendSeconds(nil, int64(t)), nil }

type streamModeJSON struct{ StreamMode string }

func modeJSON(m streamMeta) streamModeJSON {
	if m.OnDemand {
		return streamModeJSON{"ON_DEMAND"}
	}
	return streamModeJSON{"PROVISIONED"}
}

func createStream(c *call) error {
	var in struct {
		StreamName                 *string
		ShardCount                 *int64
		StreamModeDetails          *streamModeJSON
		MaxRecordSizeInKiB         *int64
		RecordDistributionStrategy *string
		Tags                       map[string]string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	name, err := streamRef{name: in.StreamName}.resolve()
	if err != nil {
		return err
	}
	m := streamMeta{Name: name, RetentionHours: retentionHours}
	if d := in.StreamModeDetails; d != nil {
		switch d.StreamMode {
		case "ON_DEMAND":
			m.OnDemand = true
		case "PROVISIONED":
		default:
			return validation("StreamMode %q is unknown; send PROVISIONED or ON_DEMAND.", d.StreamMode)
		}
	}
	shards := int64(onDemandShards)
	switch {
	case m.OnDemand && in.ShardCount != nil:
		return invalidArgument("ShardCount is there though stream %s is to be ON_DEMAND; leave one of them out.", name)
	case !m.OnDemand && in.ShardCount == nil:
		return invalidArgument("ShardCount is missing though stream %s is to be PROVISIONED; send it.", name)
	case in.ShardCount != nil:
		shards = *in.ShardCount
	}
	switch {
	case shards < 1:
		return validation("ShardCount %d is below 1; send how many shards stream %s is to have.", shards, name)
	case shards > maxShards:
		return limitExceeded("ShardCount %d of stream %s is over the local endpoint's limit of %d; send fewer.", shards, name, maxShards)
	case in.MaxRecordSizeInKiB != nil && *in.MaxRecordSizeInKiB != maxRecordBytes>>10:
		return invalidArgument("MaxRecordSizeInKiB %d is not served by the local endpoint; leave it out, which means %d.", *in.MaxRecordSizeInKiB, maxRecordBytes>>10)
	case in.RecordDistributionStrategy != nil && *in.RecordDistributionStrategy != "USER_PARTITION_KEY":
		return invalidArgument("RecordDistributionStrategy %s is not served by the local endpoint; leave it out.", *in.RecordDistributionStrategy)
	case len(in.Tags) > 0:
		return invalidArgument("Tags are not served by the local endpoint; leave them out.")
	}
	return c.store.create(m, int(shards))
}

func deleteStream(c *call) error {
	var in refJSON
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.store.delete(in.ref())
}

func describeStream(c *call) error {
	var in struct {
		refJSON
		Limit                 *int64
		ExclusiveStartShardId *string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	limit, err := pageSize("Limit", in.Limit, defaultDescribePage, maxListPage)
	if err != nil {
		return err
	}
	st, err := c.store.find(in.ref())
	if err != nil {
		return err
	}
	from, err := startShard(in.ExclusiveStartShardId)
	if err != nil {
		return err
	}
	shards, more := st.page(from, limit)
	return c.answer(map[string]any{"StreamDescription": map[string]any{
		"StreamName":              st.meta.Name,
		"StreamARN":               st.arn,
		"StreamStatus":            "ACTIVE",
		"StreamModeDetails":       modeJSON(st.meta),
		"StreamCreationTimestamp": timestamp(st.meta.CreatedMillis),
		"RetentionPeriodHours":    st.meta.RetentionHours,
		"EncryptionType":          "NONE",
		"EnhancedMonitoring":      []any{map[string]any{"ShardLevelMetrics": []any{}}},
		"Shards":                  shards,
		"HasMoreShards":           more,
	}})
}

func describeStreamSummary(c *call) error {
	var in refJSON
	if err := c.decode(&in); err != nil {
		return err
	}
	st, err := c.store.find(in.ref())
	if err != nil {
		return err
	}
	return c.answer(map[string]any{"StreamDescriptionSummary": map[string]any{
		"StreamName":              st.meta.Name,
		"StreamARN":               st.arn,
		"StreamStatus":            "ACTIVE",
		"StreamModeDetails":       modeJSON(st.meta),
		"StreamCreationTimestamp": timestamp(st.meta.CreatedMillis),
		"RetentionPeriodHours":    st.meta.RetentionHours,
		"EncryptionType":          "NONE",
		"EnhancedMonitoring":      []any{map[string]any{"ShardLevelMetrics": []any{}}},
		"OpenShardCount":          len(st.open),
		"ConsumerCount":           0,
		"MaxRecordSizeInKiB":      maxRecordBytes >> 10,
	}})
}

func listStreams(c *call) error {
	var in struct {
		Limit                    *int64
		ExclusiveStartStreamName *string
		NextToken                *string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	limit, err := pageSize("Limit", in.Limit, defaultDescribePage, maxListPage)
	if err != nil {
		return err
	}
	after := ""
	switch {
	case in.NextToken != nil && in.ExclusiveStartStreamName != nil:
		return invalidArgument("NextToken and ExclusiveStartStreamName are both there; send one of them.")
	case in.NextToken != nil:
		b, err := base64.RawURLEncoding.DecodeString(*in.NextToken)
		if err != nil {
			return invalidArgument("NextToken %q is none that ListStreams gave; list from the start.", *in.NextToken)
		}
		after = string(b)
	case in.ExclusiveStartStreamName != nil:
		after = *in.ExclusiveStartStreamName
	}
	names := c.store.names()
	names = names[sort.Search(len(names), func(i int) bool { return names[i] > after }):]
	out := map[string]any{"HasMoreStreams": len(names) > limit}
	if len(names) > limit {
		names = names[:limit]
		out["NextToken"] = base64.RawURLEncoding.EncodeToString([]byte(names[limit-1]))
	}
	summaries := []any{}
	for _, n := range names {
		if st, err := c.store.find(streamRef{name: &n}); err == nil {
			summaries = append(summaries, map[string]any{
				"StreamName": n, "StreamARN": st.arn, "StreamStatus": "ACTIVE",
				"StreamModeDetails": modeJSON(st.meta), "StreamCreationTimestamp": timestamp(st.meta.CreatedMillis),
			})
		}
	}
	out["StreamNames"], out["StreamSummaries"] = names, summaries
	return c.answer(out)
}

// pageSize is how many items to list: as asked, but at most what the API gives without being asked.
func pageSize(member string, asked *int64, usual, limit int) (int, error) {
	if asked == nil {
		return usual, nil
	}
	if *asked < 1 || *asked > int64(limit) {
		return 0, validation("%s is %d; send 1 to %d.", member, *asked, limit)
	}
	return min(int(*asked), usual), nil
}

// shardJSON is a shard in an answer.
type shardJSON struct {
	ShardID               string            `json:"ShardId"`
	ParentShardID         string            `json:"ParentShardId,omitempty"`
	AdjacentParentShardID string            `json:"AdjacentParentShardId,omitempty"`
	HashKeyRange          hashRangeJSON     `json:"HashKeyRange"`
	SequenceNumberRange   sequenceRangeJSON `json:"SequenceNumberRange"`
}

type hashRangeJSON struct{ StartingHashKey, EndingHashKey string }

type sequenceRangeJSON struct {
	StartingSequenceNumber string
	EndingSequenceNumber   string `json:",omitempty"`
}

func (m shardMeta) json() shardJSON {
	s := shardJSON{
		ShardID:             m.ID.String(),
		HashKeyRange:        hashRangeJSON{m.HashStart, m.HashEnd},
		SequenceNumberRange: sequenceRangeJSON{m.SequenceStart, m.SequenceEnd},
	}
	if m.Parent != nil {
		s.ParentShardID = m.Parent.String()
	}
	if m.AdjacentParent != nil {
		s.AdjacentParentShardID = m.AdjacentParent.String()
	}
	return s
}

// page lists up to limit shards from an id on and tells whether there are more.
func (s *stream) page(from shardID, limit int) ([]shardJSON, bool) {
	rest := s.shards[sort.Search(len(s.shards), func(i int) bool { return s.shards[i].meta.ID >= from }):]
	more := len(rest) > limit
	out := []shardJSON{}
	for _, sh := range rest[:min(limit, len(rest))] {
		out = append(out, sh.meta.json())
	}
	return out, more
}

// startShard is the id that follows an ExclusiveStartShardId.
func startShard(after *string) (shardID, error) {
	if after == nil {
		return 0, nil
	}
	id, ok := parseShardID(*after)
	if !ok {
		return 0, invalidArgument("ExclusiveStartShardId %q is no shard's id; send one like %s.", *after, shardID(0))
	}
	return id + 1, nil
}

const maxShardsPage = 1000

func listShards(c *call) error {
	var in struct {
		refJSON
		NextToken               *string
		ExclusiveStartShardId   *string
		MaxResults              *int64
		StreamCreationTimestamp *float64
		ShardFilter             json.RawMessage
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	limit, err := pageSize("MaxResults", in.MaxResults, maxShardsPage, maxListPage)
	if err != nil {
		return err
	}
	if len(in.ShardFilter) > 0 && string(in.ShardFilter) != "null" {
		return invalidArgument("ShardFilter is not served by the local endpoint; list all shards.")
	}
	var st *stream
	var from shardID
	if in.NextToken != nil {
		if in.StreamName != nil || in.ExclusiveStartShardId != nil || in.StreamCreationTimestamp != nil {
			return invalidArgument("NextToken is there with StreamName, StreamCreationTimestamp or ExclusiveStartShardId; send it without them.")
		}
		if st, from, err = c.continued(*in.NextToken); err != nil {
			return err
		}
	} else {
		if st, err = c.store.find(in.ref()); err != nil {
			return err
		}
		if from, err = startShard(in.ExclusiveStartShardId); err != nil {
			return err
		}
		if ts := in.StreamCreationTimestamp; ts != nil && int64(*ts) != st.meta.CreatedMillis/1000 {
			return notFound("No stream %s was created at %s; leave StreamCreationTimestamp out.", st.meta.Name, strconv.FormatFloat(*ts, 'f', -1, 64))
		}
	}
	shards, more := st.page(from, limit)
	out := map[string]any{"Shards": shards}
	if more {
		last, _ := parseShardID(shards[limit-1].ShardID)
		t := token{kind: shardsToken, epoch: st.meta.Epoch, shard: last, issued: c.tune.now().UnixMilli()}
		out["NextToken"] = t.string(c.store.meta.TokenKey)
	}
	return c.answer(out)
}

// continued reads a ListShards token.
func (c *call) continued(s string) (*stream, shardID, error) {
	t, ok := parseToken(s, shardsToken, c.store.meta.TokenKey)
	if !ok {
		return nil, 0, invalidArgument("NextToken %q is none that ListShards gave; list from the start.", s)
	}
	if t.expired(c.tune.now()) {
		return nil, 0, expiredToken("NextToken %q is older than %s; list from the start.", s, tokenLife)
	}
	st, _, err := c.store.tokened(t)
	return st, t.shard + 1, err
}
