//go:build !windows

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/ottla/ottla/server/servertest"
)

func TestPage(t *testing.T) {
	want, err := os.ReadFile("../../docs/cli.md")
	if err != nil || string(want) != page(command()) {
		t.Errorf("docs/cli.md is not what the commands say: run go generate ./cmd/ottla (%v)", err)
	}
}

// missing are the texts of errors for what this server does not have yet: an example may end so, and in no other way.
var missing = []string{"UNSUPPORTED_VERSION"}

// TestExamples runs every example of every command in a shell, against a broker that has what they name.
func TestExamples(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	binary, err := filepath.Abs(os.Args[0])
	if err == nil {
		err = os.Symlink(binary, filepath.Join(dir, "ottla"))
	}
	if err != nil {
		t.Fatal(err)
	}
	b := servertest.Start(t, servertest.InDir(data))
	env := environment(t, "PATH="+dir+":"+os.Getenv("PATH"), "OTTLA_BOOTSTRAP="+b.Addr,
		"GORACE=atexit_sleep_ms=0") // the race detector's second at the end of each of some hundred processes
	sh := func(line string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		var out bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = data, env, &out, &out
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		cmd.WaitDelay = time.Second // a shell that was killed leaves children behind
		err := cmd.Run()
		return out.String(), err
	}
	prepare := "for t in orders payments greetings; do ottla topic create $t -p 3 --if-not-exists >/dev/null; done; printf '1:a\\n2:b\\n' >orders.txt; echo '{}' >order.json; echo secret >alice.txt; for m in 256 512; do ottla user set alice --mechanism SCRAM-SHA-$m --password-file alice.txt >/dev/null; done; printf 'process.roles=broker,controller\\nnode.id=1\\n' >server.properties; " +
		"ottla produce orders -k : -f orders.txt; ottla produce greetings -f orders.txt; ottla consume orders -g billing --from-beginning -n 1 >/dev/null; mkdir -p ~/.local/share; ln -sfn $PWD ~/.local/share/ottla"
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			if out, err := sh(prepare); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			run := line
			if strings.HasPrefix(line, "ottla consume") {
				run += " --idle 300ms"
			}
			if strings.HasPrefix(line, "ottla topic create orders") || strings.Contains(line, "topic create latest") {
				run = "ottla topic delete orders payments latest --if-exists; " + run
			}
			if strings.Contains(line, "add-partitions orders --total 12") {
				run = "ottla topic delete orders; ottla topic create orders; " + run
			}
			if strings.Contains(line, "orders:0 --before 1000") || strings.Contains(line, "--partition 0 --from 100") {
				run = "seq 2000 | ottla produce orders -p 0; " + run
			}
			if out, err := sh(run); err != nil && !slices.ContainsFunc(missing, func(m string) bool { return strings.Contains(out, m) }) {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	for _, c := range command().Commands() {
		if c.GroupID == clientGroup {
			walk(c)
		}
	}
}

// The binary called by a tool's name is that tool.
func TestCalledAsTool(t *testing.T) {
	name := filepath.Join(t.TempDir(), "kafka-storage.sh")
	if err := os.Symlink(os.Args[0], name); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{name, "random-uuid"}, {os.Args[0], "kafka-storage", "random-uuid"}, {os.Args[0], "kafka-storage.sh", "random-uuid"}} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Env = environment(t)
		out, err := cmd.Output()
		if err != nil || len(strings.TrimSpace(string(out))) != 22 {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
}
