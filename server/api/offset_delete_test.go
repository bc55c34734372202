package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestOffsetDelete(t *testing.T) {
	groupNode(t, func(t *testing.T, n *Node) {
		commitOne(t, n, "simple", 7)
		member(t, n, nil)
		ask1 := func(group string) *kmsg.OffsetDeleteResponse {
			req := kmsg.NewPtrOffsetDeleteRequest()
			req.Group = group
			req.Topics = []kmsg.OffsetDeleteRequestTopic{
				{Topic: "unknown", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}},
				{Topic: "one", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 9}, {Partition: 0}}},
			}
			return ask[*kmsg.OffsetDeleteResponse](t, n, "PLAINTEXT", req)
		}
		codes := func(r *kmsg.OffsetDeleteResponse) (codes []protocol.Code) {
			for _, topic := range r.Topics {
				for _, p := range topic.Partitions {
					codes = append(codes, protocol.Code(p.ErrorCode))
				}
			}
			return codes
		}
		check := func(group string, last protocol.Code) {
			resp := ask1(group)
			wantCode(t, group, resp.ErrorCode, protocol.None)
			got := codes(resp)
			if len(got) != 3 || got[0] != protocol.UnknownTopicOrPartition || got[1] != protocol.UnknownTopicOrPartition || got[2] != last {
				t.Errorf("%s: %v", group, got)
			}
		}
		check("simple", protocol.None)
		check("g", protocol.GroupSubscribedToTopic)
		if got := fetchOne(t, n, "simple"); got != -1 {
			t.Errorf("the offset stays: %d", got)
		}
		wantCode(t, "missing", ask1("missing").ErrorCode, protocol.GroupIDNotFound)
	})
}
