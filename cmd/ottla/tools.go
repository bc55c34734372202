package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/ottla/ottla/cmd/ottla/kafkatools"
)

// exitCode ends the process with a code after a command has said all that there is to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit %d", int(c)) }

// codeOf is the exit code for what a command returned; it reports errors that were not reported yet.
func codeOf(out io.Writer, err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	report(out, err)
	return 1
}

// asTool is the command line that the name of the program stands for: linked or renamed to kafka-topics or kafka-topics.sh, it is that tool.
func asTool(args []string) []string {
	name, ok := kafkatools.NameOf(args[0])
	switch {
	case !ok:
		return args[1:]
	case name == startTool:
		return append([]string{"server"}, args[1:]...)
	}
	return append([]string{name}, args[1:]...)
}

// startTool is Kafka's script that starts a broker: the server command.
const startTool = "kafka-server-start"

// toolCommands are Kafka's tools as commands.
func toolCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, t := range kafkatools.Tools() {
		all = append(all, &cobra.Command{
			Use: t.Name, Aliases: []string{t.Name + ".sh"}, Short: t.About, GroupID: toolGroup, DisableFlagParsing: true,
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, stop := signal.NotifyContext(cmd.Context(), stopSignals()...)
				defer stop()
				context.AfterFunc(ctx, stop)
				s := kafkatools.Streams{In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}
				if code := kafkatools.Run(ctx, t.Name, args, s); code != 0 {
					return exitCode(code)
				}
				return nil
			},
			ValidArgsFunction: func(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
				var options []string
				for _, o := range t.Options {
					options = append(options, "--"+o)
				}
				return options, cobra.ShellCompDirectiveNoFileComp
			},
		})
	}
	return all
}

// execute runs a command line and returns the exit code.
func execute(args []string) int {
	root := command()
	root.SetArgs(asTool(args))
	return codeOf(os.Stderr, root.Execute())
}
