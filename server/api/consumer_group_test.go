package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// consumerJoin is the first heartbeat of a member of the consumer group "modern".
func consumerJoin(version int16) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = version, "modern", "member", 10_000
	req.InstanceID, req.RackID = ptr("instance"), ptr("rack")
	req.SubscribedTopicNames, req.Topics = []string{"one"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return req
}

func TestConsumerGroupHeartbeat(t *testing.T) {
	eachVersion(t, 68, func(t *testing.T, n *Node, version int16) {
		resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](t, n, "PLAINTEXT", consumerJoin(version))
		wantCode(t, "join", resp.ErrorCode, protocol.None)
		if *resp.MemberID != "member" || resp.HeartbeatIntervalMillis != 5000 || resp.MemberEpoch < 1 {
			t.Errorf("joined %+v", resp)
		}
		if a := resp.Assignment; a == nil || len(a.Topics) != 1 || a.Topics[0].TopicID != uid(1) || !slices.Equal(a.Topics[0].Partitions, []int32{0, 1}) {
			t.Errorf("assignment %+v", a)
		}
		beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		beat.Version, beat.Group, beat.MemberID, beat.InstanceID, beat.MemberEpoch = version, "modern", "member", ptr("instance"), resp.MemberEpoch
		if again := ask[*kmsg.ConsumerGroupHeartbeatResponse](t, n, "PLAINTEXT", beat); again.ErrorCode != 0 || again.MemberEpoch != resp.MemberEpoch || again.Assignment != nil {
			t.Errorf("heartbeat %+v", again)
		}
		beat.MemberEpoch = 77
		fenced := ask[*kmsg.ConsumerGroupHeartbeatResponse](t, n, "PLAINTEXT", beat)
		wantCode(t, "fenced", fenced.ErrorCode, protocol.FencedMemberEpoch)
		if fenced.ErrorMessage == nil || fenced.MemberID != nil || fenced.MemberEpoch != 0 {
			t.Errorf("fenced %+v", fenced)
		}
	})
}

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

// TestConsumerGroupsThatAreNotServed has the feature at level 0, then the protocol left out of the broker's list.
func TestConsumerGroupsThatAreNotServed(t *testing.T) {
	groupNode(t, func(t *testing.T, n *Node) {
		refused := func(what string) {
			t.Helper()
			wantCode(t, what, ask[*kmsg.ConsumerGroupHeartbeatResponse](t, n, "PLAINTEXT", consumerJoin(1)).ErrorCode, protocol.UnsupportedVersion)
			req := kmsg.NewPtrConsumerGroupDescribeRequest()
			req.Version, req.Groups = 1, []string{"modern", "other"}
			resp := ask[*kmsg.ConsumerGroupDescribeResponse](t, n, "PLAINTEXT", req)
			if len(resp.Groups) != 2 || resp.Groups[1].Group != "other" {
				t.Fatalf("%s: %+v", what, resp.Groups)
			}
			wantCode(t, what, resp.Groups[1].ErrorCode, protocol.UnsupportedVersion)
		}
		served, image := n.Image, n.Image()
		without, _, err := image.With(image.Offset()+1, 1, []schema.MetadataRecord{&schema.FeatureLevelRecord{Name: protocol.GroupVersion}})
		if err != nil {
			t.Fatal(err)
		}
		n.Image = func() *metadata.Image { return without }
		refused("group.version 0")
		n.Image = served
		values, err := config.FromStatic(map[string]string{"group.coordinator.rebalance.protocols": "classic"})
		if err != nil {
			t.Fatal(err)
		}
		n.Config = func() config.Values { return values }
		refused("classic groups only")
	})
}
