package settings

import (
	"strings"

	"github.com/alecthomas/kong"
)

// groups are the sections, titled as --help shows them.
var groups = []kong.Group{
	{Key: "job", Title: "job: what is computed; fixed when the job begins"},
	{Key: "aws", Title: "aws: what the AWS clients share"},
	{Key: "kinesis", Title: "kinesis: the stream of trips"},
	{Key: "leases", Title: "leases: which worker reads which shard"},
	{Key: "nats", Title: "nats: the partition log"},
	{Key: "snapshots", Title: "snapshots: where checkpoints are"},
	{Key: "checkpoint", Title: "checkpoint: their rhythm"},
	{Key: "results", Title: "results: where results go"},
	{Key: "producer", Title: "producer: the replay of trips into the stream"},
	{Key: "log", Title: "log: how the process tells what it does"},
}

// Options make a kong parser know the settings of its commands.
func Options() []kong.Option {
	return []kong.Option{
		kong.ExplicitGroups(groups),
		kong.ValueFormatter(help),
		kong.PostBuild(func(k *kong.Kong) error {
			nameEnvs(k.Model.Node)
			return nil
		}),
	}
}

// isSetting tells settings from the flags that are a command's own.
func isSetting(f *kong.Flag) bool {
	if f.Group == nil {
		return false
	}
	for _, g := range groups {
		if g.Key == f.Group.Key {
			return true
		}
	}
	return false
}

// nameEnvs gives every setting its environment variable. kong.DefaultEnvars
// would name those of other flags too, such as demo's --dir after produce's.
func nameEnvs(n *kong.Node) {
	for _, f := range n.Flags {
		if isSetting(f) {
			f.Tag.Envs = []string{"TRIPGRID_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))}
			f.Envs = f.Tag.Envs
		}
	}
	for _, child := range n.Children {
		nameEnvs(child)
	}
}

// help is a flag's text. The variable's name follows from the flag's and is not
// repeated; the default is told where the placeholder stands in its way.
func help(v *kong.Value) string {
	if v.Flag == nil || !isSetting(v.Flag) {
		return kong.DefaultHelpValueFormatter(v)
	}
	if v.Default != "" && (v.Flag.PlaceHolder != "" || v.IsBool()) {
		return v.Help + " Default: " + v.Default + "."
	}
	return v.Help
}
