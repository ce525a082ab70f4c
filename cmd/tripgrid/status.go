package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/dashboard"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
)

// maxWarnings is how many sentences the page keeps.
const maxWarnings = 20

// status is what the page and the terminal say of a run.
type status struct {
	opt     options
	spec    checkpoint.Spec
	started time.Time
	ending  chan struct{} // closed when the run is done

	mu       sync.Mutex
	roles    *pipeline // nil before the roles run
	stored   uint64    // documents that were in the store when this process began
	manifest *checkpoint.Manifest
	done     bool
	ended    time.Time
	failure  string
	took     time.Duration
	bytes    int64
	at       time.Time // of the last commit
	failed   string    // why the last checkpoint attempt failed
	warnings []string
	rate     rate
}

func newStatus(opt options, spec checkpoint.Spec) *status {
	return &status{opt: opt, spec: spec, started: time.Now(), ending: make(chan struct{})}
}

func (s *status) running(p *pipeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles = p
}

func (s *status) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure, s.ended = err.Error(), time.Now()
}

// committed notes the newest checkpoint.
func (s *status) committed(m *checkpoint.Manifest, took time.Duration, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest, s.took, s.bytes, s.at, s.failed = m, took, size, time.Now(), ""
	if m.N > 0 && checkpoint.Finished(m) && !s.done {
		s.done, s.ended = true, time.Now()
		close(s.ending)
	}
}

func (s *status) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// wait waits until a checkpoint says that the run is finished: all shards
// FINAL, nothing pending.
func (s *status) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ending:
		return nil
	}
}

func (s *status) warn(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnings = slices.Insert(s.warnings, 0, text)
	s.warnings = s.warnings[:min(len(s.warnings), maxWarnings)]
}

func (s *status) fallback(p stream.Partition, f checkpoint.Fallback) {
	s.warn(fmt.Sprintf("Partition %s goes on from an older checkpoint: %s of checkpoint %s was refused: %s", p, f.Object, f.N, f.Reason))
}

func (s *status) rejected(_ uint32, d sink.Document, reason string) {
	s.warn(fmt.Sprintf("The store refused %s for good: %s", d.ID, reason))
}

// events are the coordinator's.
func (s *status) events() checkpoint.Events {
	return checkpoint.Events{
		Committed: func(c checkpoint.Committed) { s.committed(c.Manifest, c.Took, c.Bytes) },
		Cancelled: func(c checkpoint.Cancelled) {
			s.mu.Lock()
			s.failed = c.Reason
			s.mu.Unlock()
		},
		Failed: func(f checkpoint.Failed) {
			s.mu.Lock()
			s.failed = f.Reason
			s.mu.Unlock()
			s.warn("Checkpoint " + f.N.String() + " failed: " + f.Reason)
		},
	}
}

// state is the answer of /api/state.
func (s *status) state(context.Context) (dashboard.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := dashboard.State{
		Job: s.spec.Job, DataSet: s.spec.Data.Name, Version: version, Profile: s.spec.Geofence,
		Phase: dashboard.Starting, Failure: s.failure, Speedup: s.opt.speedup,
		Started: &s.started, Warnings: slices.Clone(s.warnings),
		Shards: []dashboard.Shard{}, Partitions: []dashboard.Partition{},
	}
	if !s.ended.IsZero() {
		ended := s.ended
		st.Ended = &ended
	}
	st.Trips.Total = s.spec.Data.Trips
	st.Checkpoint.IntervalMS = s.opt.interval.Milliseconds()
	st.Checkpoint.Failure = s.failed
	if m := s.manifest; m != nil {
		st.Checkpoint.N = uint64(m.N)
		st.Checkpoint.DurationMS, st.Checkpoint.Bytes = s.took.Milliseconds(), s.bytes
		st.Checkpoint.AgeMS = time.Since(m.Created).Milliseconds()
	}
	st.WrittenDocuments = s.stored
	if s.roles != nil {
		st.WrittenDocuments += s.roles.windows.pending.Stats().Written
	}
	switch {
	case s.roles != nil && !s.done && s.failure == "":
		s.live(&st)
	case s.manifest != nil:
		s.atRest(&st)
	}
	switch {
	case s.failure != "":
		st.Phase = dashboard.Failed
	case s.done:
		st.Phase = dashboard.Finished
	}
	return st, nil
}

// live adds what the running roles say.
func (s *status) live(st *dashboard.State) {
	p := s.roles
	st.Phase = dashboard.Running
	st.Trips.Sent = uint64(max(0, p.producer.Stats().Sent))
	for _, sh := range p.ingest.worker.Status() {
		st.Trips.Read += sh.Read - sh.Watermarks
		st.Shards = append(st.Shards, dashboard.Shard{
			ID: string(sh.Shard), Position: sh.Position.String(), Watermark: eventTime(sh.Watermark), BehindMS: sh.Behind.Milliseconds(),
		})
	}
	low, all := finalWatermark, true
	for _, part := range p.windows.windows.Status() {
		for _, c := range part.Counters.Shards {
			st.Trips.Applied += c.Applied
			st.Trips.Repeated += c.Repeated
			st.Trips.Outside += c.Outside
			st.Trips.Dead += c.Dead
		}
		for _, q := range part.Counters.Queries {
			st.Trips.Late = max(st.Trips.Late, q.Late)
		}
		low = min(low, part.Watermark)
		all = all && part.Watermark == finalWatermark
		st.Partitions = append(st.Partitions, dashboard.Partition{
			ID: uint32(part.Partition), Watermark: eventTime(part.Watermark), Ordinal: part.Ordinal,
			OpenPanes: part.OpenPanes, QueuedBytes: int64(part.QueuedBytes), Checkpoint: uint64(part.Barrier),
		})
	}
	switch {
	case len(st.Partitions) < s.spec.Partitions:
		st.Phase = dashboard.Starting
	case all:
		st.Phase = dashboard.Draining
	default:
		st.Watermark = eventTime(low)
	}
	// Repeats were read as well; they are no trips of the data set.
	st.Trips.Read -= min(st.Trips.Read, st.Trips.Repeated)
	st.Trips.Rate = s.rate.of(time.Now(), st.Trips.Read)
	st.PendingDocuments = uint64(p.windows.pending.Len())
}

// atRest adds what the newest checkpoint says, when nothing runs.
func (s *status) atRest(st *dashboard.State) {
	m := s.manifest
	for _, c := range m.Vector {
		st.Trips.Read += c.Read - c.Watermarks
		position := c.Position.String()
		if c.State == checkpoint.Ended {
			position = "ended"
		}
		st.Shards = append(st.Shards, dashboard.Shard{ID: string(c.Shard), Position: position, Watermark: eventTime(c.Watermark)})
	}
	for _, e := range m.Partitions {
		var late uint64
		for _, c := range e.Counters.Shards {
			st.Trips.Applied += c.Applied
			st.Trips.Repeated += c.Repeated
			st.Trips.Outside += c.Outside
			st.Trips.Dead += c.Dead
		}
		for _, q := range e.Counters.Queries {
			late = max(late, q.Late)
		}
		st.Trips.Late += late
		st.Partitions = append(st.Partitions, dashboard.Partition{ID: uint32(e.Partition), Ordinal: e.Ordinal, Checkpoint: uint64(m.N)})
		st.PendingDocuments += e.Pending
	}
	st.Trips.Read -= min(st.Trips.Read, st.Trips.Repeated)
	if s.done {
		st.Trips.Sent = st.Trips.Total
	}
}

// eventTime is a watermark for people: nil before the first and after the last.
func eventTime(w int64) *time.Time {
	if w == stream.MinWatermark || w == finalWatermark {
		return nil
	}
	t := time.Unix(0, w).UTC()
	return &t
}

// rate is trips per second over the last few seconds.
type rate struct {
	at    [8]time.Time
	count [8]uint64
	next  int
	last  float64
}

func (r *rate) of(now time.Time, count uint64) float64 {
	newest := (r.next + len(r.at) - 1) % len(r.at)
	if now.Sub(r.at[newest]) < 500*time.Millisecond {
		return r.last
	}
	oldest := r.next
	for r.at[oldest].IsZero() && oldest != newest {
		oldest = (oldest + 1) % len(r.at)
	}
	if d := now.Sub(r.at[oldest]).Seconds(); !r.at[oldest].IsZero() && d > 0 && count >= r.count[oldest] {
		r.last = float64(count-r.count[oldest]) / d
	}
	r.at[r.next], r.count[r.next] = now, count
	r.next = (r.next + 1) % len(r.at)
	return r.last
}
