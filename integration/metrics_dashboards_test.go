package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// TestDashboardMetrics puts load on a broker, and finds each metric that dashboards query, with its labels, and the numbers that the load has made.
func TestDashboardMetrics(t *testing.T) {
	b := servertest.Start(t, servertest.With("ottla.metrics.listener", "127.0.0.1:0"))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("load"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopics(t.Context(), 3, 1, nil, "load"); err != nil {
		t.Fatal(err)
	}
	const records, size = 200, 1000
	for range records {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "load", Value: make([]byte, size)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for read := 0; read < records; {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		read += fetches.NumRecords()
	}
	if err := cl.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitSamples(t, b.Metrics, map[string]string{`kafka_network_requestmetrics_totaltimems_count{request="Produce"}`: fmt.Sprint(records)}) // the last is counted when it has left
	samples := scrape(t, b.Metrics)
	findDashboardMetrics(t, samples)

	sum := func(name string, labels ...string) (total float64) {
		for sample, value := range samples {
			if sampleHas(sample, name, labels...) {
				n, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Errorf("%s: %v", sample, err)
				}
				total += n
			}
		}
		return total
	}
	load := `topic="load"`
	in, out := sum("kafka_server_brokertopicmetrics_bytesin_total", load), sum("kafka_server_brokertopicmetrics_bytesout_total", load)
	for what, x := range map[string]struct{ got, least, most float64 }{
		"messages in":        {sum("kafka_server_brokertopicmetrics_messagesin_total", load), records, records},
		"messages of all":    {sum("kafka_server_brokertopicmetrics_messagesin_total", `topic=""`), records, records},
		"bytes in":           {in, records * size, records * (size + 100)},
		"bytes out":          {out, in, in},
		"bytes on disk":      {sum("kafka_log_log_size", load), in, in},
		"appends":            {sum("kafka_server_brokertopicmetrics_totalproducerequests_total", load), records, records},
		"failed appends":     {sum("kafka_server_brokertopicmetrics_failedproducerequests_total"), 0, 0},
		"produce requests":   {sum("kafka_network_requestmetrics_requests_total", `request="Produce"`), records, records},
		"times of them":      {sum("kafka_network_requestmetrics_totaltimems_count", `request="Produce"`), records, records},
		"slowest of them":    {sum("kafka_network_requestmetrics_totaltimems", `request="Produce"`, `quantile="0.999"`), 0.001, 30_000},
		"led partitions":     {sum("kafka_server_replicamanager_leadercount"), sum("kafka_controller_kafkacontroller_globalpartitioncount"), 1000},
		"end offsets":        {sum("kafka_log_log_logendoffset", load), records, records},
		"lag":                {sum("kafka_consumergroup_lag", load), 0, 0},
		"state":              {sum("kafka_server_kafkaserver_brokerstate"), 3, 3},
		"open connections":   {sum("kafka_server_socketservermetrics_connections"), 1, 20},
		"leader of metadata": {sum("kafka_server_raftmetrics_current_leader"), 1, 1},
		"a leader here":      {sum("kafka_server_raftmetrics_current_state", `current_state="leader"`), 1, 1},
		"metadata":           {sum("kafka_server_raftmetrics_log_end_offset"), sum("kafka_server_raftmetrics_high_watermark"), 10_000},
		"committed metadata": {sum("kafka_server_raftmetrics_high_watermark"), 10, 10_000},
		"by listener":        {sum("kafka_server_socketservermetrics_connection_count"), 1, 20},
		"high watermarks":    {sum("kminion_kafka_topic_high_water_mark_sum", `topic_name="load"`), records, records},
		"of each partition":  {sum("kminion_kafka_topic_partition_high_water_mark", `topic_name="load"`), records, records},
		"low watermarks":     {sum("kminion_kafka_topic_low_water_mark_sum", `topic_name="load"`), 0, 0},
		"bytes of the topic": {sum("kminion_kafka_topic_log_dir_size_total_bytes", `topic_name="load"`), in, in},
		"bytes of all":       {sum("kminion_kafka_broker_log_dir_size_total_bytes", `broker_id="1"`), in, 2 * in},
		"the topic":          {sum("kminion_kafka_topic_info", `topic_name="load"`, `partition_count="3"`, `replication_factor="1"`, `cleanup_policy="delete"`), 1, 1},
		"the cluster":        {sum("kminion_kafka_cluster_info", `broker_count="1"`, `controller_id="1"`) - sum("kminion_kafka_cluster_info", `cluster_id=""`), 1, 1},
		"the controller":     {sum("kminion_kafka_broker_info", `broker_id="1"`, `is_controller="true"`), 1, 1},
		"committed offsets":  {sum("kminion_kafka_consumer_group_topic_offset_sum", `group_id="readers"`, `topic_name="load"`), records, records},
		"lag of the group":   {sum("kminion_kafka_consumer_group_topic_lag", `group_id="readers"`), 0, 0},
		"the group":          {sum("kminion_kafka_consumer_group_info", `group_id="readers"`, `protocol_type="consumer"`, `state="Stable"`, `coordinator_id="1"`), 1, 1},
		"members":            {sum("kminion_kafka_consumer_group_members", `group_id="readers"`), 1, 1},
		"fetch sessions":     {sum("kafka_server_fetchsessioncache_numincrementalfetchsessions"), 1, 10},
		"handlers idle":      {sum("kafka_server_kafkarequesthandlerpool_requesthandleravgidlepercent_total"), 1, 1e12},
	} {
		if x.got < x.least || x.got > x.most {
			t.Errorf("%s: %v, want %v to %v", what, x.got, x.least, x.most)
		}
	}
}

// sampleHas reports whether a sample is of that metric and has these labels.
func sampleHas(sample, name string, labels ...string) bool {
	rest, ok := strings.CutPrefix(sample, name)
	if !ok || rest != "" && rest[0] != '{' {
		return false
	}
	for _, l := range labels {
		if !strings.Contains(rest, "{"+l) && !strings.Contains(rest, ","+l) {
			return false
		}
	}
	return true
}

// findDashboardMetrics looks for each line of testdata/dashboard_metrics.txt.
func findDashboardMetrics(t *testing.T, samples map[string]string) {
	t.Helper()
	list, err := os.ReadFile("testdata/dashboard_metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	found := func(name string, labels []string) bool {
		for sample := range samples {
			if sampleHas(sample, name, labels...) {
				return true
			}
		}
		return false
	}
	for line := range strings.Lines(string(list)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if words[0] == "!" {
			if len(words) < 3 || found(words[1], nil) {
				t.Errorf("%s is exported, or the reason why not is missing", words[1])
			}
			continue
		}
		var labels []string
		for _, l := range words[1:] {
			labels = append(labels, l+`="`)
		}
		if !found(words[0], labels) {
			t.Errorf("%s with labels %v is not exported", words[0], words[1:])
		}
	}
}

// TestProbes asks whether the broker lives and is ready, and for profiles, which are there only if asked for.
func TestProbes(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for _, profiles := range []bool{false, true} {
		b := servertest.Start(t, servertest.With("ottla.metrics.listener", "127.0.0.1:0"), servertest.With("ottla.metrics.pprof", fmt.Sprint(profiles)))
		wanted := map[string]int{"/livez": 200, "/readyz": 200, "/debug/pprof/cmdline": 404, "/other": 404}
		if profiles {
			wanted["/debug/pprof/cmdline"] = 200
		}
		for path, want := range wanted {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.Metrics+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s with profiles %v: %s\n%s", path, profiles, resp.Status, text)
			}
		}
	}
}
