package controller

import (
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestRegistrationErrors(t *testing.T) {
	tests := []struct {
		name string
		edit func(*kmsg.BrokerRegistrationRequest)
		code protocol.Code
	}{
		{"good", func(*kmsg.BrokerRegistrationRequest) {}, protocol.None},
		{"another cluster", func(r *kmsg.BrokerRegistrationRequest) { r.ClusterID = "other" }, protocol.InconsistentClusterID},
		{"alive elsewhere", func(r *kmsg.BrokerRegistrationRequest) { r.BrokerID = 2 }, protocol.DuplicateBrokerRegistration},
		{"in place of a fenced one", func(r *kmsg.BrokerRegistrationRequest) { r.BrokerID = 3 }, protocol.None},
		{"a migrating ZooKeeper broker", func(r *kmsg.BrokerRegistrationRequest) { r.IsMigratingZkBroker = true }, protocol.BrokerIDNotRegistered},
		{"no directories", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = nil }, protocol.InvalidRegistration},
		{"a reserved directory", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = [][16]byte{{15: 99}} }, protocol.InvalidRegistration},
		{"a directory twice", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = append(r.LogDirs, r.LogDirs[0]) }, protocol.InvalidRegistration},
		{"another broker's directory", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = [][16]byte{uuid(202)} }, protocol.InvalidRegistration},
		{"no features", func(r *kmsg.BrokerRegistrationRequest) { r.Features = nil }, protocol.InvalidRegistration},
		{"too old a release", func(r *kmsg.BrokerRegistrationRequest) {
			r.Features = nil
			r.Features = append(r.Features, kmsg.BrokerRegistrationRequestFeature{Name: protocol.MetadataVersion, MinSupportedVersion: 7, MaxSupportedVersion: 29})
		}, protocol.UnsupportedVersion},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newTestView(t, nil, liveBroker(2), fencedBroker(3))
			req := registration(5, testCluster)
			req.LogDirs = [][16]byte{uuid(250)}
			test.edit(req)
			resp := req.ResponseKind().(*kmsg.BrokerRegistrationResponse)
			d, err := registerBroker(v, req, resp)
			if protocol.CodeOf(err) != test.code {
				t.Fatalf("%v, want %v", err, test.code)
			}
			if err != nil {
				if len(d.Records) > 0 {
					t.Errorf("%d records", len(d.Records))
				}
				return
			}
			if resp.BrokerEpoch != v.NextOffset {
				t.Errorf("epoch %d, the record gets offset %d", resp.BrokerEpoch, v.NextOffset)
			}
			apply(t, v, d)
			if b := v.Image.Broker(req.BrokerID); !b.Fenced || b.Epoch != resp.BrokerEpoch || b.Incarnation != protocol.UUID(req.IncarnationID) {
				t.Errorf("%+v", b)
			}
		})
	}
}

// beat sends a heartbeat and makes what it decides part of the view.
func beat(t *testing.T, v *View, id int32, edit func(*kmsg.BrokerHeartbeatRequest)) (*kmsg.BrokerHeartbeatResponse, error) {
	t.Helper()
	req := &kmsg.BrokerHeartbeatRequest{BrokerID: id, CurrentMetadataOffset: v.NextOffset - 1}
	if b := v.Image.Broker(id); b != nil {
		req.BrokerEpoch = b.Epoch
	}
	if edit != nil {
		edit(req)
	}
	resp := &kmsg.BrokerHeartbeatResponse{}
	d, err := heartbeat(v, req, resp)
	apply(t, v, d)
	return resp, err
}

// TestSameIncarnationKeepsItsEpoch and stays unfenced.
func TestSameIncarnationKeepsItsEpoch(t *testing.T) {
	v := newTestView(t, nil)
	req := registration(1, testCluster)
	first, again := &kmsg.BrokerRegistrationResponse{}, &kmsg.BrokerRegistrationResponse{}
	d, err := registerBroker(v, req, first)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	if resp, err := beat(t, v, 1, nil); err != nil || resp.IsFenced || !resp.IsCaughtUp {
		t.Fatalf("%+v, %v", resp, err)
	}
	req.Rack = ptr("r9")
	if d, err = registerBroker(v, req, again); err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	if b := v.Image.Broker(1); again.BrokerEpoch != first.BrokerEpoch || b.Epoch != first.BrokerEpoch || b.Fenced || *b.Rack != "r9" {
		t.Errorf("epoch %d then %d, %+v", first.BrokerEpoch, again.BrokerEpoch, b)
	}
}

// TestOwnBrokerMayComeBackAtOnce: this node's broker cannot run elsewhere, unless it was heard by this very controller.
func TestOwnBrokerMayComeBackAtOnce(t *testing.T) {
	v := newTestView(t, nil, liveBroker(1))
	req := registration(1, testCluster)
	req.IncarnationID = uuid(77)
	d, err := registerBroker(v, req, &kmsg.BrokerRegistrationResponse{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	if _, err := beat(t, v, 1, nil); err != nil {
		t.Fatal(err)
	}
	req.IncarnationID = uuid(78)
	if _, err := registerBroker(v, req, &kmsg.BrokerRegistrationResponse{}); protocol.CodeOf(err) != protocol.DuplicateBrokerRegistration {
		t.Errorf("a second broker 1 beside one that is alive: %v", err)
	}
	v.Now = v.Now.Add(10 * time.Second)
	if _, err := registerBroker(v, req, &kmsg.BrokerRegistrationResponse{}); err != nil {
		t.Errorf("after its session: %v", err)
	}
}

func TestHeartbeatStates(t *testing.T) {
	want := func(fence, shutdown bool) func(*kmsg.BrokerHeartbeatRequest) {
		return func(r *kmsg.BrokerHeartbeatRequest) { r.WantFence, r.WantShutdown = fence, shutdown }
	}
	behind := func(r *kmsg.BrokerHeartbeatRequest) { r.CurrentMetadataOffset = 0 }
	tests := []struct {
		name                                string
		broker                              *schema.RegisterBrokerRecord
		leads                               bool
		edit                                func(*kmsg.BrokerHeartbeatRequest)
		caughtUp, fenced, shutdown, changed bool
	}{
		{"unfenced stays", liveBroker(1), true, nil, true, false, false, false},
		{"fenced and caught up", fencedBroker(1), true, nil, true, false, false, true},
		{"fenced and behind", fencedBroker(1), true, behind, false, true, false, false},
		{"fenced wants to stay", fencedBroker(1), true, want(true, false), true, true, false, false},
		{"fenced wants to stop", fencedBroker(1), true, want(false, true), true, true, true, true},
		{"wants to be fenced", liveBroker(1), true, want(true, false), true, true, false, true},
		{"wants to be fenced and stop", liveBroker(1), true, want(true, true), true, true, true, true},
		{"wants to stop and leads", liveBroker(1), true, want(false, true), true, false, false, true},
		{"wants to stop and does not lead", liveBroker(1), false, want(false, true), true, true, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.broker.BrokerEpoch = 1
			base := one(test.broker)
			if test.leads {
				base = records(base, existing("t", uuid(1), []int32{1}))
			}
			v := newTestView(t, nil, base...)
			before := v.NextOffset
			resp, err := beat(t, v, 1, test.edit)
			if err != nil {
				t.Fatal(err)
			}
			if resp.IsCaughtUp != test.caughtUp || resp.IsFenced != test.fenced || resp.ShouldShutdown != test.shutdown {
				t.Errorf("%+v", resp)
			}
			if fencedAlready := test.broker.Fenced && test.shutdown; (v.NextOffset != before) != test.changed && !fencedAlready {
				t.Errorf("%d records", v.NextOffset-before)
			}
			if b := v.Image.Broker(1); b.Fenced != test.fenced {
				t.Errorf("%+v", b)
			}
		})
	}
}

func TestStaleBrokerEpoch(t *testing.T) {
	v := newTestView(t, nil, liveBroker(1))
	for name, id := range map[string]int32{"wrong epoch": 1, "unknown broker": 9} {
		_, err := beat(t, v, id, func(r *kmsg.BrokerHeartbeatRequest) { r.BrokerEpoch = 5 })
		if protocol.CodeOf(err) != protocol.StaleBrokerEpoch {
			t.Errorf("%s: %v", name, err)
		}
		_, err = allocateProducerIDs(v, &kmsg.AllocateProducerIDsRequest{BrokerID: id, BrokerEpoch: 5}, &kmsg.AllocateProducerIDsResponse{})
		if protocol.CodeOf(err) != protocol.StaleBrokerEpoch {
			t.Errorf("producer ids, %s: %v", name, err)
		}
	}
}

// state is a partition in short.
func state(p *metadata.Partition) [3]any { return [3]any{p.Leader, p.LeaderEpoch, slices.Clone(p.ISR)} }

func sameState(p *metadata.Partition, leader, epoch int32, isr ...int32) bool {
	return p.Leader == leader && p.LeaderEpoch == epoch && slices.Equal(p.ISR, isr)
}

func TestFencingMovesLeaders(t *testing.T) {
	base := records(one(liveBroker(1), liveBroker(2)), existing("t", uuid(1), []int32{1, 2}, []int32{2, 1}, []int32{1}))
	v := newTestView(t, nil, base...)
	apply(t, v, Decision{Records: fence(v, 1, nil)})
	p := v.Image.Topic("t").Partitions
	if !sameState(p[0], 2, 1, 2) || !sameState(p[1], 2, 0, 2) || !sameState(p[2], -1, 1, 1) {
		t.Fatalf("after fencing: %v %v %v", state(p[0]), state(p[1]), state(p[2]))
	}
	if !v.Image.Broker(1).Fenced {
		t.Error("broker 1 is not fenced")
	}
	apply(t, v, Decision{Records: unfence(v, v.Image.Broker(1), nil)})
	p = v.Image.Topic("t").Partitions
	if !sameState(p[0], 2, 1, 2) || !sameState(p[2], 1, 2, 1) {
		t.Errorf("after unfencing: %v %v", state(p[0]), state(p[2]))
	}
}

func TestUncleanElectionOnlyWhereAllowed(t *testing.T) {
	base := records(one(liveBroker(1), liveBroker(2)), existing("safe", uuid(1), []int32{1, 2}), existing("unsafe", uuid(2), []int32{1, 2}),
		one(&schema.ConfigRecord{ResourceType: 2, ResourceName: "unsafe", Name: "unclean.leader.election.enable", Value: ptr("true")}))
	for _, id := range []protocol.UUID{uuid(1), uuid(2)} {
		shrink := schema.NewPartitionChangeRecord(id, 0)
		shrink.ISR = []int32{1}
		base = append(base, shrink)
	}
	v := newTestView(t, nil, base...)
	apply(t, v, Decision{Records: fence(v, 1, nil)})
	if p := v.Image.Partition("safe", 0); !sameState(p, -1, 1, 1) {
		t.Errorf("safe: %v", state(p))
	}
	if p := v.Image.Partition("unsafe", 0); !sameState(p, 2, 1, 2) || p.LeaderRecoveryState != recovering {
		t.Errorf("unsafe: %v, recovery state %d", state(p), p.LeaderRecoveryState)
	}
}

func TestControlledShutdown(t *testing.T) {
	v := newTestView(t, nil, records(one(liveBroker(1), liveBroker(2)), existing("t", uuid(1), []int32{1, 2}))...)
	stop := func(r *kmsg.BrokerHeartbeatRequest) { r.WantShutdown = true }
	resp, err := beat(t, v, 1, stop)
	if err != nil || resp.ShouldShutdown || resp.IsFenced {
		t.Fatalf("%+v, %v", resp, err)
	}
	if p := v.Image.Partition("t", 0); !sameState(p, 2, 1, 2) {
		t.Errorf("the leader did not move: %v", state(p))
	}
	if resp, _ = beat(t, v, 1, stop); resp.ShouldShutdown {
		t.Error("it may stop before the other broker knows that it leads")
	}
	if _, err := beat(t, v, 2, nil); err != nil {
		t.Fatal(err)
	}
	if resp, _ = beat(t, v, 1, stop); !resp.ShouldShutdown || !v.Image.Broker(1).Fenced {
		t.Errorf("%+v, %+v", resp, v.Image.Broker(1))
	}
}

func TestUnregisterBroker(t *testing.T) {
	v := newTestView(t, nil, records(one(liveBroker(1), liveBroker(2)), existing("t", uuid(1), []int32{1, 2}))...)
	if _, err := unregisterBroker(v, &kmsg.UnregisterBrokerRequest{BrokerID: 9}); protocol.CodeOf(err) != protocol.BrokerIDNotRegistered {
		t.Error(err)
	}
	d, err := unregisterBroker(v, &kmsg.UnregisterBrokerRequest{BrokerID: 1})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	if v.Image.Broker(1) != nil || !sameState(v.Image.Partition("t", 0), 2, 1, 2) {
		t.Errorf("%+v, %v", v.Image.Broker(1), state(v.Image.Partition("t", 0)))
	}
}

func TestProducerIDBlocksFollowEachOther(t *testing.T) {
	v := newTestView(t, nil, liveBroker(1))
	for i := range int64(3) {
		resp := &kmsg.AllocateProducerIDsResponse{}
		d, err := allocateProducerIDs(v, &kmsg.AllocateProducerIDsRequest{BrokerID: 1, BrokerEpoch: 101}, resp)
		if err != nil || resp.ProducerIDStart != i*1000 || resp.ProducerIDLen != 1000 {
			t.Fatalf("%+v, %v", resp, err)
		}
		apply(t, v, d)
	}
}
