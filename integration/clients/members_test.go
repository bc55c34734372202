package clients

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

// memberSession is the members' session timeout.
const memberSession = 6 * time.Second

// memberClient is a client whose groups are tried: how one of its members is run.
type memberClient struct {
	name     string
	command  func(t *testing.T) []string // the program and its first arguments
	settings []string
	pattern  bool // follows topics that appear, by a pattern
	prompt   bool // tells of a revocation before it is final
	steady   bool // its topics do not change
}

func javaMemberClient(version, protocol string) memberClient {
	c := memberClient{
		name:    "java-" + version + "-" + protocol,
		command: func(t *testing.T) []string { return javaProgram(t, "Member", version) },
		pattern: true, prompt: true,
	}
	if protocol == "consumer" {
		c.settings = []string{"group.protocol=consumer"}
	} else {
		c.settings = []string{"session.timeout.ms=" + ms(memberSession), "heartbeat.interval.ms=500"}
	}
	return c
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// javaClients are releases of the Java client alone, without tools.
var javaClients = map[string]string{
	"4.3.1": "4.3.1", "3.9.1": "3.9.1", "2.8.2": "clients-2.8.2", "2.4.1": "clients-2.4.1", "1.1.1": "clients-1.1.1",
}

var javaPrograms sync.Map // class and version to func() ([]string, error): compiled once a test run

// javaProgram compiles a class of members/ against a release of the client and says how to run it.
func javaProgram(t *testing.T, class, version string) []string {
	t.Helper()
	return javaProgramOf(t, class, javaClients[version])
}

// javaProgramOf is javaProgram for a folder of java/.
func javaProgramOf(t *testing.T, class, folder string) []string {
	t.Helper()
	build, _ := javaPrograms.LoadOrStore(class+" "+folder, sync.OnceValues(func() ([]string, error) {
		libs, err := process.KafkaJars(filepath.Join("java", folder))
		if err != nil {
			return nil, err
		}
		out := filepath.Join("java", folder, "target", class)
		if b, err := exec.Command("javac", "-nowarn", "-d", out, "-cp", libs+"/*", "members/"+class+".java").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("javac: %w\n%s", err, b)
		}
		return []string{"java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", out + ":" + libs + "/*", class}, nil
	}))
	command, err := build.(func() ([]string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return command
}

var pythonReady = sync.OnceValues(func() (string, error) {
	venv, err := filepath.Abs("python/.venv")
	if err != nil {
		return "", err
	}
	python := filepath.Join(venv, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		if out, err := exec.Command("python3", "-m", "venv", venv).CombinedOutput(); err != nil {
			return "", fmt.Errorf("venv: %w\n%s", err, out)
		}
	}
	cmd := exec.Command(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "python/requirements.txt")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pip: %w\n%s", err, out)
	}
	return python, nil
})

// pythonProgram is a Python program with what requirements.txt names.
func pythonProgram(t *testing.T, file string) []string {
	t.Helper()
	python, err := pythonReady()
	if err != nil {
		t.Fatal(err)
	}
	return []string{python, file}
}

var goMembers sync.Map // package to func() (string, error): built once a test run

// goMember builds a member written in Go.
func goMember(t *testing.T, name string) []string {
	t.Helper()
	build, _ := goMembers.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		binary := filepath.Join("members", "target", name)
		if out, err := exec.Command("go", "build", "-o", binary, "./members/"+name).CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return binary, nil
	}))
	binary, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"./" + binary}
}

// memberClients are all clients, by the protocol that their groups use.
func memberClients() []memberClient {
	classic := []string{"session.timeout.ms=" + ms(memberSession), "heartbeat.interval.ms=500"}
	with := func(more ...string) []string { return append(slices.Clone(classic), more...) }
	franz := func(t *testing.T) []string { return goMember(t, "franz") }
	python := func(file string) func(*testing.T) []string {
		return func(t *testing.T) []string { return pythonProgram(t, "members/"+file) }
	}
	return []memberClient{
		javaMemberClient("4.3.1", "classic"), javaMemberClient("4.3.1", "consumer"), javaMemberClient("3.9.1", "classic"), javaMemberClient("3.9.1", "consumer"),
		javaMemberClient("2.8.2", "classic"), javaMemberClient("1.1.1", "classic"),
		{name: "franz-go-classic", command: franz, settings: with("partition.assignment.strategy=cooperative-sticky"), pattern: true, prompt: true},
		{name: "franz-go-consumer", command: franz, settings: []string{"group.protocol=consumer"}, pattern: true, prompt: true},
		{name: "sarama", command: func(t *testing.T) []string { return goMember(t, "sarama") }, settings: with("partition.assignment.strategy=sticky"), prompt: true},
		{name: "librdkafka-classic", command: python("member_confluent.py"), settings: with("partition.assignment.strategy=cooperative-sticky"), pattern: true, prompt: true},
		{name: "librdkafka-consumer", command: python("member_confluent.py"), settings: []string{"group.protocol=consumer"}, pattern: true, prompt: true},
		// A member of kafka-python stays without partitions, on Apache Kafka too, when its topics change while it joins.
		{name: "kafka-python", command: python("member_kafka_python.py"), settings: []string{"session_timeout_ms=" + ms(memberSession), "heartbeat_interval_ms=500"}, prompt: true, steady: true},
		{name: "aiokafka", command: python("member_aiokafka.py"), settings: []string{"session_timeout_ms=" + ms(memberSession), "heartbeat_interval_ms=500"}, pattern: true, prompt: true},
		{name: "kafkajs", command: func(t *testing.T) []string { nodeModules(t); return []string{"node", "members/member_kafkajs.js"} },
			settings: []string{"sessionTimeout=" + ms(memberSession), "rebalanceTimeout=10000", "heartbeatInterval=500"}},
	}
}

// memberRun is one group with its topics and its producer.
type memberRun struct {
	t       *testing.T
	addr    string
	group   string
	topic   string
	client  *kgo.Client
	admin   *kadm.Client
	members []*groupMember

	mu    sync.Mutex // guards sizes
	sizes map[string]int32
}

// groupBrokerSettings let groups move fast.
var groupBrokerSettings = []string{
	"group.initial.rebalance.delay.ms=200", "group.consumer.min.session.timeout.ms=" + ms(memberSession),
	"group.consumer.session.timeout.ms=" + ms(memberSession), "group.consumer.min.heartbeat.interval.ms=500",
	"group.consumer.heartbeat.interval.ms=500", "group.consumer.regex.refresh.interval.ms=10000",
}

func newMemberRun(t *testing.T, addr, name string) *memberRun {
	t.Helper()
	spread := func(string) func(*kgo.Record, int) int { // over as many partitions as the client knows of
		return func(record *kgo.Record, n int) int { return int(record.Partition) % n }
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(spread)),
		kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(300*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression())) // not all clients have the codecs
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r := &memberRun{t: t, addr: addr, group: name, topic: name, client: client, admin: kadm.NewClient(client), sizes: map[string]int32{}}
	t.Cleanup(func() {
		if t.Failed() {
			r.tell(t)
		}
	})
	return r
}

// tell shows what the members told, but most of what they consumed and committed.
func (r *memberRun) tell(t *testing.T) {
	t.Helper()
	process.Show(t, "what the members of "+r.group+" told", historyOf(r.members).String(), func(line string) bool {
		return !strings.Contains(line, " consumed ") && !strings.Contains(line, " committed ")
	})
}

func (r *memberRun) create(topic string, partitions int32) {
	r.t.Helper()
	if _, err := r.admin.CreateTopic(r.t.Context(), partitions, 1, nil, topic); err != nil {
		r.t.Fatal(err)
	}
	r.size(topic, partitions)
}

func (r *memberRun) size(topic string, partitions int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sizes[topic] = partitions
}

func (r *memberRun) partitions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, size := range r.sizes {
		n += int(size)
	}
	return n
}

// produce sends a record to every partition that there is, some hundred times a second, until stop is called.
func (r *memberRun) produce() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			r.mu.Lock()
			sizes := maps.Clone(r.sizes)
			r.mu.Unlock()
			for topic, n := range sizes {
				for p := range n {
					r.client.Produce(r.t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte("value")}, func(_ *kgo.Record, err error) {
						if err != nil && r.t.Context().Err() == nil {
							r.t.Errorf("produce to %s-%d: %v", topic, p, err)
						}
					})
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
		if err := r.client.Flush(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// member starts one more member.
func (r *memberRun) member(c memberClient, settings ...string) *groupMember {
	r.t.Helper()
	topic := r.topic
	if c.pattern {
		topic = "^" + r.topic + ".*"
	}
	args := append(c.command(r.t), r.addr, r.group, topic)
	args = append(append(args, c.settings...), settings...)
	m := startMember(r.t, fmt.Sprintf("m%d", len(r.members)+1), exec.Command(args[0], args[1:]...))
	r.members = append(r.members, m)
	return m
}

// settled waits until the partitions are spread over the members as evenly as can be.
func (r *memberRun) settled(what string, members ...*groupMember) time.Duration {
	r.t.Helper()
	begin := time.Now()
	n := r.partitions()
	var held []int
	defer func() {
		if r.t.Failed() {
			r.t.Logf("%s: of %d partitions the members hold %v", what, n, held)
		}
	}()
	await(r.t, what, func() bool {
		held = held[:0]
		total := 0
		for _, m := range members {
			m.running(r.t)
			has := m.holds()
			held = append(held, has)
			total += has
		}
		return total == n && slices.Min(held) >= n/len(members) && slices.Max(held) <= (n+len(members)-1)/len(members)
	})
	return time.Since(begin)
}

// finish waits until everything is committed, lets the members leave, and checks what they told.
func (r *memberRun) finish(prompt bool, members ...*groupMember) {
	r.t.Helper()
	ends := map[topicPartition]int64{}
	listed, err := r.admin.ListEndOffsets(r.t.Context(), slices.Collect(maps.Keys(r.sizes))...)
	if err != nil {
		r.t.Fatal(err)
	}
	listed.Each(func(o kadm.ListedOffset) { ends[topicPartition{o.Topic, o.Partition}] = o.Offset })
	var left []topicPartition
	defer func() {
		if r.t.Failed() && len(left) > 0 {
			r.t.Logf("not committed to the end: %v of %v", left, ends)
		}
	}()
	last := time.Now()
	await(r.t, "commit of everything", func() bool {
		for _, m := range members {
			m.running(r.t)
		}
		offsets, err := r.admin.FetchOffsets(r.t.Context(), r.group)
		if err != nil {
			return false
		}
		left = left[:0]
		for p, end := range ends {
			if o, ok := offsets.Lookup(p.Topic, p.Partition); !ok || o.At != end {
				left = append(left, p)
			}
		}
		if len(left) > 0 && time.Since(last) > commitsAgain {
			last = time.Now()
			r.produceMore(ends, left)
		}
		return len(left) == 0
	})
	for _, m := range members {
		m.leave(r.t)
	}
	historyOf(r.members).check(r.t, ends, prompt)
}

// commitsAgain is how long everything may be consumed without a commit.
const commitsAgain = 5 * time.Second

// produceMore adds a record to partitions whose end no member has told to be committed, if one had a commit refused: what a rebalance refuses is made good by the commit
// after the next records, so that one for the last of all is missing for ever. A commit that was told and is missing stays so.
func (r *memberRun) produceMore(ends map[topicPartition]int64, left []topicPartition) {
	r.t.Helper()
	told, refused := map[topicPartition]int64{}, false
	for _, e := range historyOf(r.members) {
		switch e.Name {
		case "committed":
			told[e.topicPartition] = max(told[e.topicPartition], e.To)
		case "refused":
			refused = true
		}
	}
	for _, p := range left {
		if !refused || told[p] >= ends[p] {
			continue
		}
		record, err := r.client.ProduceSync(r.t.Context(), &kgo.Record{Topic: p.Topic, Partition: p.Partition, Value: []byte("value")}).First()
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Logf("%v: one more record at %d", p, record.Offset)
		ends[p] = record.Offset + 1
	}
}

// TestGroups runs groups of every client through joins, leaves, kills, a pause over the session timeout, and topics that grow and appear. At
// every moment a partition has at most one owner, every record is processed, and the committed offsets are exact.
func TestGroups(t *testing.T) {
	b := process.New(t, groupBrokerSettings...)
	b.Start(t)
	slots := make(chan struct{}, 3)
	for _, c := range memberClients() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			changingGroup(newMemberRun(t, b.Addr, strings.ReplaceAll(c.name, ".", "-")), c)
		})
	}
}

func changingGroup(r *memberRun, c memberClient) {
	r.create(r.topic, 2)
	stop := r.produce()
	m1 := r.member(c)
	r.settled("one member has all", m1)
	m2 := r.member(c)
	r.settled("two members share", m1, m2)
	m3 := r.member(c)
	r.settled("the third member is idle", m1, m2, m3)
	if slices.Contains(c.settings, "group.protocol=consumer") { // a client may fall back silently
		r.expectType("Consumer")
	} else {
		r.expectType("Classic")
	}

	dies, rest := m1, []*groupMember{m2, m3}
	if dies.holds() == 0 {
		dies, rest = m2, []*groupMember{m1, m3}
	}
	dies.kill()
	r.t.Logf("failover took %v, the session timeout is %v", r.settled("the idle member takes over", rest...), memberSession)

	if !c.steady {
		if _, err := r.admin.UpdatePartitions(r.t.Context(), 6, r.topic); err != nil {
			r.t.Fatal(err)
		}
		r.size(r.topic, 6)
		r.settled("the topic has grown", rest...)
	}
	rest[0].pause(r.t)
	r.settled("the other took over from the one that is paused", rest[1])
	rest[0].resume(r.t)
	r.settled("the one that was paused is back", rest...)

	if c.pattern {
		r.create(r.topic+"-more", 2)
		r.settled("a topic has appeared", rest...)
	}
	rest[1].leave(r.t)
	m4 := r.member(c)
	r.settled("one left and one joined", rest[0], m4)
	stop()
	r.finish(c.prompt, rest[0], m4)
}
