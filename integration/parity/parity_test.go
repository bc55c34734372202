package parity

import (
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

// settings are those of both servers: what is left out is the default of each, which is compared too.
var settings = []string{
	"group.initial.rebalance.delay.ms=200", "offsets.topic.num.partitions=5", "group.min.session.timeout.ms=500",
	"log.message.timestamp.type=CreateTime", "fetch.max.bytes=10485760", "group.consumer.assignment.interval.ms=0",
	"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=5",
	"group.consumer.min.session.timeout.ms=500", "group.consumer.min.heartbeat.interval.ms=100",
}

// slow is how long a step may take before it is worth a line of the verbose output.
const slow = time.Second

// TestParity runs every area's script on both servers. The first areas see an empty cluster.
func TestParity(t *testing.T) {
	if kafka := compareServers(t, "4.3.1", nil, settings, areas); len(kafka) == len(areas) { // all of them ran
		checkRefusals(t, kafka)
	}
}

// TestOldVersions compares the versions that Apache Kafka dropped in 4.0 with the last release that has them.
func TestOldVersions(t *testing.T) {
	same := append(slices.Clone(settings), "log.message.timestamp.after.max.ms=3600000", // the default of 4.0
		"group.coordinator.rebalance.protocols=classic,consumer") // with the group coordinator of 4.0
	compareServers(t, "3.9.1", nil, same, []area{{"OldVersions", oldVersions}, {"GroupStates", groupStatesOldest}})
}

// compareServers starts Ottla and a release of Apache Kafka, formatted with more flags, with the same settings, and compares what they
// answer. It returns what Apache Kafka did.
func compareServers(t *testing.T, release string, format, settings []string, areas []area) (ran []*conversation) {
	libs, err := process.KafkaJars("../clients/java/" + release)
	if err != nil {
		t.Fatal(err)
	}
	start := func(t *testing.T) (kafka, ottla server) {
		t.Helper()
		kafka = server{name: "Apache Kafka", addr: process.StartKafka(t, libs, format, settings...)}
		broker := process.New(t, ottlaSettings(settings)...)
		broker.Start(t)
		return kafka, server{name: "Ottla", addr: broker.Addr}
	}
	kafka, ottla := start(t)
	return compareAreas(t, kafka, ottla, areas, start)
}

// ottlaSettings are those of Ottla for settings of both, besides what process.StartKafka sets.
func ottlaSettings(settings []string) []string {
	return append([]string{"node.id=1", "process.roles=broker,controller", "offsets.topic.replication.factor=1"}, settings...)
}

// compareAreas runs the scripts on both servers and compares what they answer. What differs in one of timedAreas must differ again on two servers that anew, if not
// nil, starts. It returns Apache Kafka's runs.
func compareAreas(t *testing.T, kafka, ottla server, areas []area, anew func(*testing.T) (kafka, ottla server)) (ran []*conversation) {
	now := time.Now().Truncate(time.Second)
	for _, area := range areas {
		t.Run(area.name, func(t *testing.T) {
			ottla := ottla
			if area.name == listenersArea {
				ottla = startNode(t, settings)
			}
			run := func(kafka, ottla server, quiet time.Duration) (runs [2]*conversation, found []difference) {
				runs = [2]*conversation{{server: kafka, now: now, quiet: quiet}, {server: ottla, now: now, quiet: quiet}}
				var done sync.WaitGroup
				for _, c := range runs {
					done.Go(func() { c.run(area.script) })
				}
				done.Wait()
				return runs, compare(runs[0], runs[1])
			}
			runs, found := run(kafka, ottla, quiet)
			if len(found) > 0 && anew != nil && slices.Contains(timedAreas, area.name) {
				t.Logf("once more, on servers of its own: %v", found)
				kafka, ottla := anew(t)
				runs, found = run(kafka, ottla, longQuiet)
			}
			report(t, found)
			for _, c := range runs {
				c.check(t)
			}
			ran = append(ran, runs[0])
		})
	}
	return ran
}

// check fails the test if the script could not go on, and tells of slow steps.
func (c *conversation) check(t *testing.T) {
	t.Helper()
	for i, s := range c.steps {
		if s.label == abortLabel {
			t.Errorf("%s, step %d: %s", c.server.name, i, s.outcome)
		}
		if i > 0 && s.at.Sub(c.steps[i-1].at) > slow {
			t.Logf("%s took %v: %s", c.server.name, s.at.Sub(c.steps[i-1].at).Round(time.Millisecond), s.label)
		}
	}
}

// report prints each difference once, with the number of steps that have it.
func report(t *testing.T, found []difference) {
	t.Helper()
	indices := regexp.MustCompile(`\[\d+\]`)
	seen := map[string]int{}
	key := func(d difference) string {
		return indices.ReplaceAllString(d.path, "[]") + "\x00" + d.kafka + "\x00" + d.ottla
	}
	for _, d := range found {
		seen[key(d)]++
	}
	for _, d := range found {
		if n := seen[key(d)]; n > 0 {
			t.Errorf("%v\n\t  (%d times)", d, n)
			seen[key(d)] = 0
		}
	}
}

// area is a part of the protocol and its script.
type area struct {
	name   string
	script func(*conversation)
}

// timedAreas are those in which times pass, of some hundred milliseconds, or silence tells: on a busy machine one of the servers may not have got its share of them.
var timedAreas = []string{"Frames", "ProduceAcks", "Refusals", "TelemetryTimes", "FetchWaits", "DataQuotas", "MutationQuota", "GroupRebalance", "GroupStatic", "GroupTimes", "GroupStates", "GroupStatesOld", "ConsumerTimes"}

// areas are the scripts, in order.
var areas = []area{
	{"ApiVersions", apiVersions},
	{"Frames", frames},
	{"InnerAPIs", innerAPIs},
	{"EmptyCluster", emptyCluster},
	{"Metadata", metadataArea},
	{"AutoCreate", autoCreate},
	{"CreateTopics", createTopics},
	{"DeleteTopics", deleteTopics},
	{"CreatePartitions", createPartitions},
	{"DescribeConfigs", describeConfigs},
	{"AlterConfigs", alterConfigs},
	{"Loggers", loggers},
	{"TelemetryTimes", telemetryTimes},
	{"TelemetryMatches", telemetryMatches},
	{"ProduceVersions", produceVersions},
	{"ProduceSequences", produceSequences},
	{"ProduceValidation", produceValidation},
	{"ProduceRewritten", produceRewritten},
	{"ProduceAcks", produceAcks},
	{"Fetch", fetchArea},
	{"FetchLimits", fetchLimits},
	{"FetchSessions", fetchSessions},
	{"FetchWaits", fetchWaits},
	{"ListOffsets", listOffsetsArea},
	{"Epochs", epochs},
	{"DeleteRecords", deleteRecordsArea},
	{"UpdateFeatures", updateFeatures},
	{"ScramUsers", scramUsers},
	{"BrokerConfigs", brokerConfigs},
	{"ConfigsTool", configsTool},
	{"ElectLeaders", electLeaders},
	{"Reassignments", reassignments},
	{"Quorum", quorum},
	{"LogDirs", logDirs},
	{"ClientQuotas", clientQuotas},
	{"DataQuotas", dataQuotas},
	{"MutationQuota", mutationQuota},
	{"Refusals", refusals},
	{"Coordinators", coordinators},
	{"GroupVersions", groupVersions},
	{"GroupRefusals", groupRefusals},
	{"GroupRebalance", groupRebalance},
	{"GroupStatic", groupStatic},
	{"GroupTimes", groupTimes},
	{"GroupStates", groupStates},
	{"GroupStatesOld", groupStatesOld},
	{"Commits", commits},
	{"GroupAdmin", groupAdmin},
	{"ConsumerRefusals", consumerRefusals},
	{"ConsumerLife", consumerLife},
	{"ConsumerAssignors", consumerAssignors},
	{"ConsumerStatic", consumerStatic},
	{"ConsumerTimes", consumerTimes},
	{"ConsumerTopics", consumerTopics},
	{"ConsumerOffsets", consumerOffsets},
	{"ConsumerConversions", consumerConversions},
	{"TxnMarkers", txnMarkers},
	{"TxnVerification", txnVerification},
	{"TxnIsolation", txnIsolation},
	{"TxnOffsets", txnOffsets},
	{"TxnInit", txnInit},
	{"TxnStates", txnStates},
	{"TxnPartitions", txnPartitions},
	{"TxnLists", txnLists},
	{"TxnRecords", txnRecords},
	{"TxnEpochs", txnEpochs},
	{listenersArea, dynamicListeners}, // the last, as the topic that it makes is on its own Ottla
}
