package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	keys "github.com/ottla/ottla/protocol/config"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// testdata/shipped has the settings of the files for servers in config/ of Apache Kafka 4.3.1 and in config/kraft/ of 3.9.1.
func TestShippedFilesLoad(t *testing.T) {
	files, err := filepath.Glob("testdata/shipped/*.properties")
	if err != nil || len(files) != 7 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, name := range files {
		s, err := Load(name, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(s.Warnings) != 0 {
			t.Errorf("%s: %q", name, s.Warnings)
		}
		if strings.Contains(name, "controller") != (len(s.Listeners) == 0) || strings.Contains(name, "broker.") != (len(s.Controllers) == 0) {
			t.Errorf("%s: listeners %+v, controllers %+v", name, s.Listeners, s.Controllers)
		}
	}
}

// A file of the ZooKeeper era has keys whose reasons are told; it lacks the roles, which is what the error says.
func TestFileOfZooKeeper(t *testing.T) {
	old := "broker.id=0\nzookeeper.connect=localhost:2181\nzookeeper.connection.timeout.ms=18000\ninter.broker.protocol.version=3.9\nlog.dirs=/tmp/kafka-logs\n"
	_, err := Load(writeFile(t, old), nil)
	if err == nil || err.Error() != "missing required key process.roles, which has no default; the file is one of ZooKeeper's time: "+
		"for a node of its own, replace zookeeper.connect by process.roles=broker,controller" {
		t.Errorf("%v", err)
	}
	s, err := Load(writeFile(t, old), []string{"process.roles=broker,controller"})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Warnings) != 0 || !containsText(s.Notices, "no effect here: zookeeper.connect, zookeeper.connection.timeout.ms (there is no ZooKeeper") ||
		!containsText(s.Notices, "no effect here: inter.broker.protocol.version (") {
		t.Errorf("%q %q", s.Warnings, s.Notices)
	}
}

// wrongValues are values that the key's type or rule does not allow.
func wrongValues(k *keys.Key) (all []string) {
	for _, value := range []string{"nonsense://", "-7", "0", "99999999999999999999", "1.5e400"} {
		if k.Check(value) != nil {
			all = append(all, value)
		}
	}
	return all
}

// Each key that can be wrong is wrong once: all are told at once, each with its line, the key, the value, and what it should be.
func TestEachKeyWrongOnce(t *testing.T) {
	type mistake struct {
		line int
		key  *keys.Key
		text string
	}
	for round := range 5 {
		lines := []string{"process.roles=broker,controller", "node.id=1"}
		var mistakes []mistake
		for _, k := range keys.Keys(keys.Broker) {
			wrong := wrongValues(k)
			if k.DynamicOnly || round >= len(wrong) || k.Name == "broker.id" {
				continue
			}
			if k.Name == "node.id" || k.Name == "process.roles" {
				lines = slices.DeleteFunc(lines, func(s string) bool { return strings.HasPrefix(s, k.Name) })
			}
			lines = append(lines, k.Name+"="+wrong[round])
			mistakes = append(mistakes, mistake{len(lines), k, wrong[round]})
		}
		if round == 0 && len(mistakes) < 250 {
			t.Errorf("only %d keys can be wrong", len(mistakes))
		}
		_, err := Load(writeFile(t, strings.Join(lines, "\n")), nil)
		if err == nil {
			if len(mistakes) > 0 {
				t.Errorf("round %d: no error", round)
			}
			continue
		}
		told := strings.Split(err.Error(), "\n")
		for _, m := range mistakes {
			i := slices.Index(lines, m.key.Name+"="+m.text) + 1
			at := slices.IndexFunc(told, func(s string) bool {
				return strings.HasPrefix(s, fmt.Sprintf("server.properties:%d: ", i)) && strings.Contains(s, m.key.Name)
			})
			if at < 0 {
				t.Errorf("no error for %s=%s", m.key.Name, m.text)
				continue
			}
			_, should, _ := strings.Cut(told[at], m.key.Name)
			if len(should) < 12 || !strings.Contains(told[at], m.text) && m.key.Type != keys.Double && m.key.Allowed == "" {
				t.Errorf("%q does not say what is wrong", told[at])
			}
		}
		if len(told) != len(mistakes) {
			t.Errorf("%d errors for %d mistakes: %q", len(told), len(mistakes), told[:min(3, len(told))])
		}
	}
}

// Each key that the files have is wrong once, in its place: the error names the line and the key, and nothing else is complained about.
func TestShippedFilesWithAMistake(t *testing.T) {
	files, err := filepath.Glob("testdata/shipped/*.properties")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(content), "\n")
		for i, line := range lines {
			key, _, ok := strings.Cut(line, "=")
			if !ok || key == "log.dirs" { // any text is a folder
				continue
			}
			changed := slices.Clone(lines)
			changed[i] = key + "=?nonsense?"
			_, err := Load(writeFile(t, strings.Join(changed, "\n")), nil)
			if err == nil {
				t.Errorf("%s: no error for %s", name, changed[i])
				continue
			}
			place := fmt.Sprintf("server.properties:%d: ", i+1)
			if !strings.Contains(err.Error(), place) || !strings.Contains(err.Error(), key) && !strings.Contains(err.Error(), "?nonsense?") {
				t.Errorf("%s with %s: %v", name, changed[i], err)
			}
			told[key] = err.Error()
		}
	}
	if len(told) < 20 {
		t.Errorf("only %d keys", len(told))
	}
}
