package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestConsumerGroupDescribe(t *testing.T) {
	eachVersion(t, 69, func(t *testing.T, n *Node, version int16) {
		member(t, n, nil)
		epoch := ask[*kmsg.ConsumerGroupHeartbeatResponse](t, n, "PLAINTEXT", consumerJoin(1)).MemberEpoch
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups, req.IncludeAuthorizedOperations = version, []string{"missing", "modern", "g"}, true
		resp := ask[*kmsg.ConsumerGroupDescribeResponse](t, n, "PLAINTEXT", req)
		if len(resp.Groups) != 3 {
			t.Fatalf("described %+v", resp.Groups)
		}
		for i, message := range map[int]string{0: "Group missing not found.", 2: "Group g is not a consumer group."} {
			g := resp.Groups[i]
			wantCode(t, g.Group, g.ErrorCode, protocol.GroupIDNotFound)
			if g.ErrorMessage == nil || *g.ErrorMessage != message || g.AuthorizedOperations != operationsNotAskedFor {
				t.Errorf("described %+v", g)
			}
		}
		g := resp.Groups[1]
		if g.ErrorCode != 0 || g.State != "Stable" || g.Epoch != epoch || g.AssignmentEpoch != epoch || g.AssignorName != "uniform" || g.AuthorizedOperations != 3400 || len(g.Members) != 1 {
			t.Fatalf("described %+v", g)
		}
		wantType := int8(-1) // not known in version 0
		if version >= 1 {
			wantType = 1
		}
		m := g.Members[0]
		if m.MemberID != "member" || *m.InstanceID != "instance" || *m.RackID != "rack" || m.ClientID != "client" || m.MemberEpoch != epoch || m.MemberType != wantType {
			t.Errorf("member %+v", m)
		}
		for _, a := range [][]kmsg.AssignmentTopicPartition{m.Assignment.TopicPartitions, m.TargetAssignment.TopicPartitions} {
			if len(a) != 1 || a[0].Topic != "one" || a[0].TopicID != uid(1) || !slices.Equal(a[0].Partitions, []int32{0, 1}) {
				t.Errorf("assignment %+v", a)
			}
		}
	})
}
