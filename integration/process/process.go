// Package process runs Ottla's own binary for tests: it builds it once where $OTTLA does not name one, starts it on free
// ports, waits until it says that it is ready, and kills or stops it.
package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/server/servertest/port"
)

// readyMark is in the line that the broker prints when it serves.
const readyMark = "Ottla is ready"

// startLimit is how long a start may take before a test gives up; a start that is slow is a failure of its own test.
const startLimit = 2 * time.Minute

// built is the folder of the binary that build made; Main removes it.
var built string

var build = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv("OTTLA"); binary != "" {
		return binary, nil
	}
	dir, err := os.MkdirTemp("", "ottla-test")
	if err != nil {
		return "", err
	}
	built = dir
	binary := filepath.Join(dir, "ottla")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	root, err := Sources()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/ottla")
	cmd.Dir = root // a module of tests need not know what the broker is built of
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// Main is the TestMain of packages that run the binary: it removes the one that was built for them.
func Main(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built) // a folder of the system's temporary ones
	}
	os.Exit(code)
}

// Binary returns the path of the ottla binary: $OTTLA, or one built for this test run.
func Binary(t testing.TB) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// Broker is one running ottla process. Its methods are for one goroutine.
type Broker struct {
	Addr string // host:port of its client listener
	Dir  string // its log.dirs

	file    string   // its server.properties, "" if it has none
	binary  string   // "" is Binary
	command []string // it is run by this, if not empty
	args    []string
	cmd     *exec.Cmd
	ready   chan bool // true when the process says so, false when it ended
	log     *output
}

// FreePort returns a TCP port of the loopback on which nobody listens. On Linux nobody else is given it until the test ends, also while the process that
// listens there is down.
func FreePort(t testing.TB) int {
	t.Helper()
	p, release, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return p
}

// New prepares a broker on a free port with its data in a folder of the test; overrides are key=value pairs. It is killed
// when the test ends.
func New(t testing.TB, overrides ...string) *Broker {
	t.Helper()
	b := &Broker{Addr: fmt.Sprintf("127.0.0.1:%d", FreePort(t)), Dir: t.TempDir(), log: &output{}}
	b.args = []string{"server", "--override", "listeners=PLAINTEXT://" + b.Addr, "--override", "log.dirs=" + b.Dir}
	for _, o := range overrides {
		b.args = append(b.args, "--override", o)
	}
	b.endWith(t)
	return b
}

// NewNode prepares one node of a cluster, whose server.properties are the given lines and whose data lies in a folder of the test. command, if any, runs the
// binary: ip netns exec. It is killed when the test ends.
func NewNode(t testing.TB, addr string, lines []string, command ...string) *Broker {
	t.Helper()
	dir := t.TempDir()
	b := &Broker{Addr: addr, Dir: filepath.Join(dir, "data"), log: &output{}, command: command}
	file := filepath.Join(dir, "server.properties")
	text := strings.Join(append(slices.Clone(lines), "log.dirs="+b.Dir, ""), "\n")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b.file, b.args = file, []string{"server", file}
	b.endWith(t)
	return b
}

// endWith kills the process when the test ends, and shows what matters of its output if the test has failed.
func (b *Broker) endWith(t testing.TB) {
	t.Cleanup(func() {
		b.Kill(t)
		if t.Failed() {
			Show(t, "the output of the broker at "+b.Addr, b.log.text(), telling)
		}
	})
}

// Start runs the process and waits until it is ready.
func (b *Broker) Start(t testing.TB) {
	t.Helper()
	b.Launch(t)
	b.AwaitReady(t)
}

// Launch runs the process. A node of a cluster is not ready before others run.
func (b *Broker) Launch(t testing.TB) {
	t.Helper()
	binary := b.binary
	if binary == "" {
		binary = Binary(t)
	}
	command := append(append(slices.Clone(b.command), binary), b.args...)
	b.cmd = exec.Command(command[0], command[1:]...)
	r, w := io.Pipe()
	b.cmd.Stdout, b.cmd.Stderr = w, w
	if err := b.cmd.Start(); err != nil {
		b.cmd = nil // there is nothing to kill
		t.Fatal(err)
	}
	ready, read := make(chan bool, 16), make(chan struct{})
	b.ready = ready
	go func() { // ends when the process does: stop closes the pipe
		defer close(read)
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			b.log.add(lines.Text())
			if strings.Contains(lines.Text(), readyMark) {
				ready <- true
			}
		}
		ready <- false
	}()
	exited, cmd := make(chan struct{}), b.cmd
	go func() {
		defer close(exited)
		_ = cmd.Wait() // a killed process ends with an error
		_ = w.Close()
		<-read // all that it said is in the log
	}()
	b.log.exited = exited
}

// Use makes the next start that of another binary, such as an older one; "" is Binary again.
func (b *Broker) Use(binary string) { b.binary = binary }

// AwaitEnd waits until a launched process has ended by itself.
func (b *Broker) AwaitEnd(t testing.TB) {
	t.Helper()
	select {
	case <-b.log.exited:
	case <-time.After(startLimit):
		t.Fatalf("ottla did not end within %v:\n%s", startLimit, b.log.text())
	}
	b.cmd = nil
}

// Properties is the path of a node's server.properties.
func (b *Broker) Properties() string { return b.file }

// AwaitReady waits until a launched process is ready.
func (b *Broker) AwaitReady(t testing.TB) {
	t.Helper()
	select {
	case ok := <-b.ready:
		if !ok {
			t.Fatalf("ottla ended before it was ready:\n%s", b.log.text())
		}
	case <-time.After(startLimit):
		t.Fatalf("ottla was not ready after %v:\n%s", startLimit, b.log.text())
	}
}

// Kill ends the process at once, as kill -9 does.
func (b *Broker) Kill(t testing.TB) { b.end(t, syscall.SIGKILL) }

// Stop ends the process cleanly and returns how long that took.
func (b *Broker) Stop(t testing.TB) time.Duration {
	begin := time.Now()
	b.end(t, syscall.SIGTERM)
	return time.Since(begin)
}

// Running reports whether the process was started and not ended by the test.
func (b *Broker) Running() bool { return b.cmd != nil }

// Pid returns the id of the running process.
func (b *Broker) Pid() int { return b.cmd.Process.Pid }

// Output returns what the broker printed so far, over all its starts.
func (b *Broker) Output() string { return b.log.text() }

func (b *Broker) end(t testing.TB, signal os.Signal) {
	t.Helper()
	if b.cmd == nil {
		return
	}
	if err := b.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("cannot signal ottla: %v", err)
	}
	select {
	case <-b.log.exited:
	case <-time.After(startLimit):
		t.Errorf("ottla did not end after %v:\n%s", startLimit, b.log.text())
	}
	b.cmd = nil
}

// output collects the lines of a process.
type output struct {
	exited chan struct{}

	mu    sync.Mutex
	lines []string // guarded by mu
}

func (o *output) add(line string) {
	o.mu.Lock()
	o.lines = append(o.lines, line)
	o.mu.Unlock()
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines, "\n")
}
