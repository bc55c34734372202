package group

import (
	"testing"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// TestAnswersByKindOfMember sends every member's request in every state as each kind of member: right, pending, fenced, and with instance ids
// that do not belong to it.
func TestAnswersByKindOfMember(t *testing.T) {
	states := []struct {
		name    string
		arrange func(h *harness, leader, static *client)
		// What the static member and its leader get as themselves.
		heartbeat, commit, sync protocol.Code
		syncParks               bool
	}{
		{"Empty", func(h *harness, leader, static *client) {
			h.stable(leader, static)
			wantCode(h.t, "LeaveGroup", int16(leader.leave()), protocol.None)
			wantCode(h.t, "LeaveGroup", int16(static.leave()), protocol.None)
		}, protocol.UnknownMemberID, protocol.UnknownMemberID, protocol.UnknownMemberID, false},
		{"PreparingRebalance", func(h *harness, leader, static *client) { h.preparing(leader, static) },
			protocol.RebalanceInProgress, protocol.None, protocol.RebalanceInProgress, false},
		{"CompletingRebalance", func(h *harness, leader, static *client) { h.completing(leader, static) },
			protocol.None, protocol.RebalanceInProgress, protocol.None, true},
		{"Stable", func(h *harness, leader, static *client) { h.stable(leader, static) },
			protocol.None, protocol.None, protocol.None, false},
	}
	kinds := []struct {
		name    string
		become  func(h *harness, c *client) // turns the static member into this kind
		refused protocol.Code               // None: it is let pass
		inEmpty protocol.Code               // where its instance is gone
		leave   protocol.Code
	}{
		{"itself", func(*harness, *client) {}, protocol.None, protocol.UnknownMemberID, protocol.None},
		{"without its instance", func(_ *harness, c *client) { c.instance = nil }, protocol.None, protocol.UnknownMemberID, protocol.None},
		{"fenced", func(_ *harness, c *client) { c.memberID = "old" }, protocol.FencedInstanceID, protocol.UnknownMemberID, protocol.FencedInstanceID},
		{"unknown instance", func(_ *harness, c *client) { c.instance = new(string) }, protocol.UnknownMemberID, protocol.UnknownMemberID, protocol.UnknownMemberID},
		{"pending", func(h *harness, c *client) {
			c.instance, c.memberID = nil, ""
			resp := runtimetest.Now(h.t, c.sendJoin())
			wantCode(h.t, "JoinGroup", resp.ErrorCode, protocol.MemberIDRequired)
			c.memberID = resp.MemberID
		}, protocol.UnknownMemberID, protocol.UnknownMemberID, protocol.None},
	}
	for _, s := range states {
		for _, k := range kinds {
			want := func(own protocol.Code) protocol.Code {
				switch {
				case s.name == "Empty":
					return k.inEmpty
				case k.refused != protocol.None:
					return k.refused
				default:
					return own
				}
			}
			cell := func(name string, check func(t *testing.T, c *client)) {
				t.Run(s.name+"/"+k.name+"/"+name, func(t *testing.T) {
					run(t, nil, func(h *harness) {
						h.t = t
						leader, static := h.client(), h.static("s")
						s.arrange(h, leader, static)
						k.become(h, static)
						check(t, static)
					})
				})
			}
			cell("Heartbeat", func(t *testing.T, c *client) { wantCode(t, "Heartbeat", int16(c.heartbeat()), want(s.heartbeat)) })
			cell("OffsetCommit", func(t *testing.T, c *client) { wantCode(t, "OffsetCommit", int16(c.commit(7)), want(s.commit)) })
			cell("SyncGroup", func(t *testing.T, c *client) {
				if f := c.sync(nil); s.syncParks && k.refused == protocol.None {
					runtimetest.Parked(t, f)
				} else {
					wantCode(t, "SyncGroup", runtimetest.Now(t, f).ErrorCode, want(s.sync))
				}
			})
			cell("LeaveGroup", func(t *testing.T, c *client) {
				code := k.leave
				if s.name == "Empty" && k.name != "pending" {
					code = protocol.UnknownMemberID
				}
				wantCode(t, "LeaveGroup", int16(c.leave()), code)
			})
			cell("JoinGroup with no protocol in common", func(t *testing.T, c *client) {
				code := protocol.InconsistentGroupProtocol
				if s.name == "Empty" {
					code = want(protocol.None)
				}
				c.with("nobody's")
				if f := c.sendJoin(); s.name == "Empty" && k.name == "pending" {
					runtimetest.Parked(t, f) // for the initial delay
				} else {
					wantCode(t, "JoinGroup", runtimetest.Now(t, f).ErrorCode, code)
				}
			})
			cell("wrong generation", func(t *testing.T, c *client) {
				c.generation += 3
				code := want(protocol.IllegalGeneration)
				wantCode(t, "Heartbeat", int16(c.heartbeat()), code)
				wantCode(t, "OffsetCommit", int16(c.commit(7)), code)
				wantCode(t, "SyncGroup", runtimetest.Now(t, c.sync(nil)).ErrorCode, code)
			})
		}
	}
}
