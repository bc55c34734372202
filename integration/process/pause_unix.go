//go:build unix

package process

import (
	"os"
	"syscall"
	"testing"
)

// Pause stops the process where it is, and Resume lets it go on.
func (b *Broker) Pause(t testing.TB) { b.signal(t, syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (b *Broker) Resume(t testing.TB) { b.signal(t, syscall.SIGCONT) }

func (b *Broker) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		t.Errorf("cannot signal ottla: %v", err)
	}
}
