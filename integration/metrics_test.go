package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// scrape returns the samples at /metrics, by name and labels as they are written.
func scrape(t *testing.T, address string) map[string]string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %v\n%s", resp.Status, err, text)
	}
	samples := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && !strings.HasPrefix(line, "#") {
			samples[line[:i]] = strings.TrimSpace(line[i+1:])
		}
	}
	return samples
}

// awaitSamples waits until samples are as they should be: what a request has changed is counted about when it is answered, not before.
func awaitSamples(t *testing.T, address string, wanted map[string]string) {
	t.Helper()
	limit := time.After(clientLimit)
	for {
		samples, wrong := scrape(t, address), ""
		for name, want := range wanted {
			if got := samples[name]; got != want {
				wrong += fmt.Sprintf("\n%s is %q, want %q", name, got, want)
			}
		}
		if wrong == "" {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-limit:
			t.Fatalf("after %v:%s", clientLimit, wrong)
		}
	}
}

// TestMetrics has a group read a part of a topic, and looks at what Prometheus is shown.
func TestMetrics(t *testing.T) {
	b := servertest.Start(t, servertest.With("ottla.metrics.listener", "127.0.0.1:0"))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("read"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if _, err := admin.CreateTopics(t.Context(), 2, 1, nil, "read"); err != nil {
		t.Fatal(err)
	}
	for i := range 15 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "read", Partition: int32(i % 2), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if fetches := cl.PollRecords(t.Context(), 1); fetches.Err() != nil {
		t.Fatal(fetches.Err())
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset("read", 0, 3, -1)
	offsets.AddOffset("read", 1, 7, -1)
	_, generation := cl.GroupMetadata()
	if generation < 1 {
		t.Fatalf("generation %d", generation)
	}
	commit := map[string]map[int32]kgo.EpochOffset{"read": {0: {Epoch: -1, Offset: 3}, 1: {Epoch: -1, Offset: 7}}}
	cl.CommitOffsetsSync(t.Context(), commit, nil)
	if err := admin.CommitAllOffsets(t.Context(), `sim"ple`, offsets); err != nil {
		t.Fatal(err)
	}
	awaitSamples(t, b.Metrics, map[string]string{
		`kafka_brokers`: "1",
		`kafka_controller_kafkacontroller_activebrokercount`:                                                       "1",
		`kafka_controller_kafkacontroller_fencedbrokercount`:                                                       "0",
		`kafka_controller_kafkacontroller_activecontrollercount`:                                                   "1",
		`kafka_controller_kafkacontroller_newactivecontrollerscount`:                                               "1",
		`kafka_controller_kafkacontroller_offlinepartitionscount`:                                                  "0",
		`kafka_controller_kafkacontroller_preferredreplicaimbalancecount`:                                          "0",
		`kafka_topic_partitions{topic="read"}`:                                                                     "2",
		`kafka_topic_partition_current_offset{partition="0",topic="read"}`:                                         "8",
		`kafka_topic_partition_oldest_offset{partition="1",topic="read"}`:                                          "0",
		`kafka_topic_partition_leader{partition="1",topic="read"}`:                                                 "1",
		`kafka_topic_partition_under_replicated_partition{partition="1",topic="read"}`:                             "0",
		`kafka_consumergroup_current_offset{consumergroup="readers",partition="0",topic="read"}`:                   "3",
		`kafka_consumergroup_lag{consumergroup="readers",partition="0",topic="read"}`:                              "5",
		`kafka_consumergroup_lag{consumergroup="readers",partition="1",topic="read"}`:                              "0",
		`kafka_consumergroup_lag_sum{consumergroup="readers",topic="read"}`:                                        "5",
		`kafka_consumergroup_current_offset_sum{consumergroup="readers",topic="read"}`:                             "10",
		`kafka_consumergroup_members{consumergroup="readers"}`:                                                     "1",
		`kafka_consumergroup_members{consumergroup="sim\"ple"}`:                                                    "0",
		`ottla_consumergroup_info{consumergroup="readers",protocol_type="consumer",state="Stable",type="classic"}`: "1",
		`ottla_consumergroup_offset_commits_total{consumergroup="readers"}`:                                        "2",
		`ottla_consumergroup_rebalances_total{consumergroup="readers"}`:                                            "1",
		`kafka_coordinator_group_groupmetadatamanager_numgroups`:                                                   "2",
		`kafka_coordinator_group_groupmetadatamanager_numgroupsstable`:                                             "1",
		`kafka_coordinator_group_groupmetadatamanager_numoffsets`:                                                  "4",
		`kafka_server_group_coordinator_metrics_group_count{protocol="classic"}`:                                   "2",
		`kafka_server_group_coordinator_metrics_offset_commit_count`:                                               "4",
		`kafka_server_group_coordinator_metrics_group_completed_rebalance_count`:                                   "1",
		`kafka_server_group_coordinator_metrics_consumer_group_count{state="stable"}`:                              "0",
	})
}
