package group

import (
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// groupInfo finds a group among those of the coordinator.
func (h *harness) groupInfo(id string) Info {
	h.t.Helper()
	all := runtimetest.Now(h.t, h.c.Groups())
	i := slices.IndexFunc(all, func(g Info) bool { return g.ID == id })
	if i < 0 {
		h.t.Fatalf("no group %s in %+v", id, all)
	}
	return all[i]
}

func TestWhatIsCounted(t *testing.T) {
	run(t, map[string]string{"offsets.retention.minutes": "60"}, func(h *harness) {
		a, b := h.client(), h.client()
		h.stable(a, b)
		wantCode(t, "OffsetCommit", int16(a.commit(7)), protocol.None)
		wantCode(t, "OffsetCommit", int16(a.commit(8)), protocol.None)
		simple := h.client()
		simple.group = "simple"
		wantCode(t, "OffsetCommit", int16(simple.commit(3)), protocol.None)
		simple.generation = 5
		wantCode(t, "OffsetCommit", int16(simple.commit(4)), protocol.UnknownMemberID)

		info := h.groupInfo(testGroup)
		if info.Type != "classic" || info.State != "Stable" || info.ProtocolType != "consumer" || info.Members != 2 || info.Commits != 2 || info.Rebalances != 1 {
			t.Errorf("%+v", info)
		}
		if want := (CommittedOffset{protocol.TopicPartition{Topic: "topic"}, 8}); len(info.Offsets) != 1 || info.Offsets[0] != want {
			t.Errorf("offsets %v", info.Offsets)
		}
		if info := h.groupInfo("simple"); info.State != "Empty" || info.Members != 0 || info.Commits != 1 || info.Rebalances != 0 {
			t.Errorf("%+v", info)
		}
		if want := (Counts{OffsetCommits: 3, ClassicRebalances: 1}); h.c.Counts() != want {
			t.Errorf("%+v, want %+v", h.c.Counts(), want)
		}

		second := h.client()
		second.group = "deleted"
		wantCode(t, "OffsetCommit", int16(second.commit(3)), protocol.None)
		wantCode(t, "OffsetDelete", h.deleteOffsets("deleted", "topic").ErrorCode, protocol.None)
		for range 8 { // the members stay, the offset of the simple group goes
			pass(session / 2)
			a.heartbeat()
			b.heartbeat()
		}
		pass(2 * time.Hour)
		if got := h.c.Counts(); got.OffsetDeletions != 1 || got.OffsetExpirations < 1 {
			t.Errorf("%+v", got)
		}
		h.inspect(func(s *shard) {
			if _, ok := s.activity["simple"]; ok {
				t.Error("a group that is gone is remembered")
			}
		})
	})
}

func TestAReloadIsNoActivity(t *testing.T) {
	run(t, nil, func(h *harness) {
		a := h.client()
		h.stable(a)
		wantCode(t, "OffsetCommit", int16(a.commit(7)), protocol.None)
		h.c.runtime.Resign(0, 1)
		h.c.runtime.Elect(0, 2)
		pass(0)
		if info := h.groupInfo(testGroup); info.Commits != 0 || info.Rebalances != 0 || info.Members != 1 || len(info.Offsets) != 1 {
			t.Errorf("%+v", info)
		}
	})
}
