package golden

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

const (
	newest = "4.3.1"
	oldest = "3.9.1"

	// stepLimit bounds a start, a stop and the run of a tool.
	stepLimit = 3 * time.Minute
	tickEvery = 20 * time.Millisecond
)

// kafkaSettings are those of Apache Kafka that keep its folders small and its cleaner quick.
var kafkaSettings = []string{
	"offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1", "transaction.state.log.replication.factor=1",
	"transaction.state.log.min.isr=1", "log.index.size.max.bytes=4096", "log.cleaner.backoff.ms=200", "log.cleaner.dedupe.buffer.size=4194304",
	"group.initial.rebalance.delay.ms=0", "num.recovery.threads.per.data.dir=1",
}

// kafka is one combined node of Apache Kafka and its data. Its methods are for one goroutine.
type kafka struct {
	version, libs    string
	addr             string
	data, properties string
	jvm              []string // flags

	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
}

// newKafka formats a node with more settings, which come last; it is killed when the test ends.
func newKafka(t *testing.T, version string, settings ...string) *kafka {
	t.Helper()
	libs, err := process.KafkaJars(filepath.Join("..", "clients", "java", version))
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), process.FreePort(t)
	k := &kafka{jvm: []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"}, version: version, libs: libs, addr: fmt.Sprintf("127.0.0.1:%d", port), data: filepath.Join(dir, "data"), properties: filepath.Join(dir, "server.properties")}
	text := process.KafkaProperties(port, process.FreePort(t), k.data, slices.Concat(kafkaSettings, settings)...)
	if err := os.WriteFile(k.properties, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := process.FormatKafka(k.java, k.properties); err != nil {
		t.Fatal(err)
	}
	if k.log, err = os.Create(filepath.Join(dir, "output")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.end(t, syscall.SIGKILL)
		if text, err := os.ReadFile(k.log.Name()); err == nil && t.Failed() {
			t.Logf("Apache Kafka's output:\n%s", text)
		}
		_ = k.log.Close()
	})
	return k
}

func (k *kafka) java(args ...string) *exec.Cmd {
	return exec.Command("java", slices.Concat(k.jvm, []string{"-cp", k.libs + "/*"}, args)...)
}

// start runs the node and waits until it listens.
func (k *kafka) start(t *testing.T) {
	t.Helper()
	k.cmd, k.exited = k.java("kafka.Kafka", k.properties), make(chan struct{})
	k.cmd.Stdout, k.cmd.Stderr = k.log, k.log
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = k.cmd.Wait()
		close(k.exited)
	}()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	limit := time.After(stepLimit)
	for {
		if conn, err := net.Dial("tcp", k.addr); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-k.exited:
			t.Fatal("Apache Kafka ended before it listened")
		case <-limit:
			t.Fatal("Apache Kafka did not listen in time")
		}
	}
}

// stop ends the node cleanly.
func (k *kafka) stop(t *testing.T) {
	t.Helper()
	k.end(t, syscall.SIGTERM)
	if _, err := os.Stat(filepath.Join(k.data, ".kafka_cleanshutdown")); err != nil {
		t.Fatalf("Apache Kafka did not stop cleanly: %v", err)
	}
}

// kill ends the node at once.
func (k *kafka) kill(t *testing.T) { k.end(t, syscall.SIGKILL) }

func (k *kafka) end(t *testing.T, signal os.Signal) {
	t.Helper()
	if k.cmd == nil || k.cmd.Process == nil {
		return
	}
	if err := k.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case <-k.exited:
	case <-time.After(stepLimit):
		t.Error("Apache Kafka did not end in time")
		_ = k.cmd.Process.Kill()
		<-k.exited
	}
	k.cmd = nil
}

// dump runs the release's kafka-dump-log over files, and fails the test if it complains.
func (k *kafka) dump(t *testing.T, files []string, flags ...string) string {
	t.Helper()
	class := "org.apache.kafka.tools.DumpLogSegments"
	if strings.HasPrefix(k.version, "3.") {
		class = "kafka.tools.DumpLogSegments"
	}
	ctx, cancel := context.WithTimeout(t.Context(), stepLimit)
	defer cancel()
	cmd := k.java(append([]string{class, "--files", strings.Join(files, ",")}, flags...)...)
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kafka-dump-log %s: %v\n%s", strings.Join(flags, " "), err, out)
	}
	text := withoutFineGaps(string(out))
	for _, bad := range complaints {
		if at := strings.Index(text, bad); at >= 0 {
			t.Errorf("kafka-dump-log %s (%s) says %q:\n%s", strings.Join(flags, " "), k.version, bad, text[max(0, at-1500):min(len(text), at+1500)])
		}
	}
	return text
}

// withoutFineGaps leaves out what the tool says of offsets where nothing is wrong: of 4.3, that a segment's first offset follows -1 (it says so of Apache
// Kafka's own segments), and the gaps in compacted topics.
func withoutFineGaps(out string) string {
	lines := strings.SplitAfter(out, "\n")
	var kept strings.Builder
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "Non-consecutive offsets in ") {
			kept.WriteString(lines[i])
			continue
		}
		title, gaps := lines[i], ""
		for ; i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  "); i++ {
			if !strings.HasPrefix(lines[i+1], "  -1 is followed by ") {
				gaps += lines[i+1]
			}
		}
		if gaps != "" && !strings.Contains(title, "compacted") {
			kept.WriteString(title + gaps)
		}
	}
	return kept.String()
}

// complaints are what the dump tool prints about files that are wrong.
var complaints = []string{
	"isvalid: false", "Found timestamp mismatch", "Found out of order timestamp", "Index position", "Exception", "Non-consecutive", "Non-secutive", "invalid", "Mismatches",
	"corrupt", "Could not", "ignoring",
}
