package settings

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/dustin/go-humanize"
)

// sections are titled as --help shows them.
var sections = []kong.Group{
	{Key: "job", Title: "job: what is computed; fixed when the job begins"},
	{Key: "aws", Title: "aws: what the AWS clients share"},
	{Key: "kinesis", Title: "kinesis: the stream of trips"},
	{Key: "leases", Title: "leases: which worker reads which shard"},
	{Key: "nats", Title: "nats: the partition log"},
	{Key: "snapshots", Title: "snapshots: where checkpoints are"},
	{Key: "checkpoint", Title: "checkpoint: how often they are taken"},
	{Key: "results", Title: "results: where results go"},
	{Key: "indices", Title: "indices: how OpenSearch is set up for the job"},
	{Key: "producer", Title: "producer: the replay of trips into the stream"},
	{Key: "log", Title: "log: how the process tells what it does"},
}

const fileHelp = "YAML file of settings: --kinesis-stream is there the key stream under kinesis, and in the environment TRIPGRID_KINESIS_STREAM, as this flag is TRIPGRID_CONFIG. Flags win, then the environment, then the file."

// Options make a kong parser know settings: those of its commands get an
// environment variable each, and every command that has some gets --config.
// The *File that was read is bound for Run; it is empty if none was named.
func Options() []kong.Option {
	var path string
	target := reflect.ValueOf(&path).Elem()
	config := &kong.Flag{PlaceHolder: "FILE", Value: &kong.Value{
		Name: "config", Help: fileHelp, OrigHelp: fileHelp, Target: target, DefaultValue: reflect.ValueOf(""),
		Tag: &kong.Tag{Envs: []string{FileVariable}}, Mapper: kong.NewRegistry().RegisterDefaults().ForValue(target),
	}}
	config.Flag = config
	read := false
	return []kong.Option{
		kong.ExplicitGroups(sections),
		kong.NamedMapper("size", kong.MapperFunc(decodeSize)),
		kong.ValueFormatter(help),
		kong.PostBuild(func(k *kong.Kong) error {
			equip(k.Model.Node, config)
			return nil
		}),
		kong.WithBeforeResolve(func(ctx *kong.Context) error {
			if read || !offers(ctx, config) { // kong calls this for every element of the command line
				return nil
			}
			read = true
			file, err := Read(ctx.FlagValue(config).(string))
			if err != nil {
				return err
			}
			ctx.AddResolver(file)
			ctx.Bind(file)
			return nil
		}),
	}
}

// FileVariable names the configuration file in the environment.
const FileVariable = "TRIPGRID_CONFIG"

// equip gives the settings of a command their variables, and the command the
// flag that names the file. kong.DefaultEnvars would give variables to other
// flags too: demo's --dir would be set by the one of produce's.
func equip(n *kong.Node, config *kong.Flag) {
	has := false
	for _, f := range n.Flags {
		if isSetting(f) {
			has = true
			f.Tag.Envs = []string{variable(f.Name)}
			f.Envs = f.Tag.Envs
		}
	}
	if has {
		n.Flags = append([]*kong.Flag{config}, n.Flags...)
	}
	for _, child := range n.Children {
		equip(child, config)
	}
}

// variable is the environment's name of a flag.
func variable(flag string) string {
	return "TRIPGRID_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func offers(ctx *kong.Context, flag *kong.Flag) bool {
	for _, p := range ctx.Path {
		for _, f := range p.Flags {
			if f == flag {
				return true
			}
		}
	}
	return false
}

// help is a flag's text. The variable's name follows from the flag's and is not
// repeated; the default is told where the placeholder stands in its way.
func help(v *kong.Value) string {
	switch {
	case v.Flag == nil || !isSetting(v.Flag):
		if slices.Equal(v.Tag.Envs, []string{variable(v.Name)}) {
			return v.Help
		}
		return kong.DefaultHelpValueFormatter(v)
	case v.Default != "" && (v.Flag.PlaceHolder != "" || v.IsBool()):
		return v.Help + " Default: " + v.Default + "."
	}
	return v.Help
}

// decodeSize reads bytes as 1073741824 or 1GiB.
func decodeSize(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("size", &text); err != nil {
		return err
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is no size: write it like 64MiB, or as a number of bytes", text)
	}
	target.SetInt(int64(n))
	return nil
}

// sizeText writes bytes so that no digit is lost.
func sizeText(n int64) string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := int64(1) << (40 - 10*i); n >= size && n%size == 0 {
			return strconv.FormatInt(n/size, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// fromEnvironment is the variable that sets f, and its value.
func fromEnvironment(f *kong.Flag) (name, value string, ok bool) {
	for _, name := range f.Envs {
		if value, ok := os.LookupEnv(name); ok {
			return name, value, true
		}
	}
	return "", "", false
}
