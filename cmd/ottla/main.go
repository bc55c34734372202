// Command ottla is the server: one static binary that Kafka clients use unchanged.
//
//	ottla                                                            a broker on localhost:9092
//	ottla server [server.properties] [--override key=value]... [--ephemeral]
//	ottla topic|group|produce|consume|config|acl|user|quota|log|doctor   what people do with a cluster
//	ottla kafka-topics ...                                           Apache Kafka's tools; also by linking them to the binary
//	ottla recover server.properties [--yes]                          a quorum of the controller that is left
//	ottla version
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ottla/ottla/cmd/ottla/client"
)

// version and commit are set by the linker; a binary of `go install` knows its module's version instead, one of `go build` its commit.
var version, commit string

func main() {
	os.Exit(execute(os.Args))
}

// report writes an error, each of its lines for itself: a properties file may have many mistakes.
func report(out io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(out, "ottla:", strings.TrimRight(line, "\n"))
	}
}

// The groups of commands in the help.
const (
	clientGroup = "client"
	toolGroup   = "kafka"
)

func command() *cobra.Command {
	serve := serverCommand()
	serve.Aliases = []string{startTool, startTool + ".sh"}
	root := &cobra.Command{
		Use:           "ottla",
		Short:         "A Kafka server in one binary",
		Long:          "Ottla speaks Apache Kafka's protocol. Without a command it starts a broker on localhost:9092.",
		Args:          cobra.NoArgs,
		RunE:          serve.RunE,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Flags().AddFlagSet(serve.Flags())
	root.AddGroup(&cobra.Group{ID: clientGroup, Title: "To use a cluster:"}, &cobra.Group{ID: toolGroup, Title: "Apache Kafka's tools, under their own names:"})
	root.AddCommand(client.Commands(clientGroup)...)
	root.AddCommand(toolCommands()...)
	root.AddCommand(docsCommand())
	root.AddCommand(serve, recoverCommand(), &cobra.Command{
		Use:   "version",
		Short: "Print the version and the commit",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "ottla %s (%s%s, %s/%s)\n", versionText(), commitText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	})
	return root
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

// commitText is the commit as a part of a list, or nothing where it is not known.
func commitText() string {
	if commit != "" {
		return "commit " + commit + ", "
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && s.Value != "" {
				return "commit " + s.Value[:min(12, len(s.Value))] + ", "
			}
		}
	}
	return ""
}
