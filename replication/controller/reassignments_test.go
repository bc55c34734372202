package controller

import (
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// move asks to reassign partition 0 of t; no replicas cancel.
func move(t *testing.T, v *View, keepFactor bool, replicas ...int32) (code protocol.Code, message string) {
	t.Helper()
	req := &kmsg.AlterPartitionAssignmentsRequest{Version: 1, AllowReplicationFactorChange: !keepFactor}
	req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: replicas}}}}
	resp := &kmsg.AlterPartitionAssignmentsResponse{}
	d, err := alterReassignments(v, req, resp)
	if err != nil || resp.AllowReplicationFactorChange == keepFactor {
		t.Fatalf("%+v, %v", resp, err)
	}
	apply(t, v, d)
	p := resp.Topics[0].Partitions[0]
	if p.ErrorMessage != nil {
		message = *p.ErrorMessage
	}
	return protocol.Code(p.ErrorCode), message
}

// inSync has the leader of partition 0 of t say who is in sync, at the epochs of the image.
func inSync(t *testing.T, v *View, isr ...int32) kmsg.AlterPartitionResponseTopicPartition {
	t.Helper()
	p := v.Image.Partition("t", 0)
	asked := kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	for _, id := range isr {
		asked.NewEpochISR = append(asked.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: v.Image.Broker(id).Epoch})
	}
	return alterOne(t, v, 3, p.Leader, asked)
}

func alterOne(t *testing.T, v *View, version int16, broker int32, asked kmsg.AlterPartitionRequestTopicPartition) kmsg.AlterPartitionResponseTopicPartition {
	t.Helper()
	req := &kmsg.AlterPartitionRequest{Version: version, BrokerID: broker, BrokerEpoch: v.Image.Broker(broker).Epoch}
	req.Topics = []kmsg.AlterPartitionRequestTopic{{TopicID: v.Image.Topic("t").ID, Partitions: []kmsg.AlterPartitionRequestTopicPartition{asked}}}
	resp := &kmsg.AlterPartitionResponse{}
	d, err := alterPartition(v, req, resp)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	return resp.Topics[0].Partitions[0]
}

func assignment(p *metadata.Partition, replicas, removing, adding []int32) bool {
	return slices.Equal(p.Replicas, replicas) && slices.Equal(p.Removing, removing) && slices.Equal(p.Adding, adding)
}

func TestReassignment(t *testing.T) {
	v := newTestView(t, nil, records(threeLive(), one(liveBroker(4)), existing("t", uuid(1), []int32{1, 2}))...)
	p := func() *metadata.Partition { return v.Image.Partition("t", 0) }
	if code, _ := move(t, v, true, 3, 4); code != protocol.None || !assignment(p(), []int32{3, 4, 1, 2}, []int32{1, 2}, []int32{3, 4}) || p().LeaderEpoch != 0 {
		t.Fatalf("begun: %v %+v", code, p())
	}
	if want := []protocol.UUID{uuid(203), uuid(204), {}, {}}; !slices.Equal(p().Directories, want) {
		t.Errorf("directories %v", p().Directories)
	}
	list := &kmsg.ListPartitionReassignmentsResponse{}
	ListReassignments(v.Image, &kmsg.ListPartitionReassignmentsRequest{}, list)
	if len(list.Topics) != 1 || !slices.Equal(list.Topics[0].Partitions[0].AddingReplicas, []int32{3, 4}) || !slices.Equal(list.Topics[0].Partitions[0].RemovingReplicas, []int32{1, 2}) {
		t.Errorf("listed %+v", list)
	}
	if got := inSync(t, v, 1, 2, 3); got.ErrorCode != 0 || !assignment(p(), []int32{3, 4, 1, 2}, []int32{1, 2}, []int32{3, 4}) {
		t.Fatalf("half way: %+v %+v", got, p())
	}
	if got := inSync(t, v, 1, 2, 3, 4); protocol.Code(got.ErrorCode) != protocol.NewLeaderElected {
		t.Errorf("complete: %+v", got)
	}
	if !assignment(p(), []int32{3, 4}, nil, nil) || !sameState(p(), 3, 1, 3, 4) || len(p().Directories) != 2 {
		t.Errorf("complete: %+v", p())
	}
}

func TestReassignmentIsCancelled(t *testing.T) {
	v := newTestView(t, nil, records(threeLive(), existing("t", uuid(1), []int32{1, 2}))...)
	if code, message := move(t, v, false); code != protocol.NoReassignmentInProgress || message != "" {
		t.Errorf("%v %q", code, message)
	}
	move(t, v, false, 3)
	if got := inSync(t, v, 1, 2); got.ErrorCode != 0 {
		t.Fatalf("%+v", got)
	}
	if code, _ := move(t, v, false); code != protocol.None || !assignment(v.Image.Partition("t", 0), []int32{1, 2}, nil, nil) || v.Image.Partition("t", 0).LeaderEpoch != 1 {
		t.Errorf("%v %+v", code, v.Image.Partition("t", 0))
	}
	// Where only new replicas are in sync, going back would lose data.
	move(t, v, false, 3)
	only := schema.NewPartitionChangeRecord(uuid(1), 0)
	only.ISR, only.Leader = []int32{3}, 3
	apply(t, v, Decision{Records: one(only)})
	if code, message := move(t, v, false); code != protocol.InvalidReplicaAssignment ||
		message != "Unable to revert partition assignment for t:0 because it would require an unclean leader election." {
		t.Errorf("%v %q", code, message)
	}
}

func TestReassignmentRefuses(t *testing.T) {
	v := newTestView(t, nil, records(threeLive(), existing("t", uuid(1), []int32{1, 2}))...)
	for _, test := range []struct {
		keep     bool
		replicas []int32
		code     protocol.Code
		message  string
	}{
		{false, []int32{}, protocol.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{false, []int32{9}, protocol.InvalidReplicaAssignment, "The manual partition assignment includes broker 9, but no such broker is registered."},
		{false, []int32{1, 1}, protocol.InvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once."},
		{true, []int32{3}, protocol.InvalidReplicationFactor, "The replication factor is changed from 2 to 1"},
	} {
		if code, message := move(t, v, test.keep, test.replicas...); code != test.code || message != test.message {
			t.Errorf("%v: %v %q", test.replicas, code, message)
		}
	}
	for name, want := range map[string]string{"no": "Unable to find a topic named no.", "t": "Unable to find partition t:5."} {
		_, err := reassign(v, name, kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: 5}, false)
		if protocol.CodeOf(err) != protocol.UnknownTopicOrPartition || describe(err) != want {
			t.Errorf("%v", err)
		}
	}
}

func TestAlterPartitionRefuses(t *testing.T) {
	base := records(threeLive(), one(fencedBroker(4)), existing("t", uuid(1), []int32{1, 2, 3, 4}))
	epochs := func(ids ...int32) (all []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) {
		for _, id := range ids {
			all = append(all, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: int64(100 + id)})
		}
		return all
	}
	stale := epochs(1, 2)
	stale[1].BrokerEpoch = 5
	for _, test := range []struct {
		name   string
		broker int32
		asked  kmsg.AlterPartitionRequestTopicPartition
		code   protocol.Code
	}{
		{"an unknown partition", 1, kmsg.AlterPartitionRequestTopicPartition{Partition: 7}, protocol.UnknownTopicOrPartition},
		{"a newer leader epoch", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 5, NewEpochISR: epochs(1)}, protocol.NotController},
		{"a newer partition epoch", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 9, NewEpochISR: epochs(1)}, protocol.NotController},
		{"an older leader epoch", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 3, PartitionEpoch: 4, NewEpochISR: epochs(1)}, protocol.FencedLeaderEpoch},
		{"a follower", 2, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4, NewEpochISR: epochs(1)}, protocol.InvalidRequest},
		{"an older partition epoch", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 3, NewEpochISR: epochs(1)}, protocol.InvalidUpdateVersion},
		{"no ISR", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4}, protocol.InvalidRequest},
		{"no replica", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4, NewEpochISR: epochs(1, 9)}, protocol.InvalidRequest},
		{"without the leader", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4, NewEpochISR: epochs(2)}, protocol.InvalidRequest},
		{"twice", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4, NewEpochISR: epochs(1, 1)}, protocol.InvalidRequest},
		{"recovering again", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4, NewEpochISR: epochs(1), LeaderRecoveryState: 1}, protocol.InvalidRequest},
		{"a fenced replica", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4, NewEpochISR: epochs(1, 4)}, protocol.IneligibleReplica},
		{"an incarnation that is gone", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4, NewEpochISR: stale}, protocol.IneligibleReplica},
		{"good", 1, kmsg.AlterPartitionRequestTopicPartition{LeaderEpoch: 4, PartitionEpoch: 4, NewEpochISR: epochs(1, 2)}, protocol.None},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newTestView(t, nil, base...)
			for range 4 {
				again := schema.NewPartitionChangeRecord(uuid(1), 0)
				again.Leader = 1
				apply(t, v, Decision{Records: one(again)})
			}
			got := alterOne(t, v, 3, test.broker, test.asked)
			if protocol.Code(got.ErrorCode) != test.code {
				t.Errorf("%v, want %v", protocol.Code(got.ErrorCode), test.code)
			}
			if test.code == protocol.None && (got.PartitionEpoch != 5 || got.LeaderEpoch != 4 || !slices.Equal(got.ISR, []int32{1, 2})) {
				t.Errorf("%+v", got)
			}
		})
	}
	v := newTestView(t, nil, base...)
	if _, err := alterPartition(v, &kmsg.AlterPartitionRequest{BrokerID: 1, BrokerEpoch: 7}, &kmsg.AlterPartitionResponse{}); protocol.CodeOf(err) != protocol.StaleBrokerEpoch {
		t.Error(err)
	}
	if got := alterOne(t, v, 2, 1, kmsg.AlterPartitionRequestTopicPartition{NewISR: []int32{1, 3}}); got.ErrorCode != 0 || !slices.Equal(got.ISR, []int32{1, 3}) {
		t.Errorf("version 2: %+v", got)
	}
}

func TestDirectories(t *testing.T) {
	two := liveBroker(1)
	two.LogDirs = []protocol.UUID{uuid(11), uuid(12)}
	v := newTestView(t, nil, records(one(two, liveBroker(2)), existing("t", uuid(1), []int32{1, 2}, []int32{1, 2}, []int32{1}))...)
	assign := func(dir protocol.UUID, partitions ...int32) []protocol.Code {
		t.Helper()
		topic := kmsg.AssignReplicasToDirsRequestDirectoryTopic{TopicID: uuid(1)}
		for _, p := range partitions {
			topic.Partitions = append(topic.Partitions, kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{Partition: p})
		}
		req := &kmsg.AssignReplicasToDirsRequest{BrokerID: 1, BrokerEpoch: 101, Directories: []kmsg.AssignReplicasToDirsRequestDirectory{{ID: dir, Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{topic}}}}
		resp := &kmsg.AssignReplicasToDirsResponse{}
		d, err := assignReplicasToDirs(v, req, resp)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, v, d)
		var codes []protocol.Code
		for _, p := range resp.Directories[0].Topics[0].Partitions {
			codes = append(codes, protocol.Code(p.ErrorCode))
		}
		return codes
	}
	if got := assign(uuid(11), 0, 9); !slices.Equal(got, []protocol.Code{protocol.None, protocol.UnknownTopicOrPartition}) {
		t.Errorf("%v", got)
	}
	assign(uuid(12), 1, 2)
	p := v.Image.Topic("t").Partitions
	if p[0].Directories[0] != uuid(11) || p[1].Directories[0] != uuid(12) || p[2].Directories[0] != uuid(12) || p[0].LeaderEpoch != 0 {
		t.Fatalf("%+v %+v %+v", p[0], p[1], p[2])
	}
	if _, err := beat(t, v, 1, func(r *kmsg.BrokerHeartbeatRequest) { r.OfflineLogDirs = [][16]byte{uuid(12)} }); err != nil {
		t.Fatal(err)
	}
	p = v.Image.Topic("t").Partitions
	if !sameState(p[0], 1, 0, 1, 2) || !sameState(p[1], 2, 1, 2) || !sameState(p[2], -1, 1, 1) {
		t.Errorf("after the dir failed: %v %v %v", state(p[0]), state(p[1]), state(p[2]))
	}
	if b := v.Image.Broker(1); b.Fenced || !slices.Equal(b.Directories, []protocol.UUID{uuid(11)}) {
		t.Errorf("%+v", b)
	}
	before := v.NextOffset
	if _, err := beat(t, v, 1, func(r *kmsg.BrokerHeartbeatRequest) { r.OfflineLogDirs = [][16]byte{uuid(12)} }); err != nil || v.NextOffset != before {
		t.Errorf("the same dir again: %d records, %v", v.NextOffset-before, err)
	}
	assign(uuid(12), 0) // it says so of a dir that is gone
	if p := v.Image.Partition("t", 0); !sameState(p, 2, 1, 2) {
		t.Errorf("%+v", p)
	}
}
