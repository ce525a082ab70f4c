package testservers

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const installTimeout = 10 * time.Minute

// installed returns the folder of the user's cache that the commands have
// filled, now or in an earlier test. Test processes wait for each other.
func installed(t testing.TB, name string, commands func(dir string) []*exec.Cmd) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "tripgrid-test", name)
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(root+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	const mark = ".installed"
	if _, err := os.Stat(filepath.Join(root, mark)); err == nil {
		return root
	} else if !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	dir := root + ".new"
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	for _, cmd := range commands(dir) {
		if err := finish(ctx, cmd, filepath.Join(dir, "install.log")); err != nil {
			said, _ := os.ReadFile(filepath.Join(dir, "install.log"))
			t.Fatalf("install %s: %s: %v; look at what it says:\n%s", name, cmd, err, said[max(0, len(said)-logTail):])
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, mark), nil, 0o644), os.RemoveAll(root), os.Rename(dir, root)); err != nil {
		t.Fatal(err)
	}
	return root
}

// finish runs cmd to its end.
func finish(ctx context.Context, cmd *exec.Cmd, logName string) error {
	log, err := os.Create(logName)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	p, err := run(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
		return p.exit
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
}

// remedies are what brings each tool.
var remedies = map[string]string{
	"go":      "install Go",
	"java":    "install a Java 17 JDK",
	"mvn":     "install Maven",
	"node":    "install Node.js 20 or later",
	"npm":     "install npm, which comes with Node.js",
	"python3": "install Python 3 with its venv module",
}

// tool is the path of a program that the test cannot do without.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s, which is not on the PATH: %s", name, remedies[name])
	}
	return path
}

// npm installs a package of the npm registry and returns its own folder.
func npm(t testing.TB, name, version string) string {
	t.Helper()
	root := installed(t, name+"-"+version, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{exec.Command(tool(t, "npm"), "install", "--prefix", dir, "--no-audit", "--no-fund", name+"@"+version)}
	})
	return filepath.Join(root, "node_modules", name)
}

// maven brings an artifact of Maven Central and all it needs, and returns the
// folder of the jars.
func maven(t testing.TB, name, group, artifact, version string) string {
	t.Helper()
	root := installed(t, name+"-"+version, func(dir string) []*exec.Cmd {
		pom := `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>tripgrid</groupId><artifactId>` + name + `</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>` + group + `</groupId><artifactId>` + artifact + `</artifactId><version>` + version + `</version>
  </dependency></dependencies>
</project>
`
		file := filepath.Join(dir, "pom.xml")
		if err := os.WriteFile(file, []byte(pom), 0o644); err != nil {
			t.Fatal(err)
		}
		return []*exec.Cmd{exec.Command(tool(t, "mvn"), "-q", "-B", "-f", file,
			"dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib"))}
	})
	return filepath.Join(root, "lib")
}
