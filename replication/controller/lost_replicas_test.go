package controller

import (
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lossView is a cluster of three with a partition on all of them, and one on broker 1 alone; those in sync are isr.
func lossView(t *testing.T, elr bool, isr ...int32) *View {
	t.Helper()
	topic := existing("t", uuid(1), []int32{1, 2, 3}, []int32{1})
	first := topic[1].(*schema.PartitionRecord)
	first.Directories, first.ISR = []protocol.UUID{uuid(201), uuid(202), uuid(203)}, isr
	topic[2].(*schema.PartitionRecord).Directories = []protocol.UUID{uuid(201)}
	var features []schema.MetadataRecord
	if elr {
		features = withELR("2")
	}
	return newTestView(t, nil, records(features, threeLive(), topic)...)
}

// comeBack is a new start of broker 1, which had epoch 101.
func comeBack(t *testing.T, v *View, dir protocol.UUID, previousEpoch int64) {
	t.Helper()
	if b := v.Image.Broker(1); !b.Fenced {
		apply(t, v, Decision{Records: fence(v, 1, nil)})
	}
	req := registration(1, testCluster)
	req.Version, req.IncarnationID, req.LogDirs, req.PreviousBrokerEpoch = 4, protocol.NewUUID(), [][16]byte{dir}, previousEpoch
	d, err := registerBroker(v, req, &kmsg.BrokerRegistrationResponse{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	if resp, err := beat(t, v, 1, nil); err != nil || resp.IsFenced {
		t.Fatalf("%+v, %v", resp, err)
	}
	checkIndex(t, v)
}

// assignTo has broker 1 say where its replica of a partition is.
func assignTo(t *testing.T, v *View, dir protocol.UUID, partition int32) protocol.Code {
	t.Helper()
	topic := kmsg.AssignReplicasToDirsRequestDirectoryTopic{
		TopicID: uuid(1), Partitions: []kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{{Partition: partition}},
	}
	req := &kmsg.AssignReplicasToDirsRequest{
		BrokerID: 1, BrokerEpoch: v.Image.Broker(1).Epoch,
		Directories: []kmsg.AssignReplicasToDirsRequestDirectory{{ID: dir, Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{topic}}},
	}
	resp := &kmsg.AssignReplicasToDirsResponse{}
	d, err := assignReplicasToDirs(v, req, resp)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	checkIndex(t, v)
	return protocol.Code(resp.Directories[0].Topics[0].Partitions[0].ErrorCode)
}

// forceElection is what an operator does to a partition.
func forceElection(t *testing.T, v *View) {
	t.Helper()
	r, err := electLeader(v, "t", 0, uncleanElection)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, Decision{Records: one(r)})
}

// A replica that comes back empty, the last one that had everything, does not lead by that, with eligible leader replicas and without; once another one leads it begins anew.
func TestEmptyReplicaThatWasTheLastInSync(t *testing.T) {
	for _, elr := range []bool{false, true} {
		v := lossView(t, elr, 1)
		comeBack(t, v, uuid(99), -1)
		if code := assignTo(t, v, uuid(99), 0); code != protocol.KafkaStorageError {
			t.Errorf("elr %v: assignment of what it does not have: %v", elr, code)
		}
		apply(t, v, Decision{Records: fence(v, 1, nil)})
		apply(t, v, Decision{Records: unfence(v, v.Image.Broker(1), nil)})
		if p := v.Image.Partition("t", 0); p.Leader != noBroker || p.Directories[0] != uuid(201) {
			t.Errorf("elr %v: %+v", elr, p)
		}
		if code := assignTo(t, v, uuid(99), 1); code != protocol.None { // nobody else ever had it
			t.Errorf("elr %v: assignment of the only replica: %v", elr, code)
		}
		forceElection(t, v)
		if p := v.Image.Partition("t", 0); p.Leader != 2 {
			t.Errorf("elr %v: an unclean election took %+v", elr, p)
		}
		if code := assignTo(t, v, uuid(99), 0); code != protocol.None {
			t.Errorf("elr %v: assignment once another leads: %v", elr, code)
		}
		if p := v.Image.Partition("t", 0); p.Leader != 2 || !slices.Equal(p.ISR, []int32{2}) || slices.Contains(p.ELR, 1) || p.Directories[0] != uuid(99) {
			t.Errorf("elr %v: %+v", elr, p)
		}
	}
}

// The directory that was missing comes back, with the mark of its last clean stop: its replica leads again.
func TestLostDirectoryComesBack(t *testing.T) {
	v := lossView(t, false, 1)
	comeBack(t, v, uuid(99), -1)
	comeBack(t, v, uuid(201), 101)
	if p := v.Image.Partition("t", 0); p.Leader != 1 || !slices.Equal(p.ISR, []int32{1}) {
		t.Errorf("%+v", p)
	}
}

// An old copy of the directory, with the mark of a clean stop before the last start, is told by that: the replica does not lead. One that crashed does, as there is no
// better one.
func TestDirectoryOfAnEarlierLife(t *testing.T) {
	for _, elr := range []bool{false, true} {
		for previous, leader := range map[int64]int32{55: noBroker, -1: 1, 101: 1} {
			v := lossView(t, elr, 1)
			comeBack(t, v, uuid(201), previous)
			if previous == 55 {
				if code := assignTo(t, v, uuid(201), 0); code != protocol.KafkaStorageError {
					t.Errorf("elr %v: assignment: %v", elr, code)
				}
			}
			if p := v.Image.Partition("t", 0); p.Leader != leader {
				t.Errorf("elr %v, last clean stop in epoch %d: %+v", elr, previous, p)
			}
			if p := v.Image.Partition("t", 1); p.Leader != 1 {
				t.Errorf("elr %v, last clean stop in epoch %d, one replica: %+v", elr, previous, p)
			}
		}
	}
}

// A replica that begins anew in another directory leaves the ISR and the eligible leaders, as long as others are there.
func TestReplicaThatBeginsAnewIsNotEligible(t *testing.T) {
	v := lossView(t, true, 1, 2)
	apply(t, v, Decision{Records: fence(v, 1, nil)})
	if p := v.Image.Partition("t", 0); !slices.Equal(p.ELR, []int32{1}) {
		t.Fatalf("%+v", p)
	}
	comeBack(t, v, uuid(99), 101) // stopped cleanly, then its disk was replaced by another one with a mark
	if code := assignTo(t, v, uuid(99), 0); code != protocol.None {
		t.Fatal(code)
	}
	if p := v.Image.Partition("t", 0); p.Leader != 2 || !slices.Equal(p.ISR, []int32{2}) || len(p.ELR) > 0 || p.Directories[0] != uuid(99) {
		t.Errorf("%+v", p)
	}
}

// A replica that gives up its data leaves ISR and leadership first; not where nobody else can lead.
func TestReplicaGivesUpItsData(t *testing.T) {
	v := lossView(t, true, 1, 2)
	if code := assignTo(t, v, metadata.DirectoryLost, 0); code != protocol.None {
		t.Fatal(code)
	}
	if p := v.Image.Partition("t", 0); p.Leader != 2 || slices.Contains(p.ISR, 1) {
		t.Errorf("%+v", p)
	}
	join := func() protocol.Code {
		p := v.Image.Partition("t", 0)
		req := &kmsg.AlterPartitionRequest{Version: 2, BrokerID: 2, BrokerEpoch: 102, Topics: []kmsg.AlterPartitionRequestTopic{{
			TopicID: uuid(1), Partitions: []kmsg.AlterPartitionRequestTopicPartition{{NewISR: []int32{2, 1}, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}},
		}}}
		resp := &kmsg.AlterPartitionResponse{}
		d, err := alterPartition(v, req, resp)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, v, d)
		return protocol.Code(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if code := join(); code != protocol.IneligibleReplica {
		t.Errorf("joins the ISR without data: %v", code)
	}
	if code := assignTo(t, v, uuid(201), 0); code != protocol.None {
		t.Fatal(code)
	}
	if p := v.Image.Partition("t", 0); p.Leader != 2 || slices.Contains(p.ELR, 1) || p.Directories[0] != uuid(201) {
		t.Errorf("%+v", p)
	}
	if code := join(); code != protocol.None {
		t.Errorf("joins the ISR once it began anew: %v", code)
	}
	v = lossView(t, false, 1)
	if code := assignTo(t, v, metadata.DirectoryLost, 0); code != protocol.KafkaStorageError {
		t.Errorf("the last in sync: %v", code)
	}
	if p := v.Image.Partition("t", 0); p.Leader != 1 {
		t.Errorf("%+v", p)
	}
}
