package vfs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLockedByAnotherProcess runs this test binary a second time, which locks the file that holderEnv names and holds it until its input ends.
func TestLockedByAnotherProcess(t *testing.T) {
	const holderEnv = "OTTLA_TEST_LOCK"
	if path := os.Getenv(holderEnv); path != "" {
		_, err := OS().Lock(path)
		fmt.Println("locked:", err)
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		return
	}
	path := filepath.Join(t.TempDir(), ".lock")
	holder := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockedByAnotherProcess$", "-test.v=false") //nolint:gosec // this very program
	holder.Env = append(os.Environ(), holderEnv+"="+path)
	in, err := holder.StdinPipe()
	must(t, err)
	out, err := holder.StdoutPipe()
	must(t, err)
	must(t, holder.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked: <nil>\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	_, err = OS().Lock(path)
	if want := fmt.Sprintf("process %d (", holder.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
	must(t, in.Close())
	must(t, holder.Wait())
	unlock, err := OS().Lock(path) // which a holder that died does not keep from
	must(t, err)
	if _, err := OS().Lock(path); err == nil || !strings.Contains(err.Error(), "another broker in this process") {
		t.Errorf("a second broker here: %v", err)
	}
	must(t, unlock())
}
