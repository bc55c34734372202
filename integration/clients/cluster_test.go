package clients

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/process"
)

const (
	clusterSize    = 3
	clusterSession = 3 * time.Second // broker.session.timeout.ms
)

// nodes is a cluster of three processes that are broker and controller each, started from the properties that come with Apache Kafka. Its methods are for the test's
// goroutine.
type nodes struct {
	t           *testing.T
	hosts       []host            // by node id - 1
	brokers     []*process.Broker // likewise
	controllers []string          // the addresses of their controller listeners
	client      *kgo.Client
	admin       *kadm.Client
}

// host is where a node runs.
type host struct {
	address string
	command []string                         // runs a program there
	cut     func(out, in bool) (join func()) // ends what it sends to the others, and what they send to it; nil where that cannot be
}

// startNodes runs a cluster on the loopback. With dynamic, the first begins the quorum and the others join it; otherwise controller.quorum.voters names all.
func startNodes(t *testing.T, dynamic bool, lines ...string) *nodes {
	t.Helper()
	return startNodesAt(t, slices.Repeat([]host{{address: "127.0.0.1", cut: nil}}, clusterSize), dynamic, lines...)
}

// startNodesAt is startNodes elsewhere.
func startNodesAt(t *testing.T, hosts []host, dynamic bool, lines ...string) *nodes {
	t.Helper()
	c := &nodes{t: t, hosts: hosts}
	var voters, addrs []string
	for i, h := range hosts {
		addrs = append(addrs, fmt.Sprintf("%s:%d", h.address, process.FreePort(t)))
		c.controllers = append(c.controllers, fmt.Sprintf("%s:%d", h.address, process.FreePort(t)))
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, c.controllers[i]))
	}
	quorum := []string{"controller.quorum.voters=" + strings.Join(voters, ",")}
	if dynamic {
		quorum = []string{"controller.quorum.bootstrap.servers=" + c.controllers[0], "controller.quorum.auto.join.enable=true"}
	}
	for i, addr := range addrs {
		c.brokers = append(c.brokers, process.NewNode(t, addr, slices.Concat([]string{
			"process.roles=broker,controller", fmt.Sprint("node.id=", i+1),
			fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://%s", addr, c.controllers[i]),
			"advertised.listeners=PLAINTEXT://" + addr + ",CONTROLLER://" + c.controllers[i],
			"inter.broker.listener.name=PLAINTEXT", "controller.listener.names=CONTROLLER",
			"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
			"default.replication.factor=3", "min.insync.replicas=2", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3",
			"broker.session.timeout.ms=" + ms(clusterSession), "broker.heartbeat.interval.ms=500",
		}, quorum, lines), hosts[i].command...))
	}
	for _, b := range c.brokers {
		b.Launch(t)
	}
	for _, b := range c.brokers {
		b.AwaitReady(t)
	}
	var err error
	c.client, err = kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.MetadataMinAge(50*time.Millisecond), kgo.DialTimeout(2*time.Second), kgo.RequestTimeoutOverhead(2*time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.AlwaysRetryEOF())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.Close)
	c.admin = kadm.NewClient(c.client)
	await(t, "three brokers", func() bool {
		all, err := c.admin.ListBrokers(t.Context())
		return err == nil && len(all) == clusterSize
	})
	return c
}

// addr is the bootstrap list of the clients.
func (c *nodes) addr() string {
	var all []string
	for _, b := range c.brokers {
		all = append(all, b.Addr)
	}
	return strings.Join(all, ",")
}

// node is the process of a node id.
func (c *nodes) node(id int32) *process.Broker {
	c.t.Helper()
	if id < 1 || id > clusterSize {
		c.t.Fatalf("there is no node %d", id)
	}
	return c.brokers[id-1]
}

// create makes a topic of three replicas.
func (c *nodes) create(topic string, partitions int32) {
	c.t.Helper()
	if _, err := c.admin.CreateTopic(c.t.Context(), partitions, clusterSize, nil, topic); err != nil {
		c.t.Fatal(err)
	}
}

// controller is the node id of the active controller.
func (c *nodes) controller() int32 {
	c.t.Helper()
	leader := int32(-1)
	await(c.t, "active controller", func() bool {
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}}}}
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		answer, err := req.RequestWith(ctx, c.client)
		if err != nil || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
			return false
		}
		leader = answer.Topics[0].Partitions[0].LeaderID
		return leader > 0
	})
	return leader
}

// partition is what the brokers know of a partition.
func (c *nodes) partition(topic string, partition int32) kadm.PartitionDetail {
	c.t.Helper()
	var detail kadm.PartitionDetail
	await(c.t, fmt.Sprintf("leader of %s-%d", topic, partition), func() bool {
		topics, err := c.admin.ListTopics(c.t.Context(), topic)
		if err != nil {
			return false
		}
		detail = topics[topic].Partitions[partition]
		return detail.Leader > 0
	})
	return detail
}

// awaitInSync waits until every broker knows of all brokers, and of no replica that is out of sync.
func (c *nodes) awaitInSync() {
	c.t.Helper()
	for _, b := range c.brokers {
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
		if err != nil {
			c.t.Fatal(err)
		}
		seed := cl.SeedBrokers()[0]
		await(c.t, "cluster in sync", func() bool {
			ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
			defer cancel()
			answer, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, seed)
			return err == nil && len(answer.Brokers) == clusterSize && !slices.ContainsFunc(answer.Topics, func(t kmsg.MetadataResponseTopic) bool {
				return slices.ContainsFunc(t.Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader < 0 || len(p.ISR) != len(p.Replicas) })
			})
		})
		cl.Close()
	}
}

// toolbox is one process that runs stock tools one after the other, of which only the first takes as long as a start of Java. Its methods are for one goroutine.
type toolbox struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startToolbox(t *testing.T, version string) *toolbox {
	t.Helper()
	command := javaProgramOf(t, "Tools", version)
	cmd := exec.CommandContext(t.Context(), command[0], append([]string{"-Xmx256m"}, command[2:]...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &toolbox{in: in, out: bufio.NewReader(out)}
}

// run runs a tool and returns the lines that it printed and its status.
func (b *toolbox) run(tool string, args ...string) (lines []string, status int, err error) {
	if _, err := fmt.Fprintln(b.in, strings.Join(append([]string{toolClasses[tool]}, unhurried(tool, args)...), "\t")); err != nil {
		return nil, 0, err
	}
	for {
		text, err := b.out.ReadString('\n')
		if err != nil {
			return lines, 0, fmt.Errorf("kafka-%s %s: %w", tool, strings.Join(args, " "), err)
		}
		text = strings.TrimRight(text, "\r\n")
		if end, ok := strings.CutPrefix(text, "exit "); ok {
			status, err := strconv.Atoi(end)
			return lines, status, err
		}
		lines = append(lines, text)
	}
}
