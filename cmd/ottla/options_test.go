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

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ottla/ottla/server/servertest"
)

// optionLines run the options that no example shows. A line that begins with ! must fail.
var optionLines = []string{
	"ottla topic create shown --partitions 2",
	"ottla topic create planned --dry-run",
	"seq 9 | ottla produce shown --acks leader --partition 1",
	"printf 'a:1' | ottla produce shown --key-separator : --acks none",
	"! ottla produce shown --acks some",
	"ottla consume 'sho.*' --regex --from-beginning -n 9 --idle 5s",
	"ottla consume shown --from-beginning --read-committed --timestamp --headers --key --partition 1 -e",
	"ottla topic delete-records shown --before latest",
	"ottla topic delete nothing --if-exists",
	"! ottla topic delete nothing",
	"ottla config describe topic shown --docs --all",
	"ottla config check server.properties --override num.partitions=3",
	"! ottla config check server.properties --override num.partitions=many",
	"ottla config explain num.partitions --file server.properties",
	"ottla config explain --all",
	"ottla log dump shown-0 --records --decoder plain --output json --from 0 --to 5",
	"! ottla log dump shown-0 --decoder odd",
	"ottla quota set --ip 127.0.0.1 connection_creation_rate=100000",
	"ottla quota describe --ip 127.0.0.1",
	"ottla quota describe --client-id batch --user default",
	"ottla quota unset --ip 127.0.0.1 connection_creation_rate",
	"ottla quota unset --user alice --client-id batch producer_byte_rate",
	"ottla user set bob --iterations 5000 --password-file password.txt",
	"ottla acl create --allow User:alice --allow-host 10.0.0.1 --operation all --cluster",
	"ottla acl create --deny User:eve --deny-host 10.0.0.2 --operation write --transactional-id pay --delegation-token d",
	"ottla acl list --allow User:alice --allow-host 10.0.0.1 --operation read --cluster --prefixed",
	"ottla acl list --deny User:eve --deny-host 10.0.0.2 --group g --transactional-id pay --delegation-token d",
	"ottla acl delete --operation read --cluster --prefixed --group g --allow-host 10.0.0.1",
	"ottla acl delete --deny User:eve --deny-host 10.0.0.2 --transactional-id pay --delegation-token d",
}

// TestEveryOption: each option in docs/cli.md is run, by an example or by one of these lines.
func TestEveryOption(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	binary, err := filepath.Abs(os.Args[0])
	if err == nil {
		err = os.Symlink(binary, filepath.Join(dir, "ottla"))
	}
	for name, text := range map[string]string{"password.txt": "secret", "server.properties": "process.roles=broker,controller\nnode.id=1\n"} {
		if err == nil {
			err = os.WriteFile(filepath.Join(data, name), []byte(text), 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	b := servertest.Start(t, servertest.InDir(data))
	env := environment(t, "PATH="+dir+":"+os.Getenv("PATH"), "OTTLA_BOOTSTRAP="+b.Addr, "GORACE=atexit_sleep_ms=0")
	for _, line := range optionLines {
		command, fails := strings.CutPrefix(line, "! ")
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		var out bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = data, env, &out, &out
		err := cmd.Run()
		unserved := slices.ContainsFunc(missing, func(m string) bool { return strings.Contains(out.String(), m) })
		if !unserved && (err != nil) != fails {
			t.Errorf("%s: %v\n%s", line, err, out.String())
		}
	}
	for _, c := range command().Commands() {
		if c.GroupID == clientGroup {
			checkOptions(t, c)
		}
	}
}

// checkOptions looks for each option of a command and those below it in the lines that are run.
func checkOptions(t *testing.T, c *cobra.Command) {
	t.Helper()
	lines := strings.Split(c.Example, "\n")
	for _, line := range optionLines {
		if strings.Contains(line, c.CommandPath()+" ") {
			lines = append(lines, line)
		}
	}
	var words []string
	for _, line := range lines {
		words = append(words, strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '=' })...)
	}
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !slices.Contains(words, "--"+f.Name) && (f.Shorthand == "" || !slices.Contains(words, "-"+f.Shorthand)) {
			t.Errorf("nothing runs %s --%s", c.CommandPath(), f.Name)
		}
	})
	for _, sub := range c.Commands() {
		checkOptions(t, sub)
	}
}
