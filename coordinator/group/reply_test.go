package group

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// TestARequestFromANewConnectionAnswersTheOldOne: a client that gave up a connection asks again on another. No request may stay without an
// answer, or its connection would be parked for good.
func TestARequestFromANewConnectionAnswersTheOldOne(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		first := h.preparing(a, b)
		second := a.sendJoin()
		wantCode(t, "the first JoinGroup", runtimetest.Now(t, first).ErrorCode, protocol.RebalanceInProgress)
		rejoin := b.join()
		a.joined(second)
		b.joined(rejoin)

		follower, leader := a, b
		if h.leader() == a.memberID {
			follower, leader = b, a
		}
		sync := follower.sync(nil)
		runtimetest.Parked(t, sync)
		again := follower.sync(nil)
		wantCode(t, "the first SyncGroup", runtimetest.Now(t, sync).ErrorCode, protocol.RebalanceInProgress)
		wantCode(t, "the leader's", runtimetest.Now(t, leader.sync(map[string]string{follower.memberID: "x"})).ErrorCode, protocol.None)
		resp := runtimetest.Now(t, again)
		if wantCode(t, "the second SyncGroup", resp.ErrorCode, protocol.None); string(resp.MemberAssignment) != "x" {
			t.Errorf("assignment %q", resp.MemberAssignment)
		}
	})
}

func (h *harness) leader() string {
	h.t.Helper()
	var id string
	h.inspect(func(s *shard) { id = s.groups[testGroup].(*classicGroup).leader })
	return id
}

func TestAStaticMemberThatIsRemovedWhileItSyncs(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.static("b")
		h.completing(a, b)
		sync := b.sync(nil)
		runtimetest.Parked(t, sync)
		admin := h.client()
		admin.instance = b.instance
		wantCode(t, "LeaveGroup", int16(admin.leave()), protocol.None)
		wantCode(t, "SyncGroup", runtimetest.Now(t, sync).ErrorCode, protocol.UnknownMemberID)
	})
}

func TestStaticMembersWithoutRebalanceTimeout(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.static("a"), h.static("b")
		a.rebalance, b.rebalance = 0, 0
		var joins []func()
		for _, c := range []*client{a, b} {
			f := c.join()
			joins = append(joins, func() { c.joined(f) })
		}
		pass(3 * initialDelay)
		for _, joined := range joins {
			joined()
		}
		// Nobody sends SyncGroup within 0 ms, so all are removed, and the group is empty at once: no timer may run again and again.
		synctest.Wait()
		h.wantState("Empty")
	})
}

func TestNobodyRejoinsWithoutRebalanceTimeout(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b, c := h.static("a"), h.static("b"), h.client()
		h.stable(a, b, c)
		h.inspect(func(s *shard) {
			for _, m := range s.groups[testGroup].(*classicGroup).members {
				m.rebalanceTimeout = 0
			}
		})
		c.leave()
		h.wantState("PreparingRebalance")
		pass(session / 2)
		h.wantState("PreparingRebalance")
		pass(session)
		h.wantState("Empty")
	})
}

func TestARetentionThatNeverEnds(t *testing.T) {
	run(t, oneHour, func(h *harness) {
		req := h.client().commitRequest(2, 1)
		req.RetentionTimeMillis = math.MaxInt64
		runtimetest.Now(t, h.c.OffsetCommit(req))
		pass(3 * time.Hour)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("offset %d", got)
		}
	})
}

func TestOffsetsOfAnotherTopicOfTheSameName(t *testing.T) {
	run(t, nil, func(h *harness) {
		old := protocol.NewUUID()
		h.commitTo("topic", old, 7)
		h.commitTo("unnamed", protocol.UUID{}, 8)
		for _, c := range []struct {
			topic string
			id    protocol.UUID
			want  int64
		}{{"topic", old, 7}, {"topic", protocol.NewUUID(), -1}, {"topic", protocol.UUID{}, 7}, {"unnamed", old, 8}} {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Version = 10
			req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: testGroup, Topics: []kmsg.OffsetFetchRequestGroupTopic{
				{Topic: c.topic, TopicID: c.id, Partitions: []int32{0}},
			}}}
			resp := runtimetest.Now(t, h.c.OffsetFetch(req))
			if got := resp.Groups[0].Topics[0].Partitions[0].Offset; got != c.want {
				t.Errorf("%s with id %v: offset %d, want %d", c.topic, c.id, got, c.want)
			}
		}
	})
}

// TestGroupsComeAndGo: nothing stays of groups whose members and offsets are gone.
func TestGroupsComeAndGo(t *testing.T) {
	run(t, oneHour, func(h *harness) {
		for i := range 300 {
			c := h.client()
			if i%2 == 1 {
				c = h.static("i")
			}
			c.group = fmt.Sprint("g", i)
			f := c.join()
			if i%3 == 0 {
				continue // never comes back: its session ends
			}
			pass(2 * initialDelay)
			c.joined(f)
			if i%3 == 1 {
				c.commit(1)
				c.leave()
			}
		}
		pass(2*time.Hour + time.Minute)
		h.c.runtime.Read(0, func(s *shard, env runtime.Env) {
			if n := env.Timers.Len(); n != 1 || len(s.groups) != 0 || len(s.offsets.groups) != 0 || len(s.offsets.written) != 0 {
				t.Errorf("%d timers, %d groups, %d groups with offsets", n, len(s.groups), len(s.offsets.groups))
			}
		}, func(err error) { t.Errorf("read: %v", err) })
		synctest.Wait()
	})
}
