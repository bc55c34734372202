//go:build !windows

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestInstallPage runs the commands of ottla that docs/install.md shows, beside the sample files; a server that it starts is one whose file is checked.
func TestInstallPage(t *testing.T) {
	content, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^    (?:(KAFKA_\w+=\S+) )?ottla (.+)$`).FindAllStringSubmatch(string(content), -1) {
		args := strings.Fields(m[2])
		for i, a := range args {
			if strings.HasSuffix(a, ".properties") {
				args[i] = filepath.Join("packaging", a)
			}
		}
		if args[0] == "server" {
			args = append([]string{"config", "check"}, args[1:]...)
		}
		out, errs, code := runToEnd(t, environment(t, m[1]), args...)
		if code != 0 {
			t.Errorf("%s: exit %d\n%s%s", m[0], code, out, errs)
		}
		if m[1] != "" && !strings.Contains(out, "\nnum.partitions=3\n") {
			t.Errorf("%s: %s", m[0], out)
		}
		found++
	}
	if found != 5 {
		t.Errorf("%d commands", found)
	}
	for _, m := range regexp.MustCompile(`cmd/ottla/packaging[\w./-]*`).FindAllString(string(content), -1) {
		if _, err := os.Stat(filepath.Join("../..", strings.TrimRight(m, "."))); err != nil {
			t.Error(err)
		}
	}
}

// What explain --properties prints is a file that gives the same settings.
func TestPropertiesOfVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	env := []string{"KAFKA_LISTENERS=PLAINTEXT://:9092", "KAFKA_LOG_DIRS=/a b/c,/d", `KAFKA_BROKER_RACK=a\b`, "KAFKA_NODE_ID=4", "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://h:1"}
	first, errs, code := runToEnd(t, environment(t, env...), "config", "explain", "--properties")
	if err := os.WriteFile(file, []byte(first), 0o600); code != 0 || err != nil {
		t.Fatalf("%s%s %v", first, errs, err)
	}
	for _, want := range []string{"log.dirs=/a b/c,/d\n", "node.id=4\n", `broker.rack=a\\b` + "\n", "process.roles=broker,controller\n"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %s in\n%s", want, first)
		}
	}
	again, errs, code := runToEnd(t, environment(t), "config", "explain", "--properties", "--file", file)
	if code != 0 || again != first {
		t.Errorf("%s%s\nwant %s", again, errs, first)
	}
}
