package controller

import (
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The election types of ElectLeaders (org.apache.kafka.common.ElectionType).
const (
	preferredElection int8 = 0
	uncleanElection   int8 = 1
)

// electLeaders elects the leaders that a request names, or all; each partition on its own terms
// (ReplicationControlManager.electLeaders).
func electLeaders(v *View, req *kmsg.ElectLeadersRequest, resp *kmsg.ElectLeadersResponse) (Decision, error) {
	kind := req.ElectionType
	if req.Version == 0 {
		kind = preferredElection
	}
	if kind != preferredElection && kind != uncleanElection {
		return Decision{}, protocol.Errorf(protocol.InvalidRequest, "Unknown election type %d", kind)
	}
	d := Decision{Split: true}
	elect := func(out *kmsg.ElectLeadersResponseTopic, partition int32, notNeeded bool) {
		r, err := electLeader(v, out.Topic, partition, kind)
		if r != nil {
			d.Records = append(d.Records, r)
		}
		if notNeeded || protocol.CodeOf(err) != protocol.ElectionNotNeeded {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = partition
			p.ErrorCode, p.ErrorMessage = codeAndMessage(err)
			out.Partitions = append(out.Partitions, p)
		}
	}
	if req.Topics == nil {
		for t := range v.Image.Topics() {
			out := kmsg.ElectLeadersResponseTopic{Topic: t.Name}
			for _, p := range t.Partitions {
				elect(&out, p.ID, false)
			}
			resp.Topics = append(resp.Topics, out)
		}
		return d, nil
	}
	for _, t := range req.Topics {
		out := kmsg.ElectLeadersResponseTopic{Topic: strings.Clone(t.Topic)}
		for _, p := range t.Partitions {
			elect(&out, p, true)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return d, nil
}

// electLeader elects the leader of one partition.
func electLeader(v *View, topic string, partition int32, kind int8) (*schema.PartitionChangeRecord, error) {
	t := v.Image.Topic(topic)
	if t == nil {
		return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "No such topic as %s", topic)
	}
	p := t.Partition(partition)
	if p == nil {
		return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "No such partition as %s-%d", topic, partition)
	}
	if (kind == preferredElection && preferred(p)) || (kind == uncleanElection && p.Leader != noBroker) {
		return nil, protocol.Errorf(protocol.ElectionNotNeeded, "Leader election not needed for topic partition.")
	}
	c := v.change(t, p, v.rules(t))
	c.election = electPreferred
	if kind == uncleanElection {
		c.election = electUnclean
	}
	if r := c.record(); r != nil {
		return r, nil
	}
	if kind == preferredElection {
		return nil, protocol.Errorf(protocol.PreferredLeaderNotAvailable, "The preferred leader was not available.")
	}
	return nil, protocol.Errorf(protocol.EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.")
}

// preferred reports whether the first replica leads.
func preferred(p *metadata.Partition) bool { return len(p.Replicas) > 0 && p.Replicas[0] == p.Leader }
