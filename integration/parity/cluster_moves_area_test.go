package parity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// to is where a partition is to go; no replicas give up what is under way.
func to(partition int32, replicas ...int32) kmsg.AlterPartitionAssignmentsRequestTopicPartition {
	return kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: partition, Replicas: replicas}
}

func alter(version int16, keepFactor bool, topics ...kmsg.AlterPartitionAssignmentsRequestTopic) *kmsg.AlterPartitionAssignmentsRequest {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Version, req.TimeoutMillis, req.AllowReplicationFactorChange, req.Topics = version, 10_000, !keepFactor, topics
	return req
}

// reassigning asks each of nodes for what is under way, of all topics and of one.
func (c *conversation) reassigning(label, topic string, nodes ...int) {
	for _, id := range nodes {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.TimeoutMillis = 10_000
		ask[*kmsg.ListPartitionReassignmentsResponse](c.node(id), fmt.Sprintf("%s, all, at node %d", label, id), req)
		req.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: topic, Partitions: []int32{0, 1, 2, 7}}, {Topic: "absent", Partitions: []int32{0}}}
		ask[*kmsg.ListPartitionReassignmentsResponse](c.node(id), fmt.Sprintf("%s, some, at node %d", label, id), req)
	}
}

// replicasAre waits until every node sees the replicas of partition 0 as given, all in sync.
func (c *conversation) replicasAre(topic string, replicas ...int32) {
	c.settled(topic, func(r *kmsg.MetadataResponse) bool {
		i := slices.IndexFunc(r.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Partition == 0 })
		p := r.Topics[0].Partitions[i]
		return slices.Equal(p.Replicas, replicas) && len(p.ISR) == len(replicas)
	})
}

// electedByName puts the topics in order: Kafka keeps them in a hash map.
func electedByName(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.ElectLeadersResponse)
	slices.SortFunc(r.Topics, func(a, b kmsg.ElectLeadersResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
}

// elections asks for both kinds of election at all versions.
func (c *conversation) elections(label string, topics ...kmsg.ElectLeadersRequestTopic) {
	cl := c.node(2)
	for _, v := range versions(0, 2) {
		for _, kind := range []int8{0, 1} {
			if kind == 1 && v == 0 {
				continue
			}
			req := kmsg.NewPtrElectLeadersRequest()
			req.Version, req.ElectionType, req.TimeoutMillis, req.Topics = v, kind, 10_000, topics
			ask[*kmsg.ElectLeadersResponse](cl, fmt.Sprintf("%s, type %d", label, kind), req, electedByName)
		}
	}
}

func clusterElections(c *conversation) {
	c.made("elect", map[int32][]int32{0: {1, 2, 3}, 1: {2, 3, 1}})
	both := kmsg.ElectLeadersRequestTopic{Topic: "elect", Partitions: []int32{0, 1}}
	c.elections("as they are to be", both)
	c.elections("all", []kmsg.ElectLeadersRequestTopic(nil)...)
	ask[*kmsg.AlterPartitionAssignmentsResponse](c.node(3), "another order", alter(1, false, moved("elect", to(0, 3, 2, 1))))
	c.replicasAre("elect", 3, 2, 1)
	c.describe("another order", []int{1}, "elect")
	c.elections("one is to move", both)
	c.settled("elect", func(r *kmsg.MetadataResponse) bool {
		return !slices.ContainsFunc(r.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader != p.Replicas[0] })
	})
	c.describe("one has moved", []int{1, 3}, "elect")
	for _, id := range []int{1, 3} {
		until(c.node(3), "the new leader leads", listOffsets(7, 0, "elect", 0, -1), func(r *kmsg.ListOffsetsResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
		ask[*kmsg.ListOffsetsResponse](c.node(id), fmt.Sprint("at node ", id), listOffsets(11, 0, "elect", 0, -1))
	}
	ask[*kmsg.ProduceResponse](c.node(3), "to the new leader", produce(9, -1, "elect", [16]byte{}, 0, of(c.now.UnixMilli(), "a").bytes()))
	req := epochEnd(4, "elect", -1)
	ask[*kmsg.OffsetForLeaderEpochResponse](c.node(3), "the epoch before", req)
}

func clusterReassignments(c *conversation) {
	c.made("move", map[int32][]int32{0: {1, 2}, 1: {2, 3}})
	cl := c.node(3)
	for _, keep := range []bool{false, true} {
		for _, v := range versions(0, 1) {
			ask := func(label string, topics ...kmsg.AlterPartitionAssignmentsRequestTopic) {
				ask[*kmsg.AlterPartitionAssignmentsResponse](cl, label, alter(v, keep, topics...))
			}
			ask("to where they are", moved("move", to(0, 1, 2), to(1, 2, 3)))
			ask("given up", moved("move", to(0)))
			ask("nowhere", moved("move", kmsg.AlterPartitionAssignmentsRequestTopicPartition{Replicas: []int32{}}))
			ask("to a broker that is not there", moved("move", to(0, 1, 9)))
			ask("to a broker below zero", moved("move", to(0, 1, -1)))
			ask("twice", moved("move", to(0, 1, 1)))
			ask("one of two that is there", moved("move", to(7, 1), to(1, 2, 3)), moved("absent", to(0, 1)))
			if keep && v == 1 {
				ask("more", moved("move", to(0, 1, 2, 3)))
				ask("fewer", moved("move", to(0, 1)))
			}
		}
	}
	data := of(c.now.UnixMilli(), "a", "b")
	c.node(1).put("move", data)
	for _, replicas := range [][]int32{{2, 3}, {3}, {1, 2, 3}, {2, 1}, {1}, {3, 2}} {
		ask[*kmsg.AlterPartitionAssignmentsResponse](cl, fmt.Sprint("to ", replicas), alter(1, false, moved("move", to(0, replicas...))))
		c.replicasAre("move", replicas...)
		for id := range 3 {
			ask[*kmsg.MetadataResponse](c.node(id+1), fmt.Sprint("at ", replicas), metadata(13, "move"), ownController)
		}
	}
	c.reassigning("none", "move", 1, 2, 3)
}

// clusterLoss ends node 3.
func clusterLoss(c *conversation) {
	names := []string{"lost-two", "lost-one", "lost-three"}
	two := c.made("lost-two", map[int32][]int32{0: {3, 1}, 1: {1, 3}, 2: {1, 2}}, "min.insync.replicas=2")
	one := c.made("lost-one", map[int32][]int32{0: {3}})
	three := c.made("lost-three", map[int32][]int32{0: {1, 2, 3}}, "min.insync.replicas=3")
	c.made("lost-later", map[int32][]int32{0: {1, 2}}) // for what is begun later
	now := c.now.UnixMilli()
	c.node(3).put("lost-two", of(now, "a"))
	c.node(1).put("lost-three", of(now, "a"))
	until(c.node(1), "the follower knows what is committed", fetch(12, "lost-two", two, 0), func(r *kmsg.FetchResponse) bool { return r.Topics[0].Partitions[0].HighWatermark == 1 })
	c.server.trio.kill(3)
	c.whole(2)
	c.settled("lost-two", func(r *kmsg.MetadataResponse) bool {
		return !slices.ContainsFunc(r.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader == 3 || slices.Contains(p.ISR, 3) })
	})
	c.describe("without node 3", []int{1, 2}, names...)
	leader := c.node(1)
	until(leader, "led elsewhere", listOffsets(7, 0, "lost-two", 0, -1), func(r *kmsg.ListOffsetsResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
	for _, v := range versions(3, 13) {
		for _, id := range []int{1, 2} {
			ask[*kmsg.ProduceResponse](c.node(id), "without a leader", produce(v, -1, "lost-one", one, 0, of(now, "x").bytes()))
		}
		ask[*kmsg.ProduceResponse](leader, "too few in sync", produce(v, -1, "lost-two", two, 0, of(now, "x").bytes()))
		ask[*kmsg.ProduceResponse](leader, "too few of three in sync", produce(v, -1, "lost-three", three, 0, of(now, "x").bytes()))
	}
	ask[*kmsg.ProduceResponse](leader, "acks 1 with too few in sync", produce(9, 1, "lost-two", two, 0, of(now, "y").bytes()))
	for _, v := range versions(4, 18) {
		ask[*kmsg.FetchResponse](leader, "without a leader", fetch(v, "lost-one", one, 0))
		ask[*kmsg.FetchResponse](leader, "what is committed", fetch(v, "lost-two", two, 0))
		epoch := fetch(v, "lost-two", two, 0)
		epoch.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
		ask[*kmsg.FetchResponse](leader, "in the old epoch", epoch)
	}
	for _, v := range versions(1, 11) {
		ask[*kmsg.ListOffsetsResponse](leader, "without a leader", listOffsets(v, 0, "lost-one", 0, -1))
		ask[*kmsg.ListOffsetsResponse](leader, "the end", listOffsets(v, 0, "lost-two", 0, -1))
		epoch := listOffsets(v, 0, "lost-two", 0, -1)
		epoch.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
		ask[*kmsg.ListOffsetsResponse](leader, "in the old epoch", epoch)
	}
	c.elections("what cannot lead", kmsg.ElectLeadersRequestTopic{Topic: "lost-two", Partitions: []int32{0, 1}}, kmsg.ElectLeadersRequestTopic{Topic: "lost-one", Partitions: []int32{0}})
	ask[*kmsg.CreateTopicsResponse](leader, "more replicas than brokers that live", create(7, true, newTopic("lost-new", 2, 3), newTopic("lost-newer", 2, 4)), createdByName)
	for _, placed := range []map[int32][]int32{{0: {3}}, {0: {3, 1}}, {0: {1, 2}, 1: {3}}} {
		ask[*kmsg.CreateTopicsResponse](leader, fmt.Sprint("placed ", placed), create(7, true, assigned(newTopic("lost-new", -1, -1), placed)), createdByName)
	}
	out, err := c.server.trio.topics("--bootstrap-server", c.server.addr, "--describe", "--topic", "lost-.*")
	if err != nil || !strings.Contains(out, "\tElr: 3\t") {
		c.abort("kafka-topics: %v %s", err, out)
	}
	c.note("kafka-topics --describe", strings.Join(slices.Sorted(strings.Lines(out)), ""))
}

// clusterPending moves a partition to node 3, which is not there, so that nothing comes of it.
func clusterPending(c *conversation) {
	for _, id := range []int{1, 2} {
		cl := c.node(id)
		ask := func(label string, topics ...kmsg.AlterPartitionAssignmentsRequestTopic) {
			ask[*kmsg.AlterPartitionAssignmentsResponse](cl, label, alter(1, false, topics...))
		}
		shows := func(label string, replicas ...int32) {
			c.reassigning(label, "lost-later", 2, 1) // at once, whoever is asked
			c.settled("lost-later", func(r *kmsg.MetadataResponse) bool { return slices.Equal(r.Topics[0].Partitions[0].Replicas, replicas) })
			c.describe(label, []int{1, 2}, "lost-later")
		}
		ask("to who is away", moved("lost-later", to(0, 1, 3)))
		shows("under way", 1, 3, 2)
		ask("to who is away only", moved("lost-later", to(0, 3)))
		shows("changed", 3, 1, 2)
		ask("given up", moved("lost-later", to(0)))
		shows("given up", 1, 2)
		ask("given up again", moved("lost-later", to(0)))
	}
}

// clusterReturn starts node 3 again, which does not know what of its data it had synced.
func clusterReturn(c *conversation) {
	names := []string{"lost-two", "lost-one", "lost-three", "lost-later"}
	c.server.trio.launch(3)
	c.whole(3)
	for _, name := range names {
		c.settled(name, func(r *kmsg.MetadataResponse) bool {
			return !slices.ContainsFunc(r.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader < 0 || len(p.ISR) != len(p.Replicas) })
		})
	}
	c.describe("with node 3 again", []int{1, 2, 3}, names...)
	c.elections("the first replicas", kmsg.ElectLeadersRequestTopic{Topic: "lost-two", Partitions: []int32{0, 1, 2}}, kmsg.ElectLeadersRequestTopic{Topic: "lost-one", Partitions: []int32{0}})
	until(c.node(3), "node 3 leads", listOffsets(7, 0, "lost-two", 0, -1), func(r *kmsg.ListOffsetsResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
	id := until(c.node(3), "the topic", metadata(12, "lost-two"), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].Partitions[0].Leader >= 0 }).Topics[0].TopicID
	until(c.node(3), "all is committed", fetch(13, "lost-two", id, 0), func(r *kmsg.FetchResponse) bool { return r.Topics[0].Partitions[0].HighWatermark == 2 })
	ask[*kmsg.FetchResponse](c.node(3), "what was written meanwhile", fetch(13, "lost-two", id, 0))
	ask[*kmsg.OffsetForLeaderEpochResponse](c.node(3), "the first epoch", epochEnd(4, "lost-two", -1))
}

// clusterUnregister strikes off node 3, and asks for what cannot be.
func clusterUnregister(c *conversation) {
	unregister := func(label string, id int32) {
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = id
		ask[*kmsg.UnregisterBrokerResponse](c.node(2), label, req)
	}
	c.server.trio.kill(3)
	c.whole(2)
	unregister("a broker that is away", 3)
	c.describe("struck off", []int{1, 2}, "lost-two", "lost-one")
	unregister("again", 3)
	ask[*kmsg.CreateTopicsResponse](c.node(2), "more replicas than brokers", create(7, true, newTopic("lost-new", 2, 3)), createdByName)
	ask[*kmsg.AlterPartitionAssignmentsResponse](c.node(2), "to who is struck off", alter(1, false, moved("lost-later", to(0, 1, 3))))
	unregister("a broker that lives", 1)
	later := until(c.node(2), "without node 1", metadata(12, "lost-later"), func(r *kmsg.MetadataResponse) bool {
		return len(r.Brokers) == 1 && r.Topics[0].Partitions[0].Leader == 2
	}).Topics[0].TopicID
	wait := fetch(13, "lost-later", later, 0)
	wait.MinBytes, wait.MaxWaitMillis = 1, 2000 // node 1 tries some heartbeats more meanwhile
	until(c.node(1), "without itself", metadata(12, "lost-later"), func(r *kmsg.MetadataResponse) bool {
		return len(r.Brokers) == 1 && r.Topics[0].Partitions[0].Leader == 2
	})
	until(c.node(2), "some time", wait, func(r *kmsg.FetchResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
	c.describe("struck off while it lives", []int{1, 2}, "lost-later", "lost-two")
	ask[*kmsg.CreateTopicsResponse](c.node(1), "at who is struck off", create(7, false, newTopic("lost-last", 1, 2)), createdByName)
	ask[*kmsg.ProduceResponse](c.node(1), "to who is struck off", produce(9, -1, "lost-later", later, 0, of(c.now.UnixMilli(), "a").bytes()))
	ask[*kmsg.ProduceResponse](c.node(2), "to who is left", produce(9, -1, "lost-later", later, 0, of(c.now.UnixMilli(), "a").bytes()))
}
