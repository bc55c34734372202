package group

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

const (
	noRetention = -1 // RetentionTimeMillis: the broker's retention counts
	noTimestamp = -1
	// groupNotFoundVersion is the first OffsetCommit version whose clients know GroupIDNotFound.
	groupNotFoundVersion = 9
)

// commitOffsets handles OffsetCommit: one record for each partition, all in one batch. The response names every partition of the request.
func (s *shard) commitOffsets(env runtime.Env, req *kmsg.OffsetCommitRequest) (*kmsg.OffsetCommitResponse, []runtime.Record, error) {
	check, err := s.checkCommit(env, req)
	if err != nil {
		return nil, nil, err
	}
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, 0, len(req.Topics))
	records := make([]runtime.Record, 0, 1)
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.OffsetCommitResponseTopic{
			Topic: t.Topic, TopicID: t.TopicID, Partitions: make([]kmsg.OffsetCommitResponseTopicPartition, 0, len(t.Partitions)),
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			code := protocol.None
			if utf16Len(deref(p.Metadata)) > s.settings.offsetMetadataMax {
				code = protocol.OffsetMetadataTooLarge
			} else {
				if check != nil {
					if err := check(t.Topic, topicIDOf(env, t), p.Partition); err != nil {
						return nil, nil, err
					}
				}
				key := offsetKey{req.Group, t.Topic, p.Partition}
				records = append(records, offsetRecord(key, s.commitValue(env, req, t, p)))
			}
			topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, records, nil
}

// topicIDOf is the topic's id: older versions name it only.
func topicIDOf(env runtime.Env, t *kmsg.OffsetCommitRequestTopic) protocol.UUID {
	if topic := env.Image.Topic(t.Topic); t.TopicID == (protocol.UUID{}) && topic != nil {
		return topic.ID
	}
	return t.TopicID
}

// checkCommit decides whether the request may commit offsets of its group.
func (s *shard) checkCommit(env runtime.Env, req *kmsg.OffsetCommitRequest) (partitionCheck, error) {
	g, ok := s.groups[req.Group]
	if !ok {
		return nil, missingGroup(req)
	}
	check, err := g.checkCommit(committer{memberID: req.MemberID, instanceID: req.InstanceID, epoch: req.Generation, version: req.Version})
	if err != nil {
		return nil, err
	}
	if g, ok := g.(*classicGroup); ok && (g.state == stable || g.state == preparingRebalance) {
		if m, ok := g.byID[req.MemberID]; ok {
			s.resetSession(env, g, m) // a commit is as good as a heartbeat
		}
	}
	return check, nil
}

func (s *shard) commitValue(env runtime.Env, req *kmsg.OffsetCommitRequest, t *kmsg.OffsetCommitRequestTopic, p *kmsg.OffsetCommitRequestTopicPartition) offsetValue {
	v := offsetValue{
		offset: p.Offset, leaderEpoch: p.LeaderEpoch, metadata: deref(p.Metadata), topicID: t.TopicID,
		commitTimestamp: env.Now.UnixMilli(), expireTimestamp: noTimestamp,
	}
	if req.Version < 6 {
		v.leaderEpoch = -1
	}
	if req.Version == 1 && p.Timestamp != noTimestamp {
		v.commitTimestamp = p.Timestamp
	}
	if req.Version >= 2 && req.Version <= 4 && req.RetentionTimeMillis != noRetention {
		v.expireTimestamp = env.Now.UnixMilli() + min(req.RetentionTimeMillis, math.MaxInt64-env.Now.UnixMilli())
	}
	return v
}

// missingGroup says what a commit to a group that does not exist gets: consumers without membership create it, members are refused.
func missingGroup(req *kmsg.OffsetCommitRequest) error {
	switch {
	case req.Generation < 0:
		return nil
	case req.Version >= groupNotFoundVersion:
		return protocol.Errorf(protocol.GroupIDNotFound, "Group %s not found.", req.Group)
	default:
		return protocol.IllegalGeneration
	}
}

// utf16Len is the length that Java gives a string, by which Kafka limits metadata.
func utf16Len(s string) int {
	n := utf8.RuneCountInString(s)
	return n + strings.Count(s, "\xf0") + strings.Count(s, "\xf1") + strings.Count(s, "\xf2") + strings.Count(s, "\xf3") + strings.Count(s, "\xf4")
}
