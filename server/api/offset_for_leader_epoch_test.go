package api

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestOffsetForLeaderEpoch(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.produce("t", batchOf(t, "a"))
	h.change(partitionRecord(1, 0, 1, 3, 1))
	h.produce("t", batchOf(t, "b", "c"))
	h.change(partitionRecord(1, 0, 1, 5, 1))
	h.produce("t", batchOf(t, "d"))
	ask := func(version int16, partition, epoch, current int32) string {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.Version, req.ReplicaID = version, -1
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = partition, epoch, current
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
		got := call[*kmsg.OffsetForLeaderEpochResponse](h, req).Topics[0].Partitions[0]
		if got.Partition != partition {
			t.Errorf("partition %d", got.Partition)
		}
		return fmt.Sprintf("%v %d/%d", protocol.Code(got.ErrorCode), got.LeaderEpoch, got.EndOffset)
	}
	for epoch, want := range map[int32]string{
		-1: "NONE -1/-1", 0: "NONE 0/1", 1: "NONE 0/1", 2: "NONE 0/1", 3: "NONE 3/3", 4: "NONE 3/3", 5: "NONE 5/4", 6: "NONE -1/-1",
	} {
		for version := int16(1); version <= 4; version++ {
			if got := ask(version, 0, epoch, -1); got != want {
				t.Errorf("v%d epoch %d: %s, want %s", version, epoch, got, want)
			}
		}
	}
	if got := ask(0, 0, 3, -1); got != "NONE -1/3" {
		t.Errorf("v0: %s", got)
	}
	for name, c := range map[string][2]string{
		"unknown partition": {ask(3, 7, 0, -1), "UNKNOWN_TOPIC_OR_PARTITION -1/-1"},
		"older epoch":       {ask(3, 0, 0, 4), "FENCED_LEADER_EPOCH -1/-1"},
		"newer epoch":       {ask(3, 0, 0, 6), "UNKNOWN_LEADER_EPOCH -1/-1"},
		"no check before 2": {ask(1, 0, 0, 6), "NONE 0/1"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %s, want %s", name, c[0], c[1])
		}
	}
}
