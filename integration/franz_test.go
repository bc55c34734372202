package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// clientLimit bounds what a client may take for one step.
const clientLimit = 2 * time.Minute

func newClient(t *testing.T, b *servertest.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func createTopic(t *testing.T, b *servertest.Broker, topic string, partitions int32) {
	t.Helper()
	if _, err := kadm.NewClient(newClient(t, b)).CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, client *kgo.Client, topic string, values ...string) {
	t.Helper()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(v), Value: []byte(v)})
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func numbered(prefix string, n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return values
}

// TestCodecs sends with each codec, and reads what every topic's compression.type made of it.
func TestCodecs(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t)
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	admin := kadm.NewClient(newClient(t, b))
	for _, kind := range []string{"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		topic := "kept-as-" + kind
		if _, err := admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"compression.type": &kind}, topic); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, name := range slices.Sorted(maps.Keys(codecs)) {
			values := numbered(name, 300)
			produce(t, newClient(t, b, kgo.ProducerBatchCompression(codecs[name])), topic, values...)
			want = append(want, values...)
		}
		if got := consume(t, newClient(t, b, kgo.ConsumeTopics(topic)), len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: consumed %d values, want %d, or in another order", topic, len(got), len(want))
		}
	}
}

// consume polls until n records came and returns their values.
func consume(t *testing.T, client *kgo.Client, n int) (values []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	for len(values) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(values), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

// groupMember is one consumer of a group that polls until it is stopped.
type groupMember struct {
	client *kgo.Client
	cut    func() // breaks its network for good
	cancel context.CancelFunc
	done   chan struct{}
}

// watch is what all members of a group saw together.
type watch struct {
	mu       sync.Mutex
	values   map[string]int     // guarded by mu
	assigned map[string][]int32 // guarded by mu: by member name
	changed  chan struct{}      // guarded by mu
}

func newWatch() *watch {
	return &watch{values: map[string]int{}, assigned: map[string][]int32{}, changed: make(chan struct{})}
}

func (w *watch) update(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
	close(w.changed)
	w.changed = make(chan struct{})
}

// until waits until ok, which is called with the lock held.
func (w *watch) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(clientLimit)
	for {
		w.mu.Lock()
		satisfied, changed := ok(), w.changed
		state := fmt.Sprintf("%d values, assigned %v", len(w.values), w.assigned)
		w.mu.Unlock()
		if satisfied {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("%s: not after %v: %s", what, clientLimit, state)
		}
	}
}

func (w *watch) owners() (n int) {
	for _, partitions := range w.assigned {
		n += len(partitions)
	}
	return n
}

func startMember(t *testing.T, b *servertest.Broker, w *watch, name, group, topic string, opts ...kgo.Opt) *groupMember {
	t.Helper()
	var network cutter
	change := func(assign bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			w.update(func() {
				if assign {
					w.assigned[name] = append(w.assigned[name], m[topic]...)
					return
				}
				w.assigned[name] = slices.DeleteFunc(w.assigned[name], func(p int32) bool { return slices.Contains(m[topic], p) })
			})
		}
	}
	client := newClient(t, b, append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(200 * time.Millisecond), kgo.Dialer(network.dial), kgo.AutoCommitInterval(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
	}, opts...)...)
	ctx, cancel := context.WithCancel(t.Context())
	m := &groupMember{client: client, cut: network.cut, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				w.update(func() { w.values[string(r.Value)]++ })
			})
		}
	}()
	return m
}

// leave stops the member as a well-behaved program does. While a rebalance is under way nothing can be committed.
func (m *groupMember) leave(t *testing.T) {
	m.cancel()
	<-m.done
	for end := time.Now().Add(clientLimit); ; <-time.After(20 * time.Millisecond) {
		err := m.client.CommitUncommittedOffsets(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Errorf("commit: %v", err)
			break
		}
	}
	m.client.Close()
}

// die stops the member without a word to the broker.
func (m *groupMember) die() {
	m.cut()
	m.cancel()
	<-m.done
}

// cutter is a network that can be cut: open connections break and no new ones are made.
type cutter struct {
	mu    sync.Mutex
	down  bool       // guarded by mu
	conns []net.Conn // guarded by mu
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		_ = conn.Close()
		return nil, errors.New("the network is cut")
	}
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// TestGroups runs one group with each assignor: members join, leave and die; every record is consumed, and each partition
// has one owner in the end.
func TestGroups(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t)
	balancers := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}
	for name, balancer := range balancers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const partitions = 6
			topic, group := "topic-"+name, "group-"+name
			createTopic(t, b, topic, partitions)
			producer := newClient(t, b)
			w := newWatch()
			with := kgo.Balancers(balancer)

			produce(t, producer, topic, numbered("one", 200)...)
			one := startMember(t, b, w, "one", group, topic, with)
			w.until(t, "the first member owns all", func() bool { return len(w.assigned["one"]) == partitions && len(w.values) == 200 })
			startedTwo := startMember(t, b, w, "two", group, topic, with)
			startMember(t, b, w, "three", group, topic, with)
			w.until(t, "three members share", func() bool {
				return len(w.assigned["one"]) == 2 && len(w.assigned["two"]) == 2 && len(w.assigned["three"]) == 2
			})
			produce(t, producer, topic, numbered("two", 200)...)
			w.until(t, "all is consumed by three", func() bool { return len(w.values) == 400 })

			one.leave(t)
			w.until(t, "two members share", func() bool { return len(w.assigned["two"]) == 3 && len(w.assigned["three"]) == 3 })
			startedTwo.die()
			w.update(func() { delete(w.assigned, "two") })
			w.until(t, "the last member owns all", func() bool { return len(w.assigned["three"]) == partitions && w.owners() == partitions })
			produce(t, producer, topic, numbered("three", 200)...)
			w.until(t, "all is consumed by the last", func() bool { return len(w.values) == 600 })
		})
	}
}

// TestGroupResumes commits, restarts the broker, and goes on behind the commit.
func TestGroupResumes(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t)
	createTopic(t, b, "resumed", 1)
	produce(t, newClient(t, b), "resumed", numbered("before", 10)...)
	member := func() *kgo.Client {
		return newClient(t, b, kgo.ConsumerGroup("resumers"), kgo.ConsumeTopics("resumed"), kgo.DisableAutoCommit())
	}
	first := member()
	if got := consume(t, first, 10); !slices.Equal(got, numbered("before", 10)) {
		t.Fatalf("consumed %v", got)
	}
	if err := first.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.Close()

	b.Restart(t)
	produce(t, newClient(t, b), "resumed", numbered("after", 3)...)
	if got := consume(t, member(), 3); !slices.Equal(got, numbered("after", 3)) {
		t.Errorf("resumed with %v", got)
	}
}

// TestAdmin walks a topic's life through the admin API.
func TestAdmin(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t)
	admin := kadm.NewClient(newClient(t, b))
	ctx := t.Context()
	if _, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": kadm.StringPtr("60000")}, "life"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, "life"); !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("created twice: %v", err)
	}
	if _, err := admin.UpdatePartitions(ctx, 4, "life"); err != nil {
		t.Fatal(err)
	}
	topics, err := admin.ListTopics(ctx, "life")
	if err != nil || len(topics["life"].Partitions) != 4 {
		t.Fatalf("%d partitions, %v; want 4", len(topics["life"].Partitions), err)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, "life")
	if err != nil {
		t.Fatal(err)
	}
	described, err := configs.On("life", nil)
	if err != nil || !slices.ContainsFunc(described.Configs, func(c kadm.Config) bool {
		return c.Key == "retention.ms" && c.MaybeValue() == "60000" && strings.Contains(c.Source.String(), "TOPIC")
	}) {
		t.Errorf("retention.ms is not described as set: %v", err)
	}
	produce(t, newClient(t, b), "life", numbered("v", 100)...)
	ends, err := admin.ListEndOffsets(ctx, "life")
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	if total != 100 {
		t.Errorf("the end offsets add up to %d, want 100", total)
	}
	if _, err := admin.DeleteTopic(ctx, "life"); err != nil {
		t.Fatal(err)
	}
	fresh := kadm.NewClient(newClient(t, b)) // the first one keeps metadata for a while
	if topics, err := fresh.ListTopics(ctx, "life"); err != nil || !errors.Is(topics["life"].Err, kerr.UnknownTopicOrPartition) {
		t.Errorf("the deleted topic is %+v, %v", topics, err)
	}
}

// TestManyBrokers runs brokers side by side in one process: each has its own topics.
func TestManyBrokers(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			b := servertest.Start(t)
			topic := fmt.Sprintf("only-%d", i)
			createTopic(t, b, topic, 1)
			produce(t, newClient(t, b), topic, topic)
			topics, err := kadm.NewClient(newClient(t, b)).ListTopics(t.Context())
			if err != nil || !slices.Equal(topics.Names(), []string{topic}) {
				t.Errorf("broker %d has the topics %v, %v", i, topics.Names(), err)
			}
		})
	}
}
