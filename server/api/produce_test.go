package api

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

func TestProduceAppendsInEveryVersion(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 2, nil)
	next := int64(0)
	for version := int16(3); version <= 13; version++ {
		for _, acks := range []int16{1, -1} {
			req := produceTo(version, "t", 1, 1, batchOf(t, "a", "b"))
			req.Acks = acks
			resp := call[*kmsg.ProduceResponse](h, req)
			topic := resp.Topics[0]
			p := topic.Partitions[0]
			if p.ErrorCode != 0 || p.BaseOffset != next || p.LogAppendTime != -1 || p.Partition != 1 {
				t.Errorf("v%d acks %d: %+v, want offset %d", version, acks, p, next)
			}
			if version >= 5 && p.LogStartOffset != 0 {
				t.Errorf("v%d: log start %d", version, p.LogStartOffset)
			}
			if byID := version >= 13; byID != (topic.Topic == "") || byID != (topic.TopicID == uid(1)) {
				t.Errorf("v%d: topic %q %x", version, topic.Topic, topic.TopicID)
			}
			next += 2
		}
	}
}

// broken returns a batch after change, with a right CRC.
func broken(t *testing.T, change func(b record.Batch)) []byte {
	b := batchOf(t, "value")
	change(b)
	// Setting the other timestamp type and back computes the CRC anew.
	b.SetTimestamps(record.LogAppendTime, 1)
	b.SetTimestamps(record.CreateTime, 1)
	return b
}

func TestProduceErrors(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.topic("compact", 2, 1, map[string]string{"cleanup.policy": "compact"})
	h.topic("small", 3, 1, map[string]string{"max.message.bytes": "100"})
	h.topic("strict", 5, 1, map[string]string{"message.timestamp.after.max.ms": "1"})
	h.topic(protocol.GroupMetadataTopic, 4, 1, nil)
	h.produce("t", batchOf(t, "first"))

	future := record.NewBuilder()
	future.Add(time.Now().Add(time.Hour).UnixMilli(), nil, nil)
	keyless := record.NewBuilder()
	keyless.Add(1, []byte("k"), nil)
	keyless.Add(1, nil, nil)
	keyless.Add(1, nil, nil)
	zstd := record.NewBuilder()
	zstd.Codec = record.CodecZstd
	zstd.Add(1, nil, nil)
	transactional := record.NewBuilder()
	transactional.Transactional, transactional.ProducerID, transactional.BaseSequence = true, 1, 0
	transactional.Add(1, nil, nil)

	for name, c := range map[string]struct {
		version  int16
		topic    string
		id       byte
		acks     int16
		records  []byte
		code     protocol.Code
		start    int64   // log start offset in the answer
		message  bool    // and record errors
		badIndex []int32 // of the record errors
	}{
		"unknown topic":            {version: 9, topic: "nope", code: protocol.UnknownTopicOrPartition, start: -1},
		"unknown topic id":         {version: 13, id: 99, code: protocol.UnknownTopicID, start: -1},
		"acks":                     {version: 9, topic: "t", acks: 2, records: batchOf(t, "x"), code: protocol.InvalidRequiredAcks, start: -1},
		"null records":             {version: 9, topic: "t", code: protocol.InvalidRecord, start: -1},
		"empty records":            {version: 9, topic: "t", records: []byte{}, code: protocol.InvalidRecord, start: -1},
		"two batches":              {version: 9, topic: "t", records: slices.Concat(batchOf(t, "x"), batchOf(t, "y")), code: protocol.InvalidRecord, start: -1},
		"truncated batch":          {version: 9, topic: "t", records: batchOf(t, "x")[:50], code: protocol.InvalidRecord, start: -1},
		"magic 1":                  {version: 9, topic: "t", records: broken(t, func(b record.Batch) { b[16] = 1 }), code: protocol.InvalidRecord, start: -1},
		"magic 3":                  {version: 9, topic: "t", records: broken(t, func(b record.Batch) { b[16] = 3 }), code: protocol.CorruptMessage, start: -1, message: true},
		"crc":                      {version: 9, topic: "t", records: func() []byte { b := batchOf(t, "x"); b[len(b)-1] ^= 1; return b }(), code: protocol.CorruptMessage, start: -1},
		"unknown codec":            {version: 9, topic: "t", records: broken(t, func(b record.Batch) { b[22] |= 7 }), code: protocol.UnknownServerError, start: 0},
		"control batch":            {version: 9, topic: "t", records: broken(t, func(b record.Batch) { b[22] |= 0x20 }), code: protocol.InvalidRecord, start: 0},
		"count":                    {version: 9, topic: "t", records: broken(t, func(b record.Batch) { b[60]++ }), code: protocol.InvalidRecord, start: 0},
		"zstd before v7":           {version: 6, topic: "t", records: build(t, zstd), code: protocol.UnsupportedCompressionType, start: -1},
		"zstd":                     {version: 7, topic: "t", records: build(t, zstd), code: protocol.None, start: 0},
		"null keys":                {version: 8, topic: "compact", records: build(t, keyless), code: protocol.InvalidRecord, start: 0, message: true, badIndex: []int32{1, 2}},
		"null keys before v8":      {version: 7, topic: "compact", records: build(t, keyless), code: protocol.InvalidRecord, start: 0},
		"future":                   {version: 9, topic: "strict", records: build(t, future), code: protocol.InvalidTimestamp, start: 0, message: true, badIndex: []int32{0}},
		"too large":                {version: 9, topic: "small", records: batchOf(t, string(make([]byte, 200))), code: protocol.MessageTooLarge, start: -1},
		"internal topic":           {version: 9, topic: protocol.GroupMetadataTopic, records: batchOf(t, "x"), code: protocol.InvalidTopicException, start: -1},
		"transactional without id": {version: 9, topic: "t", records: build(t, transactional), code: protocol.TransactionalIDAuthorizationFailed, start: -1},
	} {
		t.Run(name, func(t *testing.T) {
			req := produceTo(c.version, c.topic, c.id, 0, c.records)
			if c.acks != 0 {
				req.Acks = c.acks
			}
			p := call[*kmsg.ProduceResponse](h, req).Topics[0].Partitions[0]
			if got := protocol.Code(p.ErrorCode); got != c.code {
				t.Fatalf("code %v, want %v", got, c.code)
			}
			if c.code == protocol.None {
				return
			}
			if p.BaseOffset != -1 || p.LogAppendTime != -1 || (c.version >= 5 && p.LogStartOffset != c.start) {
				t.Errorf("offset %d, time %d, log start %d", p.BaseOffset, p.LogAppendTime, p.LogStartOffset)
			}
			if (p.ErrorMessage != nil) != c.message || len(p.ErrorRecords) != len(c.badIndex) {
				t.Fatalf("message %v, records %v", p.ErrorMessage, p.ErrorRecords)
			}
			for i, bad := range p.ErrorRecords {
				if bad.RelativeOffset != c.badIndex[i] || bad.ErrorMessage == nil {
					t.Errorf("record error %+v", bad)
				}
			}
		})
	}
}

func TestProduceOfOtherPartitionsSucceeds(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 2, nil)
	req := produceTo(9, "t", 1, 0, nil)
	good := kmsg.NewProduceRequestTopicPartition()
	good.Partition, good.Records = 1, batchOf(t, "x")
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, good)
	p := call[*kmsg.ProduceResponse](h, req).Topics[0].Partitions
	if protocol.Code(p[0].ErrorCode) != protocol.InvalidRecord || p[1].ErrorCode != 0 || p[1].BaseOffset != 0 {
		t.Errorf("%+v", p)
	}
}

func TestProduceToInternalTopicAsAdminClient(t *testing.T) {
	h := newHosting(t, nil)
	h.topic(protocol.GroupMetadataTopic, 4, 1, nil)
	req := produceTo(9, protocol.GroupMetadataTopic, 4, 0, batchOf(t, "x"))
	resp := finish[*kmsg.ProduceResponse](t.Context(), h, req, h.result(req, adminClientID))
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Errorf("code %v", protocol.Code(code))
	}
}

func TestProduceWithoutAcks(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	req := produceTo(9, "t", 1, 0, batchOf(t, "x"))
	req.Acks = 0
	if r := h.result(req, "test"); !r.None || r.Err != nil {
		t.Errorf("result %+v", r)
	}
	if next := h.produce("t", batchOf(t, "y")); next != 1 {
		t.Errorf("the next offset is %d: it was not appended", next)
	}
	req.Topics[0].Topic = "nope"
	if r := h.result(req, "test"); r.Err == nil || r.None {
		t.Errorf("a failed request gives %+v, want a closed connection", r)
	}
}

func TestProduceAnswersLogAppendTime(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	before := time.Now().UnixMilli()
	p := call[*kmsg.ProduceResponse](h, produceTo(9, "t", 1, 0, batchOf(t, "x"))).Topics[0].Partitions[0]
	if p.LogAppendTime < before || p.LogAppendTime > time.Now().UnixMilli() {
		t.Errorf("log append time %d", p.LogAppendTime)
	}
}

func TestProduceRepeatedBatchGetsItsFirstOffset(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	idempotent := func(sequence int32) []byte {
		b := record.NewBuilder()
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = 7, 0, sequence
		b.Add(1000, nil, []byte("x"))
		return build(t, b)
	}
	for sequence := range int32(5) {
		if at := h.produce("t", idempotent(sequence)); at != int64(sequence) {
			t.Fatalf("sequence %d at %d", sequence, at)
		}
	}
	for sequence := range int32(5) {
		if at := h.produce("t", idempotent(sequence)); at != int64(sequence) {
			t.Errorf("sequence %d again at %d", sequence, at)
		}
	}
	p := call[*kmsg.ProduceResponse](h, produceTo(9, "t", 1, 0, idempotent(9))).Topics[0].Partitions[0]
	if protocol.Code(p.ErrorCode) != protocol.OutOfOrderSequenceNumber || p.LogStartOffset != 0 {
		t.Errorf("a gap gives %+v", p)
	}
}

// waiting is a topic whose records are committed only once broker 2 leaves the ISR.
func waiting(t *testing.T) (*hosting, *kmsg.ProduceRequest) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.change(partitionRecord(1, 0, 1, 1, 1, 2))
	req := produceTo(9, "t", 1, 0, batchOf(t, "x"))
	req.Acks = -1
	return h, req
}

func TestProduceWaitsForTheHighWatermark(t *testing.T) {
	h, req := waiting(t)
	req.TimeoutMillis = 60_000
	r := h.result(req, "test")
	if r.Later == nil || !r.Detached {
		t.Fatalf("result %+v", r)
	}
	done := make(chan *kmsg.ProduceResponse, 1)
	go func() { done <- finish[*kmsg.ProduceResponse](t.Context(), h, req, r) }()
	select {
	case <-done:
		t.Fatal("answered before the records were committed")
	case <-time.After(20 * time.Millisecond):
	}
	shrink := schema.NewPartitionChangeRecord(uid(1), 0)
	shrink.ISR = []int32{1}
	h.change(shrink)
	if p := (<-done).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 0 {
		t.Errorf("%+v", p)
	}
}

func TestProduceTimesOut(t *testing.T) {
	h, req := waiting(t)
	req.TimeoutMillis = 10
	p := call[*kmsg.ProduceResponse](h, req).Topics[0].Partitions[0]
	if protocol.Code(p.ErrorCode) != protocol.RequestTimedOut || p.BaseOffset != 0 {
		t.Errorf("%+v", p)
	}
}

func TestProduceEndsWithItsConnection(t *testing.T) {
	h, req := waiting(t)
	req.TimeoutMillis = 60_000
	ctx, cancel := context.WithCancel(t.Context())
	r := h.result(req, "test")
	cancel()
	if r := r.Later(ctx); r.Err == nil {
		t.Errorf("result %+v", r)
	}
}

func TestProduceNamesTheLeader(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.change(partitionRecord(1, 0, 2, 5, 2))
	for version := int16(9); version <= 10; version++ {
		resp := call[*kmsg.ProduceResponse](h, produceTo(version, "t", 1, 0, batchOf(t, "x")))
		p := resp.Topics[0].Partitions[0]
		if protocol.Code(p.ErrorCode) != protocol.NotLeaderOrFollower {
			t.Fatalf("code %v", protocol.Code(p.ErrorCode))
		}
		if version < 10 {
			continue
		}
		if p.CurrentLeader.LeaderID != 2 || p.CurrentLeader.LeaderEpoch != 5 {
			t.Errorf("leader %+v", p.CurrentLeader)
		}
		if len(resp.Brokers) != 1 || resp.Brokers[0].Host != "two" || resp.Brokers[0].Port != 9092 || *resp.Brokers[0].Rack != "r2" {
			t.Errorf("brokers %+v", resp.Brokers)
		}
	}
}

// TestProduceNamesTheNewLeader: a client that waits for a commit when the leader changes is sent to the new one, and not back.
func TestProduceNamesTheNewLeader(t *testing.T) {
	h, req := waiting(t)
	req.Version, req.TimeoutMillis = 10, 60_000
	r := h.result(req, "test")
	h.change(partitionRecord(1, 0, 2, 5, 1, 2))
	resp := finish[*kmsg.ProduceResponse](t.Context(), h, req, r)
	p := resp.Topics[0].Partitions[0]
	if protocol.Code(p.ErrorCode) != protocol.NotLeaderOrFollower || p.CurrentLeader.LeaderID != 2 || p.CurrentLeader.LeaderEpoch != 5 {
		t.Errorf("%+v", p)
	}
	if len(resp.Brokers) != 1 || resp.Brokers[0].Host != "two" {
		t.Errorf("brokers %+v", resp.Brokers)
	}
}
