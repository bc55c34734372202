package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

func TestSyncGroupValidation(t *testing.T) {
	tests := []struct {
		name   string
		change func(r *kmsg.SyncGroupRequest)
		want   protocol.Code
	}{
		{"no group id", func(r *kmsg.SyncGroupRequest) { r.Group = "" }, protocol.InvalidGroupID},
		{"no protocol type", func(r *kmsg.SyncGroupRequest) { r.ProtocolType = nil }, protocol.InconsistentGroupProtocol},
		{"no protocol name", func(r *kmsg.SyncGroupRequest) { r.Protocol = nil }, protocol.InconsistentGroupProtocol},
		{"other protocol type", func(r *kmsg.SyncGroupRequest) { r.ProtocolType = kmsg.StringPtr("connect") }, protocol.InconsistentGroupProtocol},
		{"other protocol", func(r *kmsg.SyncGroupRequest) { r.Protocol = kmsg.StringPtr("sticky") }, protocol.InconsistentGroupProtocol},
		{"version 4 names none", func(r *kmsg.SyncGroupRequest) { r.Version, r.ProtocolType, r.Protocol = 4, nil, nil }, protocol.None},
		{"good", func(*kmsg.SyncGroupRequest) {}, protocol.None},
	}
	run(t, nil, func(h *harness) {
		c := h.client()
		h.stable(c)
		for _, test := range tests {
			req := kmsg.NewPtrSyncGroupRequest()
			req.Version, req.Group, req.MemberID, req.Generation = 5, testGroup, c.memberID, c.generation
			req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
			test.change(req)
			wantCode(t, test.name, runtimetest.Now(t, h.c.SyncGroup(req)).ErrorCode, test.want)
		}
	})
}

func TestAnAssignmentIsDurableBeforeItIsAnswered(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		h.completing(a, b)
		fb := b.sync(map[string]string{a.memberID: "theft", b.memberID: "theft"}) // a follower's assignment is not looked at
		h.log.Hold(true)
		fa := a.sync(map[string]string{a.memberID: "x", "nobody": "y"})
		runtimetest.Parked(t, fa)
		runtimetest.Parked(t, fb)
		h.log.Commit(-1)
		if got := runtimetest.Now(t, fa); string(got.MemberAssignment) != "x" || *got.Protocol != "range" || *got.ProtocolType != "consumer" {
			t.Errorf("the leader got %+v", got)
		}
		if got := runtimetest.Now(t, fb); len(got.MemberAssignment) != 0 || got.ErrorCode != 0 {
			t.Errorf("a member without an assignment got %+v", got)
		}
	})
}

func TestARebalanceOvertakesAnAssignment(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		h.completing(a, b)
		h.log.Hold(true)
		fa := a.sync(map[string]string{a.memberID: "x"})
		runtimetest.Parked(t, fa)
		b.protocols[0].Metadata = subscriptionTo("changed")
		fb := b.sendJoin()
		wantCode(t, "SyncGroup", runtimetest.Now(t, fa).ErrorCode, protocol.RebalanceInProgress)
		h.log.Commit(-1)
		pass(0)
		h.wantState("PreparingRebalance") // the late commit changes nothing
		a.joined(a.sendJoin())
		b.joined(fb)
	})
}

func TestAStaticLeaderThatIsAwayIsReplaced(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.static("a"), h.static("b")
		a.session = 10 * time.Minute
		h.stable(a, b)
		b.protocols[0].Metadata = subscriptionTo("changed")
		f := b.sendJoin()
		pass(rebalance)
		if resp := b.joined(f); resp.LeaderID != b.memberID || len(resp.Members) != 2 {
			t.Errorf("joined %+v", resp)
		}
	})
}

func TestARebalanceWithoutAnybody(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.static("a"), h.client()
		a.session = 5 * time.Minute
		h.stable(a, b)
		wantCode(t, "LeaveGroup", int16(b.leave()), protocol.None)
		pass(2*rebalance + time.Second)
		h.wantState("PreparingRebalance") // the static member may come back
		pass(5 * time.Minute)
		h.wantState("Empty")
	})
}

func TestAPendingMemberCannotBecomeStatic(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		c.memberID = runtimetest.Now(t, c.sendJoin()).MemberID
		c.instance = kmsg.StringPtr("i")
		wantCode(t, "JoinGroup", runtimetest.Now(t, c.sendJoin()).ErrorCode, protocol.UnknownServerError)
	})
}

// TestRequestsMayBeReused overwrites what a request was read from as soon as it was handed over.
func TestRequestsMayBeReused(t *testing.T) {
	run(t, map[string]string{"group.initial.rebalance.delay.ms": "0"}, func(h *harness) {
		req := kmsg.NewPtrJoinGroupRequest()
		frame := func() []byte {
			r := kmsg.NewPtrJoinGroupRequest()
			r.Version, r.Group, r.InstanceID, r.ProtocolType = 9, testGroup, kmsg.StringPtr("instance"), "consumer"
			r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 10000, 10000
			r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscriptionTo("topic")}}
			return r.AppendTo(nil)
		}()
		req.Version = 9
		if err := req.UnsafeReadFrom(frame); err != nil {
			t.Fatal(err)
		}
		f := h.c.JoinGroup(req, Client{ID: "client"})
		clear(frame)
		if resp := runtimetest.Now(t, f); resp.ErrorCode != 0 || *resp.Protocol != "range" || *resp.Members[0].InstanceID != "instance" {
			t.Errorf("joined %+v", resp)
		}

		commit := h.client().commitRequest(9, 5)
		commit.Group, commit.Topics[0].Partitions[0].Metadata = "simple", kmsg.StringPtr("metadata")
		frame = commit.AppendTo(nil)
		commit = kmsg.NewPtrOffsetCommitRequest()
		commit.Version = 9
		if err := commit.ReadFrom(frame); err != nil {
			t.Fatal(err)
		}
		fc := h.c.OffsetCommit(commit)
		clear(frame)
		runtimetest.Now(t, fc)
		if _, _, metadata := h.fetchVersion(8, "simple"); metadata != "metadata" {
			t.Errorf("metadata %q", metadata)
		}
	})
}
