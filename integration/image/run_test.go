//go:build linux && chroot

package image

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func osMode(mode uint32) fs.FileMode { return fs.FileMode(mode) }

// environment is that of the first process.
func (c *container) environment() string {
	c.t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(content)
}

// Without anything the image is a broker that the machine's own programs reach at a published port.
func TestPlain(t *testing.T) {
	t.Parallel()
	c := start(t, options{})
	c.await(running)
	c.roundTrip("localhost:9092")
	for line, want := range map[string]string{
		"id -un":                                      "appuser\n",
		"hostname":                                    hostname + "\n",
		"cub kafka-ready 1 20 && echo yes":            "yes\n",
		"cub kafka-ready -b localhost:9092 1 20":      "",
		"ub listeners PLAINTEXT://kafka:9092,A://b:1": "PLAINTEXT://0.0.0.0:9092,A://0.0.0.0:1\n",
		"ub path /var/lib/kafka/data writable":        "",
		"dub ensure HOSTNAME && nc -z localhost 9092": "",
		"cat /tmp/kraft-combined-logs/meta.properties | grep -c cluster.id": "1\n",
		"kafka-storage.sh random-uuid | wc -c":                              "23\n",
	} {
		if out := c.must("", "sh", "-c", line); out != want {
			t.Errorf("%s: %q", line, out)
		}
	}
	if out, err := c.exec("", "ub", "ensure", "NOTHING"); err == nil || !strings.Contains(out, `"NOTHING" is not set`) {
		t.Errorf("%q, %v", out, err)
	}
	if code := c.stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// Each tool of the shell has its name in the image, and no other name leads to the shell.
func TestNamesOfTools(t *testing.T) {
	t.Parallel()
	c := start(t, options{command: []string{"sh", "-c", "echo up; sleep 1000"}})
	c.await("up")
	want := strings.Fields(c.must("", "bash", "-c", `ln -s /usr/bin/bash /tmp/shell; /tmp/shell --list`))
	var got []string
	entries, err := os.ReadDir(filepath.Join(c.root, "usr/bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(c.root, "usr/bin", e.Name())); err == nil && to == "bash" && e.Name() != "sh" && e.Name() != "ash" {
			got = append(got, e.Name())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the image has %q, the shell %q", got, want)
	}
}

// A mounted file is what the server starts with, under the variables; arguments are variables too.
func TestMountedFile(t *testing.T) {
	t.Parallel()
	file := "process.roles=broker,controller\nnode.id=7\nlisteners=PLAINTEXT://:9092\nadvertised.listeners=PLAINTEXT://localhost:9092\nnum.partitions=3\nlog.dirs=/var/lib/kafka/data\n"
	c := start(t, options{
		command: []string{"/etc/kafka/docker/run", "KAFKA_NUM_PARTITIONS=5"}, files: map[string]string{"/mnt/shared/config/server.properties": file},
	})
	c.await(`\[BrokerLifecycleManager id=7\]`)
	c.roundTrip("localhost:9092")
	if out := c.must("", "kafka-topics", "--bootstrap-server", "localhost:9092", "--describe", "--topic", "greetings"); !strings.Contains(out, "PartitionCount: 5") {
		t.Error(out)
	}
}

// A container that a loop begins ends when its engine says so, also before there is a script.
func TestStopBeforeTheScript(t *testing.T) {
	t.Parallel()
	c := start(t, options{command: []string{"sh", "-c", "echo begun; while [ ! -f /nothing ]; do sleep 0.1; done"}})
	c.await("begun")
	if code := c.stop(); code != 143 {
		t.Errorf("exit %d", code)
	}
}

// What makes topics in the background goes on after the script has become the server.
func TestWorkInTheBackground(t *testing.T) {
	t.Parallel()
	c := start(t, options{command: []string{"bash", "-c", `
make_topics() {
	cub kafka-ready 1 60
	kafka-topics --bootstrap-server localhost:9092 --create --topic "$1"
}
make_topics orders &
exec /etc/kafka/docker/run`}})
	c.await("Created topic orders")
	if first := c.first(); first != "bash" {
		t.Errorf("the first process is %s, and with it goes what is in the background", first)
	}
	if code := c.stop(); code != 0 || !strings.Contains(c.text(), "stopping") {
		t.Errorf("exit %d", code)
	}
}

// kafka-server-stop stops the server, and says so if there is none.
func TestServerStop(t *testing.T) {
	t.Parallel()
	c := start(t, options{command: []string{"bash", "-c", "/etc/kafka/docker/run; echo \"ended with $?\""}})
	c.await(running)
	c.must("", "kafka-server-stop")
	c.await("ended with 0")
	<-c.ended
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// Settings that contradict each other end the container with what to change.
func TestMistake(t *testing.T) {
	t.Parallel()
	c := start(t, options{env: []string{"KAFKA_NUM_PARTITIONS=none"}})
	c.await("KAFKA_NUM_PARTITIONS: Invalid value none for configuration num.partitions")
	<-c.ended
	if code := c.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit %d", code)
	}
}
