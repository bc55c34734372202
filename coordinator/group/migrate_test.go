package group

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// older is a member of the classic protocol whose assignor is "range" or another: it embeds the consumer protocol, and keeps count of what it has.
func (h *harness) older(topics ...string) *client {
	c := h.client()
	c.protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscriptionTo(topics...)}}
	return c
}

// assignment is the embedded form of partitions of one topic.
func assignment(topic string, partitions ...int32) string {
	return string(assignmentBytes(3, []kmsg.ConsumerMemberAssignmentTopic{{Topic: topic, Partitions: partitions}}))
}

// stableClassic brings members into one generation in which each has one partition of topic.
func (h *harness) stableClassic(topic string, members ...*client) {
	h.t.Helper()
	var joins []*runtime.Future[*kmsg.JoinGroupResponse]
	for _, c := range members {
		joins = append(joins, c.join())
	}
	synctest.Wait()
	pass(3 * initialDelay)
	assignments := map[string]string{}
	for i, c := range members {
		c.joined(joins[i])
		assignments[c.memberID] = assignment(topic, int32(i))
	}
	h.syncAll(assignments, members...)
}

// rejoin joins again, saying what it has, and returns what it gets.
func (c *client) rejoin(topic string, has ...int32) map[string][]int32 {
	c.h.t.Helper()
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 3, []string{topic}
	m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: topic, Partitions: has}}
	c.protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: m.AppendTo(nil)}}
	c.joined(c.join())
	resp := runtimetest.Now(c.h.t, c.sync(nil))
	wantCode(c.h.t, "SyncGroup", resp.ErrorCode, protocol.None)
	return assignedTo(c.h.t, resp.MemberAssignment)
}

func TestUpgradeWithTheFirstMemberOfTheConsumerProtocol(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 3)
		a, b := h.older("topic"), h.older("topic")
		h.stableClassic("topic", a, b)
		wantCode(t, "commit", int16(a.commit(7)), protocol.None)
		h.wantKind(classicKind)
		generation := a.generation

		c := h.modern("topic").join()
		h.wantKind(consumerKind)
		if h.fetch(testGroup) != 7 {
			t.Error("offsets are lost")
		}
		if c.epoch != generation+1 || c.count() != 1 {
			t.Errorf("the new member has %v in epoch %d; the generation was %d", c.has, c.epoch, generation)
		}
		wantCode(t, "heartbeat", int16(a.heartbeat()), protocol.RebalanceInProgress)
		if got := a.rejoin("topic", 0)["topic"]; !slices.Equal(got, []int32{0}) {
			t.Errorf("the first member has %v", got)
		}
		b.rejoin("topic", 1)
		pass(time.Second)
		c.join()
		for _, m := range []*client{a, b} {
			wantCode(t, "heartbeat", int16(m.heartbeat()), protocol.None)
		}
		described := h.describeConsumer()
		kinds := map[int8]int{}
		for _, m := range described.Members {
			kinds[m.MemberType]++
		}
		if kinds[0] != 2 || kinds[1] != 1 {
			t.Errorf("members by type are %v", kinds)
		}
	})
}

func TestUpgradeAnswersWhoIsParked(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		a, b := h.older("topic"), h.older("topic")
		h.stableClassic("topic", a, b)
		join := a.join()
		runtimetest.Parked(t, join)
		h.modern("topic").join()
		wantCode(t, "JoinGroup", runtimetest.Now(t, join).ErrorCode, protocol.RebalanceInProgress)
	})
}

func TestUpgradeIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		config  map[string]string
		prepare func(h *harness) *client
		message string
	}{
		"policy disabled":  {map[string]string{"group.consumer.migration.policy": "DISABLED"}, nil, "online upgrade is disabled"},
		"policy downgrade": {map[string]string{"group.consumer.migration.policy": "downgrade"}, nil, "online upgrade is disabled"},
		"too many members": {map[string]string{"group.consumer.max.size": "1"}, nil, "the group size exceeds the consumer group maximum size"},
		"no consumers": {nil, func(h *harness) *client {
			c := h.older("topic")
			c.kind = "connect"
			return c
		}, "the group does not use the consumer embedded protocol"},
		"malformed": {nil, func(h *harness) *client {
			c := h.older("topic")
			c.protocols[0].Metadata = []byte("?")
			return c
		}, "the embedded consumer protocol is malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, c.config, func(h *harness) {
				h.addTopic("topic", 2)
				members := []*client{h.older("topic"), h.older("topic")}
				if c.prepare != nil {
					members = []*client{c.prepare(h)}
				}
				h.stableClassic("topic", members...)
				m := h.modern("topic")
				wantCode(t, "heartbeat", int16(m.beat()), protocol.GroupIDNotFound)
				if want := "Cannot upgrade classic group g to consumer group because " + c.message + "."; m.message != want {
					t.Errorf("message %q, want %q", m.message, want)
				}
				h.wantKind(classicKind)
				wantCode(t, "heartbeat", int16(members[0].heartbeat()), protocol.None)
			})
		})
	}
}

func TestUpgradeOfACustomAssignorIsRefused(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		a := h.older("topic")
		join := a.join()
		pass(3 * initialDelay)
		a.joined(join)
		data := kmsg.ConsumerMemberAssignment{Version: 1, UserData: []byte{1}}
		h.syncAll(map[string]string{a.memberID: string(data.AppendTo(nil))}, a)
		m := h.modern("topic")
		wantCode(t, "heartbeat", int16(m.beat()), protocol.GroupIDNotFound)
	})
}

func TestDowngradeWhenTheLastMemberOfTheConsumerProtocolLeaves(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 4)
		c := h.modern("topic").join()
		h.converge(c)
		a := h.older("topic")
		a.rejoin("topic")
		wantCode(t, "commit", int16(a.commit(7)), protocol.None)
		h.wantKind(consumerKind)
		wantCode(t, "leave", int16(c.leave()), protocol.None)
		h.wantKind(classicKind)
		h.wantState("PreparingRebalance")
		if h.fetch(testGroup) != 7 {
			t.Error("offsets are lost")
		}
		wantCode(t, "heartbeat", int16(a.heartbeat()), protocol.RebalanceInProgress)
		before := a.generation
		join := a.join()
		resp := a.joined(join)
		if resp.LeaderID != a.memberID || len(resp.Members) != 1 || resp.Generation <= before {
			t.Errorf("joined as %+v", resp)
		}
		h.syncAll(map[string]string{a.memberID: assignment("topic", 0, 1, 2, 3)}, a)
		h.wantState("Stable")
	})
}

func TestDowngradeWhenTheLastMemberOfTheConsumerProtocolIsLost(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		c := h.modern("topic").join()
		h.converge(c)
		a := h.older("topic")
		a.session = 100 * time.Second
		a.rejoin("topic")
		pass(46 * time.Second)
		h.wantKind(classicKind)
		join := a.join()
		a.joined(join)
	})
}

func TestDowngradeIsNotAllowed(t *testing.T) {
	for name, config := range map[string]map[string]string{
		"policy": {"group.consumer.migration.policy": "upgrade"}, "size": {"group.max.size": "1"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, config, func(h *harness) {
				h.addTopic("topic", 2)
				c := h.modern("topic").join()
				h.converge(c)
				a, b := h.older("topic"), h.older("topic")
				a.rejoin("topic")
				b.rejoin("topic")
				wantCode(t, "leave", int16(c.leave()), protocol.None)
				h.wantKind(consumerKind)
			})
		})
	}
}

func TestDowngradedGroupSurvivesANewCoordinator(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		c := h.modern("topic").join()
		h.converge(c)
		a := h.older("topic")
		a.rejoin("topic")
		wantCode(t, "leave", int16(c.leave()), protocol.None)
		h.reload()
		h.wantKind(classicKind)
		h.wantState("Stable")
		a.joined(a.join())
	})
}

func TestDowngradeThatCannotBeWrittenChangesNothing(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		c := h.modern("topic").join()
		h.converge(c)
		a := h.older("topic")
		a.rejoin("topic")
		h.log.Refuse(protocol.NotEnoughReplicas)
		if code := c.leave(); code == protocol.None {
			t.Error("left")
		}
		h.log.Refuse(nil)
		h.wantKind(consumerKind)
	})
}

func TestUpgradeThatCannotBeWrittenChangesNothing(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		a := h.older("topic")
		h.stableClassic("topic", a)
		h.log.Refuse(protocol.NotEnoughReplicas)
		if code := h.modern("topic").beat(); code == protocol.None {
			t.Error("joined")
		}
		h.log.Refuse(nil)
		h.wantKind(classicKind)
		wantCode(t, "heartbeat", int16(a.heartbeat()), protocol.None)
		pass(session + time.Second)
		h.wantKind(classicKind)
		h.wantState("Empty")
	})
}

func TestStaticMemberMovesToTheConsumerProtocolAndBack(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		a, b := h.older("topic"), h.static("s")
		h.stableClassic("topic", a, b)
		m := h.modern("topic")
		m.instance = b.instance
		m.join()
		h.wantKind(consumerKind)
		wantCode(t, "heartbeat of the old one", int16(b.heartbeat()), protocol.FencedInstanceID)
		a.rejoin("topic", 0)
		h.converge(m)
		if !slices.Equal(m.partitions("topic"), []int32{1}) {
			t.Errorf("the static member has %v", m.has)
		}

		back := h.static("s")
		back.protocols = h.older("topic").protocols
		join := back.join()
		resp := runtimetest.Now(t, join)
		wantCode(t, "JoinGroup", resp.ErrorCode, protocol.None)
		h.wantKind(classicKind)
		if code := m.beat(); code != protocol.GroupIDNotFound {
			t.Errorf("the member of the consumer protocol gets %v", code)
		}
		h.wantState("Stable")
		back.memberID, back.generation = resp.MemberID, resp.Generation
		synced := runtimetest.Now(t, back.sync(nil))
		wantCode(t, "SyncGroup", synced.ErrorCode, protocol.None)
		if got := assignedTo(t, synced.MemberAssignment)["topic"]; !slices.Equal(got, []int32{1}) {
			t.Errorf("back with %v", got)
		}
		h.reload()
		h.wantState("Stable")
	})
}

func TestEmptyGroupsChangeTheirProtocol(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		a := h.older("topic")
		h.stableClassic("topic", a)
		wantCode(t, "commit", int16(a.commit(7)), protocol.None)
		wantCode(t, "leave", int16(a.leave()), protocol.None)
		c := h.modern("topic").join()
		h.wantKind(consumerKind)
		wantCode(t, "leave", int16(c.leave()), protocol.None)
		h.wantKind(consumerKind)
		b := h.older("topic")
		h.stableClassic("topic", b)
		h.wantKind(classicKind)
		if h.fetch(testGroup) != 7 {
			t.Error("offsets are lost")
		}
		h.reload()
		h.wantKind(classicKind)
		wantCode(t, "heartbeat", int16(b.heartbeat()), protocol.None)
	})
}

func TestEmptyConsumerGroupStaysIfItsSuccessorCannotBeWritten(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 2)
		wantCode(t, "leave", int16(h.modern("topic").join().leave()), protocol.None)
		h.log.Refuse(protocol.NotEnoughReplicas)
		a := h.older("topic")
		runtimetest.Now(t, a.sendJoin())
		h.log.Refuse(nil)
		h.wantKind(consumerKind)
	})
}

// written lists the types of the records that do adds to the log, tombstones negative.
func (h *harness) written(do func()) (types []int) {
	h.t.Helper()
	before := h.log.LogEndOffset()
	do()
	codecs := record.NewCodecs()
	defer codecs.Close()
	for _, b := range h.log.Batches() {
		if b.BaseOffset() < before {
			continue
		}
		if err := codecs.Records(b, func(r *record.Record) error {
			kind, _ := recordType(r.Key)
			if r.Value == nil {
				kind = -kind
			}
			types = append(types, int(kind))
			return nil
		}); err != nil {
			h.t.Fatal(err)
		}
	}
	return types
}

// The order of the records is that of Kafka's convertToConsumerGroup and convertToClassicGroup.
func TestRecordsOfMigrations(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 1)
		a := h.older("topic")
		h.stableClassic("topic", a)
		m := h.modern("topic")
		up := h.written(func() { m.join() })
		if want := []int{-2, 5, 3, 7, 6, 8 /* the member joins: */, 5, 3}; len(up) < len(want) || !slices.Equal(up[:len(want)], want) {
			t.Errorf("the upgrade writes %v, want %v first", up, want)
		}
		h.converge(m)
		appends := h.log.Appends()
		down := h.written(func() { m.leave() })
		if want := []int{-8, -8, -7, -7, -6, -5, -5, -4, -3, 2}; !slices.Equal(down, want) {
			t.Errorf("the downgrade writes %v, want %v", down, want)
		}
		if n := h.log.Appends() - appends; n != 1 {
			t.Errorf("the downgrade takes %d batches", n)
		}
	})
}
