package checkpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tripgrid/tripgrid/stream"
)

// TrimHorizon as Spec.Start means: from the oldest record that Kinesis has.
const TrimHorizon = "trim_horizon"

// Spec is what manifest 0 fixes for a generation: every component reads the
// partition count, the hash and all that results depend on from here (R8).
type Spec struct {
	Job    string `json:"job"`
	Stream string `json:"stream"`
	// Partitions is N, Hash the name of the function from cell to partition,
	// CellPrecision the geohash precision at which it takes the cell.
	Partitions    int    `json:"partitions"`
	Hash          string `json:"hash"`
	CellPrecision int    `json:"cell_precision"`
	// Geofence is the name of the geofence profile.
	Geofence string        `json:"geofence"`
	Window   time.Duration `json:"window_ns"`
	Queries  []QueryRef    `json:"queries"`
	// Shards are the open shards at the start, sorted by id.
	Shards []ShardSpec `json:"shards"`
	// Start is TrimHorizon or an RFC 3339 time; "latest" is resolved to a time
	// before it is written here.
	Start string `json:"start"`
	Data  Data   `json:"data"`
	// Lanes is the number of the producer's lanes; 0: a producer without lanes.
	Lanes int `json:"lanes"`
}

// ShardIDs are the ids of Shards.
func (s *Spec) ShardIDs() []stream.ShardID {
	ids := make([]stream.ShardID, len(s.Shards))
	for i := range s.Shards {
		ids[i] = s.Shards[i].ID
	}
	return ids
}

// QueryRef names a query and the hash of its definition.
type QueryRef struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// ShardSpec is a shard with its inclusive hash key range, decimal as Kinesis has it.
type ShardSpec struct {
	ID        stream.ShardID   `json:"id"`
	HashStart string           `json:"hash_start"`
	HashEnd   string           `json:"hash_end"`
	Parents   []stream.ShardID `json:"parents,omitempty"`
}

// Data identifies the data set of a replay; zero for a stream without end.
// Digest decides, Name is for people.
type Data struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Trips  uint64 `json:"trips"`
}

// Diff names, in one sentence with the flag that sets it, the first field in
// which the job in store (s) differs from the one asked for (want); empty if
// none does. Fields that do not change results are not compared: the stream's
// address and the data's name. Shards and Start of want may be empty: not asked.
func (s Spec) Diff(want Spec) string {
	say := func(what string, here, asked any) string {
		return fmt.Sprintf("%s is %v in the job, %v asked", what, here, asked)
	}
	switch {
	case s.Job != want.Job:
		return say("the job", s.Job, want.Job)
	case s.Data.Digest != want.Data.Digest || s.Data.Trips != want.Data.Trips:
		return say("--data", s.Data, want.Data)
	case s.Window != want.Window:
		return say("--window", duration(s.Window), duration(want.Window))
	case s.Partitions != want.Partitions:
		return say("--partitions", s.Partitions, want.Partitions)
	case s.Geofence != want.Geofence:
		return say("--profile", s.Geofence, want.Geofence)
	case len(want.Shards) > 0 && len(s.Shards) != len(want.Shards):
		return say("--shards", len(s.Shards), len(want.Shards))
	case s.Stream != want.Stream:
		return say("the stream", s.Stream, want.Stream)
	case s.Hash != want.Hash:
		return say("the partition hash", s.Hash, want.Hash)
	case s.CellPrecision != want.CellPrecision:
		return say("the partition precision", s.CellPrecision, want.CellPrecision)
	case s.Lanes != want.Lanes:
		return say("the number of lanes", s.Lanes, want.Lanes)
	case want.Start != "" && s.Start != want.Start:
		return say("the start", s.Start, want.Start)
	}
	for i := range max(len(s.Queries), len(want.Queries)) {
		switch {
		case i >= len(s.Queries):
			return fmt.Sprintf("the query %s is not in the job, but asked", want.Queries[i].Name)
		case i >= len(want.Queries):
			return fmt.Sprintf("the query %s is in the job, but not asked", s.Queries[i].Name)
		case s.Queries[i].Name != want.Queries[i].Name:
			return say(fmt.Sprintf("query %d", i+1), s.Queries[i].Name, want.Queries[i].Name)
		case s.Queries[i].Hash != want.Queries[i].Hash:
			return fmt.Sprintf("the query %s has another definition in the job (%s) than asked (%s)",
				s.Queries[i].Name, s.Queries[i].Hash, want.Queries[i].Hash)
		}
	}
	for i := range want.Shards {
		if a, b := s.Shards[i], want.Shards[i]; string(a.appendCanonical(nil)) != string(b.appendCanonical(nil)) {
			return say(fmt.Sprintf("shard %d", i), a, b)
		}
	}
	return ""
}

func (d Data) String() string {
	return fmt.Sprintf("%s (%d trips, digest %.12s)", cmp.Or(d.Name, "nothing"), d.Trips, cmp.Or(d.Digest, "none"))
}

func (s ShardSpec) String() string {
	return fmt.Sprintf("%s [%s, %s]", s.ID, s.HashStart, s.HashEnd)
}

// duration is d as a person would write the flag: 10m, not 10m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Validate says in which field the spec cannot be that of a job.
func (s Spec) Validate() error {
	if err := CheckJob(s.Job); err != nil {
		return err
	}
	switch {
	case s.Partitions < 1 || s.Partitions > 1<<16:
		return fmt.Errorf("the job %s has %d partitions: use 1 to 65536", s.Job, s.Partitions)
	case len(s.Shards) == 0:
		return fmt.Errorf("the job %s has no shards: list the stream's shards first", s.Job)
	case s.Start == "":
		return fmt.Errorf("the job %s has no start: say trim_horizon or a time", s.Job)
	case !slices.IsSortedFunc(s.Shards, func(a, b ShardSpec) int { return cmp.Compare(a.ID, b.ID) }):
		return fmt.Errorf("the shards of job %s are not sorted by id", s.Job)
	}
	for i := 1; i < len(s.Shards); i++ {
		if s.Shards[i].ID == s.Shards[i-1].ID {
			return fmt.Errorf("the job %s has shard %s twice", s.Job, s.Shards[i].ID)
		}
	}
	return nil
}

const specFormat = 1

// AppendCanonical appends the spec's canonical bytes: every field, lengths first.
func (s Spec) AppendCanonical(b []byte) []byte {
	b = append(b, specFormat)
	b = appendString(b, s.Job)
	b = appendString(b, s.Stream)
	b = binary.AppendUvarint(b, uint64(s.Partitions))
	b = appendString(b, s.Hash)
	b = binary.AppendUvarint(b, uint64(s.CellPrecision))
	b = appendString(b, s.Geofence)
	b = binary.AppendVarint(b, int64(s.Window))
	b = binary.AppendUvarint(b, uint64(len(s.Queries)))
	for _, q := range s.Queries {
		b = appendString(appendString(b, q.Name), q.Hash)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Shards)))
	for _, sh := range s.Shards {
		b = sh.appendCanonical(b)
	}
	b = appendString(b, s.Start)
	b = appendString(appendString(b, s.Data.Name), s.Data.Digest)
	b = binary.AppendUvarint(b, s.Data.Trips)
	return binary.AppendUvarint(b, uint64(s.Lanes))
}

func (s ShardSpec) appendCanonical(b []byte) []byte {
	b = appendString(appendString(appendString(b, string(s.ID)), s.HashStart), s.HashEnd)
	b = binary.AppendUvarint(b, uint64(len(s.Parents)))
	for _, p := range s.Parents {
		b = appendString(b, string(p))
	}
	return b
}

// genesisMagic begins the first message of every partition stream.
const genesisMagic = "TGGN\x01"

// Genesis is the first message of every partition stream of a generation. It
// is derived from manifest 0 alone, so any starter writes the same bytes and a
// loser of the race compares (R8): magic, generation, nonce, spec, the SHA-256
// of the starting vector, and the SHA-256 of all that.
func Genesis(m *Manifest) []byte {
	b := append([]byte(nil), genesisMagic...)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Generation))
	b = binary.BigEndian.AppendUint64(b, m.Nonce)
	b = m.Spec.AppendCanonical(b)
	v := sha256.Sum256(m.Vector.AppendCanonical(nil))
	b = append(b, v[:]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}
