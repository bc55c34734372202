package api

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestDeleteRecords(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.topic("compact", 2, 1, map[string]string{"cleanup.policy": "compact"})
	h.topic(protocol.GroupMetadataTopic, 3, 1, nil)
	h.produce("t", batchOf(t, "a", "b", "c", "d"))
	for _, c := range []struct {
		topic     string
		partition int32
		offset    int64
		want      string
	}{
		{"t", 0, 1, "NONE 1"},
		{"t", 0, 0, "NONE 1"}, // below the start: nothing to do
		{"t", 0, 5, "OFFSET_OUT_OF_RANGE -1"},
		{"t", 0, -2, "OFFSET_OUT_OF_RANGE -1"},
		{"t", 0, -1, "NONE 4"},
		{"t", 3, 0, "UNKNOWN_TOPIC_OR_PARTITION -1"},
		{"compact", 0, 0, "POLICY_VIOLATION -1"},
		{protocol.GroupMetadataTopic, 0, 0, "INVALID_TOPIC_EXCEPTION -1"},
	} {
		for version := int16(0); version <= 2; version++ {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.Version = version
			req.TimeoutMillis = 0 // what needs no waiting succeeds
			req.Topics = []kmsg.DeleteRecordsRequestTopic{{
				Topic: c.topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: c.partition, Offset: c.offset}},
			}}
			p := call[*kmsg.DeleteRecordsResponse](h, req).Topics[0].Partitions[0]
			if got := fmt.Sprintf("%v %d", protocol.Code(p.ErrorCode), p.LowWatermark); got != c.want {
				t.Errorf("v%d %s-%d to %d: %s, want %s", version, c.topic, c.partition, c.offset, got, c.want)
			}
		}
	}
	fetched := call[*kmsg.FetchResponse](h, fetchFrom(12, "t", 1, fetchPartition(0, 0))).Topics[0].Partitions[0]
	if protocol.Code(fetched.ErrorCode) != protocol.OffsetOutOfRange {
		t.Errorf("a fetch of deleted records gives %+v", fetched)
	}
}
