package clients

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/cmd/ottla/transcript"
	"github.com/ottla/ottla/integration/process"
)

// TestOwnTools gives the same command lines to the tools of Apache Kafka 4.3.1 and to ours, each with a broker of its own, and compares what they print. The
// command lines are those of the transcripts that the tools' own tests replay; what may differ, and why, is listed in docs/cli.md.
func TestOwnTools(t *testing.T) {
	k := kafkaRelease(t, "4.3.1")
	for _, file := range []string{"topics", "groups", "offsets", "users"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			cases, err := transcript.Read(filepath.Join("../../cmd/ottla/kafkatools/testdata", file+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			stock, own := process.New(t), process.New(t)
			stock.Start(t)
			own.Start(t)
			for _, c := range cases {
				theirs := record(t, c, stock.Addr, func(ctx context.Context, tool string, args ...string) *exec.Cmd {
					return k.command(ctx, t, strings.TrimPrefix(tool, "kafka-"), args...)
				})
				ours := record(t, c, own.Addr, func(ctx context.Context, tool string, args ...string) *exec.Cmd {
					return exec.CommandContext(ctx, process.Binary(t), append([]string{tool}, unhurried(strings.TrimPrefix(tool, "kafka-"), args)...)...)
				})
				if !ours.Equal(theirs) {
					t.Errorf("Kafka's tool printed\n%sand ours\n%s", theirs, ours)
				}
			}
		})
	}
}

// record runs a case's command and returns what it printed.
func record(t *testing.T, c transcript.Case, addr string, command func(context.Context, string, ...string) *exec.Cmd) transcript.Case {
	t.Helper()
	values := map[string]string{"B": addr}
	args, stdin := c.Command(values)
	ctx, cancel := context.WithTimeout(t.Context(), toolLimit)
	defer cancel()
	cmd := command(ctx, args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	got := transcript.Case{Line: c.Line, Out: transcript.Plain(out.String(), values), Err: transcript.Plain(errs.String(), values), Code: cmd.ProcessState.ExitCode()}
	if args[0] == "kafka-console-consumer" { // the order among partitions is nobody's
		slices.Sort(got.Out)
	}
	return got
}
