package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

func TestInitialDelay(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		f := c.join()
		pass(initialDelay - time.Millisecond)
		runtimetest.Parked(t, f)
		pass(time.Millisecond)
		c.joined(f)
	})
}

func TestInitialDelayIsExtendedWhileMembersJoin(t *testing.T) {
	run(t, nil, func(h *harness) {
		start := time.Now()
		first := h.client()
		f := first.join()
		for time.Since(start) < 8*time.Second {
			pass(2 * time.Second)
			h.client().join()
		}
		// Joins at 2, 4, 6 and 8 s: the delay ends at 3, 6, 9 and, with nobody new, at 12 s.
		pass(3999 * time.Millisecond)
		runtimetest.Parked(t, f)
		pass(time.Millisecond)
		if resp := first.joined(f); len(resp.Members) != 5 {
			t.Errorf("%d members", len(resp.Members))
		}
	})
}

func TestInitialDelayEndsWithTheRebalanceTimeout(t *testing.T) {
	run(t, nil, func(h *harness) {
		start := time.Now()
		first := h.client()
		first.rebalance = 7 * time.Second
		f := first.join()
		for !f.Completed() {
			pass(500 * time.Millisecond)
			more := h.client()
			more.rebalance = 7 * time.Second
			more.join()
			synctest.Wait()
			if time.Since(start) > time.Minute {
				t.Fatal("extended for ever")
			}
		}
		if got := time.Since(start); got != 7*time.Second {
			t.Errorf("took %v, want 7s", got)
		}
	})
}

func TestNoInitialDelay(t *testing.T) {
	run(t, map[string]string{"group.initial.rebalance.delay.ms": "0"}, func(h *harness) {
		c := h.client()
		if resp := c.joined(c.join()); resp.Generation != 1 {
			t.Errorf("generation %d", resp.Generation)
		}
	})
}

func TestSessionExpiry(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		h.stable(a, b)
		for range 20 { // heartbeats keep both
			pass(session - time.Second)
			wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.None)
			wantCode(t, "Heartbeat", int16(b.heartbeat()), protocol.None)
		}
		pass(session - time.Millisecond)
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.None)
		pass(time.Millisecond)
		synctest.Wait()
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.RebalanceInProgress)
		wantCode(t, "Heartbeat", int16(b.heartbeat()), protocol.UnknownMemberID)
		if resp := a.joined(a.sendJoin()); resp.Generation != 2 || len(resp.Members) != 1 {
			t.Errorf("joined %+v", resp)
		}
	})
}

func TestCommitsKeepTheSession(t *testing.T) {
	run(t, nil, func(h *harness) {
		a := h.client()
		h.stable(a)
		for i := range 20 {
			pass(session - time.Second)
			wantCode(t, "OffsetCommit", int16(a.commit(int64(i))), protocol.None)
		}
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.None)
	})
}

func TestTheLastSessionLeavesAnEmptyGroup(t *testing.T) {
	run(t, nil, func(h *harness) {
		a := h.client()
		h.stable(a)
		pass(session)
		h.wantState("Empty")
		h.stable(h.client())
	})
}

func TestPendingMembersExpire(t *testing.T) {
	run(t, nil, func(h *harness) {
		ghost := runtimetest.Now(t, h.client().sendJoin()).MemberID // never comes back
		a := h.client()
		f := a.join()
		synctest.Wait()
		pass(2 * initialDelay)
		a.joined(f) // the first generation does not wait for it
		h.syncAll(map[string]string{a.memberID: "x"}, a)
		runtimetest.Now(t, h.client().sendJoin())
		rejoin := a.sendJoin() // a later one does, until its session is over
		runtimetest.Parked(t, rejoin)
		pass(session)
		a.joined(rejoin)
		late := h.client()
		late.memberID = ghost
		wantCode(t, "JoinGroup with an expired id", runtimetest.Now(t, late.sendJoin()).ErrorCode, protocol.UnknownMemberID)
	})
}

func TestMembersThatDoNotRejoinAreRemoved(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		b.session = 5 * time.Minute
		h.stable(a, b)
		f := a.join()
		pass(rebalance - time.Millisecond)
		runtimetest.Parked(t, f) // its own session is suspended meanwhile
		pass(time.Millisecond)
		if resp := a.joined(f); resp.Generation != 2 || len(resp.Members) != 1 {
			t.Errorf("joined %+v", resp)
		}
		wantCode(t, "Heartbeat", int16(b.heartbeat()), protocol.UnknownMemberID)
	})
}

func TestALeaderThatDoesNotRejoinIsReplaced(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		h.stable(a, b)
		b.protocols[0].Metadata = subscriptionTo("other")
		f := b.join()
		pass(rebalance)
		if resp := b.joined(f); resp.LeaderID != b.memberID || len(resp.Members) != 1 {
			t.Errorf("joined %+v", resp)
		}
	})
}

func TestMembersThatDoNotSyncAreRemoved(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		a.session, b.session = 5*time.Minute, 5*time.Minute
		h.completing(a, b)
		fb := b.sync(nil)
		begin := time.Now()
		pass(rebalance)
		wantCode(t, "SyncGroup of the follower", runtimetest.Now(t, fb).ErrorCode, protocol.RebalanceInProgress)
		wantCode(t, "Heartbeat of the leader", int16(a.heartbeat()), protocol.UnknownMemberID)
		resp := b.joined(b.sendJoin())
		if resp.Generation != 2 || resp.LeaderID != b.memberID {
			t.Errorf("joined %+v %v later", resp, time.Since(begin))
		}
	})
}

func TestAFollowerThatDoesNotSyncIsRemoved(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		a.session, b.session = 5*time.Minute, 5*time.Minute
		h.completing(a, b)
		wantCode(t, "SyncGroup", runtimetest.Now(t, a.sync(map[string]string{a.memberID: "x"})).ErrorCode, protocol.None)
		pass(rebalance)
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.RebalanceInProgress)
		wantCode(t, "Heartbeat", int16(b.heartbeat()), protocol.UnknownMemberID)
	})
}

func TestNewMembersDoNotWaitForEver(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		a.rebalance, a.session = time.Hour, 25*time.Minute
		h.stable(a)
		f := b.join()
		pass(newMemberJoinTimeout)
		wantCode(t, "JoinGroup", runtimetest.Now(t, f).ErrorCode, protocol.UnknownMemberID)
	})
}

func TestSessionsRunWhileTheLeaderAssigns(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		h.completing(a, b)
		fb := b.sync(nil)
		pass(session) // the leader is silent; the follower is parked, so its session is not over
		wantCode(t, "SyncGroup", runtimetest.Now(t, fb).ErrorCode, protocol.RebalanceInProgress)
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.UnknownMemberID)
		b.joined(b.sendJoin())
	})
}
