package parity

import (
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

// settings are those of both servers: what is left out is the default of each, which is compared too.
var settings = []string{
	"group.initial.rebalance.delay.ms=200", "offsets.topic.num.partitions=5", "group.min.session.timeout.ms=500",
	"log.message.timestamp.type=CreateTime", "fetch.max.bytes=10485760",
}

// slow is how long a step may take before it is worth a line of the verbose output.
const slow = time.Second

// TestParity runs every area's script on both servers. The first areas see an empty cluster.
func TestParity(t *testing.T) {
	libs, err := process.KafkaJars("../clients/java/4.3.1")
	if err != nil {
		t.Fatal(err)
	}
	kafka := server{name: "Apache Kafka", addr: process.StartKafka(t, libs, settings...)}
	broker := process.New(t, append([]string{"node.id=1", "process.roles=broker,controller", "offsets.topic.replication.factor=1"}, settings...)...)
	broker.Start(t)
	ottla := server{name: "Ottla", addr: broker.Addr}
	now := time.Now().Truncate(time.Second)
	for _, area := range areas {
		t.Run(area.name, func(t *testing.T) {
			runs := [2]*conversation{{server: kafka, now: now}, {server: ottla, now: now}}
			var done sync.WaitGroup
			for _, c := range runs {
				done.Go(func() { c.run(area.script) })
			}
			done.Wait()
			report(t, compare(runs[0], runs[1]))
			for _, c := range runs {
				for i := 1; i < len(c.steps); i++ {
					if took := c.steps[i].at.Sub(c.steps[i-1].at); took > slow {
						t.Logf("%s took %v: %s", c.server.name, took.Round(time.Millisecond), c.steps[i].label)
					}
				}
			}
			for i, s := range runs[0].steps {
				if s.label == abortLabel {
					t.Error(fmt.Sprintf("step %d on Apache Kafka: %s", i, s.outcome))
				}
			}
		})
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

// areas are the scripts, in order.
var areas = []struct {
	name   string
	script func(*conversation)
}{
	{"ApiVersions", apiVersions},
	{"Frames", frames},
	{"EmptyCluster", emptyCluster},
	{"Metadata", metadataArea},
	{"AutoCreate", autoCreate},
	{"CreateTopics", createTopics},
	{"DeleteTopics", deleteTopics},
	{"CreatePartitions", createPartitions},
	{"DescribeConfigs", describeConfigs},
	{"AlterConfigs", alterConfigs},
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
	{"LogDirs", logDirs},
	{"Coordinators", coordinators},
	{"GroupVersions", groupVersions},
	{"GroupRefusals", groupRefusals},
	{"GroupRebalance", groupRebalance},
	{"GroupStatic", groupStatic},
	{"GroupTimes", groupTimes},
	{"Commits", commits},
	{"GroupAdmin", groupAdmin},
}
