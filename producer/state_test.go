package producer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStateOfAnotherReplayIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	data := someTrips(1000, time.Second)
	base := Config{Stream: "taxi", Job: "taxi", Client: &fake{shards: 1}, Data: data, StateFile: path}
	p := mustNew(t, base)
	st := p.newState()
	st.Next = 500
	if err := st.save(path); err != nil {
		t.Fatal(err)
	}
	if got, err := loadState(path, p.newState()); err != nil || got != st {
		t.Fatalf("loaded %+v, %v", got, err)
	}
	for want, change := range map[string]func(*Config){
		"job":    func(c *Config) { c.Job = "other" },
		"stream": func(c *Config) { c.Stream = "other" },
		"data":   func(c *Config) { c.Data = data[:999] },
		"seek":   func(c *Config) { c.Seek = time.Unix(0, data[10].Dropoff) },
	} {
		cfg := base
		change(&cfg)
		err := mustNew(t, cfg).Run(t.Context())
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "belongs to "+want) || !strings.Contains(err.Error(), path) {
			t.Errorf("another %s: %v", want, err)
		}
	}
	for _, bad := range []string{"", "{", "null", `{"version":1}`, `{"version":2}`, strings.Repeat("x", 100)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := mustNew(t, base).Run(t.Context()); !errors.Is(err, ErrRefused) {
			t.Errorf("state %q: %v", bad, err)
		}
	}
}

func TestStateThatCannotBeWrittenEndsRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent", "state.json")
	err := mustNew(t, Config{Client: &fake{shards: 1}, Data: someTrips(100_000, 0), StateFile: path}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "write state") {
		t.Errorf("got %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := func() Config {
		return Config{Stream: "s", Job: "j", Client: &fake{}, Data: someTrips(1, 0)}
	}
	for want, change := range map[string]func(*Config){
		"stream":    func(c *Config) { c.Stream = "" },
		"client":    func(c *Config) { c.Client = nil },
		"job":       func(c *Config) { c.Job = "" },
		"data":      func(c *Config) { c.Data = nil },
		"speedup":   func(c *Config) { c.Speedup = -1 },
		"seek":      func(c *Config) { c.Seek = time.Date(1, 2, 3, 0, 0, 0, 0, time.UTC) },
		"record":    func(c *Config) { c.Aggregate = 1 << 20 },
		"flight":    func(c *Config) { c.InFlight = -1 },
		"refresh":   func(c *Config) { c.ShardRefresh = -1 },
		"watermark": func(c *Config) { c.WatermarkInterval = -1 },
	} {
		cfg := good()
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	p := mustNew(t, good())
	if p.cfg.Aggregate != 32 || p.cfg.WatermarkInterval != 100*time.Millisecond {
		t.Errorf("defaults %+v", p.cfg)
	}
}
