//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// processes are the programs that a shell runs, and the signals for them.
type processes struct {
	interactive bool // a person types: a signal ends a command, not the shell
	cancel      context.CancelFunc
	signals     chan os.Signal

	mu      sync.Mutex // guards what follows
	running map[*os.Process]bool
	ended   syscall.Signal // that told the shell to end; 0: none
	code    int            // exit code of the program that the signal was handed to; -1: none was
}

func newProcesses(cancel context.CancelFunc) *processes {
	p := &processes{cancel: cancel, signals: make(chan os.Signal, 8), running: map[*os.Process]bool{}, code: -1}
	signal.Notify(p.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	go p.handOn()
	return p
}

func (p *processes) stop() {
	signal.Stop(p.signals)
	close(p.signals)
}

// handOn gives signals to what runs, and ends the shell if nothing does. What is typed on a terminal has reached all of them already.
func (p *processes) handOn() {
	for s := range p.signals {
		typed := s == syscall.SIGINT && isTerminal(os.Stdin)
		p.mu.Lock()
		if !p.interactive {
			p.ended, _ = s.(syscall.Signal)
		}
		busy := len(p.running) > 0
		for child := range p.running {
			if !typed {
				_ = child.Signal(s) // it may have ended just now
			}
		}
		p.mu.Unlock()
		if !busy && !p.interactive {
			p.cancel()
		}
	}
}

// endedBySignal is the exit code of a shell that was told to end: that of the program which it handed the signal to.
func (p *processes) endedBySignal() (code int, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == 0 {
		return 0, false
	}
	if p.code >= 0 {
		return p.code, true
	}
	return 128 + int(p.ended), true
}

func (p *processes) started(child *os.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[child] = true
	if p.ended != 0 { // the signal came before
		_ = child.Signal(p.ended)
	}
}

// finished notes the end of a child; after a signal nothing more of the script runs.
func (p *processes) finished(child *os.Process, code int) {
	p.mu.Lock()
	delete(p.running, child)
	over := p.ended != 0
	if over {
		p.code = code
	}
	p.mu.Unlock()
	if over {
		p.cancel()
	}
}

// execute runs a program: a tool of this binary, or a file, which may take the shell's place.
func (s *shell) execute(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	env := environ(hc.Env)
	args = append([]string{strings.TrimPrefix(args[0], ownMark)}, args[1:]...)
	if tool, ok := applets()[args[0]]; ok && !slices.Contains(ownProcess, args[0]) {
		code := tool(&call{Context: ctx, name: args[0], args: args[1:], in: hc.Stdin, out: hc.Stdout, err: hc.Stderr, dir: hc.Dir, env: env})
		if code == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		return interp.ExitStatus(code) //nolint:gosec // tools return codes of a byte
	}
	path, code, err := find(hc, args[0])
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", s.name, args[0], err)
		return interp.ExitStatus(code) //nolint:gosec // 126 or 127
	}
	program, argv, err := command(ctx, path, args)
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", s.name, args[0], err)
		return interp.ExitStatus(126)
	}
	if word, ok := s.replaceable[hc.Pos]; ok && (word == "" || word == args[0]) && s.idle() {
		if files, ok := standardFiles(hc); ok {
			if err := replace(program, argv, env, hc.Dir, files); err != nil {
				fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", s.name, args[0], err)
				return interp.ExitStatus(126)
			}
		}
	}
	cmd := &exec.Cmd{Path: program, Args: argv, Env: env, Dir: hc.Dir, Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", s.name, args[0], err)
		return interp.ExitStatus(126)
	}
	s.started(cmd.Process)
	err = cmd.Wait()
	code = exitCode(cmd.ProcessState)
	s.finished(cmd.Process, code)
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) && cmd.ProcessState == nil {
		return err
	}
	if code != 0 {
		return interp.ExitStatus(code) //nolint:gosec // of a byte
	}
	return nil
}

// idle reports whether no signal waits to be acted on.
func (p *processes) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended == 0
}

// exitCode is a program's code as shells tell it: 128 and more for a signal.
func exitCode(state *os.ProcessState) int {
	if state == nil {
		return 126
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// find looks a program up as shells do; code is the exit code if there is an error.
func find(hc interp.HandlerContext, name string) (path string, code int, err error) {
	path, err = interp.LookPathDir(hc.Dir, hc.Env, name)
	if err == nil {
		return path, 0, nil
	}
	if !strings.Contains(name, "/") {
		return "", 127, errors.New("not found")
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(hc.Dir, name)
	}
	switch info, statErr := os.Stat(name); {
	case errors.Is(statErr, fs.ErrNotExist):
		return "", 127, errors.New("not found")
	case statErr != nil:
		return "", 126, statErr
	case info.IsDir():
		return "", 126, errors.New("is a directory")
	}
	return "", 126, errors.New("permission denied")
}

// command is what the kernel is to be given for a file: a script of this shell is read by it, and never executed as a file, as one that a test module has just copied
// may still be open for writing, which the kernel refuses (ETXTBSY).
func command(ctx context.Context, path string, args []string) (program string, argv []string, err error) {
	if err := settled(ctx, path); err != nil {
		return "", nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return path, args, nil //nolint:nilerr // a program need not be readable
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 256)
	n, err := f.Read(head)
	if err != nil && !errors.Is(err, io.EOF) {
		return path, args, nil //nolint:nilerr // the kernel knows better what it is
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	if !ourScript(line) {
		return path, args, nil
	}
	self, err := os.Executable()
	if err != nil {
		self = "/bin/sh" // no /proc
	}
	argv = []string{"sh"}
	if rest, ok := strings.CutPrefix(string(line), "#!"); ok {
		if words := strings.Fields(rest); len(words) > 1 && filepath.Base(words[0]) != "env" {
			argv = append(argv, words[1:]...) // #!/bin/bash -e
		}
	}
	return self, append(append(argv, path), args[1:]...), nil
}

// ourScript reports whether a file with this first line is one for the shell: it says so, or it says nothing and is text.
func ourScript(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("#!"))
	if !ok {
		return bytes.IndexByte(line, 0) < 0 && !bytes.HasPrefix(line, []byte("\x7fELF"))
	}
	words := strings.Fields(string(rest))
	if len(words) > 1 && filepath.Base(words[0]) == "env" {
		words = words[1:]
	}
	return len(words) > 0 && slices.Contains(shells, filepath.Base(words[0]))
}

// standardFiles are the three files of a program, if they are files.
func standardFiles(hc interp.HandlerContext) (files [3]*os.File, ok bool) {
	for i, f := range []any{hc.Stdin, hc.Stdout, hc.Stderr} {
		if files[i], ok = f.(*os.File); !ok || files[i] == nil {
			return files, false
		}
	}
	return files, true
}

// replace makes this process the program; it returns only if that fails.
func replace(program string, argv, env []string, dir string, files [3]*os.File) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	var copies [3]int // first all aside: one may stand where another goes
	for i, f := range files {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return err
		}
		copies[i] = fd
	}
	for i, fd := range copies {
		if err := unix.Dup3(fd, i, 0); err != nil {
			return err
		}
	}
	return syscall.Exec(program, argv, env) //nolint:gosec // it is a shell
}

// environ is what programs see: the exported variables, whatever their names.
func environ(env expand.Environ) []string {
	values := map[string]string{}
	for name, v := range env.Each {
		delete(values, name)
		if v.Exported && v.IsSet() && v.Kind == expand.String {
			values[name] = v.String()
		}
	}
	all := make([]string, 0, len(values))
	for name, value := range values {
		all = append(all, name+"="+value)
	}
	slices.Sort(all)
	return all
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS) //nolint:gosec // a descriptor
	return err == nil
}
