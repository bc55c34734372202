package controller

import (
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// withELR is the record that turns the eligible leader replicas on, and a minimum of two in sync.
func withELR(minimum string) []schema.MetadataRecord {
	return []schema.MetadataRecord{
		level(protocol.EligibleLeaderReplicasVersion, 1),
		&schema.ConfigRecord{ResourceType: 4, Name: minISR, Value: ptr(minimum)},
	}
}

// kept is what a partition keeps of who can lead it.
func kept(p *metadata.Partition, elr, last []int32) bool {
	return slices.Equal(p.ELR, elr) && slices.Equal(p.LastKnownELR, last)
}

func threeLive() []schema.MetadataRecord { return one(liveBroker(1), liveBroker(2), liveBroker(3)) }

// TestELRKeepsWhoHasEverything: below the minimum, who leaves the ISR may still lead, and does when nobody else is left.
func TestELRKeepsWhoHasEverything(t *testing.T) {
	v := newTestView(t, nil, records(withELR("2"), threeLive(), existing("t", uuid(1), []int32{1, 2, 3}))...)
	p := func() *metadata.Partition { return v.Image.Partition("t", 0) }
	apply(t, v, Decision{Records: fence(v, 1, nil)})
	if !sameState(p(), 2, 1, 2, 3) || !kept(p(), nil, nil) {
		t.Fatalf("at the minimum: %+v", p())
	}
	apply(t, v, Decision{Records: fence(v, 2, nil)})
	if !sameState(p(), 3, 2, 3) || !kept(p(), []int32{2}, nil) {
		t.Fatalf("below the minimum: %+v", p())
	}
	apply(t, v, Decision{Records: fence(v, 3, nil)})
	if !sameState(p(), -1, 3) || !kept(p(), []int32{2, 3}, []int32{3}) {
		t.Fatalf("nobody left: %+v", p())
	}
	apply(t, v, Decision{Records: unfence(v, v.Image.Broker(1), nil)})
	if p().Leader != noBroker {
		t.Fatalf("a replica that lacks data leads: %+v", p())
	}
	apply(t, v, Decision{Records: unfence(v, v.Image.Broker(2), nil)})
	if !sameState(p(), 2, 4, 2) || !kept(p(), []int32{3}, nil) || p().LeaderRecoveryState != recovered {
		t.Errorf("one of the ELR is back: %+v", p())
	}
}

// TestRestart: what a registration of a new incarnation does to a sole replica. The epoch rises by two: nobody leads in between.
func TestRestart(t *testing.T) {
	for _, test := range []struct {
		name    string
		elr     bool
		version int16
		clean   bool
		between [3][]int32 // ISR, ELR, last leader
		state   int8
	}{
		{"clean", true, 4, true, [3][]int32{nil, {1}, {1}}, recovered},
		{"killed", true, 4, false, [3][]int32{nil, nil, {1}}, recovering},
		{"an old broker cannot say that it was clean", true, 2, true, [3][]int32{nil, nil, {1}}, recovering},
		{"killed, without ELR", false, 4, false, [3][]int32{{1}, nil, nil}, recovered},
	} {
		t.Run(test.name, func(t *testing.T) {
			base := records(one(featureBroker(1)), existing("t", uuid(1), []int32{1}))
			if test.elr {
				base = records(withELR("1"), base)
			}
			v := newTestView(t, nil, base...)
			req := registration(1, testCluster)
			req.Version, req.IncarnationID, req.PreviousBrokerEpoch = test.version, uuid(77), -1
			if test.clean {
				req.PreviousBrokerEpoch = v.Image.Broker(1).Epoch
			}
			resp := &kmsg.BrokerRegistrationResponse{}
			next := v.NextOffset
			d, err := registerBroker(v, req, resp)
			if err != nil {
				t.Fatal(err)
			}
			apply(t, v, d)
			p := v.Image.Partition("t", 0)
			if p.Leader != noBroker || p.LeaderEpoch != 1 || !slices.Equal(p.ISR, test.between[0]) || !kept(p, test.between[1], test.between[2]) {
				t.Fatalf("registered: %+v", p)
			}
			if resp.BrokerEpoch != next || v.Image.Broker(1).Epoch != next {
				t.Errorf("epoch %d, image %d, want %d", resp.BrokerEpoch, v.Image.Broker(1).Epoch, next)
			}
			if resp, _ := beat(t, v, 1, func(r *kmsg.BrokerHeartbeatRequest) { r.CurrentMetadataOffset = next }); !resp.IsFenced || resp.IsCaughtUp {
				t.Errorf("unfenced before it knows of its registration: %+v", resp)
			}
			if resp, err := beat(t, v, 1, nil); err != nil || resp.IsFenced {
				t.Fatalf("%+v, %v", resp, err)
			}
			p = v.Image.Partition("t", 0)
			if !sameState(p, 1, 2, 1) || !kept(p, nil, nil) || p.LeaderRecoveryState != test.state {
				t.Errorf("unfenced: %+v", p)
			}
		})
	}
}

// TestUncleanReplicaLeavesTheELR: what it had not synced may be gone.
func TestUncleanReplicaLeavesTheELR(t *testing.T) {
	v := newTestView(t, nil, records(withELR("2"), one(featureBroker(1), featureBroker(2)), existing("t", uuid(1), []int32{1, 2}))...)
	apply(t, v, Decision{Records: fence(v, 2, nil)})
	if p := v.Image.Partition("t", 0); !sameState(p, 1, 0, 1) || !kept(p, []int32{2}, nil) {
		t.Fatalf("%+v", p)
	}
	req := registration(2, testCluster)
	req.IncarnationID = uuid(78)
	d, err := registerBroker(v, req, &kmsg.BrokerRegistrationResponse{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	if p := v.Image.Partition("t", 0); !sameState(p, 1, 0, 1) || !kept(p, nil, nil) {
		t.Errorf("%+v", p)
	}
}

func TestElectLeaders(t *testing.T) {
	v := newTestView(t, nil, records(one(liveBroker(1), liveBroker(2), fencedBroker(3)), existing("t", uuid(1), []int32{1, 2}, []int32{2, 1}, []int32{3}, []int32{3, 2}))...)
	moved, gone, lagging := schema.NewPartitionChangeRecord(uuid(1), 0), schema.NewPartitionChangeRecord(uuid(1), 2), schema.NewPartitionChangeRecord(uuid(1), 3)
	moved.Leader, gone.Leader, lagging.Leader, lagging.ISR = 2, -1, -1, []int32{3}
	apply(t, v, Decision{Records: one(moved, gone, lagging)})
	elect := func(kind int8, topics ...kmsg.ElectLeadersRequestTopic) (*kmsg.ElectLeadersResponse, error) {
		resp := &kmsg.ElectLeadersResponse{}
		d, err := electLeaders(v, &kmsg.ElectLeadersRequest{Version: 2, ElectionType: kind, Topics: topics}, resp)
		apply(t, v, d)
		return resp, err
	}
	codes := func(resp *kmsg.ElectLeadersResponse) (all []protocol.Code) {
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				all = append(all, protocol.Code(p.ErrorCode))
			}
		}
		return all
	}
	if _, err := elect(2); protocol.CodeOf(err) != protocol.InvalidRequest {
		t.Errorf("type 2: %v", err)
	}
	resp, _ := elect(preferredElection, kmsg.ElectLeadersRequestTopic{Topic: "t", Partitions: []int32{0, 1, 2, 9}}, kmsg.ElectLeadersRequestTopic{Topic: "no", Partitions: []int32{0}})
	want := []protocol.Code{protocol.None, protocol.ElectionNotNeeded, protocol.PreferredLeaderNotAvailable, protocol.UnknownTopicOrPartition, protocol.UnknownTopicOrPartition}
	if got := codes(resp); !slices.Equal(got, want) || !sameState(v.Image.Partition("t", 0), 1, 2, 1, 2) {
		t.Errorf("preferred: %v, %+v", got, v.Image.Partition("t", 0))
	}
	resp, _ = elect(uncleanElection)
	if got := codes(resp); !slices.Equal(got, []protocol.Code{protocol.EligibleLeadersNotAvailable, protocol.None}) {
		t.Errorf("unclean, all: %v", got)
	}
	if p := v.Image.Partition("t", 3); !sameState(p, 2, 2, 2) || p.LeaderRecoveryState != recovering {
		t.Errorf("unclean: %+v", p)
	}
}
