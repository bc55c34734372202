package server

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/meter"
)

func TestAnswerCodes(t *testing.T) {
	produced := kmsg.NewPtrProduceResponse()
	for range 2 {
		topic := kmsg.NewProduceResponseTopic()
		for _, code := range []int16{0, 3} {
			p := kmsg.NewProduceResponseTopicPartition()
			p.ErrorCode = code
			topic.Partitions = append(topic.Partitions, p)
		}
		produced.Topics = append(produced.Topics, topic)
	}
	metadata := kmsg.NewPtrMetadataResponse()
	metadata.Topics = []kmsg.MetadataResponseTopic{{ErrorCode: 3}, {Partitions: []kmsg.MetadataResponseTopicPartition{{}, {ErrorCode: 5}}}}
	heartbeat := kmsg.NewPtrHeartbeatResponse()
	heartbeat.ErrorCode = 27
	strange := kmsg.NewPtrHeartbeatResponse()
	strange.ErrorCode = 4711 // no code of Kafka's: not counted
	var codes answerCodes
	var requests meter.Requests
	shard := requests.Shard()
	for _, resp := range []kmsg.Response{produced, metadata, heartbeat, heartbeat, strange} {
		var found meter.Codes
		codes.count(resp, &found)
		shard.Record(resp.Key(), 0, 1, meter.Times{}, &found)
	}
	got := map[int16]string{}
	for _, a := range requests.APIs() {
		got[a.Key] = fmt.Sprint(a.Codes)
	}
	for key, want := range map[int16]map[protocol.Code]uint64{
		0: {0: 2, 3: 2}, 3: {0: 2 + 1, 3: 1, 5: 1}, 12: {27: 2},
	} {
		if got[key] != fmt.Sprint(want) {
			t.Errorf("key %d: %s, want %v", key, got[key], want)
		}
	}
	ok := kmsg.NewPtrOffsetCommitResponse()
	ok.Topics = []kmsg.OffsetCommitResponseTopic{{Partitions: make([]kmsg.OffsetCommitResponseTopicPartition, 3)}}
	if n := testing.AllocsPerRun(100, func() {
		var found meter.Codes
		codes.count(ok, &found)
		shard.Record(8, 0, 1, meter.Times{}, &found)
	}); n > 0 {
		t.Errorf("%v allocations for an answer without errors", n)
	}
}
