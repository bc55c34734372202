package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// commitTxn commits an offset of topic-0 in producer 1's transaction.
func (c *client) commitTxn(offset int64) protocol.Code { return c.h.commitTxn(c.txnRequest(1, offset)) }

func (c *client) txnRequest(producerID, offset int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.Group, req.ProducerID = 5, "tx", c.group, producerID
	req.MemberID, req.Generation, req.InstanceID = c.memberID, c.generation, c.instance
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "topic", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
	return req
}

func (h *harness) commitTxn(req *kmsg.TxnOffsetCommitRequest) protocol.Code {
	h.t.Helper()
	return protocol.Code(runtimetest.Now(h.t, h.c.TxnOffsetCommit(req, 0)).Topics[0].Partitions[0].ErrorCode)
}

// end ends a producer's transaction.
func (h *harness) end(producerID int64, commit bool) {
	h.t.Helper()
	var answers []error
	h.c.CompleteTransaction(0, runtime.Marker{ProducerID: producerID, Commit: commit}, func(err error) { answers = append(answers, err) })
	synctest.Wait()
	if len(answers) != 1 || answers[0] != nil {
		h.t.Errorf("the end of a transaction: %v", answers)
	}
}

// reloadAt makes the coordinator load the log again, under a later epoch.
func (h *harness) reloadAt(epoch int32) {
	h.t.Helper()
	h.c.runtime.Resign(0, epoch-1)
	h.c.runtime.Elect(0, epoch)
	synctest.Wait()
}

// stableCode is the answer for topic-0 of a reader that wants stable offsets.
func (h *harness) stableCode() protocol.Code {
	h.t.Helper()
	g := kmsg.OffsetFetchRequestGroup{Group: testGroup, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "topic", Partitions: []int32{0}}}}
	req := &kmsg.OffsetFetchRequest{Version: 9, RequireStable: true, Groups: []kmsg.OffsetFetchRequestGroup{g}}
	return protocol.Code(runtimetest.Now(h.t, h.c.OffsetFetch(req)).Groups[0].Topics[0].Partitions[0].ErrorCode)
}

// TestWhoMayCommitInATransaction goes through the states of a group.
func TestWhoMayCommitInATransaction(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		c.generation = 1
		wantCode(t, "a generation without a group", int16(c.commitTxn(1)), protocol.IllegalGeneration)
		c.generation = -1
		wantCode(t, "nobody, no group", int16(c.commitTxn(1)), protocol.None)
		h.end(1, true)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("offset %d", got)
		}
		h.completing(c)
		wantCode(t, "a member that waits for its assignment", int16(c.commitTxn(2)), protocol.None)
		wantCode(t, "nobody, with members", int16(h.client().commitTxn(3)), protocol.None)
		old := *c
		old.generation--
		wantCode(t, "an old generation", int16(old.commitTxn(4)), protocol.IllegalGeneration)
		stranger := *c
		stranger.memberID = "stranger"
		wantCode(t, "a stranger", int16(stranger.commitTxn(4)), protocol.UnknownMemberID)
		stranger.instance = kmsg.StringPtr("unknown")
		wantCode(t, "an unknown instance", int16(stranger.commitTxn(4)), protocol.UnknownMemberID)
		large := c.txnRequest(1, 5)
		large.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(string(make([]byte, 4097)))
		wantCode(t, "metadata", int16(h.commitTxn(large)), protocol.OffsetMetadataTooLarge)
		h.end(1, true)
		if got := h.fetch(testGroup); got != 3 {
			t.Errorf("offset %d", got)
		}
	})
}

func TestAFencedInstanceCommitsNothingInATransaction(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.static("one")
		h.stable(c)
		fenced := *c
		fenced.memberID = "its-former-id"
		wantCode(t, "fenced", int16(fenced.commitTxn(1)), protocol.FencedInstanceID)
		wantCode(t, "current", int16(c.commitTxn(1)), protocol.None)
	})
}

// A producer learns of a stale epoch of a consumer group's member in words that it knows.
func TestMembersOfConsumerGroupsInTransactions(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("topic", 1)
		m := h.modern("topic").join()
		c := h.client()
		c.memberID, c.generation = m.request().MemberID, m.request().MemberEpoch
		wantCode(t, "current", int16(c.commitTxn(1)), protocol.None)
		c.generation = 0
		wantCode(t, "stale", int16(c.commitTxn(2)), protocol.IllegalGeneration)
		byID := c.txnRequest(1, 2)
		byID.Version, byID.Topics[0].TopicID = 6, h.image.Topic("topic").ID
		wantCode(t, "stale, v6", int16(h.commitTxn(byID)), protocol.StaleMemberEpoch)
		c.memberID = "stranger"
		wantCode(t, "a stranger", int16(c.commitTxn(2)), protocol.UnknownMemberID)
		h.end(1, true)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("offset %d", got)
		}
	})
}

func TestPendingOffsetsSurviveAReload(t *testing.T) {
	for _, commit := range []bool{true, false} {
		run(t, nil, func(h *harness) {
			c := h.client()
			c.commit(1)
			wantCode(t, "TxnOffsetCommit", int16(c.commitTxn(2)), protocol.None)
			h.reloadAt(1000)
			wantCode(t, "stable", int16(h.stableCode()), protocol.UnstableOffsetCommit)
			want := int64(1)
			if h.end(1, commit); commit {
				want = 2
			}
			wantCode(t, "stable", int16(h.stableCode()), protocol.None)
			if got := h.fetch(testGroup); got != want {
				t.Errorf("commit %v: offset %d, want %d", commit, got, want)
			}
			h.reloadAt(2000)
			if got := h.fetch(testGroup); got != want {
				t.Errorf("commit %v, loaded again: offset %d, want %d", commit, got, want)
			}
		})
	}
}

// A commit outside that is written after the transaction's stays; one that was written before goes.
func TestTheLaterCommitWins(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		c.commitTxn(1)
		wantCode(t, "OffsetCommit", int16(c.commit(2)), protocol.None)
		h.end(1, true)
		if got := h.fetch(testGroup); got != 2 {
			t.Errorf("offset %d", got)
		}
		c.commit(3)
		c.commitTxn(4)
		h.end(1, true)
		if got := h.fetch(testGroup); got != 4 {
			t.Errorf("offset %d", got)
		}
	})
}

// Offsets that are written before the marker is committed are not told to those who read what is durable.
func TestCommittedOffsetsAreTheMarkersToTell(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		c.commit(1)
		c.commitTxn(2)
		h.log.Hold(true)
		ended := false
		h.c.CompleteTransaction(0, runtime.Marker{ProducerID: 1, Commit: true}, func(err error) { ended = err == nil })
		if got := h.fetch(testGroup); got != 1 || ended {
			t.Errorf("before the commit of the marker: offset %d, ended %v", got, ended)
		}
		h.log.Commit(-1)
		synctest.Wait()
		if got := h.fetch(testGroup); got != 2 || !ended {
			t.Errorf("after it: offset %d, ended %v", got, ended)
		}
	})
}

func TestPendingOffsetsDoNotExpire(t *testing.T) {
	run(t, oneHour, func(h *harness) {
		c := h.client()
		c.commit(1)
		c.commitTxn(2)
		pass(3 * time.Hour)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("the old value of a pending offset is %d", got)
		}
		h.end(1, false)
		pass(time.Hour)
		if got := h.fetch(testGroup); got != -1 {
			t.Errorf("an offset that is not pending any more is %d", got)
		}
	})
}

// A group stays as long as a transaction may yet give it offsets.
func TestAGroupWithPendingOffsetsStays(t *testing.T) {
	run(t, oneHour, func(h *harness) {
		c := h.client()
		c.commitTxn(2)
		pass(3 * time.Hour)
		if got := h.list(nil, nil); len(got) != 1 {
			t.Errorf("groups %v", got)
		}
		h.end(1, false)
		pass(time.Hour)
		if got := h.list(nil, nil); len(got) != 0 {
			t.Errorf("groups %v", got)
		}
	})
}

// What is deleted is not brought back by a transaction that was open.
func TestDeletionsTakePendingOffsets(t *testing.T) {
	for name, remove := range map[string]func(h *harness) int16{
		"OffsetDelete": func(h *harness) int16 { return h.deleteOffsets(testGroup, "topic").ErrorCode },
		"DeleteGroups": func(h *harness) int16 { return h.deleteGroup(testGroup).ErrorCode },
	} {
		run(t, nil, func(h *harness) {
			c := h.client()
			c.commitTxn(2)
			wantCode(t, name, remove(h), protocol.None)
			wantCode(t, name, int16(h.stableCode()), protocol.None)
			h.end(1, true)
			if got := h.fetch(testGroup); got != -1 {
				t.Errorf("%s: offset %d", name, got)
			}
			h.reloadAt(1000)
			if got := h.fetch(testGroup); got != -1 {
				t.Errorf("%s, loaded again: offset %d", name, got)
			}
		})
	}
}
