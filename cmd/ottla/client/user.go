package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// fewestIterations is the least that Kafka takes for SCRAM.
const fewestIterations = 4096

func userCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "user", Short: "List users, set and remove their passwords (SCRAM)",
		Example: "  ottla user list\n  ottla user set alice --password-file alice.txt\n  ottla user delete alice",
	}
	c.AddCommand(s.userList(), s.userSet(), s.userDelete())
	return c
}

func mechanismOf(name string) (kadm.ScramMechanism, error) {
	switch strings.ToUpper(name) {
	case "SCRAM-SHA-256":
		return kadm.ScramSha256, nil
	case "SCRAM-SHA-512":
		return kadm.ScramSha512, nil
	}
	return 0, fmt.Errorf("--mechanism %s: must be SCRAM-SHA-256 or SCRAM-SHA-512", name)
}

func (s *session) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list [USER...]", Short: "List users and the mechanisms that they have passwords for",
		Example: "  ottla user list\n  ottla user list alice -o json",
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			found, err := a.DescribeUserSCRAMs(ctx, args...)
			if err != nil {
				return err
			}
			t := &table{columns: []string{"USER", "MECHANISM", "ITERATIONS"}}
			var failed []error
			for _, u := range found.Sorted() {
				if u.Err != nil {
					failed = append(failed, refusal(u.User, u.Err, u.ErrMessage))
				}
				for _, c := range u.CredInfos {
					t.add(u.User, c.Mechanism.String(), c.Iterations)
				}
			}
			return errors.Join(append(failed, s.show(t))...)
		}),
	}
}

func (s *session) userSet() *cobra.Command {
	mechanism, file, iterations := "SCRAM-SHA-512", "", int32(fewestIterations)
	c := &cobra.Command{
		Use: "set USER", Short: "Make a user, or change the password", Args: cobra.ExactArgs(1),
		Long:    "Make a user, or change the password, which is read from a file or the standard input: it is not seen on the command line.",
		Example: "  printf secret | ottla user set alice\n  ottla user set alice --password-file alice.txt --mechanism SCRAM-SHA-256",
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			m, err := mechanismOf(mechanism)
			if err != nil {
				return err
			}
			var text []byte
			if file != "" {
				text, err = os.ReadFile(file)
			} else {
				text, err = io.ReadAll(s.in)
			}
			if err != nil {
				return err
			}
			password := strings.TrimRight(string(text), "\r\n")
			if password == "" {
				return errors.New("the password is empty: write it to the standard input, or name a file with --password-file")
			}
			results, err := a.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: args[0], Mechanism: m, Iterations: iterations, Password: password}})
			if err != nil {
				return err
			}
			return s.altered(results, "Set the password of %s.")
		}),
	}
	c.Flags().StringVar(&mechanism, "mechanism", mechanism, "SCRAM-SHA-256 or SCRAM-SHA-512")
	c.Flags().StringVar(&file, "password-file", "", "read the password from this `file`")
	c.Flags().Int32Var(&iterations, "iterations", iterations, "how often the password is hashed")
	return c
}

func (s *session) altered(results kadm.AlteredUserSCRAMs, text string) error {
	var failed []error
	for _, r := range results.Sorted() {
		err := refusal(r.User, r.Err, r.ErrMessage)
		if err == nil {
			err = s.done(text, r.User)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func (s *session) userDelete() *cobra.Command {
	mechanism := "SCRAM-SHA-512"
	c := &cobra.Command{
		Use: "delete USER...", Short: "Remove passwords", Args: cobra.MinimumNArgs(1),
		Example: "  ottla user delete alice --mechanism SCRAM-SHA-256",
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			m, err := mechanismOf(mechanism)
			if err != nil {
				return err
			}
			var all []kadm.DeleteSCRAM
			for _, u := range args {
				all = append(all, kadm.DeleteSCRAM{User: u, Mechanism: m})
			}
			results, err := a.AlterUserSCRAMs(ctx, all, nil)
			if err != nil {
				return err
			}
			return s.altered(results, "Removed the password of %s.")
		}),
	}
	c.Flags().StringVar(&mechanism, "mechanism", mechanism, "SCRAM-SHA-256 or SCRAM-SHA-512")
	return c
}
