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
