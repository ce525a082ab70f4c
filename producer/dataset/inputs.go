package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tripgrid/tripgrid/producer/remote"
)

// input is a file to read: one here, or an object that is fetched.
type input struct {
	name   string // for people, and for the order
	size   int64  // -1: unknown
	object *remote.Object
}

// inputs are the files of a data set, in their order.
type inputs struct {
	list  []input
	fetch *remote.Fetch // nil if all are here
}

// find says what paths mean, and begins to fetch what is elsewhere.
func find(ctx context.Context, paths []string, opt Options) (*inputs, error) {
	if len(paths) == 0 {
		return nil, errors.New("read trips: no file is given: name one or more")
	}
	client, err := remote.New(opt.Remote, opt.SpillDir)
	if err != nil {
		return nil, err
	}
	in := new(inputs)
	for _, path := range paths {
		if remote.Is(path) {
			objects, err := client.Find(ctx, path)
			if err != nil {
				return nil, err
			}
			for i := range objects {
				in.list = append(in.list, input{objects[i].Name, objects[i].Size, &objects[i]})
			}
			continue
		}
		names, err := expand(path)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("read trips: there is no file %s: check the path", name)
			}
			if err != nil {
				return nil, fmt.Errorf("read trips: %w", err)
			}
			if info.IsDir() {
				return nil, fmt.Errorf("read trips of %s: it is a folder: name the files in it, as %s", name, filepath.Join(name, "*.csv"))
			}
			in.list = append(in.list, input{name, info.Size(), nil})
		}
	}
	slices.SortStableFunc(in.list, func(a, b input) int {
		if order := strings.Compare(a.name, b.name); order != 0 || a.object == nil || b.object == nil {
			return order
		}
		return strings.Compare(a.object.URL, b.object.URL)
	})
	var objects []remote.Object
	for _, one := range in.list {
		if one.object != nil {
			objects = append(objects, *one.object)
		}
	}
	if len(objects) > 0 {
		in.fetch = client.Fetch(ctx, objects)
	}
	return in, nil
}

// expand replaces a pattern by the files here that match.
func expand(path string) ([]string, error) {
	if _, err := os.Lstat(path); err == nil || !strings.ContainsAny(path, `*?[\`) {
		return []string{path}, nil
	}
	matches, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("read trips: the pattern %s is malformed: correct it (%w)", path, err)
	}
	if len(matches) == 0 {
		return nil, fmt.Errorf("read trips: no file matches %s: check the path", path)
	}
	return matches, nil
}

// open opens the next file of the list, i. It calls waiting now and then until
// that is here. The closer comes back too: closing an object makes room for others.
func (in *inputs) open(ctx context.Context, i int, waiting func()) (*os.File, func() error, error) {
	if in.list[i].object == nil {
		file, err := os.Open(in.list[i].name)
		if err != nil {
			return nil, nil, errors.Unwrap(err) // the caller names the file
		}
		return file, file.Close, nil
	}
	file, err := in.fetch.Next(ctx, waiting)
	if err != nil {
		return nil, nil, err
	}
	return file.File, file.Close, nil
}

// close ends what is on its way.
func (in *inputs) close() {
	if in.fetch != nil {
		in.fetch.Close()
	}
}

// fetched is how many bytes have come over the network.
func (in *inputs) fetched() int64 {
	if in.fetch == nil {
		return 0
	}
	return in.fetch.Came()
}

// name is that of the data set, for people.
func (in *inputs) name() string {
	first := path.Base(filepath.ToSlash(in.list[0].name))
	if len(in.list) == 1 {
		return first
	}
	return fmt.Sprintf("%s and %d more files", first, len(in.list)-1)
}
