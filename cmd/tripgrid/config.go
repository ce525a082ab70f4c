package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Say everything that is wrong with the configuration file and the environment."`
	Print configPrintCmd `cmd:"" help:"Print the settings in effect as a configuration file, each with where it came from."`
}

// configCheckCmd reads the file itself: the parser would stop at the first
// mistake in the environment.
type configCheckCmd struct {
	Config string `placeholder:"FILE" env:"TRIPGRID_CONFIG" help:"The YAML file of settings."`
}

func (c *configCheckCmd) Run(std streams) error {
	sum, err := settings.Check(c.Config)
	if err != nil {
		return err
	}
	from := "no file"
	if c.Config != "" {
		from = fmt.Sprintf("%s from %s", counted(sum.FromFile, "setting"), c.Config)
	}
	fmt.Fprintf(std.out, "ok: %s, %d from the environment\n", from, sum.FromEnvironment)
	for _, m := range sum.Missing {
		fmt.Fprintf(std.out, "a worker needs more: %v\n", m)
	}
	return nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type configPrintCmd struct {
	Defaults bool `help:"Print every setting with its meaning and its default instead, commented out: to begin a file with."`

	settings.All `embed:""`
}

func (c *configPrintCmd) Run(ctx *kong.Context, file *settings.File, std streams) error {
	if c.Defaults {
		return settings.PrintDefaults(std.out)
	}
	return settings.Print(std.out, ctx, file)
}
