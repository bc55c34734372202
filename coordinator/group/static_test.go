package group

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// again is the same static member after a restart.
func (c *client) again() *client {
	r := *c
	r.memberID, r.generation = "", -1
	return &r
}

func TestAStaticMemberReturnsWithoutARebalance(t *testing.T) {
	for _, leads := range []bool{true, false} {
		for version := int16(5); version <= 9; version++ {
			run(t, nil, func(h *harness) {
				a, b := h.static("a"), h.static("b")
				h.stable(a, b)
				old := b
				if leads {
					old = a
				}
				returned := old.again()
				returned.version = version
				resp := returned.joined(returned.sendJoin())
				name := fmt.Sprintf("leader %v, version %d", leads, version)
				h.wantState("Stable")
				wantLeader, wantSkip, wantMembers := a.memberID, false, 0
				if leads && version >= 9 {
					wantLeader, wantSkip, wantMembers = returned.memberID, true, 2
				}
				if resp.Generation != 1 || returned.memberID == old.memberID || resp.LeaderID != wantLeader ||
					resp.SkipAssignment != wantSkip || len(resp.Members) != wantMembers {
					t.Errorf("%s: %+v", name, resp)
				}
				synced := runtimetest.Now(t, returned.sync(nil))
				wantCode(t, name, synced.ErrorCode, protocol.None)
				if want := map[bool]string{true: "a0", false: "a1"}[leads]; string(synced.MemberAssignment) != want {
					t.Errorf("%s: assigned %q, want %q", name, synced.MemberAssignment, want)
				}
				wantCode(t, "old id", int16(old.heartbeat()), protocol.FencedInstanceID)
				wantCode(t, "old id", int16(old.commit(1)), protocol.FencedInstanceID)
				wantCode(t, "old id", runtimetest.Now(t, old.sync(nil)).ErrorCode, protocol.FencedInstanceID)
				wantCode(t, "old id", runtimetest.Now(t, old.sendJoin()).ErrorCode, protocol.FencedInstanceID)
				wantCode(t, "old id", int16(old.leave()), protocol.FencedInstanceID)
				wantCode(t, "new id", int16(returned.heartbeat()), protocol.None)
			})
		}
	}
}

func TestAStaticMemberReturnsDuringTheAssignment(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.static("a"), h.static("b")
		h.completing(a, b)
		parkedSync := b.sync(nil)
		runtimetest.Parked(t, parkedSync)
		returned := b.again()
		f := returned.sendJoin()
		wantCode(t, "SyncGroup of the old id", runtimetest.Now(t, parkedSync).ErrorCode, protocol.FencedInstanceID)
		runtimetest.Parked(t, f)
		h.wantState("PreparingRebalance")
		a.joined(a.sendJoin())
		if resp := returned.joined(f); resp.Generation != 2 {
			t.Errorf("generation %d, want 2", resp.Generation)
		}
	})
}

func TestAStaticMemberReturnsWhileItIsParked(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.static("a"), h.static("b")
		first := h.preparing(a, b)
		returned := a.again()
		f := returned.sendJoin()
		resp := runtimetest.Now(t, first)
		wantCode(t, "JoinGroup of the old id", resp.ErrorCode, protocol.FencedInstanceID)
		if resp.MemberID != a.memberID {
			t.Errorf("answered to %q, want %q", resp.MemberID, a.memberID)
		}
		runtimetest.Parked(t, f)
		b.joined(b.sendJoin())
		returned.joined(f)
	})
}

func TestAStaticMemberThatChangesTheProtocolRebalances(t *testing.T) {
	run(t, nil, func(h *harness) {
		a := h.static("a").with("range", "sticky")
		h.stable(a)
		returned := a.again().with("sticky", "range")
		if resp := returned.joined(returned.sendJoin()); resp.Generation != 2 || *resp.Protocol != "sticky" {
			t.Errorf("joined %+v", resp)
		}
	})
}

func TestAStaticMemberThatIsOutvotedDoesNotRebalance(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b, c := h.static("a").with("range", "sticky"), h.static("b").with("range", "sticky"), h.static("c").with("range", "sticky")
		h.stable(a, b, c)
		returned := a.again().with("sticky", "range")
		if resp := returned.joined(returned.sendJoin()); resp.Generation != 1 || *resp.Protocol != "range" {
			t.Errorf("joined %+v", resp)
		}
	})
}

func TestStaticMembersStayInARebalance(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.static("b")
		b.session = 3 * time.Minute
		h.stable(a, b)
		f := a.sendJoin()
		pass(rebalance)
		if resp := a.joined(f); len(resp.Members) != 2 {
			t.Errorf("a static member that was away for a rebalance was removed: %+v", resp.Members)
		}
		wantCode(t, "Heartbeat", int16(b.heartbeat()), protocol.IllegalGeneration)
	})
}

func TestUpdatesOfAReturningStaticMember(t *testing.T) {
	run(t, nil, func(h *harness) {
		a := h.static("a")
		h.stable(a)
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.InstanceID, req.ProtocolType, req.Protocols = 9, testGroup, a.instance, a.kind, a.protocols
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 20_000, 30_000
		resp := runtimetest.Now(t, h.c.JoinGroup(req, Client{ID: "renamed", Host: "/192.0.2.7"}))
		wantCode(t, "JoinGroup", resp.ErrorCode, protocol.None)
		m := h.members()[resp.MemberID]
		if m.ClientID != "renamed" || m.ClientHost != "/192.0.2.7" {
			t.Errorf("still known as %s at %s", m.ClientID, m.ClientHost)
		}
		pass(19 * time.Second)
		if got := h.describe(testGroup).State; got != "Stable" {
			t.Errorf("the new session timeout does not count: %s", got)
		}
	})
}

func TestLeaveGroupByInstance(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.static("a"), h.static("b")
		h.stable(a, b)
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group = 5, testGroup
		req.Members = []kmsg.LeaveGroupRequestMember{
			{InstanceID: kmsg.StringPtr("a")}, {InstanceID: kmsg.StringPtr("none")}, {},
			{MemberID: "wrong", InstanceID: kmsg.StringPtr("b")}, {MemberID: "wrong"},
		}
		resp := runtimetest.Now(t, h.c.LeaveGroup(req))
		wantCode(t, "LeaveGroup", resp.ErrorCode, protocol.None)
		want := []protocol.Code{
			protocol.None, protocol.UnknownMemberID, protocol.UnknownMemberID, protocol.FencedInstanceID, protocol.UnknownMemberID,
		}
		for i, m := range resp.Members {
			wantCode(t, fmt.Sprint("member ", i), m.ErrorCode, want[i])
		}
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.UnknownMemberID)
		wantCode(t, "Heartbeat", int16(b.heartbeat()), protocol.RebalanceInProgress)
	})
}

func TestLeaveGroupByVersion(t *testing.T) {
	for version := int16(0); version <= 5; version++ {
		run(t, nil, func(h *harness) {
			a := h.client()
			h.stable(a)
			ask := func(group, member string) *kmsg.LeaveGroupResponse {
				req := kmsg.NewPtrLeaveGroupRequest()
				req.Version, req.Group, req.MemberID = version, group, member
				req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member}}
				return runtimetest.Now(t, h.c.LeaveGroup(req))
			}
			code := func(r *kmsg.LeaveGroupResponse) int16 {
				if version < 3 {
					return r.ErrorCode
				}
				wantCode(t, "top level", r.ErrorCode, protocol.None)
				return r.Members[0].ErrorCode
			}
			wantCode(t, "unknown group", code(ask("missing", "x")), protocol.UnknownMemberID)
			wantCode(t, "unknown member", code(ask(testGroup, "x")), protocol.UnknownMemberID)
			wantCode(t, "no group id", ask("", "x").ErrorCode, protocol.InvalidGroupID)
			wantCode(t, "member", code(ask(testGroup, a.memberID)), protocol.None)
			h.wantState("Empty")
		})
	}
}

func TestLeavingCompletesARebalance(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		f := h.preparing(a, b)
		wantCode(t, "LeaveGroup", int16(b.leave()), protocol.None)
		a.joined(f)
	})
}

func TestLeavingOfAParkedMember(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		f := h.preparing(a, b)
		wantCode(t, "LeaveGroup", int16(a.leave()), protocol.None)
		wantCode(t, "JoinGroup", runtimetest.Now(t, f).ErrorCode, protocol.UnknownMemberID)
		b.joined(b.sendJoin())
	})
}

func TestLeavingOfAPendingMember(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, ghost := h.client(), h.client()
		h.stable(a)
		ghost.memberID = runtimetest.Now(t, ghost.sendJoin()).MemberID
		f := a.sendJoin()
		runtimetest.Parked(t, f)
		wantCode(t, "LeaveGroup", int16(ghost.leave()), protocol.None)
		synctest.Wait()
		a.joined(f)
	})
}
