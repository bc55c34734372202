package controller

import (
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterReassignments begins, changes and cancels reassignments, each partition on its own terms
// (ReplicationControlManager.alterPartitionReassignments). A reassignment ends with the change that brings the last new replica into
// the ISR: see partitionChange.
func alterReassignments(v *View, req *kmsg.AlterPartitionAssignmentsRequest, resp *kmsg.AlterPartitionAssignmentsResponse) (Decision, error) {
	keepFactor := req.Version >= 1 && !req.AllowReplicationFactorChange
	if len(req.Topics) == 0 { // Kafka answers with the defaults of the response then
		resp.AllowReplicationFactorChange, resp.ErrorMessage = true, ptrTo("")
		return Decision{}, nil
	}
	resp.AllowReplicationFactorChange = !keepFactor
	var d Decision
	for _, t := range req.Topics {
		out := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: strings.Clone(t.Topic)}
		for _, target := range t.Partitions {
			r, err := reassign(v, out.Topic, target, keepFactor)
			if r != nil {
				d.Records = append(d.Records, r)
			}
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = target.Partition
			p.ErrorCode, p.ErrorMessage = codeAndMessage(err)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return d, nil
}

// reassign decides on one partition; no replicas cancel what is under way.
func reassign(v *View, topic string, target kmsg.AlterPartitionAssignmentsRequestTopicPartition, keepFactor bool) (*schema.PartitionChangeRecord, error) {
	t := v.Image.Topic(topic)
	if t == nil {
		return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "Unable to find a topic named %s.", topic)
	}
	p := t.Partition(target.Partition)
	if p == nil {
		return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "Unable to find partition %s:%d.", topic, target.Partition)
	}
	c := v.change(t, p, v.rules(t))
	if target.Replicas == nil {
		return cancelReassignment(c)
	}
	if err := checkReplicas(v, target.Replicas, -1); err != nil {
		return nil, err
	}
	if have := len(without(p.Replicas, p.Removing...)); keepFactor && have != len(target.Replicas) {
		return nil, protocol.Errorf(protocol.InvalidReplicationFactor, "The replication factor is changed from %d to %d", have, len(target.Replicas))
	}
	return moveTo(c, target.Replicas), nil
}

// moveTo begins to move a partition to target (PartitionReassignmentReplicas). What is under way already is part of the replicas: only the difference
// counts.
func moveTo(c *partitionChange, target []int32) *schema.PartitionChangeRecord {
	removing, adding := without(c.p.Replicas, target...), without(target, c.p.Replicas...)
	removing, adding = slices.Sorted(slices.Values(removing)), slices.Sorted(slices.Values(adding))
	c.replicas = slices.Concat(target, removing)
	if len(removing) > 0 {
		c.removing = removing
	}
	if len(adding) > 0 {
		c.adding = adding
	}
	return c.record()
}

// cancelReassignment takes the new replicas away again.
func cancelReassignment(c *partitionChange) (*schema.PartitionChangeRecord, error) {
	if !reassigning(c.p) {
		return nil, protocol.NoReassignmentInProgress
	}
	c.election = c.rules.election()
	if err := revert(c); err != nil {
		return nil, err
	}
	return c.record(), nil
}

// revert puts the replicas back that were before a reassignment (PartitionReassignmentRevert).
func revert(c *partitionChange) error {
	c.replicas, c.isr = without(c.p.Replicas, c.p.Adding...), without(c.p.ISR, c.p.Adding...)
	c.removing, c.adding = nil, nil
	if len(c.isr) > 0 {
		return nil
	}
	switch {
	case len(c.replicas) == 0:
		return protocol.Errorf(protocol.InvalidReplicaAssignment, "Invalid replica assignment: addingReplicas contains all replicas.")
	case !c.rules.unclean:
		return protocol.Errorf(protocol.InvalidReplicaAssignment,
			"Unable to revert partition assignment for %s:%d because it would require an unclean leader election.", c.topic.Name, c.p.ID)
	}
	c.isr = c.replicas[:1]
	return nil
}

// reassigning reports whether replicas of p are being added or removed.
func reassigning(p *metadata.Partition) bool { return len(p.Adding) > 0 || len(p.Removing) > 0 }

// ListReassignments lists what is under way by an image, of the partitions that a request names or of all. Those that are unknown are left out.
func ListReassignments(img *metadata.Image, req *kmsg.ListPartitionReassignmentsRequest, resp *kmsg.ListPartitionReassignmentsResponse) {
	add := func(t *metadata.Topic, partitions func(yield func(*metadata.Partition) bool)) {
		out := kmsg.ListPartitionReassignmentsResponseTopic{Topic: t.Name}
		for p := range partitions {
			if p != nil && reassigning(p) {
				out.Partitions = append(out.Partitions, kmsg.ListPartitionReassignmentsResponseTopicPartition{
					Partition: p.ID, Replicas: p.Replicas, AddingReplicas: p.Adding, RemovingReplicas: p.Removing,
				})
			}
		}
		if len(out.Partitions) > 0 {
			resp.Topics = append(resp.Topics, out)
		}
	}
	if req.Topics == nil {
		for t := range img.Topics() {
			add(t, slices.Values(t.Partitions))
		}
		return
	}
	for _, asked := range req.Topics {
		t := img.Topic(asked.Topic)
		if t == nil {
			continue
		}
		add(t, func(yield func(*metadata.Partition) bool) {
			for _, id := range asked.Partitions {
				if !yield(t.Partition(id)) {
					return
				}
			}
		})
	}
}
