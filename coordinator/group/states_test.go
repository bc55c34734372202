package group

import (
	"testing"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// TestAnswersByState drives every request into every state a group can be in.
func TestAnswersByState(t *testing.T) {
	type answers struct {
		heartbeat, commit, simpleCommit, sync, leave, remove, deleteOffsets protocol.Code
		syncParks                                                           bool
		rejoin                                                              protocol.Code
	}
	tests := []struct {
		state   string
		arrange func(h *harness) *client // the client whose requests are answered
		want    answers
	}{
		{"missing", func(h *harness) *client {
			c := h.client()
			c.memberID, c.generation = "nobody", 1
			return c
		}, answers{
			heartbeat: protocol.UnknownMemberID, commit: protocol.GroupIDNotFound, sync: protocol.UnknownMemberID,
			leave: protocol.UnknownMemberID, remove: protocol.GroupIDNotFound, deleteOffsets: protocol.GroupIDNotFound,
			rejoin: protocol.UnknownMemberID,
		}},
		{"Empty", func(h *harness) *client {
			c := h.client()
			h.empty(c)
			return c
		}, answers{
			heartbeat: protocol.UnknownMemberID, commit: protocol.UnknownMemberID, sync: protocol.UnknownMemberID,
			leave: protocol.UnknownMemberID, rejoin: protocol.UnknownMemberID,
		}},
		{"PreparingRebalance", func(h *harness) *client {
			first, second := h.client(), h.client()
			h.preparing(first, second)
			return second
		}, answers{
			heartbeat: protocol.RebalanceInProgress, simpleCommit: protocol.UnknownMemberID, sync: protocol.RebalanceInProgress,
			remove: protocol.NonEmptyGroup, deleteOffsets: protocol.None,
		}},
		{"CompletingRebalance", func(h *harness) *client {
			first, second := h.client(), h.client()
			h.completing(first, second)
			return second
		}, answers{
			commit: protocol.RebalanceInProgress, simpleCommit: protocol.UnknownMemberID, syncParks: true,
			remove: protocol.NonEmptyGroup, deleteOffsets: protocol.None,
		}},
		{"Stable", func(h *harness) *client {
			first, second := h.client(), h.client()
			h.stable(first, second)
			return second
		}, answers{simpleCommit: protocol.UnknownMemberID, remove: protocol.NonEmptyGroup}},
	}
	for _, test := range tests {
		cell := func(name string, check func(t *testing.T, h *harness, c *client)) {
			t.Run(test.state+"/"+name, func(t *testing.T) {
				run(t, nil, func(h *harness) {
					h.t = t
					check(t, h, test.arrange(h))
				})
			})
		}
		cell("Heartbeat", func(t *testing.T, _ *harness, c *client) {
			wantCode(t, "Heartbeat", int16(c.heartbeat()), test.want.heartbeat)
		})
		cell("OffsetCommit", func(t *testing.T, h *harness, c *client) {
			wantCode(t, "OffsetCommit", int16(c.commit(7)), test.want.commit)
			if committed := h.fetch(testGroup) == 7; committed != (test.want.commit == protocol.None) {
				t.Errorf("committed: %v", committed)
			}
		})
		cell("OffsetCommit without membership", func(t *testing.T, h *harness, _ *client) {
			wantCode(t, "OffsetCommit", int16(h.client().commit(7)), test.want.simpleCommit)
		})
		cell("SyncGroup", func(t *testing.T, _ *harness, c *client) {
			if f := c.sync(nil); test.want.syncParks {
				runtimetest.Parked(t, f)
			} else {
				wantCode(t, "SyncGroup", runtimetest.Now(t, f).ErrorCode, test.want.sync)
			}
		})
		cell("LeaveGroup", func(t *testing.T, _ *harness, c *client) {
			wantCode(t, "LeaveGroup", int16(c.leave()), test.want.leave)
		})
		cell("JoinGroup", func(t *testing.T, _ *harness, c *client) {
			resp := runtimetest.Now(t, c.sendJoin()) // the last one that the group waited for, or a follower without news
			wantCode(t, "JoinGroup", resp.ErrorCode, test.want.rejoin)
			if resp.MemberID != c.memberID {
				t.Errorf("member id %q, want %q", resp.MemberID, c.memberID)
			}
		})
		cell("wrong generation", func(t *testing.T, h *harness, c *client) {
			if _, known := h.members()[c.memberID]; !known {
				return
			}
			c.generation += 5
			wantCode(t, "Heartbeat", int16(c.heartbeat()), protocol.IllegalGeneration)
			wantCode(t, "OffsetCommit", int16(c.commit(1)), protocol.IllegalGeneration)
			wantCode(t, "SyncGroup", runtimetest.Now(t, c.sync(nil)).ErrorCode, protocol.IllegalGeneration)
		})
		cell("unknown member", func(t *testing.T, h *harness, c *client) {
			c.memberID = "nobody"
			want := protocol.UnknownMemberID
			wantCode(t, "Heartbeat", int16(c.heartbeat()), want)
			wantCode(t, "SyncGroup", runtimetest.Now(t, c.sync(nil)).ErrorCode, want)
			wantCode(t, "LeaveGroup", int16(c.leave()), want)
			wantCode(t, "JoinGroup", runtimetest.Now(t, c.sendJoin()).ErrorCode, want)
		})
		cell("DeleteGroups", func(t *testing.T, h *harness, _ *client) {
			wantCode(t, "DeleteGroups", h.deleteGroup(testGroup).ErrorCode, test.want.remove)
		})
		cell("OffsetDelete", func(t *testing.T, h *harness, _ *client) {
			wantCode(t, "OffsetDelete", h.deleteOffsets(testGroup, "other").ErrorCode, test.want.deleteOffsets)
		})
	}
}
