package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

//go:generate sh -c "go run . docs > ../../docs/cli.md"

// differences are where Apache Kafka's tools and ours do not say the same, with the reason.
var differences = []string{
	"No stack traces of a JVM are printed: the first line of the error is, which says the same.",
	"`--help` lists the same options in the same shape, in other words.",
	"Where Java prints a set, whose order changes from run to run, the order here is fixed.",
	"`kafka-console-consumer` without `--group` joins no group: it reads the partitions at once, and leaves nothing behind. The hint at the consumer protocol is not printed.",
	"`kafka-console-consumer --formatter` knows Kafka's own formatters, but that of share groups, and no other classes; `ottla log dump` decodes what they leave out.",
	"`kafka-console-consumer` says what is wrong with `--isolation-level` and `--max-messages`, where Kafka's ends without a word.",
	"Key stores must be PEM files (`ssl.keystore.type=PEM`), and Kerberos is not spoken.",
}

// docsCommand writes docs/cli.md.
func docsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "docs", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), page(cmd.Root()))
			return err
		},
	}
}

// page is docs/cli.md.
func page(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The command line\n\nThis page is generated from the commands (`go generate ./cmd/ottla`); a test runs each example.\n\n" +
		"`--bootstrap-server` (`-b`) says which cluster; without it `OTTLA_BOOTSTRAP` does, or else it is localhost:9092. `-o json` and `-o yaml` are for programs. Colours and " +
		"progress bars are shown on terminals only, and `NO_COLOR` turns colours off. An error is a line on standard error and the exit code 1.\n\n" +
		"Completion: `source <(ottla completion bash)`, `ottla completion zsh|fish|powershell --help` for the other shells; names of topics and groups are completed too.\n")
	for _, c := range root.Commands() {
		if c.GroupID == clientGroup {
			section(&b, c, 2)
		}
	}
	b.WriteString("\n## Apache Kafka's tools\n\nThe binary is these tools if it is called by their names, with or without `.sh` (`ln -s ottla kafka-topics.sh`), or as `ottla kafka-topics ...`. " +
		"They take the same options and print the same text as those of Apache Kafka 4.3.1, in milliseconds.\n\n")
	for _, c := range root.Commands() {
		if c.GroupID == toolGroup {
			fmt.Fprintf(&b, "- `%s`\n", c.Name())
		}
	}
	b.WriteString("- `" + startTool + "`: as `ottla server`\n\nWhat differs:\n\n")
	for _, d := range differences {
		b.WriteString("- " + d + "\n")
	}
	return b.String()
}

// section writes a command and those below it.
func section(b *strings.Builder, c *cobra.Command, depth int) {
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	fmt.Fprintf(b, "\n%s %s\n\n%s\n\n    %s\n", strings.Repeat("#", depth), c.CommandPath(), long, c.UseLine())
	if c.Example != "" {
		b.WriteString("\nExamples:\n\n")
		for line := range strings.Lines(c.Example) {
			b.WriteString("    " + strings.TrimSpace(line) + "\n")
		}
	}
	if flags := c.LocalNonPersistentFlags().FlagUsages(); flags != "" {
		b.WriteString("\nFlags:\n\n")
		for line := range strings.Lines(flags) {
			b.WriteString("    " + strings.TrimRight(strings.TrimPrefix(line, "  "), " \n") + "\n")
		}
	}
	for _, sub := range c.Commands() {
		section(b, sub, depth+1)
	}
}
