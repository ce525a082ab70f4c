package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/producer/dataset"
)

// generator describes generated trips.
type generator struct {
	Trips int64
	Seed  uint64
}

// openData opens what --data names, or the generator where it names nothing.
// Files are read and sorted, in the folder where they do not fit in memory.
func openData(ctx context.Context, dir folder, args []string, gen generator, opt dataset.Options, log *zap.Logger) (dataset.Dataset, error) {
	if len(args) == 0 {
		return dataset.Generate(dataset.GeneratorOptions{Seed: gen.Seed, Trips: gen.Trips}), nil
	}
	paths, err := resolve(ctx, dir, args)
	if err != nil {
		return nil, err
	}
	opt.SpillDir = string(dir)
	files, err := dataset.Open(ctx, paths, opt)
	if err != nil {
		return nil, err
	}
	for _, r := range files.Report() {
		for reason, n := range r.Rejected {
			log.Info("rows refused", zap.String("file", r.Name), zap.String("reason", string(reason)), zap.Int64("rows", n))
		}
	}
	return files, nil
}

// spooled replaces a data set of files by its sorted copy in the folder, so
// that the run does not keep the trips in memory.
func spooled(dir folder, d dataset.Dataset) (dataset.Dataset, error) {
	files, ok := d.(*dataset.Files)
	if !ok {
		return d, nil
	}
	if old, err := dataset.OpenSpool(dir.spool()); err == nil {
		if old.Identity().Digest == files.Identity().Digest {
			return old, files.Close()
		}
		old.Close()
	}
	if err := dataset.Spool(dir.spool(), files); err != nil {
		return nil, err
	}
	if err := files.Close(); err != nil {
		return nil, err
	}
	return dataset.OpenSpool(dir.spool())
}

// identity is the data set as the job's spec names it: another --seek is
// another data set.
func identity(d dataset.Dataset, seek time.Time) checkpoint.Data {
	id := d.Identity()
	if seek.IsZero() {
		return checkpoint.Data{Name: id.Name, Digest: hex.EncodeToString(id.Digest[:]), Trips: uint64(id.Trips)}
	}
	first := d.SearchTime(seek.UnixNano())
	h := sha256.New()
	h.Write(id.Digest[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(first)))
	return checkpoint.Data{
		Name:   id.Name + " from " + seek.UTC().Format(time.RFC3339),
		Digest: hex.EncodeToString(h.Sum(nil)),
		Trips:  uint64(id.Trips - first),
	}
}

// resolve turns arguments into file names: patterns are expanded, URLs fetched.
func resolve(ctx context.Context, dir folder, args []string) ([]string, error) {
	var paths []string
	for _, arg := range args {
		if strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://") {
			name, err := fetch(ctx, dir, arg)
			if err != nil {
				return nil, err
			}
			paths = append(paths, name)
			continue
		}
		if _, err := os.Stat(arg); err == nil {
			paths = append(paths, arg)
			continue
		}
		matches, err := filepath.Glob(arg)
		if err != nil {
			return nil, fmt.Errorf("--data %s is no valid pattern: %w", arg, err)
		}
		if len(matches) == 0 {
			return nil, fmt.Errorf("--data %s matches no file: check the path", arg)
		}
		slices.Sort(matches)
		paths = append(paths, matches...)
	}
	return paths, nil
}

// fetch downloads a file into the folder, once.
func fetch(ctx context.Context, dir folder, link string) (_ string, err error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", fmt.Errorf("--data %s is no valid URL: %w", link, err)
	}
	sum := sha256.Sum256([]byte(link))
	name := filepath.Join(dir.downloads(), hex.EncodeToString(sum[:4])+"-"+path.Base(u.Path))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if err := os.MkdirAll(dir.downloads(), 0o755); err != nil {
		return "", fmt.Errorf("download %s: %w", link, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "", fmt.Errorf("download %s: %w", link, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("download %s: %w", link, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("download %s: the server answered %s", link, resp.Status)
	}
	tmp, err := os.CreateTemp(dir.downloads(), "part-*")
	if err != nil {
		return "", fmt.Errorf("download %s: %w", link, err)
	}
	defer func() { err = errors.Join(err, removeIfThere(tmp.Name())) }()
	n, err := io.Copy(tmp, resp.Body)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return "", fmt.Errorf("download %s: %w", link, err)
	}
	if resp.ContentLength >= 0 && n != resp.ContentLength {
		return "", fmt.Errorf("download %s: it ended after %d of %d bytes; start again", link, n, resp.ContentLength)
	}
	return name, os.Rename(tmp.Name(), name)
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
