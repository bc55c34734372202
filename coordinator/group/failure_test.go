package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

func TestAFailedCommitIsAnswered(t *testing.T) {
	for failure, want := range map[protocol.Code]protocol.Code{
		protocol.NotEnoughReplicas:   protocol.CoordinatorNotAvailable,
		protocol.NotLeaderOrFollower: protocol.NotCoordinator,
		protocol.KafkaStorageError:   protocol.NotCoordinator,
		protocol.MessageTooLarge:     protocol.UnknownServerError,
	} {
		run(t, nil, func(h *harness) {
			c := h.client()
			c.commit(1)
			h.log.FailAppends(failure)
			wantCode(t, "OffsetCommit", int16(c.commit(2)), want)
			h.log.FailAppends(nil)
			synctest.Wait()
			if got := h.fetch(testGroup); got != 1 {
				t.Errorf("offset %d", got)
			}
		})
	}
}

func TestACommitThatIsNotReplicatedTimesOut(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.log.Hold(true)
		c := h.client()
		f := h.c.OffsetCommit(c.commitRequest(9, 1))
		pass(5*time.Second - time.Millisecond)
		runtimetest.Parked(t, f)
		pass(time.Millisecond)
		wantCode(t, "OffsetCommit", runtimetest.Now(t, f).Topics[0].Partitions[0].ErrorCode, protocol.CoordinatorNotAvailable)
	})
}

func TestTooFewReplicasDoNotEndAGroup(t *testing.T) {
	run(t, nil, func(h *harness) {
		a := h.client()
		h.stable(a)
		h.log.Refuse(protocol.NotEnoughReplicas)
		wantCode(t, "OffsetCommit", int16(a.commit(1)), protocol.CoordinatorNotAvailable)
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.None)
		a.joined(a.sendJoin())
		wantCode(t, "SyncGroup", runtimetest.Now(t, a.sync(map[string]string{a.memberID: "x"})).ErrorCode, protocol.CoordinatorNotAvailable)
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.RebalanceInProgress)
		h.log.Refuse(nil)
		a.joined(a.sendJoin())
		wantCode(t, "SyncGroup", runtimetest.Now(t, a.sync(map[string]string{a.memberID: "x"})).ErrorCode, protocol.None)
		h.wantState("Stable")
	})
}

func TestANewGroupThatCannotBeWrittenIsForgotten(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.log.Refuse(protocol.NotEnoughReplicas)
		c := h.static("i")
		wantCode(t, "JoinGroup", runtimetest.Now(t, c.sendJoin()).ErrorCode, protocol.CoordinatorNotAvailable)
		if got := h.list(nil, nil); len(got) != 0 {
			t.Errorf("groups %v", got)
		}
		h.log.Refuse(nil)
		h.stable(c)
	})
}

func TestAStaticMemberWhoseNewIDCannotBeWrittenKeepsTheOld(t *testing.T) {
	run(t, nil, func(h *harness) {
		a := h.static("a")
		h.stable(a)
		h.log.Refuse(protocol.NotEnoughReplicas)
		returned := a.again()
		resp := runtimetest.Now(t, returned.sendJoin())
		wantCode(t, "JoinGroup", resp.ErrorCode, protocol.CoordinatorNotAvailable)
		wantCode(t, "Heartbeat of the old id", int16(a.heartbeat()), protocol.None)
		h.log.Refuse(nil)
		returned.joined(returned.sendJoin())
		wantCode(t, "Heartbeat of the old id", int16(a.heartbeat()), protocol.FencedInstanceID)
	})
}

func TestAFailedAssignment(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		h.completing(a, b)
		fb := b.sync(nil)
		runtimetest.Parked(t, fb)
		h.log.FailAppends(protocol.KafkaStorageError)
		fa := a.sync(map[string]string{a.memberID: "x"})
		wantCode(t, "SyncGroup of the leader", runtimetest.Now(t, fa).ErrorCode, protocol.NotCoordinator)
		wantCode(t, "SyncGroup of the follower", runtimetest.Now(t, fb).ErrorCode, protocol.NotCoordinator)
		h.log.FailAppends(nil)
		pass(2 * time.Second)
		// The group is as the log knows it: without that generation.
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.UnknownMemberID)
		h.stable(h.client())
	})
}

func TestResigningAnswersParkedRequests(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		join := h.preparing(a, b)
		other := h.client()
		other.group = "other"
		h.completingIn(other)
		sync := other.sync(nil) // the leader's own, held back by the log
		h.c.runtime.Resign(0, 1)
		wantCode(t, "JoinGroup", runtimetest.Now(t, join).ErrorCode, protocol.NotCoordinator)
		if got := runtimetest.Now(t, sync).ErrorCode; protocol.Code(got) != protocol.NotCoordinator && got != 0 {
			t.Errorf("SyncGroup: %v", protocol.Code(got))
		}
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.NotCoordinator)
	})
}

// completingIn is completing for a client of another group.
func (h *harness) completingIn(c *client) {
	h.t.Helper()
	f := c.join()
	synctest.Wait()
	pass(initialDelay)
	c.joined(f)
}

func TestMembersSurviveANewCoordinator(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.static("b")
		h.stable(a, b)
		a.commit(5)
		pass(session - time.Millisecond)
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.None)
		wantCode(t, "Heartbeat", int16(b.heartbeat()), protocol.None)
		h.c.runtime.Resign(0, 1)
		h.c.runtime.Elect(0, 2)
		pass(session - time.Millisecond) // a full session each
		wantCode(t, "Heartbeat", int16(a.heartbeat()), protocol.None)
		wantCode(t, "Heartbeat", int16(b.heartbeat()), protocol.None)
		wantCode(t, "OffsetCommit", int16(b.commit(6)), protocol.None)
		if got := string(runtimetest.Now(t, b.sync(nil)).MemberAssignment); got != "a1" {
			t.Errorf("assigned %q", got)
		}
		pass(session)
		h.wantState("Empty")
	})
}

func TestAGroupThatIsTooLargeNowRebalancesOnLoad(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.client()
		h.stable(a, b)
		h.c.settings.maxSize = 1
		h.c.runtime.Resign(0, 1)
		h.c.runtime.Elect(0, 2)
		synctest.Wait()
		h.wantState("PreparingRebalance")
		f := a.sendJoin()
		runtimetest.Parked(t, f)
		wantCode(t, "JoinGroup", runtimetest.Now(t, b.sendJoin()).ErrorCode, protocol.GroupMaxSizeReached)
	})
}

// TestApply follows elections, resignations and the deletion of the topic in the metadata.
func TestApply(t *testing.T) {
	run(t, nil, func(h *harness) {
		change := func(leader, epoch int32) {
			topic := h.image.Topic(protocol.GroupMetadataTopic)
			p := schema.PartitionRecord{
				PartitionID: 0, TopicID: topic.ID, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: leader, LeaderEpoch: epoch, PartitionEpoch: epoch,
				Directories: []protocol.UUID{protocol.NewUUID(), protocol.NewUUID()},
			}
			image, delta, err := h.image.With(h.image.Offset()+1, 1, []schema.MetadataRecord{&p})
			if err != nil {
				t.Fatal(err)
			}
			h.image = image
			h.c.Apply(delta)
			synctest.Wait()
		}
		c := h.client()
		wantCode(t, "leader", int16(c.commit(1)), protocol.None)
		change(2, 1)
		wantCode(t, "follower", int16(c.commit(2)), protocol.NotCoordinator)
		change(1, 2)
		wantCode(t, "leader again", int16(c.commit(3)), protocol.None)
		change(-1, 3)
		wantCode(t, "no leader", int16(c.commit(4)), protocol.NotCoordinator)
		change(1, 4)
		image, delta, err := h.image.With(h.image.Offset()+1, 1, []schema.MetadataRecord{
			&schema.RemoveTopicRecord{TopicID: h.image.Topic(protocol.GroupMetadataTopic).ID},
		})
		if err != nil {
			t.Fatal(err)
		}
		h.image = image
		h.c.Apply(delta)
		wantCode(t, "no topic", int16(c.commit(5)), protocol.NotCoordinator)
		if got := h.c.PartitionFor("g"); got != protocol.CoordinatorPartition("g", 50) {
			t.Errorf("partition %d without the topic", got)
		}
		h.c.Apply(&metadata.Delta{Image: h.image})
	})
}
