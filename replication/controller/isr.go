package controller

import (
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterPartition takes what leaders say of their ISR, each partition on its own terms (ReplicationControlManager.alterPartition). Version 2
// is the first that names topics by id.
func alterPartition(v *View, req *kmsg.AlterPartitionRequest, resp *kmsg.AlterPartitionResponse) (Decision, error) {
	if err := v.checkBrokerEpoch(req.BrokerID, req.BrokerEpoch); err != nil {
		return Decision{}, err
	}
	d := Decision{Split: true}
	for i := range req.Topics {
		asked := &req.Topics[i]
		out := kmsg.NewAlterPartitionResponseTopic()
		out.TopidID = asked.TopicID
		t := v.Image.TopicByID(asked.TopicID)
		for j := range asked.Partitions {
			p, r := alterISR(v, req, t, &asked.Partitions[j])
			if r != nil {
				d.Records = append(d.Records, r)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return d, nil
}

// alterISR decides on the ISR of one partition.
func alterISR(v *View, req *kmsg.AlterPartitionRequest, t *metadata.Topic, asked *kmsg.AlterPartitionRequestTopicPartition,
) (kmsg.AlterPartitionResponseTopicPartition, *schema.PartitionChangeRecord) {
	out := kmsg.NewAlterPartitionResponseTopicPartition()
	out.Partition = asked.Partition
	refuse := func(code protocol.Code) (kmsg.AlterPartitionResponseTopicPartition, *schema.PartitionChangeRecord) {
		out.ErrorCode = int16(code)
		return out, nil
	}
	if t == nil {
		return refuse(protocol.UnknownTopicID)
	}
	p := t.Partition(asked.Partition)
	if p == nil {
		return refuse(protocol.UnknownTopicOrPartition)
	}
	members := asked.NewEpochISR
	if req.Version < 3 {
		members = nil
		for _, id := range asked.NewISR {
			members = append(members, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: -1})
		}
	}
	isr := make([]int32, len(members))
	for i, m := range members {
		isr[i] = m.BrokerID
	}
	if code := checkISR(req.BrokerID, p, asked, isr); code != protocol.None {
		return refuse(code)
	}
	if slices.ContainsFunc(members, func(m kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) bool { return !mayJoin(v, m) }) {
		return refuse(protocol.IneligibleReplica)
	}
	if slices.ContainsFunc(isr, func(id int32) bool { return !slices.Contains(p.ISR, id) && lostReplica(v.Image.Broker(id), p) }) {
		return refuse(protocol.IneligibleReplica)
	}
	c := v.change(t, p, v.rules(t))
	c.election, c.isr, c.recovery = c.rules.election(), isr, asked.LeaderRecoveryState
	r := c.record()
	if r != nil {
		p = p.Merge(r)
		if r.Leader != req.BrokerID && r.Leader != schema.NoLeaderChange {
			out.ErrorCode = int16(protocol.NewLeaderElected)
			return out, r
		}
	}
	out.LeaderID, out.LeaderEpoch, out.ISR = p.Leader, p.LeaderEpoch, p.ISR
	out.LeaderRecoveryState, out.PartitionEpoch = p.LeaderRecoveryState, p.PartitionEpoch
	return out, r
}

// checkISR refuses what comes from another time or from another than the leader
// (ReplicationControlManager.validateAlterPartitionData). A leader that is ahead has heard of a newer controller.
func checkISR(broker int32, p *metadata.Partition, asked *kmsg.AlterPartitionRequestTopicPartition, isr []int32) protocol.Code {
	switch {
	case asked.LeaderEpoch > p.LeaderEpoch, asked.PartitionEpoch > p.PartitionEpoch:
		return protocol.NotController
	case asked.LeaderEpoch < p.LeaderEpoch:
		return protocol.FencedLeaderEpoch
	case broker != p.Leader:
		return protocol.InvalidRequest
	case asked.PartitionEpoch < p.PartitionEpoch:
		return protocol.InvalidUpdateVersion
	case len(isr) == 0 || !containsAll(p.Replicas, isr) || repeats(isr), !slices.Contains(isr, p.Leader):
		return protocol.InvalidRequest
	case asked.LeaderRecoveryState != recovered && asked.LeaderRecoveryState != recovering:
		return protocol.InvalidRequest
	case asked.LeaderRecoveryState == recovering && (len(isr) > 1 || p.LeaderRecoveryState == recovered):
		return protocol.InvalidRequest
	}
	return protocol.None
}

// repeats reports whether an id is listed twice.
func repeats(ids []int32) bool {
	sorted := slices.Sorted(slices.Values(ids))
	return len(slices.Compact(sorted)) < len(ids)
}

// mayJoin reports whether a broker may be in an ISR: it is alive, and the incarnation that the leader means. Epoch -1 means any.
func mayJoin(v *View, m kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) bool {
	return v.active(m.BrokerID) && (m.BrokerEpoch == -1 || v.Image.Broker(m.BrokerID).Epoch == m.BrokerEpoch)
}
