package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

// TestJavaStaticMembers kills a static member of a Java group and starts it again within its session timeout: it takes its partitions up where it
// had committed, and the other member notices nothing.
func TestJavaStaticMembers(t *testing.T) {
	for _, version := range kafkaVersions {
		for _, assignor := range []string{"RangeAssignor", "CooperativeStickyAssignor"} {
			t.Run(version+"/"+assignor, func(t *testing.T) {
				k := kafkaRelease(t, version)
				b := process.New(t, noGroupDelay)
				b.Start(t)
				restartStaticMember(t, k, b.Addr, "org.apache.kafka.clients.consumer."+assignor)
			})
		}
	}
}

func restartStaticMember(t *testing.T, k kafka, addr, assignor string) {
	const topic, partitions, records = "static", 4, 100
	k.run(t, "", "topics", "--bootstrap-server", addr, "--create", "--topic", topic, "--partitions", strconv.Itoa(partitions))
	produce := func() {
		k.run(t, "", "verifiable-producer", "--bootstrap-server", addr, "--topic", topic, "--max-messages", strconv.Itoa(records))
	}
	start := func(instance string) *javaMember {
		return startJavaMember(t, k, "--bootstrap-server", addr, "--topic", topic, "--group-id", "g", "--group-instance-id", instance,
			"--assignment-strategy", assignor, "--session-timeout", "120000") // longer than the slowest start of Java, and nothing waits for its end
	}
	a, b := start("a"), start("b")
	await(t, "two partitions each", func() bool { return len(a.assigned()) == 2 && len(b.assigned()) == 2 })
	held := a.assigned()
	produce()
	await(t, "all records", func() bool { return a.committed()+b.committed() == records })

	before := b.rebalances()
	a.kill()
	again := start("a")
	await(t, "the partitions again", func() bool { return slices.Equal(again.assigned(), held) })
	produce()
	await(t, "all records again", func() bool { return a.committed()+b.committed()+again.committed() == 2*records })
	if n := b.rebalances(); n != before {
		t.Errorf("the other member went through %d rebalances", n-before)
	}
}

// awaitLimit is how long the slowest machine may take for what is a matter of a session timeout at most.
const awaitLimit = 3 * time.Minute

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(awaitLimit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s after %v", what, awaitLimit)
		}
	}
}

// javaMember is one kafka-verifiable-consumer.
type javaMember struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu       sync.Mutex // guards the rest
	has      map[int]struct{}
	consumed int // since the last commit
	count    int // before it
	turns    int // assignments and revocations
}

func startJavaMember(t *testing.T, k kafka, args ...string) *javaMember {
	t.Helper()
	m := &javaMember{cmd: k.command(context.Background(), t, "verifiable-consumer", args...), done: make(chan struct{}), has: map[int]struct{}{}}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			m.event(lines.Bytes())
		}
	}()
	t.Cleanup(m.kill)
	return m
}

// kill ends the member without a goodbye.
func (m *javaMember) kill() {
	_ = m.cmd.Process.Kill()
	<-m.done
	_ = m.cmd.Wait()
}

func (m *javaMember) event(line []byte) {
	var e struct {
		Name       string
		Count      int
		Success    bool
		Partitions []struct{ Partition int }
	}
	if json.Unmarshal(line, &e) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Name {
	case "partitions_assigned", "partitions_revoked":
		m.turns++
		for _, p := range e.Partitions {
			if delete(m.has, p.Partition); e.Name == "partitions_assigned" {
				m.has[p.Partition] = struct{}{}
			}
		}
	case "records_consumed":
		m.consumed += e.Count
	case "offsets_committed":
		if e.Success {
			m.count, m.consumed = m.count+m.consumed, 0
		}
	}
}

func (m *javaMember) assigned() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []int
	for p := range m.has {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

func (m *javaMember) committed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

func (m *javaMember) rebalances() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.turns
}
