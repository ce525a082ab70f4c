package localkinesis

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// Names in the data folder.
const (
	lockFile      = "LOCK"
	serverFile    = "server.json"
	streamFile    = "stream.json"
	streamsFolder = "streams"

	creatingPrefix = "creating-"
	deletedPrefix  = "deleted-"
)

// tuning is what tests change.
type tuning struct {
	segmentBytes int64
	indexBytes   int64
	now          func() time.Time
}

func defaultTuning() tuning {
	return tuning{segmentBytes: 64 << 20, indexBytes: 64 << 10, now: time.Now}
}

// serverMeta is what is stored about the data folder. It is written before anything that depends on it.
type serverMeta struct {
	Opens     uint64 `json:"opens"`      // how often the folder was opened; in every ordinal
	LastEpoch epoch  `json:"last_epoch"` // the largest epoch ever given
	TokenKey  []byte `json:"token_key"`  // signs iterators
}

// store holds the streams of a data folder.
type store struct {
	cfg  Config
	tune tuning
	log  *zap.Logger
	lock *os.File

	change sync.Mutex // held while streams are created or deleted; guards meta
	meta   serverMeta

	mu      sync.RWMutex // guards the maps
	byName  map[string]*stream
	byEpoch map[epoch]*stream
}

// openStore takes the folder, reads all of it and repairs what a crash left.
func openStore(cfg Config, tune tuning, log *zap.Logger) (_ *store, err error) {
	s := &store{cfg: cfg, tune: tune, log: log, byName: map[string]*stream{}, byEpoch: map[epoch]*stream{}}
	if err := createDataFolder(cfg.Dir); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	if s.lock, err = lockFolder(filepath.Join(cfg.Dir, lockFile)); err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	defer func() {
		if err != nil {
			_ = s.each((*shardLog).abandon)
			_ = s.lock.Close()
		}
	}()
	entries, err := os.ReadDir(filepath.Join(cfg.Dir, streamsFolder))
	if err != nil {
		return nil, fmt.Errorf("list streams: %w", err)
	}
	if err := s.openMeta(len(entries) == 0); err != nil {
		return nil, err
	}
	for _, e := range entries {
		dir := filepath.Join(cfg.Dir, streamsFolder, e.Name())
		if strings.HasPrefix(e.Name(), creatingPrefix) || strings.HasPrefix(e.Name(), deletedPrefix) {
			if err := os.RemoveAll(dir); err != nil {
				return nil, fmt.Errorf("remove a deleted stream: %w", err)
			}
			continue
		}
		st, err := s.openStream(dir)
		if err != nil {
			return nil, err
		}
		s.add(st)
	}
	return s, nil
}

// createDataFolder makes the folder, if it is not there, and its name durable.
func createDataFolder(dir string) error {
	_, err := os.Stat(dir)
	fresh := errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(filepath.Join(dir, streamsFolder), 0o755); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// openMeta reads the folder's own file, counts this opening and stores it.
func (s *store) openMeta(empty bool) error {
	path := filepath.Join(s.cfg.Dir, serverFile)
	err := readMeta(path, &s.meta)
	if errors.Is(err, os.ErrNotExist) && empty {
		s.meta.TokenKey = make([]byte, 32)
		_, err = rand.Read(s.meta.TokenKey)
	}
	if err != nil {
		return fmt.Errorf("open data folder: %w", err)
	}
	if s.meta.Opens >= maxOpens {
		return fmt.Errorf("localkinesis: %s was opened %d times, which is all its sequence numbers allow; begin with another folder", s.cfg.Dir, maxOpens)
	}
	s.meta.Opens++
	return s.saveMeta()
}

func (s *store) saveMeta() error {
	if err := writeMeta(filepath.Join(s.cfg.Dir, serverFile), s.meta); err != nil {
		return fmt.Errorf("store the data folder's state: %w", err)
	}
	return nil
}

// openStream reads a stream, its shards in parallel.
func (s *store) openStream(dir string) (*stream, error) {
	var m streamMeta
	path := filepath.Join(dir, streamFile)
	if err := readMeta(path, &m); err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	if err := removeTemporary(dir); err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	logs := make([]*shardLog, len(m.Shards))
	var g errgroup.Group
	g.SetLimit(4)
	for i, sm := range m.Shards {
		g.Go(func() (err error) {
			logs[i], err = openShardLog(s.logOptions(dir, sm), firstOrdinal(s.meta.Opens), s.log)
			return err
		})
	}
	err := g.Wait()
	var st *stream
	if err == nil {
		st, err = s.assemble(m, dir, logs)
	}
	if err != nil {
		for _, l := range logs {
			if l != nil {
				_ = l.abandon()
			}
		}
		return nil, err
	}
	return st, nil
}

// assemble makes a stream of what was read or created.
func (s *store) assemble(m streamMeta, dir string, logs []*shardLog) (*stream, error) {
	shards := make([]*shard, len(logs))
	var err error
	for i := range shards {
		if shards[i], err = newShard(m.Shards[i], logs[i]); err != nil {
			break
		}
	}
	var st *stream
	if err == nil {
		st, err = newStream(m, s.cfg.streamARN(m.Name), dir, shards)
	}
	if err != nil {
		return nil, &corruptError{filepath.Join(dir, streamFile), 0, err.Error()}
	}
	return st, nil
}

func (s *store) logOptions(dir string, m shardMeta) logOptions {
	return logOptions{
		dir: dir, epoch: m.Epoch, shard: m.ID,
		segmentBytes: s.tune.segmentBytes, indexBytes: s.tune.indexBytes,
		now: func() int64 { return s.tune.now().UnixMilli() },
	}
}

func (s *store) add(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName[st.meta.Name], s.byEpoch[st.meta.Epoch] = st, st
}

// find finds a stream by what a request says.
func (s *store) find(r streamRef) (*stream, error) {
	name, err := r.resolve()
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.byName[name]
	if st == nil || r.arn != nil && *r.arn != st.arn {
		return nil, notFound("Stream %s under account %s in %s does not exist; create it.", name, s.cfg.AccountID, s.cfg.Region)
	}
	return st, nil
}

// tokened finds the stream and shard that a token is of.
func (s *store) tokened(t token) (*stream, *shard, error) {
	s.mu.RLock()
	st := s.byEpoch[t.epoch]
	s.mu.RUnlock()
	if st != nil {
		if sh, ok := st.shard(t.shard); ok {
			return st, sh, nil
		}
	}
	return nil, nil, notFound("The stream of this iterator or token was deleted; begin again with a stream that exists.")
}

// names lists the streams in order.
func (s *store) names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.byName))
	for n := range s.byName {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// create makes a stream. It is there, and durable, when create returns, or not at all.
func (s *store) create(m streamMeta, shards int) error {
	s.change.Lock()
	defer s.change.Unlock()
	if _, err := s.find(streamRef{name: &m.Name}); err == nil {
		return inUse("Stream %s under account %s already exists; delete it or choose another name.", m.Name, s.cfg.AccountID)
	}
	now := s.tune.now()
	s.meta.LastEpoch = max(s.meta.LastEpoch+1, epoch(now.Unix()))
	if err := s.saveMeta(); err != nil {
		return err
	}
	m.Epoch, m.CreatedMillis = s.meta.LastEpoch, now.UnixMilli()
	for i, r := range evenRanges(shards) {
		id := shardID(i)
		m.Shards = append(m.Shards, shardMeta{
			ID: id, Epoch: m.Epoch, HashStart: r.start.String(), HashEnd: r.end.String(),
			SequenceStart: sequence{epoch: m.Epoch, shard: id, secs: uint64(m.Epoch)}.String(),
		})
	}
	parent := filepath.Join(s.cfg.Dir, streamsFolder)
	name := fmt.Sprintf("%09x-%s", uint64(m.Epoch), m.Name)
	dir := filepath.Join(parent, name)
	if err := s.createFolder(filepath.Join(parent, creatingPrefix+name), dir, m); err != nil {
		return fmt.Errorf("create stream %s: %w", m.Name, err)
	}
	st, err := s.openStream(dir)
	if err != nil {
		return fmt.Errorf("create stream %s: %w", m.Name, err)
	}
	s.add(st)
	s.log.Info("stream created", zap.String("stream", m.Name), zap.Int("shards", shards))
	return nil
}

// createFolder fills a folder under a temporary name and then gives it its own.
func (s *store) createFolder(tmp, dir string, m streamMeta) error {
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	err := writeMeta(filepath.Join(tmp, streamFile), m)
	for _, sm := range m.Shards {
		if err != nil {
			break
		}
		var seg *segment
		if seg, err = createSegment(s.logOptions(tmp, sm), 0, 0); err == nil {
			err = seg.file.Close()
		}
	}
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		_ = os.RemoveAll(tmp)
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// delete removes a stream with its records. Calls that still use it are refused.
func (s *store) delete(r streamRef) error {
	s.change.Lock()
	defer s.change.Unlock()
	st, err := s.find(r)
	if err != nil {
		return err
	}
	gone := filepath.Join(filepath.Dir(st.dir), deletedPrefix+filepath.Base(st.dir))
	if err = os.Rename(st.dir, gone); err == nil {
		err = syncDir(filepath.Dir(gone))
	}
	if err != nil {
		return fmt.Errorf("delete stream %s: %w", st.meta.Name, err)
	}
	s.mu.Lock()
	delete(s.byName, st.meta.Name)
	delete(s.byEpoch, st.meta.Epoch)
	s.mu.Unlock()
	for _, sh := range st.shards {
		_ = sh.log.abandon() // the files are to be removed
	}
	if err := os.RemoveAll(gone); err != nil {
		s.log.Warn("a deleted stream's folder is left until the next start", zap.String("folder", gone), zap.Error(err))
	}
	s.log.Info("stream deleted", zap.String("stream", st.meta.Name))
	return nil
}

// each calls f for every shard's log and joins the errors.
func (s *store) each(f func(*shardLog) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var errs []error
	for _, st := range s.byName {
		for _, sh := range st.shards {
			errs = append(errs, f(sh.log))
		}
	}
	return errors.Join(errs...)
}

// close makes everything durable and gives the folder free.
func (s *store) close() error {
	return errors.Join(s.each((*shardLog).close), s.lock.Close())
}

// metaHeader begins a metadata file: format version and checksum of the JSON that follows.
const metaHeader = "tripgrid-localkinesis 1 crc32c %08x\n"

// writeMeta stores a value in one step.
func writeMeta(path string, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeAtomic(path, append(fmt.Appendf(nil, metaHeader, crc32.Checksum(body, castagnoli)), body...))
}

// readMeta reads what writeMeta stored.
func readMeta(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, body, _ := bytes.Cut(b, []byte("\n"))
	if want := fmt.Sprintf(metaHeader, crc32.Checksum(body, castagnoli)); string(head)+"\n" != want {
		return &corruptError{path, 0, fmt.Sprintf("its first line is %q, not %q", head, strings.TrimSpace(want))}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &corruptError{path, int64(len(head)) + 1, err.Error()}
	}
	return nil
}
