package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// KafkaCluster is nodes of Apache Kafka that are broker and controller each, with ids from 1 on. Its methods are for one goroutine.
type KafkaCluster struct {
	Addrs       []string // host:port of their client listeners
	Controllers []string // of their controller listeners

	t     testing.TB
	nodes []*kafkaNode
	files []string // their properties
	java  func(args ...string) *exec.Cmd
}

// StartKafkaCluster runs a cluster of Apache Kafka, whose jars are in libs, on free ports with its data in a folder of the test, until the test ends; lines gives each
// node's own properties, besides ids, listeners and voters. All accept connections.
func StartKafkaCluster(t testing.TB, libs string, size int, lines func(id int) []string) *KafkaCluster {
	t.Helper()
	c, dir := &KafkaCluster{t: t, java: javaWith(libs), files: make([]string, size)}, t.TempDir()
	ports, voters := make([][2]int, size), make([]string, size)
	for i := range size {
		ports[i] = [2]int{FreePort(t), FreePort(t)}
		c.Addrs = append(c.Addrs, fmt.Sprintf("127.0.0.1:%d", ports[i][0]))
		c.Controllers = append(c.Controllers, fmt.Sprintf("127.0.0.1:%d", ports[i][1]))
		voters[i] = fmt.Sprintf("%d@%s", i+1, c.Controllers[i])
	}
	for i := range size {
		c.files[i] = filepath.Join(dir, fmt.Sprintf("server-%d.properties", i+1))
		own := append([]string{fmt.Sprint("node.id=", i+1), "controller.quorum.voters=" + strings.Join(voters, ","), "offsets.topic.replication.factor=3"}, lines(i+1)...)
		text := KafkaProperties(ports[i][0], ports[i][1], dataOf(dir, i), own...) // the last line of a key counts
		if err := os.WriteFile(c.files[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := FormatKafka(c.java, c.files[0]); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < size; i++ { // which takes seconds each, as a run of the tool
		if err := copyFormat(dataOf(dir, 0), dataOf(dir, i), i+1); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range c.files {
		c.nodes = append(c.nodes, runKafka(t, c.java("kafka.Kafka", file)))
	}
	for i, n := range c.nodes {
		n.listening(t, c.Addrs[i])
	}
	return c
}

func dataOf(dir string, i int) string { return filepath.Join(dir, fmt.Sprint("data-", i+1)) }

// copyFormat makes of a folder that is formatted for a node the folder of another one.
func copyFormat(from, to string, id int) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	file := filepath.Join(to, "meta.properties")
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return err
	}
	text = regexp.MustCompile(`(?m)^node\.id=.*$`).ReplaceAll(text, fmt.Appendf(nil, "node.id=%d", id))
	text = regexp.MustCompile(`(?m)^directory\.id=.*$`).ReplaceAll(text, []byte("directory.id="+protocol.NewUUID().String()))
	return os.WriteFile(file, text, 0o600)
}

// Kill ends a node at once, as kill -9 does.
func (c *KafkaCluster) Kill(id int) { c.nodes[id-1].kill() }

// Launch runs a node again that was killed; it does not wait.
func (c *KafkaCluster) Launch(id int) {
	c.nodes[id-1] = runKafka(c.t, c.java("kafka.Kafka", c.files[id-1]))
}

// Tool runs a class of Apache Kafka's tools and returns what it printed.
func (c *KafkaCluster) Tool(class string, args ...string) (string, error) {
	out, err := c.java(append([]string{class}, args...)...).Output()
	return string(out), err
}
