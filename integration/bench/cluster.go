package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterNodes is how many nodes the usual cluster has: each is broker and controller.
const clusterNodes = 3

// cluster is a peer that runs as several processes. It belongs to one goroutine.
type cluster struct {
	nodes []*server // by node id, from 1
}

// startCluster runs so many nodes of p, of which the first are controllers too, on free ports, with the settings that a user would take, until all know each other.
func startCluster(ctx context.Context, p *peer, nodes, controllers int) (*cluster, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	c := &cluster{}
	voters := make([]string, controllers)
	ports := make([]int, nodes+controllers)
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	for i := range voters {
		voters[i] = fmt.Sprintf("%d@127.0.0.1:%d", i+1, ports[nodes+i])
	}
	for i := range nodes {
		node := filepath.Join(dir, fmt.Sprint(i+1))
		controllerPort := 0
		if i < controllers {
			controllerPort = ports[nodes+i]
		}
		if err = os.Mkdir(node, 0o755); err == nil {
			err = os.WriteFile(filepath.Join(node, "server.properties"), []byte(clusterProperties(i+1, ports[i], controllerPort, voters, nodes, node)), 0o644)
		}
		if err == nil && p.format != nil {
			err = p.format(filepath.Join(node, "server.properties"))
		}
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		own := *p
		own.name, own.command = fmt.Sprintf("%s, node %d", p.name, i+1), p.node
		c.nodes = append(c.nodes, &server{peer: &own, dir: node, addr: fmt.Sprintf("127.0.0.1:%d", ports[i])})
	}
	err = inParallel(len(c.nodes), func(i int) error { return c.nodes[i].start(ctx) })
	if err == nil {
		err = c.awaitBrokers(ctx)
	}
	if err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

// clusterProperties is the file of one of so many nodes; controllerPort is 0 for one that is a broker only.
func clusterProperties(id, port, controllerPort int, voters []string, nodes int, dir string) string {
	roles, controller := "broker", ""
	if controllerPort > 0 {
		roles, controller = "broker,controller", fmt.Sprintf(",CONTROLLER://127.0.0.1:%d", controllerPort)
	}
	return fmt.Sprintf(`process.roles=%s
node.id=%d
controller.quorum.voters=%s
listeners=PLAINTEXT://127.0.0.1:%d%s
advertised.listeners=PLAINTEXT://127.0.0.1:%[4]d
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=%[6]s
offsets.topic.replication.factor=%[7]d
transaction.state.log.replication.factor=%[7]d
transaction.state.log.min.isr=2
`, roles, id, strings.Join(voters, ","), port, controller, filepath.Join(dir, "data"), nodes)
}

// remove ends all nodes and removes their data.
func (c *cluster) remove() {
	_ = inParallel(len(c.nodes), func(i int) error {
		if c.nodes[i].exited == nil {
			return nil
		}
		return c.nodes[i].kill() // a clean stop of all at once has nobody to hand over to
	})
	_ = os.RemoveAll(filepath.Dir(c.nodes[0].dir))
}

// node is the node with an id.
func (c *cluster) node(id int32) *server { return c.nodes[id-1] }

// other is a node that is not the one with the id.
func (c *cluster) other(id int32) *server { return c.nodes[int(id)%len(c.nodes)] }

// spend runs load and returns what all nodes spent meanwhile.
func (c *cluster) spend(load func() error) (usage, error) {
	before, err := c.cpu()
	if err != nil {
		return usage{}, err
	}
	begin := time.Now()
	if err := load(); err != nil {
		return usage{}, err
	}
	wall := time.Since(begin)
	after, err := c.cpu()
	return usage{cpu: after - before, wall: wall}, err
}

func (c *cluster) cpu() (time.Duration, error) {
	total := time.Duration(0)
	for _, n := range c.nodes {
		spent, err := cpuTime(n.pid())
		if err != nil {
			return 0, err
		}
		total += spent
	}
	return total, nil
}

// memory is the resident memory of the node that has most, in bytes.
func (c *cluster) memory() (int64, error) {
	most := int64(0)
	for _, n := range c.nodes {
		bytes, err := residentBytes(n.pid())
		if err != nil {
			return 0, err
		}
		most = max(most, bytes)
	}
	return most, nil
}

// await asks a node for the metadata of topics until done says so of the answer.
func (c *cluster) await(ctx context.Context, asked *server, what string, topics []string, done func(*kmsg.MetadataResponse) bool) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	for {
		resp, err := do[*kmsg.MetadataResponse](ctx, asked.addr, req)
		if err == nil && done(resp) {
			return resp, nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
}

// awaitBrokers waits until each node knows all.
func (c *cluster) awaitBrokers(ctx context.Context) error {
	for _, n := range c.nodes {
		if _, err := c.await(ctx, n, "all brokers", nil, func(r *kmsg.MetadataResponse) bool { return len(r.Brokers) == len(c.nodes) }); err != nil {
			return err
		}
	}
	return nil
}

// awaitInSync waits until a node knows a leader of each partition, and that all replicas are in sync.
func (c *cluster) awaitInSync(ctx context.Context, asked *server, topics ...string) (*kmsg.MetadataResponse, error) {
	return c.await(ctx, asked, "replicas in sync", topics, func(r *kmsg.MetadataResponse) bool {
		return everyPartition(r, func(p *kmsg.MetadataResponseTopicPartition) bool {
			return p.Leader > 0 && len(p.ISR) == len(p.Replicas)
		})
	})
}

func everyPartition(r *kmsg.MetadataResponse, is func(*kmsg.MetadataResponseTopicPartition) bool) bool {
	for i := range r.Topics {
		if r.Topics[i].ErrorCode != 0 || len(r.Topics[i].Partitions) == 0 {
			return false
		}
		for j := range r.Topics[i].Partitions {
			if !is(&r.Topics[i].Partitions[j]) {
				return false
			}
		}
	}
	return true
}

// create creates a topic with a replica on each node, of which two must be in sync; placed, if any, are the replicas of its one partition.
func (c *cluster) create(ctx context.Context, asked *server, name string, partitions int32, placed ...int32) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, int16(len(c.nodes))
	if len(placed) > 0 {
		topic.NumPartitions, topic.ReplicationFactor = -1, -1
		topic.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: placed}}
	}
	topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "min.insync.replicas", Value: kmsg.StringPtr("2")}}
	return createTopicAs(ctx, asked.addr, topic)
}

// controller is the id of the node that decides.
func (c *cluster) controller(ctx context.Context, asked *server) (int32, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t, p := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	t.Topic, t.Partitions = "__cluster_metadata", append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	for {
		resp, err := do[*kmsg.DescribeQuorumResponse](ctx, asked.addr, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil && len(resp.Topics) == 1 && len(resp.Topics[0].Partitions) == 1 {
			if q := resp.Topics[0].Partitions[0]; q.ErrorCode == 0 && q.LeaderID > 0 {
				return q.LeaderID, nil
			}
		}
		if pauseErr := pause(ctx, 20*time.Millisecond); pauseErr != nil {
			return 0, fmt.Errorf("no controller is known: %w", errors.Join(err, pauseErr))
		}
	}
}

// placement is the ids of all nodes, the given one first: the preferred leader.
func (c *cluster) placement(first int32) []int32 {
	ids := []int32{first}
	for i := range c.nodes {
		if id := int32(i + 1); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
