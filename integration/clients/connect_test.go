package clients

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

// connectCommand runs a main class of Kafka Connect.
func connectCommand(t *testing.T, class string, args ...string) *exec.Cmd {
	t.Helper()
	libs, err := process.KafkaJars(filepath.Join("java", "streams-4.3.1"))
	if err != nil {
		t.Fatal(err)
	}
	jvm := []string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", libs + "/*", class}
	return exec.Command("java", append(jvm, args...)...)
}

// textFile writes a file of the test.
func textFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func appendLines(t *testing.T, file string, from, to int) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := io.WriteString(f, lines(from, to)); err != nil {
		t.Fatal(err)
	}
}

func lines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

const stringConverters = `key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
`

// TestConnectStandalone copies a file through a topic into another file with Kafka Connect's own connectors.
func TestConnectStandalone(t *testing.T) {
	b := process.New(t, noGroupDelay)
	b.Start(t)
	const n = 1000
	in := textFile(t, "in", lines(0, n))
	out := filepath.Join(t.TempDir(), "out")
	worker := textFile(t, "worker.properties", fmt.Sprintf(`bootstrap.servers=%s
%soffset.storage.file.filename=%s
offset.flush.interval.ms=500
listeners=http://127.0.0.1:%d
`, b.Addr, stringConverters, filepath.Join(t.TempDir(), "offsets"), process.FreePort(t)))
	source := textFile(t, "source.properties", "name=source\nconnector.class=FileStreamSource\ntasks.max=1\ntopic=connect\nfile="+in+"\n")
	sink := textFile(t, "sink.properties", "name=sink\nconnector.class=FileStreamSink\ntasks.max=1\ntopics=connect\nfile="+out+"\n")
	startApplication(t, connectCommand(t, "org.apache.kafka.connect.cli.ConnectStandalone", worker, source, sink))
	await(t, "the file has come through", func() bool {
		got, err := os.ReadFile(out)
		return err == nil && string(got) == lines(0, n)
	})
}

// TestConnectExactlyOnce runs a distributed worker whose source connector writes in transactions, and kills it: each line is in the topic once.
func TestConnectExactlyOnce(t *testing.T) {
	const turns, perTurn = 4, 500
	b := process.New(t, "transaction.abort.timed.out.transaction.cleanup.interval.ms=500", noGroupDelay)
	b.Start(t)
	in := textFile(t, "in", "")
	rest := fmt.Sprintf("http://127.0.0.1:%d", process.FreePort(t))
	worker := textFile(t, "worker.properties", fmt.Sprintf(`bootstrap.servers=%s
%sgroup.id=connect
exactly.once.source.support=enabled
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
session.timeout.ms=6000
heartbeat.interval.ms=1000
scheduled.rebalance.max.delay.ms=0
listeners=%s
`, b.Addr, stringConverters, rest))
	start := func() *application {
		return startApplication(t, connectCommand(t, "org.apache.kafka.connect.cli.ConnectDistributed", worker))
	}
	w := start()
	config := fmt.Sprintf(`{"name":"source","config":{"connector.class":"FileStreamSource","tasks.max":"1","topic":"lines","file":%q,
		"exactly.once.support":"required","transaction.boundary":"interval","transaction.boundary.interval.ms":"200"}}`, in)
	await(t, "the connector is created", func() bool {
		resp, err := http.Post(rest+"/connectors", "application/json", bytes.NewBufferString(config))
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body) // a worker that is rebalancing answers Conflict too
		return resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusConflict && bytes.Contains(text, []byte("already exists"))
	})
	want := []string{}
	for turn := range turns {
		appendLines(t, in, turn*perTurn, (turn+1)*perTurn)
		for i := turn * perTurn; i < (turn+1)*perTurn; i++ {
			want = append(want, fmt.Sprintf("line %d", i))
		}
		if turn < turns-1 {
			awaitEnd(t, b.Addr, "lines", int64(turn*perTurn+perTurn/5)) // in the middle of its work
			w.kill()
			w = start()
		}
	}
	slices.Sort(want)
	got := collect(t, b.Addr, "lines", len(want), func(r *kgo.Record) string { return string(r.Value) })
	if !slices.Equal(got, want) {
		t.Errorf("%d lines, %d wanted; missing: %v", len(got), len(want), slices.DeleteFunc(want, func(l string) bool {
			_, ok := slices.BinarySearch(got, l)
			return ok
		}))
	}
}

// TestMirrorMaker copies topics and group offsets from one Ottla to another with MirrorMaker 2.
func TestMirrorMaker(t *testing.T) {
	const n = 500
	a, b := process.New(t, noGroupDelay), process.New(t, noGroupDelay)
	a.Start(t)
	b.Start(t)
	from, to := mirrorClient(t, a.Addr), mirrorClient(t, b.Addr)
	if _, err := kadm.NewClient(from).CreateTopic(t.Context(), 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("7654321")}, "mirrored"); err != nil {
		t.Fatal(err)
	}
	want := []string{}
	for i := range n {
		want = append(want, fmt.Sprintf("k%d=v%d", i, i))
		if err := from.ProduceSync(t.Context(), &kgo.Record{Topic: "mirrored", Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	commitEnds(t, from, "mirrored", "readers")
	properties := textFile(t, "mm2.properties", fmt.Sprintf(`clusters=a,b
a.bootstrap.servers=%s
b.bootstrap.servers=%s
a->b.enabled=true
b->a.enabled=false
a->b.topics=mirrored
a->b.groups=readers
replication.factor=1
checkpoints.topic.replication.factor=1
heartbeats.topic.replication.factor=1
offset-syncs.topic.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
config.storage.replication.factor=1
emit.checkpoints.interval.seconds=1
sync.group.offsets.enabled=true
sync.group.offsets.interval.seconds=1
refresh.groups.interval.seconds=2
offset.lag.max=0
sync.topic.acls.enabled=false
`, a.Addr, b.Addr))
	startApplication(t, connectCommand(t, "org.apache.kafka.connect.mirror.MirrorMaker", properties))
	admin := kadm.NewClient(to)
	await(t, "the topic is there", func() bool {
		topics, err := admin.ListTopics(t.Context(), "a.mirrored")
		return err == nil && topics.Has("a.mirrored") && len(topics["a.mirrored"].Partitions) == 3
	})
	got := collect(t, b.Addr, "a.mirrored", n, func(r *kgo.Record) string { return string(r.Key) + "=" + string(r.Value) })
	if !slices.Equal(got, want) {
		t.Errorf("%d records, %d wanted", len(got), len(want))
	}
	await(t, "the retention came along", func() bool {
		configs, err := admin.DescribeTopicConfigs(t.Context(), "a.mirrored")
		if err != nil || len(configs) != 1 {
			return false
		}
		for _, c := range configs[0].Configs {
			if c.Key == "retention.ms" {
				return c.Value != nil && *c.Value == "7654321"
			}
		}
		return false
	})
	await(t, "the group's offsets came along", func() bool {
		offsets, err := admin.FetchOffsets(t.Context(), "readers")
		if err != nil {
			return false
		}
		sum := int64(0)
		offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
		return sum == n
	})
}

func mirrorClient(t *testing.T, addr string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// commitEnds commits the end of a topic for a group.
func commitEnds(t *testing.T, cl *kgo.Client, topic, group string) {
	t.Helper()
	admin := kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.CommitAllOffsets(t.Context(), group, ends.Offsets()); err != nil {
		t.Fatal(err)
	}
}
