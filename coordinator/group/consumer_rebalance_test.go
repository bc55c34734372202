package group

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// slowly sends a heartbeat of a member that has not given up anything yet: it still says that it has all of before.
func (m *modern) slowly(before map[protocol.UUID][]int32) protocol.Code {
	m.h.t.Helper()
	req := m.request()
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for id, partitions := range before {
		req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: partitions})
	}
	return m.take(runtimetest.Now(m.h.t, m.h.c.ConsumerGroupHeartbeat(req, Client{ID: "modern", Host: "/127.0.0.1"})), before)
}

func (m *modern) wantPartitions(topic string, want ...int32) {
	m.h.t.Helper()
	if got := m.partitions(topic); !slices.Equal(got, want) {
		m.h.t.Errorf("%s has %v of %s, want %v", m.id, got, topic, want)
	}
}

func (m *modern) wantEpoch(want int32) {
	m.h.t.Helper()
	if m.epoch != want {
		m.h.t.Errorf("%s has epoch %d, want %d", m.id, m.epoch, want)
	}
}

func (h *harness) wantConsumerState(want string) {
	h.t.Helper()
	if got := h.describeConsumer().State; got != want {
		h.t.Errorf("the group is %s, want %s", got, want)
	}
}

// everyAssignment lets every join have its assignment at once.
var everyAssignment = map[string]string{"group.consumer.assignment.interval.ms": "0"}

func TestPartitionsAreGivenUpBeforeTheyAreTaken(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 4)
		a, b := h.modern("topic"), h.modern("topic")
		a.id, b.id = "a", "b"
		a.join()
		a.wantEpoch(2)
		a.wantPartitions("topic", 0, 1, 2, 3)
		h.wantConsumerState("Stable")

		b.join()
		b.wantEpoch(3)
		b.wantPartitions("topic")
		h.wantConsumerState("Reconciling")
		all := maps.Clone(a.has)
		a.join()
		a.wantEpoch(2)
		a.wantPartitions("topic", 0, 1)
		for range 3 {
			wantCode(t, "heartbeat of one that still has it", int16(a.slowly(all)), protocol.None)
			a.wantEpoch(2)
			b.join()
			b.wantPartitions("topic")
		}
		a.join() // it says that it gave them up
		a.wantEpoch(3)
		b.join()
		b.wantPartitions("topic", 2, 3)
		h.wantConsumerState("Stable")
	})
}

func TestALostAnswerIsGivenAgain(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		id := h.addTopic("topic", 4)
		a := h.modern("topic")
		a.join()
		h.addTopic("topic", 6)
		before, has := a.epoch, maps.Clone(a.has)
		a.join() // the answer, with a new epoch, is lost
		lost := a.epoch
		if lost != before+1 {
			t.Fatalf("epoch %d after %d", lost, before)
		}
		beat := func(epoch int32, reported map[protocol.UUID][]int32) *kmsg.ConsumerGroupHeartbeatResponse {
			req := a.request()
			req.MemberEpoch, req.Topics = epoch, nil
			for id, partitions := range reported {
				req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: partitions})
			}
			return runtimetest.Now(t, h.c.ConsumerGroupHeartbeat(req, Client{}))
		}
		resp := beat(before, has)
		wantCode(t, "previous epoch with what it was assigned", resp.ErrorCode, protocol.None)
		if resp.MemberEpoch != lost {
			t.Errorf("epoch %d, want %d", resp.MemberEpoch, lost)
		}
		for name, c := range map[string]struct {
			epoch    int32
			reported map[protocol.UUID][]int32
		}{
			"previous epoch without a word":  {before, nil},
			"previous epoch with more":       {before, map[protocol.UUID][]int32{id: {0, 7}}},
			"previous epoch with a topic":    {before, map[protocol.UUID][]int32{protocol.NewUUID(): {0}}},
			"an epoch before":                {before - 1, has},
			"an epoch that is not there yet": {lost + 1, has},
		} {
			wantCode(t, name, beat(c.epoch, c.reported).ErrorCode, protocol.FencedMemberEpoch)
		}
	})
}

func TestStaticMembersKeepTheirPlace(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 4)
		a, b := h.modern("topic"), h.modern("topic")
		a.instance = kmsg.StringPtr("one")
		a.join()
		b.join()
		h.converge(a, b)
		mine, epoch := maps.Clone(a.has), h.describeConsumer().Epoch

		intruder := h.modern("topic")
		intruder.instance = a.instance
		wantCode(t, "the instance is in use", int16(intruder.beat()), protocol.UnreleasedInstanceID)

		a.epoch = staticLeaveEpoch
		wantCode(t, "leave for a while", int16(a.beat()), protocol.None)
		b.join()
		if got := h.describeConsumer().Epoch; got != epoch || b.count() != 2 {
			t.Errorf("epoch %d, want %d; the other has %d partitions", got, epoch, b.count())
		}
		back := h.modern("topic")
		back.instance = a.instance
		back.join()
		if !maps.EqualFunc(back.has, mine, slices.Equal) {
			t.Errorf("it had %v, and has %v", mine, back.has)
		}
		if got := h.describeConsumer().Epoch; got != epoch {
			t.Errorf("epoch %d, want %d", got, epoch)
		}
		a.epoch = epoch
		wantCode(t, "the old id", int16(a.beat()), protocol.FencedInstanceID)

		back.epoch = staticLeaveEpoch
		wantCode(t, "leave for a while", int16(back.beat()), protocol.None)
		for range 10 {
			pass(defaultConsumerSession / 9)
			b.join()
		}
		h.converge(b)
		if b.count() != 4 {
			t.Errorf("one that did not come back still has partitions: the other has %d", b.count())
		}
	})
}

func TestAConsumerGroupThatIsFull(t *testing.T) {
	run(t, map[string]string{"group.consumer.max.size": "1"}, func(h *harness) {
		a := h.modern("topic").join()
		b := h.modern("topic")
		wantCode(t, "one too many", int16(b.beat()), protocol.GroupMaxSizeReached)
		a.join()
		a.epoch = 0
		a.join() // it is a member already
	})
}

func TestTheAssignorThatMostAskFor(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		ask := func(name string) *modern {
			m := h.modern("topic")
			m.assignor = &name
			return m
		}
		want := func(name string) {
			t.Helper()
			if got := h.describeConsumer().AssignorName; got != name {
				t.Errorf("%s, want %s", got, name)
			}
		}
		h.modern("topic").join()
		want("uniform") // the first of the list
		a, b, c := ask("range"), ask("uniform"), ask("range")
		a.join()
		want("range")
		b.join()
		want("uniform")
		c.join()
		want("range")
		wantCode(t, "leave", int16(a.leave()), protocol.None)
		want("uniform")
		wantCode(t, "an assignor that is not there", int16(ask("best").beat()), protocol.UnsupportedAssignor)
	})
}

func TestAMemberThatChangesItsSubscription(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("x", 2)
		h.addTopic("y", 3)
		a, b := h.modern("x"), h.modern("x")
		a.id, b.id = "a", "b"
		a.join()
		b.join()
		h.converge(a, b)
		resubscribe := func(m *modern, topics ...string) {
			t.Helper()
			m.topics = topics
			req := m.request()
			req.SubscribedTopicNames = append([]string{}, topics...)
			wantCode(t, "subscribe", int16(m.take(runtimetest.Now(t, h.c.ConsumerGroupHeartbeat(req, Client{ID: "modern", Host: "/127.0.0.1"})), maps.Clone(m.has))), protocol.None)
		}
		resubscribe(a, "y")
		a.wantPartitions("x")
		h.converge(a, b)
		a.wantPartitions("y", 0, 1, 2)
		b.wantPartitions("x", 0, 1)
		resubscribe(a)
		h.converge(a, b)
		if a.count() != 0 || b.count() != 2 {
			t.Errorf("a has %v, b has %v", a.has, b.has)
		}
		d := h.describeConsumer()
		if got := fmt.Sprint(d.Members[0].SubscribedTopics, d.Members[1].SubscribedTopics); got != "[] [x]" {
			t.Errorf("subscriptions %s", got)
		}
	})
}

func TestAHeartbeatThatCannotBeWrittenChangesNothing(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 4)
		a := h.modern("topic").join()
		before := h.describeConsumer()
		for _, failure := range []protocol.Code{protocol.NotEnoughReplicas, protocol.KafkaStorageError} {
			h.log.FailAppends(failure)
			b := h.modern("topic")
			if code := b.beat(); code == protocol.None {
				t.Errorf("%v: the join is good", failure)
			}
			h.log.FailAppends(nil)
			pass(0)
			if got := h.describeConsumer(); !reflect.DeepEqual(got, before) {
				t.Errorf("%v: %+v\nbefore: %+v", failure, got, before)
			}
			a.join()
		}
		h.log.Refuse(protocol.NotEnoughReplicas)
		wantCode(t, "join", int16(h.modern("topic").beat()), protocol.CoordinatorNotAvailable)
		wantCode(t, "leave", int16(func() protocol.Code { c := *a; return c.leave() }()), protocol.CoordinatorNotAvailable)
		a.join() // a heartbeat that writes nothing is good
		h.log.Refuse(nil)
		if got := h.describeConsumer(); got.Epoch != before.Epoch {
			t.Errorf("epoch %d, want %d", got.Epoch, before.Epoch)
		}
	})
}

func TestConsumerRequestsThatAreInvalid(t *testing.T) {
	run(t, nil, func(h *harness) {
		for name, c := range map[string]struct {
			change func(*kmsg.ConsumerGroupHeartbeatRequest)
			code   protocol.Code
		}{
			"no group":             {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = " " }, protocol.InvalidRequest},
			"no member":            {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" }, protocol.InvalidRequest},
			"no timeout":           {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 }, protocol.InvalidRequest},
			"no partitions":        {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil }, protocol.InvalidRequest},
			"no subscription":      {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil }, protocol.InvalidRequest},
			"an epoch below -2":    {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 }, protocol.InvalidRequest},
			"leave without static": {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 }, protocol.InvalidRequest},
			"no such group":        {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 1 }, protocol.GroupIDNotFound},
			"leave no such group":  {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 }, protocol.GroupIDNotFound},
		} {
			req := h.modern("topic").request()
			c.change(req)
			resp := runtimetest.Now(t, h.c.ConsumerGroupHeartbeat(req, Client{}))
			wantCode(t, name, resp.ErrorCode, c.code)
			if deref(resp.ErrorMessage) == "" {
				t.Errorf("%s: no message", name)
			}
		}
		if got := h.list(nil, nil); len(got) > 0 {
			t.Errorf("groups: %v", got)
		}
		first := h.modern("topic").request() // in version 0 the broker makes the id
		first.Version, first.MemberID = 0, ""
		resp := runtimetest.Now(t, h.c.ConsumerGroupHeartbeat(first, Client{}))
		wantCode(t, "without an id", resp.ErrorCode, protocol.None)
		if len(deref(resp.MemberID)) != 22 {
			t.Errorf("member id %q", deref(resp.MemberID))
		}
	})
}
