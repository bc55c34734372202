package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// folderFormatter is a node's server.properties and what formats its folder.
type folderFormatter struct {
	t       *testing.T
	tools   *toolbox
	cluster string
}

// node prepares a combined node on free ports, with what names its quorum: controller stands for its controller listener.
func (f *folderFormatter) node(lines ...string) (n *process.Broker, controller string) {
	addr, controller := fmt.Sprintf("127.0.0.1:%d", process.FreePort(f.t)), fmt.Sprintf("127.0.0.1:%d", process.FreePort(f.t))
	all := []string{
		"process.roles=broker,controller", "node.id=1", "listeners=PLAINTEXT://" + addr + ",CONTROLLER://" + controller,
		"advertised.listeners=PLAINTEXT://" + addr + ",CONTROLLER://" + controller, "controller.listener.names=CONTROLLER",
		"offsets.topic.replication.factor=1", "transaction.state.log.replication.factor=1",
	}
	for _, line := range lines {
		all = append(all, strings.ReplaceAll(line, "{controller}", controller))
	}
	return process.NewNode(f.t, addr, all), controller
}

// kafka and ottla format the folder of a node, and return what was printed.
func (f *folderFormatter) kafka(n *process.Broker, args ...string) string {
	f.t.Helper()
	lines, status, err := f.tools.run("storage", append([]string{"format", "-t", f.cluster, "-c", n.Properties()}, args...)...)
	if err != nil || status != 0 {
		f.t.Fatalf("kafka-storage: status %d, %v\n%s", status, err, strings.Join(lines, "\n"))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func (f *folderFormatter) ottla(n *process.Broker, args ...string) string {
	f.t.Helper()
	out, err := exec.Command(process.Binary(f.t), append([]string{"kafka-storage", "format", "-t", f.cluster, "-c", n.Properties()}, args...)...).CombinedOutput()
	if err != nil {
		f.t.Fatalf("ottla kafka-storage: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// files is what kafka-dump-log makes of the checkpoints in a folder, without times and ids that differ.
func (f *folderFormatter) files(dir string) string {
	f.t.Helper()
	var all []string
	for _, name := range []string{"bootstrap.checkpoint", "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"} {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			all = append(all, "no "+name)
			continue
		}
		all = append(all, f.dump(file))
	}
	return f.same(strings.Join(all, "\n"), dir)
}

func (f *folderFormatter) dump(file string) string {
	f.t.Helper()
	lines, status, err := f.tools.run("dump-log", "--cluster-metadata-decoder", "--files", file)
	if err != nil || status != 0 {
		f.t.Fatalf("kafka-dump-log %s: status %d, %v\n%s", file, status, err, strings.Join(lines, "\n"))
	}
	return strings.Join(lines, "\n")
}

var varying = regexp.MustCompile(`(CreateTime: |imestamp":|LogTimestamp: |crc: )\d+|"voterDirectoryId":"[\w-]{22}"|"port":\d+|Epoch: \d+`)

// same replaces what differs from one run to the next.
func (f *folderFormatter) same(text, dir string) string {
	return varying.ReplaceAllString(strings.ReplaceAll(text, dir, "DIR"), "$1#")
}

// TestFormattedFolders has Apache Kafka's kafka-storage and Ottla's format folders, which come out alike; each starts on those of the other.
func TestFormattedFolders(t *testing.T) {
	f := &folderFormatter{t: t, tools: startToolbox(t, "4.3.1"), cluster: "AAAAAAAAAAAAAAAAAAAAAQ"}
	const dynamic, static = "controller.quorum.bootstrap.servers={controller}", "controller.quorum.voters=1@{controller}"
	type folders struct{ kafka, ottla *process.Broker }
	made := map[string]folders{}
	for _, c := range []struct {
		name, quorum string
		args         []string
	}{
		{"standalone", dynamic, []string{"--standalone"}},
		{"levels", dynamic, []string{"--standalone", "--release-version", "3.9-IV0", "--feature", "group.version=1"}},
		{"static", static, nil},
		{"initial", dynamic, []string{"--initial-controllers", "1@{controller}:5GePcwRvSRmSPmpRU3xoZg,2@127.0.0.1:19092:vBSDcrZXTdSbFLRhhAbKSg"}},
		{"other", dynamic, []string{"--initial-controllers", "2@127.0.0.1:19092:vBSDcrZXTdSbFLRhhAbKSg"}},
		{"later", dynamic, []string{"--no-initial-controllers"}},
		{"users", static, []string{"--add-scram", "SCRAM-SHA-256=[name=alice,password=alice-secret,salt=c2FsdHlzYWx0eXNhbHR5,iterations=8192]",
			"--add-scram", `SCRAM-SHA-512=[name="bob",saltedpassword=c2VjcmV0c2VjcmV0,salt=c2FsdHlzYWx0eXNhbHR5]`}},
	} {
		var nodes [2]*process.Broker
		var outputs, contents [2]string
		for i, format := range []func(*process.Broker, ...string) string{f.kafka, f.ottla} {
			n, controller := f.node(c.quorum)
			args := slices.Clone(c.args)
			for j := range args {
				args[j] = strings.ReplaceAll(args[j], "{controller}", controller)
			}
			nodes[i], outputs[i] = n, f.same(format(n, args...), n.Dir)
			contents[i] = f.files(n.Dir)
		}
		if outputs[0] != outputs[1] {
			t.Errorf("%s: Apache Kafka prints\n%s\nOttla prints\n%s", c.name, outputs[0], outputs[1])
		}
		if contents[0] != contents[1] {
			t.Errorf("%s: Apache Kafka writes\n%s\nOttla writes\n%s", c.name, contents[0], contents[1])
		}
		made[c.name] = folders{nodes[0], nodes[1]}
	}
	// Ottla on Apache Kafka's, and the other way round, in the same words.
	describe := func(addr string) string {
		t.Helper()
		lines, status, err := f.tools.run("features", "--bootstrap-server", addr, "describe")
		if err != nil || status != 0 {
			t.Fatalf("kafka-features: status %d, %v\n%s", status, err, strings.Join(lines, "\n"))
		}
		return varying.ReplaceAllString(strings.Join(lines, "\n"), "$1#")
	}
	ottla, kafka := made["standalone"].kafka, made["standalone"].ottla
	ottla.Start(t)
	process.RunKafka(t, kafkaRelease(t, "4.3.1").libs, kafka.Properties(), kafka.Addr)
	var ours, theirs string
	await(t, "the features of Apache Kafka", func() bool { // its listener opens before it knows them
		theirs = describe(kafka.Addr)
		return strings.Contains(theirs, "kraft.version")
	})
	if ours = describe(ottla.Addr); ours != theirs {
		t.Errorf("Ottla's features:\n%s\nApache Kafka's:\n%s", ours, theirs)
	}
	matches(t, theirs, `kraft.version\s+SupportedMinVersion: 0\s+SupportedMaxVersion: 1\s+FinalizedVersionLevel: 1\s`)
	matches(t, f.dump(filepath.Join(ottla.Dir, "__cluster_metadata-0", "00000000000000000000.log")),
		`(?s)KRaftVersion \{"version":0,"kRaftVersion":1\}.*KRaftVoters \{"version":0,"voters":\[\{"voterId":1,"voterDirectoryId":"[\w-]{22}","endpoints":\[\{"name":"CONTROLLER","host":"127.0.0.1","port":\d+\}\]`)

	levels := made["levels"].kafka
	levels.Start(t)
	out := describe(levels.Addr)
	matches(t, out, `kraft.version\s.*FinalizedVersionLevel: 1\s`)
	matches(t, out, `metadata.version\s.*FinalizedVersionLevel: 3.9-IV0\s`)
	matches(t, out, `group.version\s.*FinalizedVersionLevel: 1\s`)
	matches(t, out, `transaction.version\s.*FinalizedVersionLevel: 0\s`)

	voters := made["users"].kafka
	voters.Start(t)
	matches(t, describe(voters.Addr), `kraft.version\s.*FinalizedVersionLevel: 0\s`)
	matches(t, voters.Output(), `WARN.*SCRAM credentials.*alice.*bob`)
	if lines, status, err := f.tools.run("features", "--bootstrap-server", voters.Addr, "upgrade", "--feature", "kraft.version=1"); err != nil || status != 0 {
		t.Errorf("kafka-features upgrade: status %d, %v\n%s", status, err, strings.Join(lines, "\n"))
	}
	matches(t, describe(voters.Addr), `kraft.version\s.*FinalizedVersionLevel: 1\s`)
}
