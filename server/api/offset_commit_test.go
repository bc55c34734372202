package api

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// commitOne commits an offset of one-0 without membership.
func commitOne(t *testing.T, n *Node, group string, offset int64) {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, group, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "one", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	resp := ask[*kmsg.OffsetCommitResponse](t, n, "PLAINTEXT", req)
	wantCode(t, "OffsetCommit", resp.Topics[0].Partitions[0].ErrorCode, protocol.None)
}

func TestOffsetCommit(t *testing.T) {
	eachVersion(t, 8, func(t *testing.T, n *Node, version int16) {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation = version, "g", -1
		partitions := func(ids ...int32) (ps []kmsg.OffsetCommitRequestTopicPartition) {
			for _, id := range ids {
				p := kmsg.NewOffsetCommitRequestTopicPartition()
				p.Partition, p.Offset, p.Timestamp = id, 40+int64(id), -1
				ps = append(ps, p)
			}
			return ps
		}
		tooLong := partitions(0)
		tooLong[0].Metadata = ptr(string(make([]byte, 4097)))
		req.Topics = []kmsg.OffsetCommitRequestTopic{
			{Topic: "unknown", TopicID: uid(77), Partitions: partitions(0, 1)},
			{Topic: "one", TopicID: uid(1), Partitions: partitions(5, 1, 0)},
			{Topic: "two", TopicID: uid(2), Partitions: tooLong},
		}
		resp := ask[*kmsg.OffsetCommitResponse](t, n, "PLAINTEXT", req)
		unknown := protocol.UnknownTopicOrPartition
		if version >= 10 {
			unknown = protocol.UnknownTopicID
		}
		want := [][]protocol.Code{
			{unknown, unknown}, {protocol.UnknownTopicOrPartition, protocol.None, protocol.None}, {protocol.OffsetMetadataTooLarge},
		}
		for i, topic := range resp.Topics {
			if asked := req.Topics[i]; (version < 10 && topic.Topic != asked.Topic) || (version >= 10 && topic.TopicID != asked.TopicID) {
				t.Errorf("answer %d is for %q, %v", i, topic.Topic, topic.TopicID)
			}
			for j, p := range topic.Partitions {
				if p.Partition != req.Topics[i].Partitions[j].Partition {
					t.Errorf("answer %d,%d is for partition %d", i, j, p.Partition)
				}
				wantCode(t, fmt.Sprint(i, ",", j), p.ErrorCode, want[i][j])
			}
		}
		if got := fetchOne(t, n, "g"); got != 40 {
			t.Errorf("offset %d", got)
		}
	})
}

func TestOffsetCommitOfUnknownTopicsOnly(t *testing.T) {
	groupNode(t, func(t *testing.T, n *Node) {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation, req.MemberID = 9, "g", 5, "nobody"
		req.Topics = []kmsg.OffsetCommitRequestTopic{{
			Topic: "unknown", Partitions: []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()},
		}}
		resp := ask[*kmsg.OffsetCommitResponse](t, n, "PLAINTEXT", req)
		wantCode(t, "OffsetCommit", resp.Topics[0].Partitions[0].ErrorCode, protocol.UnknownTopicOrPartition)
	})
}
