package parity

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/process"
)

// trio is one side's cluster: nodes 1 to 3, each of them broker and controller.
type trio struct {
	addrs, controllers []string // by node id - 1
	kill, launch       func(id int)
	topics             func(args ...string) (string, error) // what kafka-topics prints
}

// clusterSettings are those of node id on both sides.
func clusterSettings(id int) []string {
	return []string{
		fmt.Sprint("broker.rack=r", id), "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
		"broker.session.timeout.ms=9000", "broker.heartbeat.interval.ms=500", "controller.quorum.fetch.timeout.ms=8000", // six nodes on one machine that may be busy
		"auto.leader.rebalance.enable=false", "group.initial.rebalance.delay.ms=0",
		"default.replication.factor=3", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3",
	}
}

// clusterAreas are the scripts for three nodes, in order: the last of them lose one.
var clusterAreas = []area{
	{"ClusterTopics", clusterTopics},
	{"ClusterMetadata", clusterMetadata},
	{"ClusterQuorum", clusterQuorum},
	{"ClusterFollowers", clusterFollowers},
	{"ClusterRacks", clusterRacks},
	{"ClusterCoordinators", clusterCoordinators},
	{"ClusterElections", clusterElections},
	{"ClusterReassignments", clusterReassignments},
	{"ClusterControllers", clusterControllers},
	{"ClusterVoters", clusterVoters},
	{"ClusterLoss", clusterLoss},
	{"ClusterPending", clusterPending},
	{"ClusterReturn", clusterReturn},
	{"ClusterUnregister", clusterUnregister},
}

// TestCluster compares clusters of three nodes.
func TestCluster(t *testing.T) {
	libs, err := process.KafkaJars("../clients/java/4.3.1")
	if err != nil {
		t.Fatal(err)
	}
	kafka := process.StartKafkaCluster(t, libs, 3, clusterSettings)
	tool := func(args ...string) (string, error) {
		return kafka.Tool("org.apache.kafka.tools.TopicCommand", args...)
	}
	ottla := startOttlaCluster(t)
	ottla.topics = tool
	sides := []*trio{{addrs: kafka.Addrs, controllers: kafka.Controllers, kill: kafka.Kill, launch: kafka.Launch, topics: tool}, ottla}
	compareAreas(t, server{name: "Apache Kafka", addr: sides[0].addrs[0], trio: sides[0]}, server{name: "Ottla", addr: sides[1].addrs[0], trio: sides[1]}, clusterAreas, nil)
}

func startOttlaCluster(t *testing.T) *trio {
	t.Helper()
	const size = 3
	c := &trio{}
	var voters []string
	for id := 1; id <= size; id++ {
		c.addrs = append(c.addrs, fmt.Sprintf("127.0.0.1:%d", process.FreePort(t)))
		c.controllers = append(c.controllers, fmt.Sprintf("127.0.0.1:%d", process.FreePort(t)))
		voters = append(voters, fmt.Sprintf("%d@%s", id, c.controllers[id-1]))
	}
	var nodes []*process.Broker
	for id := 1; id <= size; id++ {
		addr := c.addrs[id-1]
		nodes = append(nodes, process.NewNode(t, addr, append([]string{
			"process.roles=broker,controller", fmt.Sprint("node.id=", id), "controller.quorum.voters=" + strings.Join(voters, ","),
			fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://%s", addr, c.controllers[id-1]), "advertised.listeners=PLAINTEXT://" + addr,
			"controller.listener.names=CONTROLLER", "offsets.topic.replication.factor=3",
		}, clusterSettings(id)...)))
		nodes[id-1].Launch(t)
	}
	for _, n := range nodes {
		n.AwaitReady(t)
	}
	c.kill = func(id int) { nodes[id-1].Kill(t) }
	c.launch = func(id int) { nodes[id-1].Launch(t) }
	return c
}

// node is a connection to the client listener of a node.
func (c *conversation) node(id int) *client { return c.dialTo(c.server.trio.addrs[id-1], "parity") }

// whole waits until nodes 1 to n know of n brokers.
func (c *conversation) whole(n int) {
	for id := 1; id <= n; id++ {
		until(c.node(id), "brokers", metadata(12), func(r *kmsg.MetadataResponse) bool { return len(r.Brokers) == n })
	}
}
