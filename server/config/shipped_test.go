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

// shippedTail is what all of Kafka's own files for servers have in common.
const shippedTail = `controller.listener.names=CONTROLLER
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`

const shippedMap = "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n"

const shippedShare = "share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n"

// shipped are the settings of the files for servers in config/ of Apache Kafka 4.3.1 and in config/kraft/ of 3.9.1.
var shipped = map[string]string{
	"4.3.1 server.properties": stock,
	"4.3.1 broker.properties": "process.roles=broker\nnode.id=2\ncontroller.quorum.bootstrap.servers=localhost:9093\nlisteners=PLAINTEXT://localhost:9092\n" +
		"inter.broker.listener.name=PLAINTEXT\nadvertised.listeners=PLAINTEXT://localhost:9092\nlog.dirs=/tmp/kraft-broker-logs\n" + shippedMap + shippedShare + shippedTail,
	"4.3.1 controller.properties": "process.roles=controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\nlisteners=CONTROLLER://:9093\n" +
		"advertised.listeners=CONTROLLER://localhost:9093\nlog.dirs=/tmp/kraft-controller-logs\n" + shippedShare + shippedTail,
	"3.9.1 server.properties": "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n" +
		"inter.broker.listener.name=PLAINTEXT\nadvertised.listeners=PLAINTEXT://localhost:9092\nlog.dirs=/tmp/kraft-combined-logs\n" + shippedMap + shippedTail,
	"3.9.1 reconfig-server.properties": "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n" +
		"listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n" +
		"advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\nlog.dirs=/tmp/kraft-combined-logs\n" + shippedMap + shippedTail,
	"3.9.1 broker.properties": "process.roles=broker\nnode.id=2\ncontroller.quorum.voters=1@localhost:9093\nlisteners=PLAINTEXT://localhost:9092\n" +
		"inter.broker.listener.name=PLAINTEXT\nadvertised.listeners=PLAINTEXT://localhost:9092\nlog.dirs=/tmp/kraft-broker-logs\n" + shippedMap + shippedTail,
	"3.9.1 controller.properties": "process.roles=controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\nlisteners=CONTROLLER://:9093\n" +
		"log.dirs=/tmp/kraft-controller-logs\n" + shippedTail,
}

func TestShippedFilesLoad(t *testing.T) {
	for name, content := range shipped {
		s, err := Load(writeFile(t, content), nil)
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
