package group

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

func TestJoinGroupValidation(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *client)
		want   protocol.Code
	}{
		{"no group id", func(c *client) { c.group = "" }, protocol.InvalidGroupID},
		{"session too short", func(c *client) { c.session = 5999 * time.Millisecond }, protocol.InvalidSessionTimeout},
		{"session too long", func(c *client) { c.session = 1800001 * time.Millisecond }, protocol.InvalidSessionTimeout},
		{"no protocols", func(c *client) { c.protocols = nil }, protocol.InconsistentGroupProtocol},
		{"no protocol type", func(c *client) { c.kind = "" }, protocol.InconsistentGroupProtocol},
		{"other protocol type", func(c *client) { c.group, c.kind = "busy", "connect" }, protocol.InconsistentGroupProtocol},
		{"no common protocol", func(c *client) { c.group = "busy"; c.with("other") }, protocol.InconsistentGroupProtocol},
		{"unknown member", func(c *client) { c.group, c.memberID = "busy", "x" }, protocol.UnknownMemberID},
		{"unknown member of a missing group", func(c *client) { c.memberID = "x" }, protocol.UnknownMemberID},
		{"unknown instance", func(c *client) { c.group, c.memberID, c.instance = "busy", "x", kmsg.StringPtr("i") }, protocol.UnknownMemberID},
	}
	run(t, nil, func(h *harness) {
		busy := h.client()
		busy.group = "busy"
		f := busy.join()
		pass(initialDelay)
		busy.joined(f)
		for _, test := range tests {
			for version := int16(0); version <= 9; version++ {
				c := h.client()
				c.version = version
				test.change(c)
				resp := runtimetest.Now(t, c.sendJoin())
				wantCode(t, fmt.Sprint(test.name, " v", version), resp.ErrorCode, test.want)
				if resp.Generation != -1 || resp.LeaderID != "" || resp.MemberID != c.memberID || resp.Protocol != nil || len(resp.Members) != 0 {
					t.Errorf("%s v%d: %+v", test.name, version, resp)
				}
			}
		}
	})
}

func TestMemberIDs(t *testing.T) {
	uuid := "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
	run(t, nil, func(h *harness) {
		c := h.client()
		resp := runtimetest.Now(t, c.sendJoin())
		wantCode(t, "version 9", resp.ErrorCode, protocol.MemberIDRequired)
		if !regexp.MustCompile("^client-" + uuid).MatchString(resp.MemberID) {
			t.Errorf("member id %q", resp.MemberID)
		}
		old := h.client()
		old.version = 3
		static := h.static("instance")
		fo, fs := old.sendJoin(), static.sendJoin()
		runtimetest.Parked(t, fo)
		c.memberID = resp.MemberID
		fc := c.sendJoin()
		synctest.Wait()
		pass(3 * initialDelay)
		c.joined(fc)
		old.joined(fo)
		static.joined(fs)
		if !regexp.MustCompile("^client-" + uuid).MatchString(old.memberID) {
			t.Errorf("member id %q of version 3", old.memberID)
		}
		if !regexp.MustCompile("^instance-" + uuid).MatchString(static.memberID) {
			t.Errorf("member id %q of a static member", static.memberID)
		}
	})
}

func TestAJoinedGeneration(t *testing.T) {
	run(t, nil, func(h *harness) {
		leader, follower := h.client(), h.client()
		leader.with("range", "roundrobin")
		follower.with("roundrobin", "range", "own")
		third := h.client().with("roundrobin", "range")
		fl := leader.join()
		synctest.Wait()
		ff, ft := follower.join(), third.join()
		synctest.Wait()
		pass(3 * initialDelay)
		rl, rf := leader.joined(fl), follower.joined(ff)
		third.joined(ft)
		for _, r := range []*kmsg.JoinGroupResponse{rl, rf} {
			if r.Generation != 1 || r.LeaderID != leader.memberID || *r.Protocol != "roundrobin" || *r.ProtocolType != "consumer" || r.SkipAssignment {
				t.Errorf("joined %+v", r)
			}
		}
		if len(rf.Members) != 0 {
			t.Error("a follower was told the members")
		}
		if len(rl.Members) != 3 || !slices.Equal(rl.Members[1].ProtocolMetadata, subscriptionTo("topic")) {
			t.Errorf("the leader was told %+v", rl.Members)
		}
	})
}

func TestProtocolNamesByVersion(t *testing.T) {
	run(t, map[string]string{"group.initial.rebalance.delay.ms": "0"}, func(h *harness) {
		for version := int16(0); version <= 9; version++ {
			c := h.client()
			c.version, c.group = version, fmt.Sprint("v", version)
			resp := c.joined(c.join())
			if resp.Version != version {
				t.Errorf("answered in version %d to %d", resp.Version, version)
			}
			decoded := kmsg.NewPtrJoinGroupResponse()
			decoded.Version = version
			if err := decoded.ReadFrom(resp.AppendTo(nil)); err != nil || *decoded.Protocol != "range" {
				t.Errorf("version %d: %v %+v", version, err, decoded)
			}
			if (decoded.ProtocolType != nil) != (version >= 7) {
				t.Errorf("version %d: protocol type %v", version, decoded.ProtocolType)
			}
		}
	})
}

func TestVersionZeroRebalancesWithinTheSessionTimeout(t *testing.T) {
	run(t, nil, func(h *harness) {
		c, other := h.client(), h.client()
		c.version, other.version = 0, 0
		h.stable(c, other)
		start := time.Now()
		f := c.sendJoin()
		for time.Since(start) < session-time.Second { // the other one stays, but does not rejoin
			pass(time.Second)
			wantCode(t, "Heartbeat", int16(other.heartbeat()), protocol.RebalanceInProgress)
		}
		runtimetest.Parked(t, f)
		pass(time.Second)
		c.joined(f)
		wantCode(t, "Heartbeat", int16(other.heartbeat()), protocol.UnknownMemberID)
	})
}

func TestRejoinsOfAStableGroup(t *testing.T) {
	run(t, nil, func(h *harness) {
		leader, follower := h.client(), h.client()
		h.stable(leader, follower)
		resp := runtimetest.Now(t, follower.sendJoin())
		wantCode(t, "follower without news", resp.ErrorCode, protocol.None)
		if resp.Generation != 1 || resp.LeaderID != leader.memberID || len(resp.Members) != 0 {
			t.Errorf("the follower got %+v", resp)
		}
		h.wantState("Stable")
		follower.protocols[0].Metadata = subscriptionTo("topic", "more")
		f := follower.sendJoin()
		runtimetest.Parked(t, f)
		h.wantState("PreparingRebalance")
		fl := leader.sendJoin()
		if resp := leader.joined(fl); resp.Generation != 2 || len(resp.Members) != 2 {
			t.Errorf("the leader got %+v", resp)
		}
		follower.joined(f)
	})
}

func TestALeaderThatRejoinsRebalances(t *testing.T) {
	run(t, nil, func(h *harness) {
		leader := h.client()
		h.stable(leader)
		if resp := leader.joined(leader.sendJoin()); resp.Generation != 2 {
			t.Errorf("generation %d, want 2", resp.Generation)
		}
		// In CompletingRebalance the same request repeats the answer.
		if resp := leader.joined(leader.sendJoin()); resp.Generation != 2 || len(resp.Members) != 1 {
			t.Errorf("repeated: %+v", resp)
		}
	})
}

func TestMaxSize(t *testing.T) {
	run(t, map[string]string{"group.max.size": "2"}, func(h *harness) {
		a, b, c := h.client(), h.client(), h.client()
		c.version = 3
		h.stable(a, b)
		resp := runtimetest.Now(t, c.sendJoin())
		wantCode(t, "third member", resp.ErrorCode, protocol.GroupMaxSizeReached)
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.None)
		wantCode(t, "LeaveGroup", int16(b.leave()), protocol.None)
		fc := c.sendJoin()
		fa := a.sendJoin()
		a.joined(fa)
		c.joined(fc)
	})
}

func TestAJoinStormIsOneRebalance(t *testing.T) {
	run(t, nil, func(h *harness) {
		const members = 200
		clients := make([]*client, members)
		joins := make([]*runtime.Future[*kmsg.JoinGroupResponse], members)
		for i := range clients {
			clients[i] = h.client()
			joins[i] = clients[i].join()
		}
		synctest.Wait()
		pass(2 * initialDelay)
		assignments := map[string]string{}
		for i, c := range clients {
			if resp := c.joined(joins[i]); resp.Generation != 1 {
				t.Fatalf("member %d is in generation %d", i, resp.Generation)
			}
			assignments[c.memberID] = fmt.Sprint(i)
		}
		h.syncAll(assignments, clients...)
		if g := h.describe(testGroup); g.State != "Stable" || len(g.Members) != members {
			t.Errorf("%s with %d members", g.State, len(g.Members))
		}
	})
}
