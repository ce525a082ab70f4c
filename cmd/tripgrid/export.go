package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tripgrid/tripgrid/sink"
)

type exportCmd struct {
	Dir string `required:"" placeholder:"DIR" help:"Working folder of the run."`
	Out string `required:"" placeholder:"FILE.jsonl" help:"Where to write; - is standard output."`
}

func (c exportCmd) Run(ctx context.Context, std streams) error {
	dir := folder(c.Dir)
	if err := dir.mustHold(); err != nil {
		return err
	}
	if !dir.resultsExist() {
		return fmt.Errorf("the run in %s has no results yet: let it go on with tripgrid demo --dir %s", c.Dir, c.Dir)
	}
	db, err := sink.OpenSQLite(dir.results())
	if err != nil {
		return err
	}
	defer db.Close()
	if c.Out == "-" {
		_, err := db.Export(ctx, std.out)
		return err
	}
	n, err := exportTo(ctx, db, c.Out)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.err, "%s documents written to %s\n", grouped(n), c.Out)
	return nil
}

// mayExport refuses a file that cannot be there, before a run has gone on for hours.
func mayExport(name string) error {
	if info, err := os.Stat(filepath.Dir(name)); err != nil || !info.IsDir() {
		return fmt.Errorf("cannot export to %s: there is no folder %s; make it, or name another file", name, filepath.Dir(name))
	}
	return nil
}

// exportTo writes all results to a file, which is complete or not there.
func exportTo(ctx context.Context, db *sink.SQLite, name string) (n int64, err error) {
	tmp := name + ".part"
	file, err := os.Create(tmp)
	if err != nil {
		return 0, fmt.Errorf("export the results: %w: name a file that can be written", err)
	}
	buf := bufio.NewWriterSize(file, 1<<20)
	n, err = db.Export(ctx, buf)
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("export the results to %s: %w", name, err), removeIfThere(tmp))
	}
	return n, nil
}

// grouped is a number with commas, for people.
func grouped[T int | int64 | uint64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
