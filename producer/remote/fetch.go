package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Fetch is objects on their way here. Its methods are for one goroutine.
type Fetch struct {
	client *Client
	cancel context.CancelFunc
	wait   sync.WaitGroup
	files  *semaphore.Weighted // that are here or on their way
	bytes  *semaphore.Weighted // of their disk
	queue  chan chan fetched   // in the order of the objects
	came   atomic.Int64
}

type fetched struct {
	file *File
	err  error
}

// File is an object that is here.
type File struct {
	*os.File
	free func()
}

// Close closes the file, which frees its disk and lets others come.
func (f *File) Close() error {
	defer f.free()
	return f.File.Close()
}

// Fetch begins to fetch objects, in their order. Close must be called.
func (c *Client) Fetch(ctx context.Context, objects []Object) *Fetch {
	ctx, cancel := context.WithCancel(ctx)
	f := &Fetch{client: c, cancel: cancel, queue: make(chan chan fetched, len(objects)),
		files: semaphore.NewWeighted(int64(c.cfg.Ahead) + 1), bytes: semaphore.NewWeighted(c.cfg.AheadBytes)}
	f.wait.Go(func() {
		for i := range objects {
			if !f.start(ctx, &objects[i]) {
				return
			}
		}
	})
	return f
}

// start fetches an object as soon as there is room for it; it is false if there
// will be none.
func (f *Fetch) start(ctx context.Context, o *Object) bool {
	result := make(chan fetched, 1)
	if f.files.Acquire(ctx, 1) != nil {
		return false
	}
	file, err := f.client.cached(o)
	if file != nil || err != nil {
		result <- fetched{&File{file, func() { f.files.Release(1) }}, err}
		f.queue <- result
		return true
	}
	size := f.client.cfg.AheadBytes
	if o.Size >= 0 {
		size = min(size, o.Size)
	}
	if f.bytes.Acquire(ctx, size) != nil {
		return false
	}
	f.queue <- result
	f.wait.Go(func() {
		file, err := f.client.download(ctx, o, func(n int) { f.came.Add(int64(n)) })
		result <- fetched{&File{file, func() { f.bytes.Release(size); f.files.Release(1) }}, err}
	})
	return true
}

// Next returns the next object's file, once all of it is here; the caller has
// closed the one before. While that takes time, it calls waiting now and then.
func (f *Fetch) Next(ctx context.Context, waiting func()) (*File, error) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var result chan fetched
	queue := f.queue
	for {
		select {
		case result = <-queue:
			queue = nil
		case got := <-result:
			if got.err != nil {
				return nil, explain(got.err)
			}
			return got.file, nil
		case <-tick.C:
			waiting()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Came is how many bytes have come over the network.
func (f *Fetch) Came() int64 { return f.came.Load() }

// Close ends what is on its way, and removes what nobody took.
func (f *Fetch) Close() {
	f.cancel()
	f.wait.Wait()
	close(f.queue)
	for result := range f.queue {
		if got := <-result; got.err == nil {
			_ = got.file.Close() // nobody has read it
		}
	}
}

// keeps tells whether an object belongs in the cache: without a version nobody
// could tell a later one from it.
func (c *Client) keeps(o *Object) bool { return c.cfg.Cache != "" && o.version != "" }

// kept is the path of an object in the cache.
func (c *Client) kept(o *Object) string {
	id := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", o.URL, o.version, o.Size))
	base := path.Base(o.Name)
	return filepath.Join(c.cfg.Cache, hex.EncodeToString(id[:16])+"-"+base[max(0, len(base)-100):])
}

// cached returns the object's file in the cache, nil if it is not there.
func (c *Client) cached(o *Object) (*os.File, error) {
	if !c.keeps(o) {
		return nil, nil
	}
	file, err := os.Open(c.kept(o))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || o.Size >= 0 && info.Size() != o.Size {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// staleAfter is the age of what a crash left in the cache.
const staleAfter = 24 * time.Hour

// create makes the file that an object is fetched into: in the cache, or without
// a name where the system can do that. keep ends it.
func (c *Client) create(o *Object) (file *os.File, keep func(ok bool) error, err error) {
	if !c.keeps(o) {
		if file, err = createTemp(c.dir, "tripgrid-fetch-*"); err != nil {
			return nil, nil, err
		}
		return file, func(ok bool) error {
			if !ok {
				return file.Close()
			}
			return nil
		}, removeTemp(file.Name())
	}
	if err := os.MkdirAll(c.cfg.Cache, 0o755); err != nil {
		return nil, nil, err
	}
	parts, err := filepath.Glob(filepath.Join(c.cfg.Cache, "part-*"))
	if err != nil {
		return nil, nil, err
	}
	for _, part := range parts {
		if info, err := os.Stat(part); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(part) // another process may have been faster
		}
	}
	if file, err = createTemp(c.cfg.Cache, "part-*"); err != nil {
		return nil, nil, err
	}
	return file, func(ok bool) error {
		if !ok {
			return errors.Join(file.Close(), removeTemp(file.Name()))
		}
		if err := file.Sync(); err != nil {
			return err
		}
		return os.Rename(file.Name(), c.kept(o))
	}, nil
}

// A test has a full disk instead.
var createTemp, removeTemp = os.CreateTemp, os.Remove

// download fetches an object.
func (c *Client) download(ctx context.Context, o *Object, came func(int)) (_ *os.File, err error) {
	file, keep, err := c.create(o)
	if err != nil {
		return nil, err
	}
	d := download{object: o, file: file, size: o.Size, version: o.version}
	err = c.try(ctx, func(ctx context.Context, alive func(int)) error {
		return d.read(ctx, func(n int) { alive(n); came(n) })
	})
	if err = errors.Join(err, keep(err == nil)); err != nil {
		return nil, err
	}
	_, err = file.Seek(0, io.SeekStart)
	return file, err
}

// download is an object that is partly here.
type download struct {
	object  *Object
	file    *os.File
	offset  int64
	size    int64 // -1: unknown
	version string
	sum     *checksum
}

// startOver empties the file.
func (d *download) startOver() error {
	if at, err := d.file.Seek(0, io.SeekCurrent); err != nil || at == 0 {
		return err
	}
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return d.file.Truncate(0)
}

// read reads what is missing.
func (d *download) read(ctx context.Context, came func(int)) error {
	a, err := d.object.place.open(ctx, d.object, d.offset, d.version)
	if err != nil {
		return err
	}
	defer a.body.Close()
	if d.offset > 0 && d.version != "" && a.version != d.version {
		return errChanged
	}
	if a.offset == 0 {
		if err := d.startOver(); err != nil {
			return err
		}
		d.offset, d.size, d.version, d.sum = 0, a.size, a.version, a.sum
	}
	buf := make([]byte, 128<<10)
	for {
		n, err := a.body.Read(buf)
		if n > 0 {
			came(n)
			if _, err := d.file.Write(buf[:n]); err != nil {
				return err
			}
			if d.offset += int64(n); d.sum != nil {
				d.sum.Write(buf[:n])
			}
		}
		switch {
		case errors.Is(err, io.EOF) && (d.size < 0 || d.offset == d.size):
			if d.sum != nil && !d.sum.matches() {
				d.offset = 0
				return errChecksum
			}
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errCut{d.offset, d.size}
		case err != nil && d.offset == d.size: // the SDK has checked it too
			d.offset = 0
			return errChecksum
		case err != nil:
			return err
		}
	}
}
