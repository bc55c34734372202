package clients

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// program runs an outside program and returns its standard output and error. One that fails, or is missing, fails the test.
func program(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	return programReading(t, strings.NewReader(stdin), name, args...)
}

// programReading is program for one whose standard input comes by and by.
func programReading(t *testing.T, stdin io.Reader, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = stdin
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

func TestPython(t *testing.T) {
	b := process.New(t)
	b.Start(t)
	command := pythonProgram(t, "python/group.py")
	t.Log(program(t, "", command[0], command[1], b.Addr))
}

// nodeModules installs what package-lock.json names.
func nodeModules(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("node/node_modules/kafkajs"); err != nil {
		program(t, "", "npm", "ci", "--prefix", "node", "--no-audit", "--no-fund")
	}
}

func TestNode(t *testing.T) {
	nodeModules(t)
	b := process.New(t)
	b.Start(t)
	t.Log(program(t, "", "node", "node/group.js", b.Addr))
}

// TestKcat drives librdkafka through kcat: it produces with every codec, consumes by partition and offset, by time, in a
// group, and lists the cluster.
func TestKcat(t *testing.T) {
	b := process.New(t, "num.partitions=1")
	b.Start(t)
	kcat := func(stdin string, args ...string) string {
		t.Helper()
		return program(t, stdin, "kcat", append([]string{"-b", b.Addr}, args...)...)
	}
	var all strings.Builder
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		var lines strings.Builder
		for i := range 100 {
			fmt.Fprintf(&lines, "k%d:%s %d\n", i, codec, i)
		}
		all.WriteString(lines.String())
		kcat(lines.String(), "-P", "-t", "kcat", "-K:", "-z", codec, "-X", "enable.idempotence=true", "-H", "codec="+codec)
	}
	if out := kcat("", "-C", "-t", "kcat", "-o", "beginning", "-e", "-q", "-K:"); out != all.String() {
		t.Errorf("consumed %d bytes, produced %d:\n%.500s", len(out), all.Len(), out)
	}
	contains(t, kcat("", "-C", "-t", "kcat", "-o", "499", "-c", "1", "-q", "-f", "%o %k %s %h\n"), "499 k99 zstd 99 codec=zstd")
	contains(t, kcat("", "-C", "-t", "kcat", "-o", "s@1000", "-c", "1", "-q"), "none 0")
	contains(t, kcat("", "-L"), "broker 1 at "+b.Addr, `topic "kcat" with 1 partitions:`, "leader 1, replicas: 1, isrs: 1")
	contains(t, kcat("", "-Q", "-t", "kcat:0:-1"), "kcat [0] offset 500")
	out := kcat("", "-G", "kcat-group", "-o", "beginning", "-X", "auto.offset.reset=earliest", "-c", "500", "-q", "kcat")
	if n := strings.Count(out, "\n"); n < 500 {
		t.Errorf("the group consumed %d of 500 records:\n%.500s", n, out)
	}
}
