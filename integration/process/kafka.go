package process

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// KafkaJars returns the folder of the jars that the pom.xml in dir names, fetched by Maven the first time. Two callers at once
// must be in one process and take turns.
func KafkaJars(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	libs, complete := filepath.Join(dir, "target", "libs"), filepath.Join(dir, "target", ".complete")
	if _, err := os.Stat(complete); err == nil {
		return libs, nil
	}
	cmd := exec.Command("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+libs, "-DincludeScope=runtime")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mvn: %w\n%s", err, out)
	}
	return libs, os.WriteFile(complete, nil, 0o644)
}

// KafkaProperties is the server.properties of a combined node of Apache Kafka: broker on port, controller on controllerPort,
// both on 127.0.0.1, data in dir. Lines are key=value pairs to add.
func KafkaProperties(port, controllerPort int, dir string, lines ...string) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
log.dirs=%[3]s
offsets.topic.replication.factor=1
`, port, controllerPort, dir) + strings.Join(lines, "\n") + "\n"
}

// FormatKafka prepares the folder that properties, a file, names, as Apache Kafka wants it before its first start; flags are
// more of kafka-storage format.
func FormatKafka(java func(args ...string) *exec.Cmd, properties string, flags ...string) error {
	args := []string{"kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", properties}
	out, err := java(append(args, flags...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format: %w\n%s", err, out)
	}
	return nil
}

// javaWith runs classes of the jars in libs.
func javaWith(libs string) func(args ...string) *exec.Cmd {
	return func(args ...string) *exec.Cmd {
		return exec.Command("java", append([]string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", libs + "/*"}, args...)...)
	}
}

// StartKafka formats (with more flags, if any) and runs a combined node of Apache Kafka, whose jars are in libs, on free ports with
// its data in a folder of the test, until the test ends. It returns host:port of its client listener, which accepts connections.
func StartKafka(t testing.TB, libs string, flags []string, lines ...string) string {
	t.Helper()
	dir, port := t.TempDir(), FreePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	java := javaWith(libs)
	properties := filepath.Join(dir, "server.properties")
	text := KafkaProperties(port, FreePort(t), filepath.Join(dir, "data"), lines...)
	if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := FormatKafka(java, properties, flags...); err != nil {
		t.Fatal(err)
	}
	runKafka(t, java("kafka.Kafka", properties)).listening(t, addr)
	return addr
}

// RunKafka runs a node of Apache Kafka, whose jars are in libs, on folders that are formatted, until the test ends. addr is where its properties, a file, let
// it listen; it accepts connections there.
func RunKafka(t testing.TB, libs, properties, addr string) {
	t.Helper()
	runKafka(t, javaWith(libs)("kafka.Kafka", properties)).listening(t, addr)
}

// kafkaNode is a process of Apache Kafka.
type kafkaNode struct {
	cmd    *exec.Cmd
	log    *output
	exited chan struct{} // closed when it has ended
}

// runKafka runs a node until the test ends.
func runKafka(t testing.TB, cmd *exec.Cmd) *kafkaNode {
	t.Helper()
	n := &kafkaNode{cmd: cmd, log: &output{}, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = n.log, n.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, which the cleanup kills
		_ = cmd.Wait()
		close(n.exited)
	}()
	t.Cleanup(n.kill)
	return n
}

// kill ends the process at once; it may have ended.
func (n *kafkaNode) kill() {
	_ = n.cmd.Process.Kill()
	<-n.exited
}

// listening waits until the node accepts connections at an address.
func (n *kafkaNode) listening(t testing.TB, addr string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(startLimit)
	for {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-n.exited:
			t.Fatalf("Apache Kafka ended before it listened:\n%s", n.log.text())
		case <-limit:
			t.Fatalf("Apache Kafka did not listen within %v:\n%s", startLimit, n.log.text())
		}
	}
}

// Write adds what a process printed, as it comes.
func (o *output) Write(p []byte) (int, error) {
	o.add(string(p))
	return len(p), nil
}
