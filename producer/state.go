package producer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const stateVersion = 1

// state is the content of a state file. All but Next and Done says which replay
// it belongs to.
type state struct {
	Version int    `json:"version"`
	Stream  string `json:"stream"`
	Job     string `json:"job"`
	Data    string `json:"data"`   // name, for people
	Digest  string `json:"digest"` // of the data, hexadecimal
	Trips   int64  `json:"trips"`
	First   int64  `json:"first"` // index that Seek found
	Lanes   int    `json:"lanes"`
	Next    int64  `json:"next"` // lowest unacknowledged index
	Done    bool   `json:"done"` // the final watermark was acknowledged
}

// newState returns the state of this producer's replay with nothing sent.
func (p *Producer) newState() state {
	id := p.cfg.Data.Identity()
	return state{
		Version: stateVersion, Stream: p.cfg.Stream, Job: p.cfg.Job,
		Data: id.Name, Digest: hex.EncodeToString(id.Digest[:]), Trips: p.total,
		First: p.first, Lanes: Lanes, Next: p.first,
	}
}

// loadState returns what the state file says, or want where there is none. It
// refuses a file that belongs to another replay than want.
func loadState(path string, want state) (state, error) {
	if path == "" {
		return want, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return want, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("producer: read state: %w", err)
	}
	var got state
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		return state{}, fmt.Errorf("producer: %w: %s is not a producer's progress (%w): name another, or remove it to send everything again", ErrRefused, path, err)
	}
	refuse := func(what string, has, wants any) (state, error) {
		return state{}, fmt.Errorf("producer: %w: %s belongs to %s %v, this replay has %v: use another state file, or the same %s",
			ErrRefused, path, what, has, wants, what)
	}
	switch {
	case got.Version != want.Version:
		return refuse("format version", got.Version, want.Version)
	case got.Job != want.Job:
		return refuse("job", got.Job, want.Job)
	case got.Stream != want.Stream:
		return refuse("stream", got.Stream, want.Stream)
	case got.Digest != want.Digest || got.Trips != want.Trips:
		return refuse("data", describe(got), describe(want))
	case got.First != want.First:
		return refuse("seek: first trip", got.First, want.First)
	case got.Lanes != want.Lanes:
		return refuse("lanes", got.Lanes, want.Lanes)
	case got.Next < got.First || got.Next > got.Trips || got.Done && got.Next != got.Trips:
		return state{}, fmt.Errorf("producer: %w: %s says that trip %d of %d is next: remove it to send everything again", ErrRefused, path, got.Next, got.Trips)
	}
	return got, nil
}

func describe(s state) string {
	return fmt.Sprintf("%q (%d trips, digest %.12s)", s.Data, s.Trips, s.Digest)
}

// save replaces the state file: whoever reads it finds the old state or this
// one. An old one is as right as this one, it only repeats more.
func (s state) save(path string) (err error) {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("producer: encode state: %w", err)
	}
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("producer: write state: %w", err)
	}
	_, err = f.Write(append(raw, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("producer: write state: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
