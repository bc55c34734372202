// Package clients drives Ottla with the programs that people use: the stock tools of Apache Kafka, kcat, and clients in Go,
// Java, Python and Node, all of them unchanged and at pinned versions. A tool that is missing is a failure.
package clients

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

// kafkaVersions are the releases of Apache Kafka whose tools are run: the newest, and the last with the old protocol versions.
var kafkaVersions = []string{"4.3.1", "3.9.1"}

const (
	// toolLimit bounds one run of one tool.
	toolLimit = 2 * time.Minute
	// noGroupDelay lets the first member of a classic group have its partitions at once, where that takes Kafka's three seconds otherwise.
	noGroupDelay = "group.initial.rebalance.delay.ms=0"
)

// kafka is one release of Apache Kafka with its jars.
type kafka struct {
	version string
	libs    string
}

var kafkas sync.Map // version to func() (kafka, error): each release is fetched once a test run

// kafkaRelease returns a release, fetching its jars with Maven the first time.
func kafkaRelease(t testing.TB, version string) kafka {
	t.Helper()
	fetch, _ := kafkas.LoadOrStore(version, sync.OnceValues(func() (kafka, error) { return fetchKafka(version) }))
	k, err := fetch.(func() (kafka, error))()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func fetchKafka(version string) (kafka, error) {
	libs, err := process.KafkaJars(filepath.Join("java", version))
	return kafka{version: version, libs: libs}, err
}

// toolClasses are the main classes of the stock scripts, by the script's name without kafka-, since 4.0.
var toolClasses = map[string]string{
	"topics":              "org.apache.kafka.tools.TopicCommand",
	"console-producer":    "org.apache.kafka.tools.ConsoleProducer",
	"console-consumer":    "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"consumer-groups":     "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"groups":              "org.apache.kafka.tools.GroupsCommand",
	"configs":             "kafka.admin.ConfigCommand",
	"broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"cluster":             "org.apache.kafka.tools.ClusterTool",
	"producer-perf-test":  "org.apache.kafka.tools.ProducerPerformance",
	"consumer-perf-test":  "org.apache.kafka.tools.ConsumerPerformance",
	"dump-log":            "org.apache.kafka.tools.DumpLogSegments",
	"get-offsets":         "org.apache.kafka.tools.GetOffsetShell",
	"delete-records":      "org.apache.kafka.tools.DeleteRecordsCommand",
	"log-dirs":            "org.apache.kafka.tools.LogDirsCommand",
	"features":            "org.apache.kafka.tools.FeatureCommand",
	"metadata-quorum":     "org.apache.kafka.tools.MetadataQuorumCommand",
	"reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
	"leader-election":     "org.apache.kafka.tools.LeaderElectionCommand",
	"storage":             "kafka.tools.StorageTool",
	"client-metrics":      "org.apache.kafka.tools.ClientMetricsCommand",
	"transactions":        "org.apache.kafka.tools.TransactionsCommand",
	"verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
	"verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
}

// toolClasses3 are those that were elsewhere in 3.9.
var toolClasses3 = map[string]string{
	"console-producer":    "kafka.tools.ConsoleProducer",
	"broker-api-versions": "kafka.admin.BrokerApiVersionsCommand",
	"dump-log":            "kafka.tools.DumpLogSegments",
}

// unhurried adds to the arguments of a tool what lets it wait for answers as long as others do: kafka-consumer-groups gives up after five seconds, which on a busy machine its
// own code takes to load.
func unhurried(tool string, args []string) []string {
	if tool != "consumer-groups" || !slices.Contains(args, "--bootstrap-server") {
		return args
	}
	return append(slices.Clone(args), "--timeout", "60000")
}

// command prepares a run of a stock tool.
func (k kafka) command(ctx context.Context, t testing.TB, tool string, args ...string) *exec.Cmd {
	t.Helper()
	class, ok := toolClasses[tool]
	if old, was := toolClasses3[tool]; was && strings.HasPrefix(k.version, "3.") {
		class = old
	}
	if !ok {
		t.Fatalf("no stock tool is called %s", tool)
	}
	jvm := []string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", k.libs + "/*", class}
	return exec.CommandContext(ctx, "java", append(jvm, unhurried(tool, args)...)...)
}

// run runs a stock tool with stdin and returns what it printed on both outputs. A tool that fails fails the test.
func (k kafka) run(t testing.TB, stdin, tool string, args ...string) string {
	t.Helper()
	out, err := k.try(t, stdin, tool, args...)
	if err != nil {
		t.Fatalf("kafka-%s %s (%s): %v\n%s", tool, strings.Join(args, " "), k.version, err, out)
	}
	return out
}

// try is run for a tool that may fail.
func (k kafka) try(t testing.TB, stdin, tool string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolLimit)
	defer cancel()
	cmd := k.command(ctx, t, tool, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
