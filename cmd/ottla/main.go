// Command ottla is the server: one static binary that Kafka clients use unchanged.
//
//	ottla                                                            a broker on localhost:9092
//	ottla server [server.properties] [--override key=value]... [--ephemeral]
//	ottla version
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker; a binary of `go install` knows its module's version instead.
var version string

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "ottla:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	serve := serverCommand()
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
	root.AddCommand(serve, &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "ottla %s (%s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
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
