package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

func listOffsetsRequest(version int16, timestamps ...int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = version, -1
	topic := kmsg.ListOffsetsRequestTopic{Topic: "t"}
	for i, ts := range timestamps {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.MaxNumOffsets = int32(i), ts, 1
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = []kmsg.ListOffsetsRequestTopic{topic}
	return req
}

// found is offset/timestamp/epoch of an answer, or its code.
func found(p kmsg.ListOffsetsResponseTopicPartition) string {
	if p.ErrorCode != 0 {
		return fmt.Sprintf("%v %d", protocol.Code(p.ErrorCode), p.Offset)
	}
	return fmt.Sprintf("%d/%d/%d", p.Offset, p.Timestamp, p.LeaderEpoch)
}

// timed appends records with these timestamps: one batch for each list.
func (h *hosting) timed(topic string, lists ...[]int64) {
	h.t.Helper()
	for _, timestamps := range lists {
		b := record.NewBuilder()
		for _, ts := range timestamps {
			b.Add(ts, nil, []byte("x"))
		}
		h.produce(topic, build(h.t, b))
	}
}

func TestListOffsetsSpecialTimestamps(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.timed("t", []int64{5, 1}, []int64{9}, []int64{9, 3})
	for _, c := range []struct {
		timestamp int64
		since     int16
		want      string
	}{
		{-1, 0, "5/-1/0"}, {-2, 0, "0/-1/0"}, {-3, 7, "2/9/0"}, {-4, 8, "0/-1/0"}, {-5, 9, "-1/-1/-1"}, {-6, 11, "-1/-1/-1"},
		{-7, 99, ""}, {-100, 99, ""},
	} {
		for version := int16(1); version <= 11; version++ {
			want := c.want
			switch {
			case version < c.since:
				want = "UNSUPPORTED_VERSION -1"
			case version < 4:
				want = want[:len(want)-1] + "-1" // the epoch is not on the wire
				if c.timestamp == -5 {
					want = c.want
				}
			}
			if got := found(call[*kmsg.ListOffsetsResponse](h, listOffsetsRequest(version, c.timestamp)).Topics[0].Partitions[0]); got != want {
				t.Errorf("v%d timestamp %d: %s, want %s", version, c.timestamp, got, want)
			}
		}
	}
}

func TestListOffsetsOfAnEmptyLog(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	for timestamp, want := range map[int64]string{-1: "0/-1/0", -2: "0/-1/0", -3: "-1/-1/-1", 0: "-1/-1/-1"} {
		if got := found(call[*kmsg.ListOffsetsResponse](h, listOffsetsRequest(11, timestamp)).Topics[0].Partitions[0]); got != want {
			t.Errorf("timestamp %d: %s, want %s", timestamp, got, want)
		}
	}
}

// TestListOffsetsByTime finds the first record in offset order that is not older, inside batches too.
func TestListOffsetsByTime(t *testing.T) {
	for name, lists := range map[string][][]int64{
		"a batch each": {{2}, {4}, {6}, {8}}, "one batch": {{2, 4, 6, 8}}, "two": {{2, 4}, {6, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHosting(t, nil)
			h.topic("t", 1, 1, nil)
			h.timed("t", lists...)
			for timestamp, want := range map[int64]string{0: "0/2/0", 2: "0/2/0", 3: "1/4/0", 8: "3/8/0", 9: "-1/-1/-1"} {
				if got := found(call[*kmsg.ListOffsetsResponse](h, listOffsetsRequest(5, timestamp)).Topics[0].Partitions[0]); got != want {
					t.Errorf("timestamp %d: %s, want %s", timestamp, got, want)
				}
			}
		})
	}
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.timed("t", []int64{5, 1, 9, 3})
	for timestamp, want := range map[int64]string{1: "0/5/0", 6: "2/9/0", 10: "-1/-1/-1"} {
		if got := found(call[*kmsg.ListOffsetsResponse](h, listOffsetsRequest(5, timestamp)).Topics[0].Partitions[0]); got != want {
			t.Errorf("unsorted, timestamp %d: %s, want %s", timestamp, got, want)
		}
	}
}

// TestListOffsetsSeesOnlyWhatIsCommitted, but for the debugging replica.
func TestListOffsetsSeesOnlyWhatIsCommitted(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.timed("t", []int64{5})
	h.change(partitionRecord(1, 0, 1, 1, 1, 2))
	h.timed("t", []int64{7})
	for timestamp, want := range map[int64]string{-1: "1/-1/1", -3: "-1/-1/-1", 5: "0/5/0", 6: "-1/-1/-1"} {
		if got := found(call[*kmsg.ListOffsetsResponse](h, listOffsetsRequest(7, timestamp)).Topics[0].Partitions[0]); got != want {
			t.Errorf("timestamp %d: %s, want %s", timestamp, got, want)
		}
	}
	req := listOffsetsRequest(7, -1)
	req.ReplicaID = debuggingReplica
	if got := found(call[*kmsg.ListOffsetsResponse](h, req).Topics[0].Partitions[0]); got != "2/-1/1" {
		t.Errorf("the debugging replica sees %s", got)
	}
}

func TestListOffsetsErrors(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	req := listOffsetsRequest(5, -1, -1, -1)
	req.Topics[0].Partitions[2].Partition = 1
	ps := call[*kmsg.ListOffsetsResponse](h, req).Topics[0].Partitions
	if len(ps) != 2 {
		t.Fatalf("%d partitions: a refused one is to be answered once", len(ps))
	}
	for i, want := range []string{"0/-1/0", "INVALID_REQUEST -1"} {
		if got := found(ps[i]); got != want {
			t.Errorf("partition %d: %s, want %s", i, got, want)
		}
	}
	req = listOffsetsRequest(5, -1, -1)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = 4
	ps = call[*kmsg.ListOffsetsResponse](h, req).Topics[0].Partitions
	for i, want := range []string{"UNKNOWN_LEADER_EPOCH -1", "UNKNOWN_TOPIC_OR_PARTITION -1"} {
		if got := found(ps[i]); got != want {
			t.Errorf("partition %d: %s, want %s", i, got, want)
		}
	}
}

// TestListOffsetsOfALaggingLeader: just elected, its high watermark still before its epoch.
func TestListOffsetsOfALaggingLeader(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.change(partitionRecord(1, 0, 1, 1, 1, 2))
	h.timed("t", []int64{7})
	h.change(partitionRecord(1, 0, 1, 2, 1, 2))
	for version, want := range map[int16]string{4: "LEADER_NOT_AVAILABLE -1", 5: "OFFSET_NOT_AVAILABLE -1"} {
		for _, timestamp := range []int64{-1, 8} {
			if got := found(call[*kmsg.ListOffsetsResponse](h, listOffsetsRequest(version, timestamp)).Topics[0].Partitions[0]); got != want {
				t.Errorf("v%d timestamp %d: %s, want %s", version, timestamp, got, want)
			}
		}
		if got := found(call[*kmsg.ListOffsetsResponse](h, listOffsetsRequest(version, -2)).Topics[0].Partitions[0]); got != "0/-1/1" {
			t.Errorf("v%d earliest: %s", version, got)
		}
	}
}

// TestListOffsetsVersion0 lists the end and the starts of segments, newest first.
func TestListOffsetsVersion0(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, map[string]string{"segment.bytes": "1048576"})
	for range 3 {
		h.produce("t", batchOf(t, string(make([]byte, 700_000))))
	}
	for _, c := range []struct {
		timestamp int64
		limit     int32
		want      []int64
	}{
		{-1, 1, []int64{3}}, {-1, 10, []int64{3, 2, 1, 0}}, {-1, 2, []int64{3, 2}}, {-2, 5, []int64{0}}, {-1, 0, nil}, {0, 5, nil},
	} {
		req := listOffsetsRequest(0, c.timestamp)
		req.Topics[0].Partitions[0].MaxNumOffsets = c.limit
		p := call[*kmsg.ListOffsetsResponse](h, req).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || !slices.Equal(p.OldStyleOffsets, c.want) {
			t.Errorf("timestamp %d, %d offsets: %v, want %v", c.timestamp, c.limit, p.OldStyleOffsets, c.want)
		}
	}
}
