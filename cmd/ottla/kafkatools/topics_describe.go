package kafkatools

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
)

// isolated is what DescribeTopicPartitions tells of a partition; brokers before it know no eligible leader replicas.
type isolated = kmsg.DescribeTopicPartitionsResponseTopicPartition

func describeTopics(c *call) error {
	found, err := selectDescribed(c)
	if err != nil || len(found) == 0 {
		return err
	}
	found = hashOrder(found, len(found), func(t kmsg.MetadataResponseTopic) int32 { return javaHash(value(t.Topic)) })
	configs, err := c.topicConfigs(namesOf(found))
	if err != nil {
		return err
	}
	partitions, elr, err := c.partitionsOf(found)
	if err != nil {
		return err
	}
	m, err := c.metadata([]string{})
	if err != nil {
		return err
	}
	moves, err := c.reassignments()
	if err != nil {
		return err
	}
	alive := map[int32]bool{}
	for _, b := range m.Brokers {
		alive[b.NodeID] = true
	}
	for _, t := range found {
		d := described{c: c, topic: t, configs: configs[value(t.Topic)], partitions: partitions[value(t.Topic)], elr: elr, alive: alive, moves: moves}
		d.print()
	}
	return nil
}

// selectDescribed are the topics that --topic-id or --topic selects.
func selectDescribed(c *call) ([]kmsg.MetadataResponseTopic, error) {
	text, err := c.one("topic-id")
	if err != nil {
		return nil, err
	}
	internal := !c.has("exclude-internal")
	if text != "" {
		id, err := parseTopicID(text)
		if err != nil {
			return nil, err
		}
		if id != [16]byte{} {
			m, err := c.metadata(nil)
			if err != nil {
				return nil, err
			}
			found := slices.DeleteFunc(m.Topics, func(t kmsg.MetadataResponseTopic) bool { return t.TopicID != id || t.IsInternal && !internal })
			if len(found) == 0 && !c.has("if-exists") {
				return nil, fmt.Errorf("TopicId '%s' does not exist as expected", text)
			}
			return found, nil
		}
	}
	found, err := c.findTopics(internal)
	if err != nil {
		return nil, err
	}
	return found, mustExist(c, len(found))
}

// topicConfigs are the configs of topics by name.
func (c *call) topicConfigs(topics []string) (map[string][]kmsg.DescribeConfigsResponseResourceConfig, error) {
	r := kmsg.NewPtrDescribeConfigsRequest()
	for _, t := range topics {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, t
		r.Resources = append(r.Resources, resource)
	}
	response, err := request(c, r)
	if err != nil {
		return nil, err
	}
	all := map[string][]kmsg.DescribeConfigsResponseResourceConfig{}
	for _, resource := range response.Resources {
		if err := connect.Check(resource.ErrorCode, resource.ErrorMessage); err != nil {
			return nil, err
		}
		all[resource.ResourceName] = resource.Configs
	}
	return all, nil
}

// partitionsOf are the partitions of topics by name. elr says whether the broker knows eligible leader replicas.
func (c *call) partitionsOf(topics []kmsg.MetadataResponseTopic) (all map[string][]isolated, elr bool, err error) {
	all = map[string][]isolated{}
	limit, given, err := c.number("partition-size-limit-per-response")
	if err != nil {
		return nil, false, err
	}
	r := kmsg.NewPtrDescribeTopicPartitionsRequest()
	if given {
		r.ResponsePartitionLimit = int32(limit)
	}
	for _, t := range topics {
		rt := kmsg.NewDescribeTopicPartitionsRequestTopic()
		rt.Topic = value(t.Topic)
		r.Topics = append(r.Topics, rt)
	}
	for {
		response, err := request(c, r)
		if errors.Is(err, protocol.UnsupportedVersion) {
			return fromMetadata(topics), false, nil
		}
		if err != nil {
			return nil, false, err
		}
		for _, t := range response.Topics {
			if err := connect.Check(t.ErrorCode, nil); err != nil {
				return nil, false, err
			}
			all[value(t.Topic)] = append(all[value(t.Topic)], t.Partitions...)
		}
		if response.NextCursor == nil {
			return all, true, nil
		}
		next := kmsg.NewDescribeTopicPartitionsRequestCursor()
		next.Topic, next.Partition = response.NextCursor.Topic, response.NextCursor.Partition
		r.Cursor = &next
	}
}

// fromMetadata gives what Metadata says in the other API's form.
func fromMetadata(topics []kmsg.MetadataResponseTopic) map[string][]isolated {
	all := map[string][]isolated{}
	for _, t := range topics {
		for _, p := range t.Partitions {
			all[value(t.Topic)] = append(all[value(t.Topic)], isolated{Partition: p.Partition, LeaderID: p.Leader, Replicas: p.Replicas, ISR: p.ISR})
		}
	}
	return all
}

// reassignments are the partitions whose replicas are changing; none if the broker does not tell.
func (c *call) reassignments() (map[partition]kmsg.ListPartitionReassignmentsResponseTopicPartition, error) {
	all := map[partition]kmsg.ListPartitionReassignmentsResponseTopicPartition{}
	response, err := request(c, kmsg.NewPtrListPartitionReassignmentsRequest())
	if errors.Is(err, protocol.UnsupportedVersion) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	if err := connect.Check(response.ErrorCode, response.ErrorMessage); err != nil && !errors.Is(err, protocol.ClusterAuthorizationFailed) {
		return nil, err
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			all[partition{t.Topic, p.Partition}] = p
		}
	}
	return all, nil
}

// described is a topic on its way to the output.
type described struct {
	c          *call
	topic      kmsg.MetadataResponseTopic
	configs    []kmsg.DescribeConfigsResponseResourceConfig
	partitions []isolated
	elr        bool
	alive      map[int32]bool
	moves      map[partition]kmsg.ListPartitionReassignmentsResponseTopicPartition
}

func (d *described) print() {
	slices.SortFunc(d.partitions, func(a, b isolated) int { return int(a.Partition) - int(b.Partition) })
	name := value(d.topic.Topic)
	var own []string
	minISR := 1
	for _, e := range d.configs {
		if e.Source != kmsg.ConfigSourceDefaultConfig {
			own = append(own, e.Name+"="+value(e.Value))
		}
		if e.Name == "min.insync.replicas" {
			minISR, _ = strconv.Atoi(value(e.Value)) // the broker has checked it
		}
	}
	reports := d.c.count("unavailable-partitions", "under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions") > 0
	if !reports && (!d.c.has("topics-with-overrides") || len(own) > 0) && len(d.partitions) > 0 {
		d.c.printf("Topic: %s", name)
		if id := protocol.UUID(d.topic.TopicID); id != (protocol.UUID{}) {
			d.c.printf("\tTopicId: %s", id)
		}
		d.c.printf("\tPartitionCount: %d\tReplicationFactor: %d\tConfigs: %s\n", len(d.partitions), d.factor(d.partitions[0]), strings.Join(own, ","))
	}
	if d.c.has("topics-with-overrides") {
		return
	}
	for _, p := range d.partitions {
		led := p.LeaderID >= 0
		if !reports || d.c.has("under-replicated-partitions") && d.factor(p) > len(p.ISR) ||
			d.c.has("unavailable-partitions") && (!led || !d.alive[p.LeaderID]) ||
			d.c.has("under-min-isr-partitions") && (!led || len(p.ISR) < minISR) ||
			d.c.has("at-min-isr-partitions") && len(p.ISR) == minISR {
			d.printPartition(name, p)
		}
	}
}

// factor is how many replicas a partition has when its reassignment, if any, is not counted.
func (d *described) factor(p isolated) int {
	m, moving := d.moves[partition{value(d.topic.Topic), p.Partition}]
	changing := append(slices.Clone(m.AddingReplicas), m.RemovingReplicas...)
	if moving && slices.ContainsFunc(p.Replicas, func(id int32) bool { return slices.Contains(changing, id) }) {
		return len(m.Replicas) - len(m.AddingReplicas)
	}
	return len(p.Replicas)
}

func (d *described) printPartition(topic string, p isolated) {
	leader := "none"
	if p.LeaderID >= 0 {
		leader = strconv.Itoa(int(p.LeaderID))
	}
	d.c.printf("\tTopic: %s\tPartition: %d\tLeader: %s\tReplicas: %s\tIsr: %s", topic, p.Partition, leader, commas(p.Replicas), commas(p.ISR))
	if m, moving := d.moves[partition{topic, p.Partition}]; moving {
		d.c.printf("\tAdding Replicas: %s\tRemoving Replicas: %s", commas(m.AddingReplicas), commas(m.RemovingReplicas))
	}
	eligible, last := "N/A", "N/A"
	if d.elr {
		eligible, last = commas(p.EligibleLeaderReplicas), commas(p.LastKnownELR)
	}
	d.c.printf("\tElr: %s\tLastKnownElr: %s\n", eligible, last)
}

func commas(ids []int32) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = strconv.Itoa(int(id))
	}
	return strings.Join(all, ",")
}
