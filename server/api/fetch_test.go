package api

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

func fetchPartition(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	return p
}

// fetchFrom is a request without a session that does not wait.
func fetchFrom(version int16, topic string, id byte, partitions ...kmsg.FetchRequestTopicPartition) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes, req.MaxWaitMillis = version, 1, 1<<30, 0
	if len(partitions) > 0 {
		req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: uid(id), Partitions: partitions}}
	}
	return req
}

func TestFetchReadsInEveryVersion(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	stored := batchOf(t, "a", "b")
	h.produce("t", stored)
	h.produce("t", batchOf(t, "c"))
	for version := int16(4); version <= 18; version++ {
		for _, isolation := range []int8{0, 1} {
			req := fetchFrom(version, "t", 1, fetchPartition(0, 1))
			req.IsolationLevel = isolation
			resp := call[*kmsg.FetchResponse](h, req)
			if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
				t.Fatalf("v%d: %+v", version, resp)
			}
			if byID := version >= 13; byID != (resp.Topics[0].Topic == "") || byID != (resp.Topics[0].TopicID == uid(1)) {
				t.Errorf("v%d: topic %+v", version, resp.Topics[0])
			}
			p := resp.Topics[0].Partitions[0]
			if p.ErrorCode != 0 || p.HighWatermark != 3 || p.LastStableOffset != 3 || (version >= 5 && p.LogStartOffset != 0) || p.PreferredReadReplica != -1 {
				t.Errorf("v%d: %+v", version, p)
			}
			first, rest, err := record.Split(p.RecordBatches)
			if err != nil || first.BaseOffset() != 0 || first.Count() != 2 || record.Batch(rest).BaseOffset() != 2 {
				t.Errorf("v%d: records %x, %v", version, p.RecordBatches, err)
			}
			if (p.AbortedTransactions != nil) != (isolation == 1) {
				t.Errorf("v%d isolation %d: aborted transactions %#v", version, isolation, p.AbortedTransactions)
			}
		}
	}
}

// TestFetchErrors holds the numbers of failed partitions, and that aborted transactions are null only where the log was asked.
func TestFetchErrors(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.topic("elsewhere", 2, 1, nil)
	h.change(partitionRecord(2, 0, 2, 3, 2))
	h.produce("t", batchOf(t, "a"))
	stale := fetchPartition(0, 0)
	stale.CurrentLeaderEpoch = 9
	for name, c := range map[string]struct {
		req     *kmsg.FetchRequest
		code    protocol.Code
		aborted bool // not null
	}{
		"unknown topic":     {fetchFrom(12, "nope", 0, fetchPartition(0, 0)), protocol.UnknownTopicOrPartition, true},
		"unknown partition": {fetchFrom(12, "t", 1, fetchPartition(4, 0)), protocol.UnknownTopicOrPartition, true},
		"unknown id":        {fetchFrom(13, "", 77, fetchPartition(0, 0)), protocol.UnknownTopicID, true},
		"beyond the end":    {fetchFrom(12, "t", 1, fetchPartition(0, 2)), protocol.OffsetOutOfRange, false},
		"before the start":  {fetchFrom(12, "t", 1, fetchPartition(0, -1)), protocol.OffsetOutOfRange, false},
		"epoch":             {fetchFrom(12, "t", 1, stale), protocol.UnknownLeaderEpoch, false},
		"not the leader":    {fetchFrom(12, "elsewhere", 2, fetchPartition(0, 0)), protocol.NotLeaderOrFollower, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := call[*kmsg.FetchResponse](h, c.req).Topics[0].Partitions[0]
			if protocol.Code(p.ErrorCode) != c.code {
				t.Fatalf("code %v, want %v", protocol.Code(p.ErrorCode), c.code)
			}
			if p.HighWatermark != -1 || p.LastStableOffset != -1 || p.LogStartOffset != -1 {
				t.Errorf("%+v", p)
			}
			if p.RecordBatches == nil || len(p.RecordBatches) > 0 {
				t.Errorf("records %v, want 0 bytes", p.RecordBatches)
			}
			if (p.AbortedTransactions != nil) != c.aborted {
				t.Errorf("aborted transactions %#v", p.AbortedTransactions)
			}
		})
	}
}

func TestFetchAtTheEndIsEmpty(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.produce("t", batchOf(t, "a"))
	p := call[*kmsg.FetchResponse](h, fetchFrom(12, "t", 1, fetchPartition(0, 1))).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.HighWatermark != 1 || p.LastStableOffset != 1 || p.LogStartOffset != 0 || len(p.RecordBatches) > 0 {
		t.Errorf("%+v", p)
	}
}

// TestFetchWaitsForData parks a fetch, also where another of its partitions does not exist: that one comes last.
func TestFetchWaitsForData(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	req := fetchFrom(12, "nope", 0, fetchPartition(0, 0))
	req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{fetchPartition(0, 0)}})
	req.MaxWaitMillis = 60_000
	done := make(chan *kmsg.FetchResponse, 1)
	r := h.result(req, "test")
	go func() { done <- finish[*kmsg.FetchResponse](t.Context(), h, req, r) }()
	select {
	case resp := <-done:
		t.Fatalf("answered without data: %+v", resp)
	case <-time.After(20 * time.Millisecond):
	}
	h.produce("t", batchOf(t, "a"))
	topics := (<-done).Topics
	if len(topics) != 2 || topics[0].Topic != "t" || len(topics[0].Partitions[0].RecordBatches) == 0 || topics[1].Topic != "nope" {
		t.Errorf("%+v", topics)
	}
}

func TestFetchWaitsNoLongerThanAsked(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	req := fetchFrom(12, "t", 1, fetchPartition(0, 0))
	req.MaxWaitMillis = 30
	from := time.Now()
	if resp := call[*kmsg.FetchResponse](h, req); len(resp.Topics) != 1 {
		t.Errorf("%+v", resp)
	}
	if took := time.Since(from); took < 30*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
}

func TestFetchEndsWithItsConnection(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	req := fetchFrom(12, "t", 1, fetchPartition(0, 0))
	req.MaxWaitMillis = 60_000
	ctx, cancel := context.WithCancel(t.Context())
	r := h.result(req, "test")
	done := make(chan Result, 1)
	go func() { done <- r.Later(ctx) }()
	cancel()
	if r := <-done; r.Err == nil {
		t.Errorf("result %+v", r)
	}
}

// TestFetchGivesOneWholeBatch where every limit is smaller than a batch.
func TestFetchGivesOneWholeBatch(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 3, nil)
	var partitions []kmsg.FetchRequestTopicPartition
	for i := range int32(3) {
		call[*kmsg.ProduceResponse](h, produceTo(9, "t", 1, i, batchOf(t, string(make([]byte, 5000)))))
		p := fetchPartition(i, 0)
		p.PartitionMaxBytes = 1
		partitions = append(partitions, p)
	}
	req := fetchFrom(12, "t", 1, partitions...)
	req.MaxBytes = 10
	for i, p := range call[*kmsg.FetchResponse](h, req).Topics[0].Partitions {
		if whole := len(p.RecordBatches) > 5000; whole != (i == 0) {
			t.Errorf("partition %d: %d bytes", i, len(p.RecordBatches))
		}
	}
}

// TestFetchKeepsTheBrokersLimit of fetch.max.bytes.
func TestFetchKeepsTheBrokersLimit(t *testing.T) {
	h := newHosting(t, map[string]string{"fetch.max.bytes": "1024"})
	h.topic("t", 1, 1, nil)
	for range 10 {
		h.produce("t", batchOf(t, string(make([]byte, 300))))
	}
	p := call[*kmsg.FetchResponse](h, fetchFrom(12, "t", 1, fetchPartition(0, 0))).Topics[0].Partitions[0]
	if len(p.RecordBatches) == 0 || len(p.RecordBatches) > 1024 {
		t.Errorf("%d bytes", len(p.RecordBatches))
	}
}

// TestFetchZstdAtOldVersions: zstd came with version 10; Kafka gives older clients such records since 4.0.
func TestFetchZstdAtOldVersions(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, map[string]string{"compression.type": "zstd"})
	h.produce("t", batchOf(t, "a"))
	for _, version := range []int16{4, 9, 10} {
		p := call[*kmsg.FetchResponse](h, fetchFrom(version, "t", 1, fetchPartition(0, 0))).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
			t.Errorf("v%d: %+v", version, p)
		}
	}
}

func TestFetchNamesTheLeader(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 2, nil)
	h.change(partitionRecord(1, 0, 2, 5, 2), partitionRecord(1, 1, 2, 6, 2))
	for version := int16(15); version <= 16; version++ {
		resp := call[*kmsg.FetchResponse](h, fetchFrom(version, "t", 1, fetchPartition(0, 0), fetchPartition(1, 0)))
		for i, p := range resp.Topics[0].Partitions {
			named := p.CurrentLeader.LeaderID == 2 && p.CurrentLeader.LeaderEpoch == 5+int32(i)
			if protocol.Code(p.ErrorCode) != protocol.NotLeaderOrFollower || named != (version >= 16) {
				t.Errorf("v%d: %+v", version, p)
			}
		}
		if version >= 16 && (len(resp.Brokers) != 1 || resp.Brokers[0].Host != "two") {
			t.Errorf("brokers %+v", resp.Brokers)
		}
	}
	h.change(partitionRecord(1, 0, -1, 7, 2)) // and that nobody leads
	p := call[*kmsg.FetchResponse](h, fetchFrom(16, "t", 1, fetchPartition(0, 0))).Topics[0].Partitions[0]
	if protocol.Code(p.ErrorCode) != protocol.NotLeaderOrFollower || p.CurrentLeader.LeaderID != -1 || p.CurrentLeader.LeaderEpoch != 7 {
		t.Errorf("without a leader: %+v", p)
	}
}

func TestFetchTellsOfDivergence(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.produce("t", batchOf(t, "a"))
	h.change(partitionRecord(1, 0, 1, 3, 1))
	h.produce("t", batchOf(t, "b"))
	p := fetchPartition(0, 2)
	p.LastFetchedEpoch = 2
	got := call[*kmsg.FetchResponse](h, fetchFrom(12, "t", 1, p)).Topics[0].Partitions[0]
	if got.ErrorCode != 0 || got.DivergingEpoch.Epoch != 0 || got.DivergingEpoch.EndOffset != 1 || len(got.RecordBatches) > 0 {
		t.Errorf("%+v", got)
	}
}
