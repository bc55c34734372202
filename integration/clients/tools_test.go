package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// TestStockTools runs the tools of each release against one broker, as a user at a shell would.
func TestStockTools(t *testing.T) {
	for _, version := range kafkaVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			k := kafkaRelease(t, version)
			b := process.New(t, noGroupDelay)
			b.Start(t)
			s := shell{kafka: k, at: b.Addr}
			t.Run("topics", s.topics)
			t.Run("console", s.console)
			t.Run("codecs", s.codecs)
			t.Run("groups", s.groups)
			t.Run("configs", s.configs)
			t.Run("offsets", s.offsets)
			t.Run("broker", s.broker)
			t.Run("features", s.features)
			t.Run("partitions", s.partitions)
			t.Run("performance", s.performance)
			t.Run("verifiable", s.verifiable)
			b.Stop(t)
			t.Run("dump", func(t *testing.T) { s.dump(t, b.Dir) })
		})
	}
}

// shell is a user's terminal: one release of the tools, and the broker they talk to.
type shell struct {
	kafka
	at string
}

func (s shell) do(t *testing.T, stdin, tool string, args ...string) string {
	t.Helper()
	return s.run(t, stdin, tool, append([]string{"--bootstrap-server", s.at}, args...)...)
}

func contains(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in:\n%s", want, out)
		}
	}
}

func matches(t *testing.T, out, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(out) {
		t.Errorf("want a match of %q in:\n%s", pattern, out)
	}
}

func (s shell) topics(t *testing.T) {
	contains(t, s.do(t, "", "topics", "--create", "--topic", "t1", "--partitions", "3", "--replication-factor", "1",
		"--config", "retention.ms=3600000"), "Created topic t1.")
	contains(t, s.do(t, "", "topics", "--list"), "t1")
	out := s.do(t, "", "topics", "--describe", "--topic", "t1")
	contains(t, out, "PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=3600000", "TopicId:", "Partition: 2")
	s.do(t, "", "topics", "--alter", "--topic", "t1", "--partitions", "5")
	contains(t, s.do(t, "", "topics", "--describe", "--topic", "t1"), "PartitionCount: 5", "Partition: 4")
	if out, err := s.try(t, "", "topics", "--bootstrap-server", s.at, "--create", "--topic", "t1"); err == nil {
		t.Errorf("created t1 twice:\n%s", out)
	} else {
		contains(t, out, "Topic 't1' already exists.")
	}
	s.do(t, "", "topics", "--delete", "--topic", "t1")
	if out := s.do(t, "", "topics", "--list"); strings.Contains(out, "t1") {
		t.Errorf("t1 was deleted and is listed:\n%s", out)
	}
}

func (s shell) console(t *testing.T) {
	// The topic does not exist: the producer's metadata request creates it.
	s.do(t, "h1:v1,h2:v2\tk1\thello\nh3:v3\tk2\tworld\n", "console-producer", "--topic", "console",
		"--property", "parse.key=true", "--property", "parse.headers=true")
	out := s.do(t, "", "console-consumer", "--topic", "console", "--from-beginning", "--max-messages", "2", "--timeout-ms", "60000",
		"--property", "print.key=true", "--property", "print.headers=true", "--property", "print.offset=true",
		"--property", "print.partition=true")
	contains(t, out, "Partition:0\tOffset:0\th1:v1,h2:v2\tk1\thello", "Partition:0\tOffset:1\th3:v3\tk2\tworld")
	out = s.do(t, "", "console-consumer", "--topic", "console", "--partition", "0", "--offset", "1", "--max-messages", "1",
		"--timeout-ms", "60000")
	contains(t, out, "world")
	if strings.Contains(out, "hello") {
		t.Errorf("offset 1 gave the record before it:\n%s", out)
	}
}

func (s shell) codecs(t *testing.T) {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			topic := "codec-" + codec
			var lines strings.Builder
			for i := range 500 {
				fmt.Fprintf(&lines, "%s record number %d with words that compress\n", codec, i)
			}
			s.do(t, lines.String(), "console-producer", "--topic", topic, "--compression-codec", codec)
			out := s.do(t, "", "console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "500", "--timeout-ms", "60000")
			contains(t, out, codec+" record number 0 ", codec+" record number 499 ", "Processed a total of 500 messages")
		})
	}
}

func (s shell) groups(t *testing.T) {
	s.do(t, "a\nb\nc\nd\ne\n", "console-producer", "--topic", "grouped")
	out := s.do(t, "", "console-consumer", "--topic", "grouped", "--group", "g1", "--from-beginning", "--max-messages", "3",
		"--timeout-ms", "60000")
	contains(t, out, "a\nb\nc\n", "Processed a total of 3 messages")
	contains(t, s.do(t, "", "consumer-groups", "--list"), "g1")
	matches(t, s.do(t, "", "consumer-groups", "--describe", "--group", "g1"), `g1\s+grouped\s+0\s+3\s+5\s+2`)
	matches(t, s.do(t, "", "consumer-groups", "--describe", "--group", "g1", "--state"), `g1\s+\S+\s+\(1\)\s+.*Empty\s+0`)
	// The committed offset is where the next consumer goes on.
	out = s.do(t, "", "console-consumer", "--topic", "grouped", "--group", "g1", "--max-messages", "2", "--timeout-ms", "60000")
	contains(t, out, "d\ne\n")
	matches(t, s.do(t, "", "consumer-groups", "--reset-offsets", "--group", "g1", "--topic", "grouped", "--to-offset", "1", "--execute"),
		`g1\s+grouped\s+0\s+1`)
	matches(t, s.do(t, "", "consumer-groups", "--reset-offsets", "--group", "g1", "--topic", "grouped", "--to-earliest", "--execute"),
		`g1\s+grouped\s+0\s+0`)
	matches(t, s.do(t, "", "consumer-groups", "--delete-offsets", "--group", "g1", "--topic", "grouped"), `(?i)successful`)
	contains(t, s.do(t, "", "consumer-groups", "--delete", "--group", "g1"), "Deletion of requested consumer groups ('g1') was successful.")
	if out := s.do(t, "", "consumer-groups", "--list"); strings.Contains(out, "g1") {
		t.Errorf("g1 was deleted and is listed:\n%s", out)
	}
}

func (s shell) configs(t *testing.T) {
	s.do(t, "", "topics", "--create", "--topic", "configured")
	entity := []string{"--entity-type", "topics", "--entity-name", "configured"}
	do := func(args ...string) string { return s.do(t, "", "configs", append(args, entity...)...) }
	contains(t, do("--alter", "--add-config", "retention.ms=1000,cleanup.policy=[compact,delete]"), "Completed updating config for topic configured.")
	contains(t, do("--describe"), "retention.ms=1000", "cleanup.policy=compact,delete", "DYNAMIC_TOPIC_CONFIG:retention.ms=1000")
	do("--alter", "--delete-config", "retention.ms")
	out := do("--describe")
	contains(t, out, "cleanup.policy=compact,delete")
	if strings.Contains(out, "retention.ms=") {
		t.Errorf("retention.ms was deleted and is described:\n%s", out)
	}
	contains(t, do("--describe", "--all"), "max.message.bytes=1048588", "DEFAULT_CONFIG:message.max.bytes=1048588")
	if out, err := s.try(t, "", "configs", append([]string{"--bootstrap-server", s.at, "--alter", "--add-config", "no.such.key=1"}, entity...)...); err == nil &&
		!strings.Contains(out, "InvalidConfigurationException") {
		t.Errorf("an unknown key was accepted:\n%s", out)
	}
	contains(t, s.do(t, "", "configs", "--describe", "--all", "--entity-type", "brokers", "--entity-name", "1"), "num.partitions=", "log.dirs=")
}

func (s shell) offsets(t *testing.T) {
	s.do(t, "1\n2\n3\n4\n", "console-producer", "--topic", "trimmed")
	contains(t, s.do(t, "", "get-offsets", "--topic", "trimmed"), "trimmed:0:4")
	contains(t, s.do(t, "", "get-offsets", "--topic", "trimmed", "--time", "earliest"), "trimmed:0:0")
	contains(t, s.do(t, "", "get-offsets", "--topic", "trimmed", "--time", "max-timestamp"), "trimmed:0:")
	contains(t, s.do(t, "", "get-offsets", "--topic", "trimmed", "--time", "1000"), "trimmed:0:0")
	file := filepath.Join(t.TempDir(), "delete.json")
	text := `{"partitions": [{"topic": "trimmed", "partition": 0, "offset": 3}], "version": 1}`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	matches(t, s.do(t, "", "delete-records", "--offset-json-file", file), `trimmed-0\s+low_watermark: 3`)
	contains(t, s.do(t, "", "get-offsets", "--topic", "trimmed", "--time", "earliest"), "trimmed:0:3")
	out := s.do(t, "", "console-consumer", "--topic", "trimmed", "--from-beginning", "--max-messages", "1", "--timeout-ms", "60000")
	contains(t, out, "4")
}

func (s shell) broker(t *testing.T) {
	patient := filepath.Join(t.TempDir(), "patient.properties") // without it the tool gives up on a request after five seconds
	if err := os.WriteFile(patient, []byte("request.timeout.ms=60000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := s.do(t, "", "broker-api-versions", "--command-config", patient)
	contains(t, out, "(id: 1 rack: null", "Produce(0): 0 to 13", "Fetch(1): 4 to ", "ApiVersions(18): 0 to ")
	if strings.Contains(out, "UNSUPPORTED") && strings.Contains(out, "UNKNOWN") {
		t.Errorf("an unknown API is advertised:\n%s", out)
	}
	contains(t, s.do(t, "", "log-dirs", "--describe"), `"broker":1`, `"partition":"console-0"`, `"error":null`)
	matches(t, s.run(t, "", "cluster", "cluster-id", "--bootstrap-server", s.at), `Cluster ID: [\w-]{22}\s`)
}

func (s shell) features(t *testing.T) {
	s.do(t, "", "features", "downgrade", "--feature", "transaction.version=1")
	matches(t, s.do(t, "", "features", "describe"), `transaction.version\s.*FinalizedVersionLevel: 1\s`)
	contains(t, s.do(t, "", "features", "upgrade", "--feature", "transaction.version=2"), "transaction.version was upgraded to 2.")
	out := s.do(t, "", "features", "describe")
	matches(t, out, `transaction.version\s.*FinalizedVersionLevel: 2\s`)
	matches(t, out, `metadata.version\s.*FinalizedVersionLevel: (4.3-IV0|UNKNOWN 30)\s`) // older tools do not know its name
	if out, err := s.try(t, "", "features", "--bootstrap-server", s.at, "upgrade", "--feature", "group.version=9"); err == nil {
		t.Errorf("a level that nobody supports was set:\n%s", out)
	} else {
		contains(t, out, "Local controller 1 only supports versions 0-1")
	}
}

// partitions moves them, elects their leaders, and looks at the quorum that decides it.
func (s shell) partitions(t *testing.T) {
	s.do(t, "", "topics", "--create", "--topic", "moved", "--partitions", "2")
	wish := filepath.Join(t.TempDir(), "wish.json")
	if err := os.WriteFile(wish, []byte(`{"version":1,"partitions":[{"topic":"moved","partition":0,"replicas":[1]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, s.do(t, "", "reassign-partitions", "--execute", "--reassignment-json-file", wish), "Successfully started partition reassignment for moved-0")
	contains(t, s.do(t, "", "reassign-partitions", "--verify", "--reassignment-json-file", wish), "Reassignment of partition moved-0 is completed.")
	contains(t, s.do(t, "", "reassign-partitions", "--list"), "No partition reassignments found.")
	contains(t, s.do(t, "", "leader-election", "--election-type", "preferred", "--topic", "moved", "--partition", "0"),
		"Valid replica already elected for partitions moved-0")
	matches(t, s.do(t, "", "metadata-quorum", "describe", "--status"), `LeaderId:\s+1\s`)
	matches(t, s.do(t, "", "metadata-quorum", "describe", "--replication"), `(?m)^1\s.*Leader`)
}

func (s shell) performance(t *testing.T) {
	out := s.run(t, "", "producer-perf-test", "--topic", "perf", "--num-records", "50000", "--record-size", "100", "--throughput", "-1",
		"--producer-props", "bootstrap.servers="+s.at)
	contains(t, out, "50000 records sent")
	out = s.do(t, "", "consumer-perf-test", "--topic", "perf", "--messages", "50000", "--timeout", "30000")
	matches(t, out, `(?m)^\d{4}-.*, 50000, `)
}

func (s shell) verifiable(t *testing.T) {
	out := s.do(t, "", "verifiable-producer", "--topic", "verified", "--max-messages", "1000", "--throughput", "-1")
	contains(t, out, `"name":"producer_send_success"`, `"acked":1000`)
	out = s.do(t, "", "verifiable-consumer", "--topic", "verified", "--group-id", "verifier", "--max-messages", "1000",
		"--reset-policy", "earliest")
	contains(t, out, `"name":"records_consumed"`, `"name":"offsets_committed"`, `"success":true`, `"name":"shutdown_complete"`)
}

// dump reads every file of every partition folder with the stock dump tool.
func (s shell) dump(t *testing.T, dir string) {
	var files []string
	for _, pattern := range []string{"*.log", "*.index", "*.timeindex", "*.snapshot", "*.txnindex"} {
		found, err := filepath.Glob(filepath.Join(dir, "*-*", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d files in %s", len(files), dir)
	}
	out := s.run(t, "", "dump-log", "--deep-iteration", "--files", strings.Join(files, ","))
	contains(t, out, "Dumping ", "isvalid: true")
	for _, bad := range []string{"isvalid: false", "Found timestamp mismatch", "Found out of order timestamp", "Index position", "Exception", "Non-consecutive", "invalid"} {
		if strings.Contains(out, bad) {
			t.Errorf("the dump tool says %q:\n%.4000s", bad, out[max(0, strings.Index(out, bad)-2000):])
		}
	}
}
