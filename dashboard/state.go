package dashboard

import (
	"math"
	"time"
)

// Phase is how far a run has come.
type Phase string

const (
	Starting Phase = "starting" // loading its checkpoint, nothing applied yet
	Running  Phase = "running"
	Draining Phase = "draining" // all trips are read; the last windows close and go to the store
	Finished Phase = "finished" // everything is closed, stored and checkpointed
	Failed   Phase = "failed"   // State.Failure says why
)

// State is the state of a run at one moment: the answer of /api/state. Fields
// may be added; none is renamed. Times that are not known yet are null, and
// ages and durations are whole milliseconds. The final watermark, and any other
// time after the year 9999, is sent as the last second of that year.
type State struct {
	Job     string `json:"job"`      // the job's name
	DataSet string `json:"data_set"` // what is replayed, for people
	Phase   Phase  `json:"phase"`
	Failure string `json:"failure,omitempty"` // one sentence, if Phase is Failed
	Version string `json:"version,omitempty"` // of tripgrid

	Trips Trips `json:"trips"`

	Watermark *time.Time `json:"watermark"`         // event time: the least of all partitions
	Started   *time.Time `json:"started"`           // wall clock: when this process began
	Ended     *time.Time `json:"ended,omitempty"`   // wall clock: when it finished or failed
	Speedup   float64    `json:"speedup"`           // 0: as fast as it goes
	Profile   string     `json:"profile,omitempty"` // geofence

	Shards     []Shard     `json:"shards"`
	Partitions []Partition `json:"partitions"`
	Checkpoint Checkpoint  `json:"checkpoint"`

	PendingDocuments uint64 `json:"pending_documents"` // not confirmed by the store yet
	WrittenDocuments uint64 `json:"written_documents"` // confirmed, each version counts

	Warnings []string `json:"warnings"` // sentences, the newest first
}

// Trips counts trips since the job began, over all its restarts.
type Trips struct {
	Total    uint64  `json:"total"`    // of the data set; 0 if its end is not known
	Sent     uint64  `json:"sent"`     // into Kinesis
	Read     uint64  `json:"read"`     // from Kinesis
	Applied  uint64  `json:"applied"`  // to windows
	Repeated uint64  `json:"repeated"` // sent twice, counted once
	Outside  uint64  `json:"outside"`  // of the geofence
	Dead     uint64  `json:"dead"`     // cannot be read: kept as dead letters
	Late     uint64  `json:"late"`     // came after their window had closed
	Rate     float64 `json:"rate"`     // read per second, lately
}

// Shard is one shard of the stream as ingest sees it.
type Shard struct {
	ID        string     `json:"id"`
	Position  string     `json:"position"` // last sequence number read, or a word like "ended"
	Watermark *time.Time `json:"watermark"`
	BehindMS  int64      `json:"behind_ms"` // Kinesis' MillisBehindLatest
}

// Partition is one partition as its window worker sees it.
type Partition struct {
	ID          uint32     `json:"id"`
	Watermark   *time.Time `json:"watermark"`
	Ordinal     uint64     `json:"ordinal"` // frames applied
	OpenPanes   int        `json:"open_panes"`
	QueuedBytes int64      `json:"queued_bytes"` // behind a barrier
	Checkpoint  uint64     `json:"checkpoint"`   // the last it took part in
}

// Checkpoint is the newest completed checkpoint; N is 0 before the first.
type Checkpoint struct {
	N          uint64 `json:"n"`
	DurationMS int64  `json:"duration_ms"`
	Bytes      int64  `json:"bytes"`
	AgeMS      int64  `json:"age_ms"`
	IntervalMS int64  `json:"interval_ms"`
	Failure    string `json:"failure"` // of the last attempt, empty if it completed
}

// Windows is the span of event time that has results: the first window begins
// at First, the last at Last, each is Size long, and they lie on multiples of
// Step. All are seconds, the first two since 1970. The zero value says that
// there are none yet.
type Windows struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	Size  int64 `json:"size"`
	Step  int64 `json:"step"`
	// Starts are the starts of the windows that have pick-ups, from the asked
	// time on: a data set may have years between two of them.
	Starts []int64 `json:"starts"`
}

// Cell is the number of pick-ups in one geohash cell.
type Cell struct {
	Geohash string
	Count   int64
}

// AirportSum is what all trips to one airport in one window add up to.
type AirportSum struct {
	Start, End     int64
	Airport        string
	Trips, Minutes int64
}

// presentable makes s fit for JSON, which knows no NaN and no year 10000; lists
// are never null. The lists of s itself stay as they are.
func (s State) presentable() State {
	s.Watermark, s.Started, s.Ended = presentTime(s.Watermark), presentTime(s.Started), presentTime(s.Ended)
	s.Trips.Rate, s.Speedup = presentNumber(s.Trips.Rate), presentNumber(s.Speedup)
	s.Shards = append([]Shard{}, s.Shards...)
	for i := range s.Shards {
		s.Shards[i].Watermark = presentTime(s.Shards[i].Watermark)
	}
	s.Partitions = append([]Partition{}, s.Partitions...)
	for i := range s.Partitions {
		s.Partitions[i].Watermark = presentTime(s.Partitions[i].Watermark)
	}
	s.Warnings = append([]string{}, s.Warnings...)
	return s
}

func presentTime(t *time.Time) *time.Time {
	switch {
	case t == nil || t.Year() < 1:
		return nil
	case t.Year() > 9999:
		end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		return &end
	}
	utc := t.UTC()
	return &utc
}

func presentNumber(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
