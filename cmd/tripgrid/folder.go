package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// demoJob is the name of the embedded default's job.
const demoJob = "taxi"

// folder is a run's working folder: everything that one embedded run keeps.
type folder string

func (f folder) log() string        { return filepath.Join(string(f), "tripgrid.log") }
func (f folder) nats() string       { return filepath.Join(string(f), "nats") }
func (f folder) kinesis() string    { return filepath.Join(string(f), "kinesis") }
func (f folder) snapshots() string  { return filepath.Join(string(f), "snapshots") }
func (f folder) results() string    { return filepath.Join(string(f), "results.db") }
func (f folder) spool() string      { return filepath.Join(string(f), "trips.spool") }
func (f folder) progress() string   { return filepath.Join(string(f), "producer.json") }
func (f folder) downloads() string  { return filepath.Join(string(f), "downloads") }
func (f folder) lockFile() string   { return filepath.Join(string(f), "LOCK") }
func (f folder) exists() bool       { _, err := os.Stat(f.snapshots()); return err == nil }
func (f folder) resultsExist() bool { _, err := os.Stat(f.results()); return err == nil }

// lock takes the folder for this process. That it could be taken proves that a
// predecessor is dead, so its leases may be taken over at once.
func (f folder) lock() (unlock func(), err error) {
	if err := os.MkdirAll(string(f), 0o755); err != nil {
		return nil, fmt.Errorf("make the working folder %s: %w; choose another --dir", f, err)
	}
	file, err := os.OpenFile(f.lockFile(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the working folder %s: %w", f, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the working folder %s is in use by another tripgrid: stop that one or choose another --dir", f)
		}
		return nil, fmt.Errorf("lock the working folder %s: %w", f, err)
	}
	return func() { file.Close() }, nil
}

// whole refuses a folder of which a piece was removed: results that a
// checkpoint says are stored, or the records that it goes on from. Going on
// without them would be wrong and silent.
func (f folder) whole(checkpointed bool) error {
	for _, piece := range []struct {
		name, what string
		needed     bool
	}{
		{f.results(), "the results", checkpointed},
		{f.kinesis(), "the stream's records", true},
		{f.nats(), "the partition log", checkpointed},
	} {
		if _, err := os.Stat(piece.name); piece.needed && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the run in %s cannot go on, %s are gone from %s: put them back, or begin anew in another --dir", f, piece.what, piece.name)
		}
	}
	return nil
}

// mustHold refuses a folder that holds no run.
func (f folder) mustHold() error {
	if _, err := os.Stat(string(f)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no folder %s: name the --dir of a run", f)
	}
	if !f.exists() {
		return fmt.Errorf("the folder %s holds no run: name the --dir of one, or start it with tripgrid demo --dir %s", f, f)
	}
	return nil
}
