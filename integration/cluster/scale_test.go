//go:build unix && !netns

package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/process"
	"github.com/ottla/ottla/protocol"
)

// early is a topic of a time when there was one broker.
const early = "early"

// TestScale grows a cluster from one broker to three, so that the internal topics get replicas, then to five, and takes one away, while clients write, read and copy in
// transactions.
func TestScale(t *testing.T) {
	quorum := process.FreePort(t)
	c := &cluster{t: t}
	c.join("broker,controller", quorum)
	c.begin()
	c.join("broker", quorum)
	c.join("broker", quorum)
	c.awaitReplicas(brokers, protocol.GroupMetadataTopic, protocol.TransactionStateTopic)
	c.awaitMinISR(protocol.TransactionStateTopic, "2")
	c.kept()
	c.create(topic, partitions)
	load, copier := c.load(), c.copier()
	c.join("broker", quorum)
	c.join("broker", quorum)
	wait(t, time.Second)
	c.empty(2, []int32{4, 5, 1, 3})
	c.remove(2)
	c.awaitInSync()
	wait(t, time.Second)
	c.kept()
	gap := load.stop()
	copier.stop()
	within(t, gap, 200*time.Millisecond+slack)
}

// join starts a node more; quorum is the port of the only controller, node 1.
func (c *cluster) join(roles string, quorum int) {
	c.t.Helper()
	id := len(c.nodes) + 1
	addr := fmt.Sprintf("127.0.0.1:%d", process.FreePort(c.t))
	listeners := "PLAINTEXT://" + addr
	if id == 1 {
		listeners += fmt.Sprintf(",CONTROLLER://127.0.0.1:%d", quorum)
	}
	n := process.NewNode(c.t, addr, []string{
		"process.roles=" + roles, fmt.Sprint("node.id=", id), fmt.Sprintf("controller.quorum.voters=1@127.0.0.1:%d", quorum),
		"listeners=" + listeners, "advertised.listeners=PLAINTEXT://" + addr, "controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3", "group.initial.rebalance.delay.ms=0",
	})
	n.Start(c.t)
	c.nodes = append(c.nodes, n)
}

// begin makes the internal topics on the only broker, with an offset and a transaction in them.
func (c *cluster) begin() {
	t := c.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	client := c.client(kgo.TransactionalID(early), kgo.DefaultProduceTopic(early))
	defer client.Close()
	admin := kadm.NewClient(client)
	if answer, err := admin.CreateTopic(ctx, 1, 1, nil, early); err != nil || answer.Err != nil {
		t.Fatal(err, answer.Err)
	}
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, kgo.StringRecord("one")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	var at kadm.Offsets
	at.AddOffset(early, 0, 1, -1)
	if err := admin.CommitAllOffsets(ctx, early, at); err != nil {
		t.Fatal(err)
	}
	c.awaitReplicas(1, protocol.GroupMetadataTopic, protocol.TransactionStateTopic)
}

// kept checks that what begin has left is there. While a coordinator moves there is none for a moment.
func (c *cluster) kept() {
	c.t.Helper()
	c.await(func(ctx context.Context, admin *kadm.Client) string {
		offsets, err := admin.FetchOffsets(ctx, early)
		if at, _ := offsets.Lookup(early, 0); err != nil || at.At != 1 {
			return fmt.Sprintf("the group of the first broker is at %d, %v", at.At, err)
		}
		described, err := admin.DescribeTransactions(ctx, early)
		if err != nil || described[early].Err != nil || described[early].State != "CompleteCommit" {
			return fmt.Sprintf("the transaction of the first broker: %+v, %v", described[early], err)
		}
		return ""
	})
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	if got := c.values(ctx, early); !slices.Equal(got, []string{"one"}) {
		c.t.Errorf("the topic of the first broker has %q", got)
	}
}

// awaitReplicas waits until all partitions of topics have as many replicas, all in sync, and nothing is being moved.
func (c *cluster) awaitReplicas(n int, topics ...string) {
	c.t.Helper()
	c.awaitTopics(fmt.Sprintf("%d replicas of %v", n, topics), func(all kadm.TopicDetails, moving int) bool {
		for _, name := range topics {
			if len(all[name].Partitions) == 0 {
				return false
			}
			for _, p := range all[name].Partitions {
				if len(p.Replicas) != n || len(p.ISR) != n {
					return false
				}
			}
		}
		return moving == 0
	})
}

// await asks until nothing is missing. When limit has passed the test fails, and tells what is.
func (c *cluster) await(missing func(context.Context, *kadm.Client) string) {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	admin := kadm.NewClient(client)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		still := missing(ctx, admin)
		if still == "" {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatal(still)
		}
	}
}

// awaitMinISR waits until a topic has as high a min.insync.replicas.
func (c *cluster) awaitMinISR(topic, want string) {
	c.t.Helper()
	c.await(func(ctx context.Context, admin *kadm.Client) string {
		answer, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil || len(answer) != 1 || answer[0].Err != nil {
			return fmt.Sprintf("%v, %+v", err, answer)
		}
		got := ""
		for _, config := range answer[0].Configs {
			if config.Key == "min.insync.replicas" {
				got = config.MaybeValue()
			}
		}
		if got == want {
			return ""
		}
		return fmt.Sprintf("min.insync.replicas of %s is %s, want %s", topic, got, want)
	})
}

// awaitTopics waits until topics, and the number of partitions that are being moved, are as they should be.
func (c *cluster) awaitTopics(what string, done func(all kadm.TopicDetails, moving int) bool) {
	c.t.Helper()
	c.await(func(ctx context.Context, admin *kadm.Client) string {
		all, err := admin.ListTopicsWithInternal(ctx)
		if err != nil {
			return err.Error()
		}
		moves, err := admin.ListPartitionReassignments(ctx, all.TopicsSet()) // without topics kadm asks nobody
		if err != nil {
			return err.Error()
		}
		moving := 0
		for _, t := range moves {
			moving += len(t)
		}
		if done(all, moving) {
			return ""
		}
		return fmt.Sprintf("no %s: %d partitions are being moved, %+v", what, moving, all)
	})
}

// empty moves all partitions of which a broker has replicas to others, in turns.
func (c *cluster) empty(id int32, others []int32) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	client := c.client()
	defer client.Close()
	admin := kadm.NewClient(client)
	all, err := admin.ListTopicsWithInternal(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	req, turn := kadm.AlterPartitionAssignmentsReq{}, 0
	for _, t := range all.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			var replicas []int32
			for i := range p.Replicas {
				replicas = append(replicas, others[(turn+i)%len(others)])
			}
			turn++
			req.Assign(t.Topic, p.Partition, replicas)
		}
	}
	answer, err := admin.AlterPartitionAssignments(ctx, req)
	if err == nil {
		err = answer.Error()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.awaitTopics(fmt.Sprint("broker without replicas: ", id), func(all kadm.TopicDetails, moving int) bool {
		for _, t := range all {
			for _, p := range t.Partitions {
				if slices.Contains(p.Replicas, id) {
					return false
				}
			}
		}
		return moving == 0
	})
}

// remove stops a broker for good.
func (c *cluster) remove(id int) {
	c.t.Helper()
	c.node(id).Stop(c.t)
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = int32(id) //nolint:gosec // a handful
	answer, err := req.RequestWith(ctx, client)
	if err == nil && answer.ErrorCode != 0 {
		err = protocol.Code(answer.ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("unregister broker %d: %v", id, err)
	}
	c.gone = append(c.gone, id)
}
