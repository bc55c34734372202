package group

import (
	"testing"
	"time"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

const defaultConsumerSession = 45 * time.Second

func TestASilentConsumerLosesItsPlace(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 4)
		a, b := h.modern("topic").join(), h.modern("topic")
		b.join()
		h.converge(a, b)
		a.join()
		pass(defaultConsumerSession - 5*time.Second)
		b.join()
		pass(4 * time.Second)
		b.join()
		if b.count() != 2 {
			t.Errorf("%d partitions before the session ended", b.count())
		}
		pass(time.Second)
		wantCode(t, "too late", int16(a.beat()), protocol.UnknownMemberID)
		h.converge(b)
		if b.count() != 4 {
			t.Errorf("%d partitions", b.count())
		}
		pass(defaultConsumerSession)
		h.wantConsumerState("Empty")
	})
}

func TestOneThatDoesNotGiveUpIsFenced(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 4)
		a, b := h.modern("topic").join(), h.modern("topic")
		b.join()
		all := a.has
		a.join() // it is to give up half
		for passed := time.Duration(0); passed < rebalance-10*time.Second; passed += 10 * time.Second {
			pass(10 * time.Second)
			wantCode(t, "not yet", int16(a.slowly(all)), protocol.None)
			b.join()
		}
		pass(10*time.Second - time.Millisecond)
		wantCode(t, "just in time, but it still has it", int16(a.slowly(all)), protocol.None)
		pass(time.Millisecond)
		wantCode(t, "fenced", int16(a.slowly(all)), protocol.UnknownMemberID)
		h.converge(b)
		if b.count() != 4 {
			t.Errorf("%d partitions", b.count())
		}
	})
}

func TestTimeoutsBeginAnewWithANewCoordinator(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 4)
		a, b := h.modern("topic").join(), h.modern("topic")
		b.join()
		all := a.has
		a.join() // it is to give up half
		pass(defaultConsumerSession - time.Second)
		h.reload()
		pass(defaultConsumerSession - time.Second)
		wantCode(t, "a session from the load on", int16(a.slowly(all)), protocol.None)
		b.join()
		pass(rebalance - defaultConsumerSession + time.Second)
		wantCode(t, "a rebalance timeout from the load on", int16(a.slowly(all)), protocol.UnknownMemberID)
	})
}

func TestAssignmentsKeepTheirInterval(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 4)
		a, b := h.modern("topic").join(), h.modern("topic")
		b.join()
		b.wantEpoch(2) // of the present assignment
		h.wantConsumerState("Assigning")
		pass(999 * time.Millisecond)
		b.join()
		b.wantEpoch(2)
		pass(time.Millisecond)
		b.join()
		b.wantEpoch(3)
		h.converge(a, b)
		if a.count() != 2 || b.count() != 2 {
			t.Errorf("%d and %d partitions", a.count(), b.count())
		}
	})
}

func TestGroupsSetTimesForThemselves(t *testing.T) {
	run(t, map[string]string{"group.consumer.min.session.timeout.ms": "1000", "group.consumer.min.heartbeat.interval.ms": "100"}, func(h *harness) {
		h.addTopic("topic", 1)
		a := h.modern("topic").join()
		interval := func() int32 {
			return runtimetest.Now(t, h.c.ConsumerGroupHeartbeat(a.request(), Client{ID: "modern", Host: "/127.0.0.1"})).HeartbeatIntervalMillis
		}
		if got := interval(); got != 5000 {
			t.Errorf("heartbeats every %d ms", got)
		}
		set := func(key, value string) {
			h.change(&schema.ConfigRecord{ResourceType: 32, ResourceName: testGroup, Name: key, Value: &value})
		}
		set("consumer.heartbeat.interval.ms", "2000")
		set("consumer.session.timeout.ms", "6000")
		if got := interval(); got != 2000 {
			t.Errorf("heartbeats every %d ms", got)
		}
		pass(6*time.Second - time.Millisecond)
		a.join()
		pass(6 * time.Second)
		wantCode(t, "after the group's session", int16(a.beat()), protocol.UnknownMemberID)
		for value, want := range map[string]int32{"1": 100, "60000": 15000} {
			set("consumer.heartbeat.interval.ms", value)
			a.epoch = 0
			a.join()
			if got := interval(); got != want {
				t.Errorf("%s ms are %d ms within the broker's bounds, want %d", value, got, want)
			}
		}
	})
}
