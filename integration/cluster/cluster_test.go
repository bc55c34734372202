//go:build unix

// Package cluster runs three ottla processes from the properties files of a KRaft cluster, ends, pauses and cuts them off while clients write and read, and
// looks whether anything acknowledged was lost and how long nothing was acknowledged. `go test` has them on the loopback; with the tag netns, as root on Linux, each is in
// a network namespace of its own, and the tests of cut networks run too (`make test-cluster`).
package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/process"
)

const (
	brokers    = 3
	partitions = 6
	topic      = "events"
	// sessionTimeout is broker.session.timeout.ms of the tests.
	sessionTimeout = 3 * time.Second
)

func TestMain(m *testing.M) { process.Main(m) }

// cluster is three nodes that are broker and controller. Its methods are for the test's goroutine.
type cluster struct {
	t     *testing.T
	hosts []machine         // by node id - 1
	nodes []*process.Broker // by node id - 1
	seeds []string          // of a cluster in this process, which has no nodes
	gone  []int             // the ids of brokers that are no longer registered
}

// start runs a cluster with a topic of three replicas.
func start(t *testing.T) *cluster {
	t.Helper()
	return startWith(t, "")
}

// startWith is start with another binary.
func startWith(t *testing.T, binary string) *cluster {
	t.Helper()
	hosts := machines(t)
	var voters []string
	ports := make([][2]int, brokers)
	for i, h := range hosts {
		ports[i] = [2]int{process.FreePort(t), process.FreePort(t)}
		voters = append(voters, fmt.Sprintf("%d@%s:%d", i+1, h.address, ports[i][1]))
	}
	c := &cluster{t: t, hosts: hosts}
	for i, h := range hosts {
		addr := fmt.Sprintf("%s:%d", h.address, ports[i][0])
		c.nodes = append(c.nodes, process.NewNode(t, addr, []string{
			"process.roles=broker,controller", fmt.Sprint("node.id=", i+1),
			"controller.quorum.voters=" + strings.Join(voters, ","),
			fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://%s:%d", addr, h.address, ports[i][1]),
			"advertised.listeners=PLAINTEXT://" + addr,
			"inter.broker.listener.name=PLAINTEXT",
			"controller.listener.names=CONTROLLER",
			"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
			"default.replication.factor=3", "min.insync.replicas=2",
			"offsets.topic.replication.factor=3", "offsets.topic.num.partitions=3",
			"transaction.state.log.replication.factor=3", "transaction.state.log.min.isr=2", "transaction.state.log.num.partitions=3",
			fmt.Sprint("broker.session.timeout.ms=", sessionTimeout.Milliseconds()), "broker.heartbeat.interval.ms=500",
			"group.initial.rebalance.delay.ms=0", "replica.lag.time.max.ms=5000",
		}, h.command...))
	}
	for _, n := range c.nodes {
		n.Use(binary)
		n.Launch(t)
	}
	for _, n := range c.nodes {
		n.AwaitReady(t)
	}
	c.create(topic, partitions)
	return c
}

// create makes a topic of three replicas and waits until they are in sync.
func (c *cluster) create(name string, partitions int32) {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	answer, err := kadm.NewClient(client).CreateTopic(ctx, partitions, brokers, nil, name)
	if err == nil {
		err = answer.Err
	}
	if err != nil {
		c.t.Fatalf("create topic: %v", err)
	}
	c.awaitInSync()
}

// machine is where a node runs.
type machine struct {
	address string
	command []string                         // runs a program there
	cut     func(out, in bool) (join func()) // ends what it sends to the others, and what they send to it; nil where that cannot be
}

// options are those of a client of the cluster, and more.
func (c *cluster) options(more ...kgo.Opt) []kgo.Opt {
	seeds := slices.Clone(c.seeds)
	for i, n := range c.nodes {
		if !slices.Contains(c.gone, i+1) {
			seeds = append(seeds, n.Addr)
		}
	}
	return append([]kgo.Opt{ // kgo's twenty attempts last no longer than a coordinator loads on a busy machine; what ends a request is its context
		kgo.SeedBrokers(seeds...), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.RequestRetries(10_000), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.DialTimeout(2 * time.Second), kgo.RequestTimeoutOverhead(2 * time.Second),
		kgo.AlwaysRetryEOF(), // a broker that is killed before it answers the first request on a connection is no broker that wants SASL
	}, more...)
}

func (c *cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(c.options(opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// limit is how long the cluster may take to become whole again.
const limit = 2 * time.Minute

// ends is how far the partitions of a topic reach that have records.
func (c *cluster) ends(ctx context.Context, client *kgo.Client, topic string) map[int32]int64 {
	c.t.Helper()
	all, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		c.t.Fatal(err)
	}
	ends := map[int32]int64{}
	all.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			c.t.Errorf("the end of %s-%d: %v", topic, o.Partition, o.Err)
		}
		if o.Offset > 0 {
			ends[o.Partition] = o.Offset
		}
	})
	return ends
}

// awaitInSync waits until every running broker says that all replicas of all partitions are in sync.
func (c *cluster) awaitInSync() {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	var missing string
	for end := time.Now().Add(limit); time.Now().Before(end); {
		missing = c.outOfSync(client)
		if missing == "" {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.t.Context().Done():
			return
		}
	}
	c.t.Fatalf("not in sync after %v: %s", limit, missing)
}

func (c *cluster) outOfSync(client *kgo.Client) string {
	for i := range len(c.nodes) + len(c.seeds) {
		if len(c.nodes) > 0 && !c.nodes[i].Running() {
			continue
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		answer, err := client.Broker(i+1).Request(ctx, kmsg.NewPtrMetadataRequest())
		cancel()
		if err != nil {
			return fmt.Sprintf("broker %d: %v", i+1, err)
		}
		resp := answer.(*kmsg.MetadataResponse)
		if len(resp.Brokers) != len(c.nodes)+len(c.seeds)-len(c.gone) {
			return fmt.Sprintf("broker %d sees %d brokers", i+1, len(resp.Brokers))
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if len(p.ISR) != len(p.Replicas) || p.Leader < 0 {
					return fmt.Sprintf("broker %d: %s-%d: leader %d, replicas %v, in sync %v", i+1, *t.Topic, p.Partition, p.Leader, p.Replicas, p.ISR)
				}
			}
		}
	}
	return ""
}

// controller is the node id of the active controller.
func (c *cluster) controller() int {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}}}}
	for tick := time.NewTicker(50 * time.Millisecond); ; { // there may be an election
		answer, err := req.RequestWith(ctx, client)
		if err == nil && len(answer.Topics) == 1 && len(answer.Topics[0].Partitions) == 1 && answer.Topics[0].Partitions[0].LeaderID > 0 {
			tick.Stop()
			return int(answer.Topics[0].Partitions[0].LeaderID)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("no controller leads: %+v %v", answer, err)
		}
	}
}

// leader is the node id of the leader of a partition.
func (c *cluster) leader(partition int32) int {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; { // there may be an election
		topics, err := kadm.NewClient(client).ListTopics(ctx, topic)
		if p := topics[topic].Partitions[partition]; p.Leader > 0 {
			tick.Stop()
			return int(p.Leader)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("partition %d has no leader: %+v %v", partition, topics, err)
		}
	}
}

// node returns the node of an id.
func (c *cluster) node(id int) *process.Broker {
	c.t.Helper()
	if id < 1 || id > len(c.nodes) {
		c.t.Fatalf("there is no node %d", id)
	}
	return c.nodes[id-1]
}

// pauseFor is how long a paused process stands still: OTTLA_CLUSTER_PAUSE, or twice the session timeout.
func pauseFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("OTTLA_CLUSTER_PAUSE")
	if text == "" {
		return 2 * sessionTimeout
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("OTTLA_CLUSTER_PAUSE: %v", err)
	}
	return d
}
