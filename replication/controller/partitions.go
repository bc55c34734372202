package controller

import (
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// createPartitions adds partitions to topics, each on its own terms (ControllerApis.createPartitions,
// ReplicationControlManager.createPartitions).
func createPartitions(v *View, req *kmsg.CreatePartitionsRequest, resp *kmsg.CreatePartitionsResponse) (Decision, error) {
	count := map[string]int{}
	for i := range req.Topics {
		count[req.Topics[i].Topic]++
	}
	var d Decision
	answer := func(name string, err error) {
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = strings.Clone(name)
		out.ErrorCode, out.ErrorMessage = codeAndMessage(err)
		resp.Topics = append(resp.Topics, out)
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		switch {
		case count[t.Topic] > 1:
			count[t.Topic] = 0
			answer(t.Topic, protocol.Errorf(protocol.InvalidRequest, "Duplicate topic name."))
		case count[t.Topic] == 1:
			made, err := growTopic(v, t)
			answer(t.Topic, err)
			for _, p := range made {
				d.Records = append(d.Records, p)
				if !slices.Contains(d.Await, p.Leader) {
					d.Await = append(d.Await, p.Leader)
				}
			}
		}
	}
	if req.ValidateOnly {
		return Decision{}, nil
	}
	return d, nil
}

// growTopic decides the new partitions of one topic.
func growTopic(v *View, t *kmsg.CreatePartitionsRequestTopic) ([]*schema.PartitionRecord, error) {
	topic := v.Image.Topic(t.Topic)
	if topic == nil {
		return nil, protocol.UnknownTopicOrPartition
	}
	have := int32(len(topic.Partitions))
	switch {
	case t.Count == have:
		return nil, protocol.Errorf(protocol.InvalidPartitions, "Topic already has %d partition(s).", have)
	case t.Count < have:
		return nil, protocol.Errorf(protocol.InvalidPartitions,
			"The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, have, t.Count)
	}
	added := int(t.Count - have)
	if t.Assignment != nil && len(t.Assignment) != added {
		return nil, protocol.Errorf(protocol.InvalidReplicaAssignment,
			"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", added, len(t.Assignment))
	}
	if added > maxRecords {
		return nil, protocol.Errorf(protocol.PolicyViolation, "Unable to perform excessively large batch operation.")
	}
	if err := v.charge(added); err != nil {
		return nil, err
	}
	replicas := len(topic.Partitions[0].Replicas)
	var assignments [][]int32
	for i, a := range t.Assignment {
		if err := checkManual(v, have+int32(i), a.Replicas, replicas); err != nil {
			return nil, err
		}
		assignments = append(assignments, slices.Clone(a.Replicas))
	}
	if t.Assignment == nil {
		var err error
		if assignments, err = place(usableBrokers(v.Image), added, replicas, v.Rand); err != nil {
			return nil, err
		}
		if err := checkActive(v, assignments, replicas); err != nil {
			return nil, protocol.Errorf(protocol.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): %s", replicas, *protocol.MessageOf(err))
		}
	}
	made := make([]*schema.PartitionRecord, len(assignments))
	for i, a := range assignments {
		made[i] = newPartition(v, topic.ID, have+int32(i), a)
	}
	return made, nil
}
