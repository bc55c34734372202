package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	startLimit = time.Minute
	stopLimit  = time.Minute
)

// broker is the process under test. Its faults come from one goroutine; pid may be asked by any.
type broker struct {
	binary, dir, addr string

	mu     sync.Mutex
	cmd    *exec.Cmd     // guarded by mu
	exited chan struct{} // of cmd; guarded by mu
	lives  int           // processes so far; guarded by mu
}

func newBroker(binary, dir string) (*broker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	return &broker{binary: binary, dir: dir, addr: addr}, l.Close()
}

// start runs the process until it accepts connections; what it prints goes to broker.log.
func (b *broker) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(b.dir, "broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(b.binary, "server", "--override", "listeners=PLAINTEXT://"+b.addr, "--override", "log.dirs="+filepath.Join(b.dir, "data"),
		"--override", "log.retention.check.interval.ms=5000", "--override", "log.segment.delete.delay.ms=1000")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(exited)
	}()
	b.mu.Lock()
	b.cmd, b.exited = cmd, exited
	b.lives++
	b.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if conn, err := net.Dial("tcp", b.addr); err == nil {
			return conn.Close()
		}
		select {
		case <-exited:
			return fmt.Errorf("the broker ended before it listened: %s", log.Name())
		case <-limited.Done():
			return fmt.Errorf("the broker does not listen: %w", limited.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// process returns the id of the process, and how many there have been.
func (b *broker) process() (pid, lives int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cmd.Process.Pid, b.lives
}

// end signals the process and waits until it has gone.
func (b *broker) end(signal syscall.Signal) error {
	b.mu.Lock()
	cmd, exited := b.cmd, b.exited
	b.mu.Unlock()
	if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-exited:
		return nil
	case <-time.After(stopLimit):
		return errors.Join(fmt.Errorf("the broker did not end within %v of %v", stopLimit, signal), cmd.Process.Kill())
	}
}

// pauseFor stops the process, and lets it go on after d.
func (b *broker) pauseFor(ctx context.Context, d time.Duration) error {
	pid, _ := b.process()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	err := wait(ctx, d)
	return errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
}

// faults brings one fault after the other until ctx ends, and tells kinds when each had passed. Processes end only before gentle.
func (b *broker) faults(ctx context.Context, every time.Duration, gentle time.Time, random *rand.Rand, k *kinds) (map[string]int, error) {
	count := map[string]int{}
	for {
		if err := wait(ctx, every/2+time.Duration(random.Int64N(int64(every)))); err != nil {
			return count, nil //nolint:nilerr // the time is over
		}
		var name string
		var err error
		which := random.IntN(3)
		if time.Now().After(gentle) {
			which = 2
		}
		switch which {
		case 0:
			name = "kill -9"
			err = b.end(syscall.SIGKILL)
		case 1:
			name = "restart"
			err = b.end(syscall.SIGTERM)
		default:
			name = "pause"
			err = b.pauseFor(ctx, time.Second+time.Duration(random.Int64N(int64(7*time.Second))))
		}
		if err == nil && which != 2 {
			err = b.start(context.WithoutCancel(ctx))
		}
		if ctx.Err() != nil {
			return count, nil
		}
		if err != nil {
			return count, fmt.Errorf("%s: %w", name, err)
		}
		count[name]++
		k.faultPassed()
	}
}

// wait waits, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
