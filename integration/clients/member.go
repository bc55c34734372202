package clients

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// topicPartition names a partition.
type topicPartition struct {
	Topic     string
	Partition int32
}

// event is one line of a group member's output.
type event struct {
	At         int64  `json:"ts"` // ms since 1970, the clock of this machine
	Name       string `json:"event"`
	Partitions []topicPartition
	Generation int32 // -1 where the client does not tell
	topicPartition
	From, To int64
	Error    string

	member string
}

// groupMember is a process that is a member of a group: one of the programs in members/.
type groupMember struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{}
	stderr bytes.Buffer

	mu     sync.Mutex // guards the rest
	held   map[topicPartition]struct{}
	events []event
}

// startMember runs a member's program; it is killed when the test ends.
func startMember(t *testing.T, name string, cmd *exec.Cmd) *groupMember {
	t.Helper()
	m := &groupMember{name: name, cmd: cmd, exited: make(chan struct{}), held: map[topicPartition]struct{}{}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = &m.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		defer close(m.exited)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			m.take(lines.Bytes())
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("%s, standard error:\n%.2000s", name, m.stderr.String())
		}
	})
	return m
}

func (m *groupMember) take(line []byte) {
	e := event{Generation: -1, member: m.name}
	if json.Unmarshal(line, &e) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
	switch e.Name {
	case "assigned":
		for _, p := range e.Partitions {
			m.held[p] = struct{}{}
		}
	case "revoked", "lost":
		for _, p := range e.Partitions {
			delete(m.held, p)
		}
	}
}

// note adds an event that the test caused: "paused", "resumed", "killed".
func (m *groupMember) note(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, event{At: time.Now().UnixMilli(), Name: name, member: m.name})
	if name != "resumed" {
		clear(m.held)
	}
}

// holds is how many partitions the member has.
func (m *groupMember) holds() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held)
}

// running fails the test if the process has ended, of which the test knows nothing.
func (m *groupMember) running(t *testing.T) {
	t.Helper()
	select {
	case <-m.exited:
		t.Fatalf("%s has ended by itself:\n%.2000s", m.name, m.stderr.String())
	default:
	}
}

// log returns what happened to the member so far.
func (m *groupMember) log() []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// kill ends the member without a goodbye.
func (m *groupMember) kill() {
	select {
	case <-m.exited:
		return
	default:
	}
	_ = m.cmd.Process.Kill()
	m.note("killed") // nothing that it tells is of later
	<-m.exited
}

// pause stops the process, and the time that it knows of.
func (m *groupMember) pause(t *testing.T) {
	t.Helper()
	m.signal(t, syscall.SIGSTOP)
	m.note("paused") // what it tells until it is resumed is of before
}

func (m *groupMember) resume(t *testing.T) {
	t.Helper()
	m.note("resumed")
	m.signal(t, syscall.SIGCONT)
}

// leave ends the member politely.
func (m *groupMember) leave(t *testing.T) {
	t.Helper()
	m.signal(t, syscall.SIGTERM)
	select {
	case <-m.exited:
	case <-time.After(awaitLimit):
		t.Fatalf("%s did not leave within %v", m.name, awaitLimit)
	}
	if events := m.log(); len(events) == 0 || events[len(events)-1].Name != "left" {
		t.Errorf("%s ended without leaving:\n%.2000s", m.name, m.stderr.String())
	}
	m.note("gone")
}

func (m *groupMember) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%s: %v", m.name, err)
	}
}
