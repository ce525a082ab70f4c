package localkinesis

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// shardMeta is what is stored about a shard. A stream's first shards have no parents; later ones come from splits and
// merges, which close their parents.
type shardMeta struct {
	ID             shardID  `json:"id"`
	Epoch          epoch    `json:"epoch"`
	Parent         *shardID `json:"parent,omitempty"`
	AdjacentParent *shardID `json:"adjacent_parent,omitempty"`
	HashStart      string   `json:"hash_start"`
	HashEnd        string   `json:"hash_end"`
	SequenceStart  string   `json:"sequence_start"`
	SequenceEnd    string   `json:"sequence_end,omitempty"` // of a closed shard
}

// streamMeta is what is stored about a stream.
type streamMeta struct {
	Name           string      `json:"name"`
	Epoch          epoch       `json:"epoch"`
	CreatedMillis  int64       `json:"created_millis"`
	OnDemand       bool        `json:"on_demand"`
	RetentionHours int         `json:"retention_hours"`
	Shards         []shardMeta `json:"shards"`
}

// shard is a shard with its records.
type shard struct {
	meta shardMeta
	hash hashRange
	log  *shardLog
}

// closed tells whether the shard takes no more records for good.
func (s *shard) closed() bool { return s.meta.SequenceEnd != "" }

func newShard(m shardMeta, log *shardLog) (*shard, error) {
	start, ok1 := parseHashKey(m.HashStart)
	end, ok2 := parseHashKey(m.HashEnd)
	if !ok1 || !ok2 || end.less(start) {
		return nil, fmt.Errorf("%s has the hash key range %q to %q", m.ID, m.HashStart, m.HashEnd)
	}
	return &shard{meta: m, hash: hashRange{start, end}, log: log}, nil
}

// stream is a stream that is served. It does not change once it is there.
type stream struct {
	meta   streamMeta
	arn    string
	dir    string
	shards []*shard // by id
	open   []int32  // indexes of the open shards, by hash key
}

func newStream(meta streamMeta, arn, dir string, shards []*shard) (*stream, error) {
	s := &stream{meta: meta, arn: arn, dir: dir, shards: shards}
	for i, sh := range shards {
		if !sh.closed() {
			s.open = append(s.open, int32(i))
		}
	}
	sort.Slice(s.open, func(i, j int) bool { return shards[s.open[i]].hash.start.less(shards[s.open[j]].hash.start) })
	if len(s.open) == 0 {
		return nil, fmt.Errorf("no shard is open")
	}
	next := hashKey{}
	for n, i := range s.open {
		if shards[i].hash.start != next {
			return nil, fmt.Errorf("no open shard owns hash key %s", next)
		}
		next = shards[i].hash.end
		if next.lo++; next.lo == 0 {
			next.hi++
		}
		if last := n == len(s.open)-1; last != (next == hashKey{}) {
			return nil, fmt.Errorf("the open shards' ranges do not end with the last hash key")
		}
	}
	return s, nil
}

// owner is the index of the open shard that owns a hash key.
func (s *stream) owner(k hashKey) int32 {
	n := sort.Search(len(s.open), func(i int) bool { return k.less(s.shards[s.open[i]].hash.start) })
	return s.open[n-1] // the first begins with 0
}

// shard finds a shard.
func (s *stream) shard(id shardID) (*shard, bool) {
	i := sort.Search(len(s.shards), func(i int) bool { return s.shards[i].meta.ID >= id })
	if i == len(s.shards) || s.shards[i].meta.ID != id {
		return nil, false
	}
	return s.shards[i], true
}

// named finds a shard by the API's form of its id.
func (s *stream) named(id *string) (*shard, error) {
	if id == nil {
		return nil, validation("ShardId is missing; send the id of a shard of stream %s.", s.meta.Name)
	}
	if n, ok := parseShardID(*id); ok {
		if sh, ok := s.shard(n); ok {
			return sh, nil
		}
	}
	return nil, notFound("Shard %s in stream %s does not exist; list the shards to see which do.", *id, s.meta.Name)
}

// streamRef is how a request names a stream.
type streamRef struct{ name, arn *string }

var (
	namePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)
	arnPattern  = regexp.MustCompile(`^arn:aws[a-z0-9-]*:kinesis:[^:]*:\d{12}:stream/([a-zA-Z0-9_.-]{1,128})$`)
)

// resolve is the name of the stream meant.
func (r streamRef) resolve() (string, error) {
	var name string
	if r.name != nil {
		if name = *r.name; !namePattern.MatchString(name) {
			return "", validation("StreamName %q is not made of 1 to 128 letters, digits, '_', '.' and '-'; choose another.", name)
		}
	}
	if r.arn == nil {
		if name == "" {
			return "", invalidArgument("Neither StreamName nor StreamARN is there; send one of them.")
		}
		return name, nil
	}
	m := arnPattern.FindStringSubmatch(*r.arn)
	if m == nil {
		return "", validation("StreamARN %q is no ARN of a Kinesis stream; send arn:aws:kinesis:REGION:ACCOUNT:stream/NAME.", *r.arn)
	}
	if name != "" && name != m[1] {
		return "", invalidArgument("StreamName %q and StreamARN %q are of different streams; send one of them.", name, *r.arn)
	}
	return m[1], nil
}

// streamARN is the ARN of a stream here.
func (c Config) streamARN(name string) string {
	return strings.Join([]string{"arn:aws:kinesis", c.Region, c.AccountID, "stream/" + name}, ":")
}
