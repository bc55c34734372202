package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/server/servertest/port"
)

// asCommand in the environment makes the test's own binary the ottla command.
const asCommand = "OTTLA_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience is how long a process may take to say or do something.
const patience = 2 * time.Minute

// environment is what a process of the test sees: HOME and temporary folder are the test's, settings of the user are not there.
func environment(t *testing.T, more ...string) []string {
	t.Helper()
	home := t.TempDir()
	return append([]string{asCommand + "=1", "HOME=" + home, "USERPROFILE=" + home, "LocalAppData=" + home, "TMPDIR=" + home, "TMP=" + home}, more...)
}

// runToEnd runs ottla to its end, which must come by itself.
func runToEnd(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errs
	timer := time.AfterFunc(patience, func() {
		t.Errorf("ottla %q has not ended after %v", args, patience)
		_ = cmd.Process.Kill()
	})
	defer timer.Stop()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// process is a running ottla.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu     sync.Mutex // guards what follows
	lines  []string   // of its standard output
	errors bytes.Buffer
	ready  chan struct{} // closed by the first ready line
}

// launch starts ottla; it is killed with the test.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), done: make(chan struct{}), ready: make(chan struct{})}
	p.cmd.Env = env
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.cmd.Stderr = lockedWriter{p}
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.read(out)
		_ = p.cmd.Wait() // what the test wants to know is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// serveIn is launch for a broker on a free port with its data in dir, once it is ready.
func serveIn(t *testing.T, dir string, more ...string) (p *process, addr string) {
	t.Helper()
	addr = net.JoinHostPort("127.0.0.1", freePort(t))
	args := append([]string{"server", "--override", "listeners=PLAINTEXT://" + addr, "--override", "log.dirs=" + dir}, more...)
	p = launch(t, environment(t), args...)
	p.waitReady()
	return p, addr
}

func (p *process) read(out io.Reader) {
	s := bufio.NewScanner(out)
	for s.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		if strings.Contains(s.Text(), "is ready") {
			select {
			case <-p.ready:
			default:
				close(p.ready)
			}
		}
		p.mu.Unlock()
	}
}

// lockedWriter takes what a process writes to its standard error.
type lockedWriter struct{ *process }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errors.Write(b)
}

func (p *process) waitReady() {
	p.t.Helper()
	select {
	case <-p.ready:
	case <-p.done:
		p.t.Fatalf("it ended before it was ready:\n%s", p.text())
	case <-time.After(patience):
		p.t.Fatalf("it is not ready:\n%s", p.text())
	}
}

// text is all that the process has printed.
func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n") + "\n" + p.errors.String()
}

// linesWith are the lines of standard output that contain s.
func (p *process) linesWith(s string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.lines), func(line string) bool { return !strings.Contains(line, s) })
}

// stop sends a signal and returns the exit code and how long the end took.
func (p *process) stop(s os.Signal) (code int, took time.Duration) {
	p.t.Helper()
	begin := time.Now()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%v did not stop it:\n%s", s, p.text())
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// freePort is a port that is the test's until it ends.
func freePort(t *testing.T) string {
	t.Helper()
	p, release, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return strconv.Itoa(p)
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
