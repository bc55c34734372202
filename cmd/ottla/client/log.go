package client

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ottla/ottla/cmd/ottla/logdump"
)

func logCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "Read the files of a log dir; asks no server", Example: "  ottla log dump ~/.local/share/ottla/orders-0"}
	c.AddCommand(logDumpCommand())
	return c
}

func logDumpCommand() *cobra.Command {
	var o logdump.Options
	decoder, output := string(logdump.Auto), "text"
	c := &cobra.Command{
		Use: "dump FILE|FOLDER...", Short: "Print segments, indexes, snapshots and checkpoints", Args: cobra.MinimumNArgs(1),
		Long: "Print what is in segments, indexes, producer snapshots and checkpoints. With --records each record is printed too; those of __consumer_offsets, " +
			"__transaction_state and __cluster_metadata are decoded. The exit code is 1 if something in the files is broken.",
		Example: "  ottla log dump orders-0/00000000000000000000.log --records\n  ottla log dump __cluster_metadata-0 --records -o json\n" +
			"  ottla log dump orders-0 --records --from 1000 --to 1010",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(logdump.Decoders, decoder) {
				return fmt.Errorf("--decoder %s: must be one of %s", decoder, strings.Join(logdump.Decoders, ", "))
			}
			if output != "text" && output != "json" {
				return fmt.Errorf("-o %s: must be text or json", output)
			}
			o.Decoder, o.JSON = logdump.Decoder(decoder), output == "json"
			if !isTerminal(cmd.OutOrStdout()) {
				bar := newProgress(cmd.ErrOrStderr(), logdump.Size(args), "bytes")
				defer bar.end()
				o.Progress = bar.add
			}
			return logdump.Dump(cmd.OutOrStdout(), args, o)
		},
	}
	c.Flags().BoolVarP(&o.Records, "records", "r", false, "each record, not only the batches")
	c.Flags().StringVar(&decoder, "decoder", decoder, "as what records are shown: "+strings.Join(logdump.Decoders, ", "))
	c.Flags().StringVarP(&output, "output", "o", output, "`format`: text, or json with one object a line")
	c.Flags().Int64Var(&o.From, "from", 0, "only batches that reach this offset")
	c.Flags().Int64Var(&o.To, "to", 0, "only batches that begin up to this offset")
	_ = c.RegisterFlagCompletionFunc("decoder", cobra.FixedCompletions(logdump.Decoders, cobra.ShellCompDirectiveNoFileComp))        // it fails only for an unknown flag
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) // as above
	return c
}
