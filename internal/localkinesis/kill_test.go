//go:build unix

package localkinesis

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const killDir = "LOCALKINESIS_KILL_TEST_DIR"

// killedServer is the server of TestKill, in a process of its own.
func killedServer(t *testing.T, dir string) {
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("endpoint", s.Endpoint())
	t.Fatal(s.Run(context.Background()))
}

// TestKill kills a server with SIGKILL while it is written to, again and again on one folder. Every record that it
// acknowledged is there after the next start, once, in order, and no sequence number comes twice.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		killedServer(t, dir)
		return
	}
	dir := t.TempDir()
	acked := map[string]string{} // data by sequence number
	for round := range 4 {
		for seq, data := range killRound(t, dir, round) {
			if old, ok := acked[seq]; ok {
				t.Fatalf("%s was given to %s and to %s", seq, old, data)
			}
			acked[seq] = data
		}
	}
	s, _ := start(t, Config{Dir: dir}, defaultTuning())
	found := 0
	for shard := range 2 {
		it := mustCall(t, s, "GetShardIterator", fmt.Sprintf(`{"StreamName":"s","ShardId":%q,"ShardIteratorType":"TRIM_HORIZON"}`, shardID(shard)))["ShardIterator"]
		for last := ""; ; {
			out := mustCall(t, s, "GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, it))
			for _, r := range out["Records"].([]any) {
				m := r.(map[string]any)
				seq := m["SequenceNumber"].(string)
				if seq <= last {
					t.Fatalf("%s follows %s", seq, last)
				}
				last = seq
				if want, ok := acked[seq]; ok {
					found++
					if m["PartitionKey"] != want {
						t.Fatalf("%s is %s, was acknowledged as %s", seq, m["PartitionKey"], want)
					}
				}
			}
			if it = out["NextShardIterator"]; out["MillisBehindLatest"] == 0.0 {
				break
			}
		}
	}
	if found != len(acked) || found == 0 {
		t.Errorf("%d of %d acknowledged records are there", found, len(acked))
	}
}

// killRound starts a server, kills it after some acknowledged calls and returns what was acknowledged.
func killRound(t *testing.T, dir string, round int) map[string]string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKill$", "-test.count", "1")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	endpoint, ok := strings.CutPrefix(strings.TrimSpace(line), "endpoint ")
	if !ok {
		t.Fatalf("the server said %q, %v", line, err)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	post := func(op, body string) (map[string]any, error) {
		r, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Amz-Target", targetPrefix+op)
		resp, err := tr.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || len(b) == 0 {
			return nil, err
		}
		var v map[string]any
		return v, json.Unmarshal(b, &v)
	}
	if round == 0 {
		if _, err := post("CreateStream", `{"StreamName":"s","ShardCount":2}`); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	acked := map[string]string{}
	enough := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; ; n++ {
				var keys, records []string
				for i := range 20 {
					keys = append(keys, fmt.Sprintf("%d-%d-%d-%d", round, w, n, i))
					records = append(records, fmt.Sprintf(`{"Data":"YWJj","PartitionKey":%q}`, keys[i]))
				}
				v, err := post("PutRecords", `{"StreamName":"s","Records":[`+strings.Join(records, ",")+`]}`)
				if err != nil {
					return // it is dead
				}
				results, ok := v["Records"].([]any)
				if !ok {
					t.Errorf("put: %v", v)
					once.Do(func() { close(enough) })
					return
				}
				mu.Lock()
				for i, r := range results {
					acked[r.(map[string]any)["SequenceNumber"].(string)] = keys[i]
				}
				if len(acked) > 1000 {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		}()
	}
	<-enough
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return acked
}
