package api

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// groupNode runs test against broker 1, which leads all of __consumer_offsets, in a bubble of fake time. There are the topics "one"
// (id uid(1)) and "two" (id uid(2)), each with two partitions.
func groupNode(t *testing.T, test func(t *testing.T, n *Node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var records []schema.MetadataRecord
		records = append(records, &schema.FeatureLevelRecord{Name: protocol.GroupVersion, FeatureLevel: 1})
		records = append(records, &schema.RegisterBrokerRecord{BrokerID: 1, EndPoints: []schema.BrokerEndpoint{
			{Name: "PLAINTEXT", Host: "here", Port: 9092}, {Name: "OTHER", Host: "there", Port: 19092},
		}})
		for i, name := range []string{protocol.GroupMetadataTopic, "one", "two"} {
			records = append(records, &schema.TopicRecord{Name: name, TopicID: uid(byte(i))})
			for p := range int32(2) {
				records = append(records, &schema.PartitionRecord{
					PartitionID: p, TopicID: uid(byte(i)), Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []protocol.UUID{uid(9)},
				})
			}
		}
		image := imageOf(t, records...)
		n, _ := imageNode(t, image, map[string]string{"group.initial.rebalance.delay.ms": "0"})
		codecs := record.NewCodecs()
		logs := map[int32]*runtimetest.Log{0: {}, 1: {}}
		n.Groups = group.New(group.Options{
			NodeID: 1, Config: func() config.Values { return n.Config() },
			Open:  func(p int32) (runtime.Log, error) { return logs[p], nil },
			Image: n.Image, Codecs: codecs, Logger: n.Logger,
		})
		n.Groups.Apply(&metadata.Delta{Image: image})
		synctest.Wait()
		test(t, n)
		n.Groups.Close()
		codecs.Close()
	})
}

// eachVersion runs test in every version that the API serves.
func eachVersion(t *testing.T, key int16, test func(t *testing.T, n *Node, version int16)) {
	t.Helper()
	row := NewRoutes(Table()).Get(key)
	if row == nil {
		t.Fatalf("no row for key %d", key)
	}
	for version := row.Min; version <= row.Max; version++ {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			groupNode(t, func(t *testing.T, n *Node) { test(t, n, version) })
		})
	}
}

func wantCode(t testing.TB, what string, got int16, want protocol.Code) {
	t.Helper()
	if protocol.Code(got) != want {
		t.Errorf("%s: %v, want %v", what, protocol.Code(got), want)
	}
}

// member makes one member of a group "g" that is alone, and returns its id.
func member(t *testing.T, n *Node, instance *string) string {
	t.Helper()
	req := joinRequest(9, "")
	req.InstanceID = instance
	resp := ask[*kmsg.JoinGroupResponse](t, n, "PLAINTEXT", req)
	if protocol.Code(resp.ErrorCode) == protocol.MemberIDRequired {
		resp = ask[*kmsg.JoinGroupResponse](t, n, "PLAINTEXT", joinRequest(9, resp.MemberID))
	}
	wantCode(t, "JoinGroup", resp.ErrorCode, protocol.None)
	sync := ask[*kmsg.SyncGroupResponse](t, n, "PLAINTEXT", syncRequest(5, resp.MemberID))
	wantCode(t, "SyncGroup", sync.ErrorCode, protocol.None)
	return resp.MemberID
}

func joinRequest(version int16, memberID string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = version, "g", memberID, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{"one"}
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata.AppendTo(nil)}}
	return req
}

func syncRequest(version int16, memberID string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, "g", memberID, 1
	req.ProtocolType, req.Protocol = ptr("consumer"), ptr("range")
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: memberID, MemberAssignment: []byte("assigned")}}
	return req
}

func TestJavaAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "/192.0.2.1", "::ffff:192.0.2.1": "/192.0.2.1", "::1": "/0:0:0:0:0:0:0:1",
		"2001:db8::a:0": "/2001:db8:0:0:0:0:a:0", "fe80::1%eth0": "/fe80:0:0:0:0:0:0:1%eth0",
	} {
		if got := javaAddress(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
