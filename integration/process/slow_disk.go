package process

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SlowDisk makes each write to a file and each fsync of the running process take longer by delay, until the returned function is called. strace holds them up, which takes
// Linux and the right to trace; all other calls of the process cost a little more meanwhile.
func (b *Broker) SlowDisk(t testing.TB, delay time.Duration) (end func()) {
	t.Helper()
	const calls = "pwrite64,fsync,fdatasync" // those of package storage/vfs; sockets know none of them
	cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:delay_enter=%d", calls, delay.Microseconds()),
		"-p", strconv.Itoa(b.Pid()))
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("a slow disk: %v", err)
	}
	lines := bufio.NewReader(said)
	first, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(first, "attached") {
		rest, _ := io.ReadAll(lines)
		_ = cmd.Wait() // it has ended
		t.Fatalf("strace: %s%s", first, rest)
	}
	drained := make(chan struct{})
	go func() { // ends when strace does
		defer close(drained)
		_, _ = io.Copy(io.Discard, lines)
	}()
	return func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Errorf("strace has ended: %v", err)
		}
		<-drained
		_ = cmd.Wait() // ended by the signal
	}
}
