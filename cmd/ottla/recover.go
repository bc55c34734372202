package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/server/config"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// recoverCommand makes a quorum of the one controller that is left.
func recoverCommand() *cobra.Command {
	var (
		overrides []string
		yes       bool
	)
	cmd := &cobra.Command{
		Use:   "recover server.properties",
		Short: "Make a metadata quorum of the controller that is left, when a majority is gone for good",
		Long: "Make a metadata quorum of this controller alone, from what its folder has, when a majority of the controllers is gone for good. " +
			"Without --yes it only tells what there is and what may be lost. No controller may run meanwhile.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Sources{File: args[0], Environment: os.Environ(), Overrides: overrides}.Load()
			if err != nil {
				return err
			}
			if !c.IsController() {
				return errors.New("recover: this node is no controller: process.roles does not name one")
			}
			return recoverQuorum(cmd.OutOrStdout(), vfs.OS(), c, yes)
		},
	}
	cmd.Flags().StringArrayVar(&overrides, "override", nil, "set one configuration `key=value` over the file (repeatable)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

// recoverQuorum tells what the folder has and, with yes, makes a quorum of it.
func recoverQuorum(out io.Writer, fs vfs.FS, c *config.Server, yes bool) (err error) {
	unlock, err := fs.Lock(filepath.Join(c.MetadataLogDir, ".lock"))
	if err != nil {
		return fmt.Errorf("recover: %s cannot be locked: does the controller still run? %w", c.MetadataLogDir, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	codecs := record.NewCodecs()
	defer codecs.Close()
	f := controller.Folder{NodeID: c.NodeID, FS: fs, Dir: c.MetadataLogDir, Codecs: codecs, Logger: zap.NewNop()}
	r, err := f.Inspect()
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := write(out, describeRemains(c, r)); err != nil {
		return err
	}
	if !yes {
		return write(out, "Nothing was changed. Run it again with --yes to go on.\n")
	}
	if _, err := f.Recover(); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return write(out, nextSteps(c))
}

func write(out io.Writer, text string) error {
	_, err := io.WriteString(out, text)
	return err
}

// describeRemains is what a person should know before.
func describeRemains(c *config.Server, r controller.Remains) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Metadata of cluster %s in %s, controller %d:\n", r.ClusterID, c.MetadataLogDir, c.NodeID)
	fmt.Fprintf(&b, "  last entry     index %d, term %d", r.LastIndex, r.LastTerm)
	if !r.LastTime.IsZero() {
		fmt.Fprintf(&b, ", written %s (%s ago)", r.LastTime.UTC().Format(time.RFC3339), time.Since(r.LastTime).Round(time.Second))
	}
	fmt.Fprintf(&b, "\n  metadata       up to offset %d, of which those up to %d are known to be committed\n", r.EndOffset, r.Committed)
	var voters []string
	for _, v := range r.Voters {
		voters = append(voters, fmt.Sprintf("%d@%s:%d", v.ID, v.Host, v.Port))
	}
	fmt.Fprintf(&b, "  voters         %s\n", strings.Join(voters, ", "))
	if r.Recovered > 0 {
		fmt.Fprintf(&b, "  recovered      %d times before\n", r.Recovered)
	}
	b.WriteString("A new quorum of this controller alone takes all that it has as committed. Lost is what a majority of the others had agreed to and this one\n" +
		"has not received: topics, settings and leaders of partitions that changed last. If another controller has more, run this there instead.\n" +
		"Do it only if a majority of the voters is gone for good: should those come back as they are, there would be two clusters with one name.\n")
	return b.String()
}

// nextSteps is what is to be done after.
func nextSteps(c *config.Server) string {
	steps := fmt.Sprintf("Done: controller %d is a quorum of its own. Start it, and then each other controller with an empty metadata folder\n"+
		"(without __cluster_metadata-0 and __raft-0): it waits until kafka-metadata-quorum add-controller adds it.\n"+
		"Partitions of which every replica in sync is gone have no leader until kafka-leader-election --election-type unclean names one that is left.\n", c.NodeID)
	if len(c.Quorum.Voters) > 0 {
		steps += "On every node, take controller.quorum.voters out of the properties file and set controller.quorum.bootstrap.servers to this controller.\n"
	}
	return steps
}
