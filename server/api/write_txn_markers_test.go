package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// marker asks for the end of producer 7's transaction.
func marker(version, epoch int16, coordinatorEpoch int32, transactionVersion int8, topic string, partitions ...int32) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Version = version
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch, m.Committed, m.CoordinatorEpoch, m.TransactionVersion = 7, epoch, true, coordinatorEpoch, transactionVersion
	m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: partitions}}
	req.Markers = []kmsg.WriteTxnMarkersRequestMarker{m}
	return req
}

// markerCodes are the codes of the answer, by partition.
func markerCodes(resp *kmsg.WriteTxnMarkersResponse) map[string]protocol.Code {
	codes := map[string]protocol.Code{}
	for _, m := range resp.Markers {
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				codes[fmt.Sprint(m.ProducerID, " ", t.Topic, "-", p.Partition)] = protocol.Code(p.ErrorCode)
			}
		}
	}
	return codes
}

func TestWriteTxnMarkersEndsTransactions(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		txnHosting(t, nil, func(h *hosting, _ *scriptedVerifier) {
			produceTxn(h, 12, txnBatch(h.t, 3, 0), txnBatch(h.t, 3, 0))
			if at := h.log("t", 1).Offsets(); at.LastStable != 0 || at.HighWatermark != 1 {
				h.t.Errorf("an open transaction: %+v", at)
			}
			got := markerCodes(call[*kmsg.WriteTxnMarkersResponse](h, marker(version, 4, 5, 2, "t", 0, 1, 2)))
			want := map[string]protocol.Code{"7 t-0": protocol.None, "7 t-1": protocol.None, "7 t-2": protocol.UnknownTopicOrPartition}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				h.t.Errorf("v%d: %v, want %v", version, got, want)
			}
			if at := h.log("t", 1).Offsets(); at.LastStable != 2 || at.HighWatermark != 2 {
				h.t.Errorf("an ended transaction: %+v", at)
			}
			if p := h.log("t", 0).Producers()[0]; p.Epoch != 4 || p.CoordinatorEpoch != 5 || p.CurrentTxnStartOffset != -1 {
				h.t.Errorf("producer %+v", p)
			}
		})
	}
}

func TestWriteTxnMarkersErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		req  *kmsg.WriteTxnMarkersRequest
		want protocol.Code
	}{
		{"an old coordinator", marker(1, 3, 4, 0, "t", 0), protocol.TransactionCoordinatorFenced},
		{"an old epoch", marker(1, 2, 5, 0, "t", 0), protocol.InvalidProducerEpoch},
		{"the same epoch", marker(2, 3, 5, 1, "t", 0), protocol.None},
		{"the same epoch, version 2", marker(2, 3, 5, 2, "t", 0), protocol.InvalidProducerEpoch},
		{"the next epoch, version 2", marker(2, 4, 5, 2, "t", 0), protocol.None},
		{"another leader", marker(2, 4, 5, 2, "led", 0), protocol.NotLeaderOrFollower},
		{"an old epoch of a group's partition", marker(1, 2, 5, 0, protocol.GroupMetadataTopic, 0), protocol.InvalidProducerEpoch},
		{"a group's partition", marker(1, 3, 5, 0, protocol.GroupMetadataTopic, 0), protocol.None},
	} {
		txnHosting(t, nil, func(h *hosting, _ *scriptedVerifier) {
			h.topic("led", 9, 1, nil)
			h.change(partitionRecord(9, 0, 2, 1, 2, 1))
			for _, topic := range []string{"t", protocol.GroupMetadataTopic} { // coordinator epoch 5, then a transaction of epoch 3
				call[*kmsg.WriteTxnMarkersResponse](h, marker(1, 3, 5, 0, topic, 0))
			}
			produceTxn(h, 11, txnBatch(h.t, 3, 0))
			for key, got := range markerCodes(call[*kmsg.WriteTxnMarkersResponse](h, c.req)) {
				if got != c.want {
					h.t.Errorf("%s: %s %v, want %v", c.name, key, got, c.want)
				}
			}
		})
	}
}

func TestWriteTxnMarkersOfOneProducerShareAnEntry(t *testing.T) {
	txnHosting(t, nil, func(h *hosting, _ *scriptedVerifier) {
		req := marker(1, 3, 5, 0, "t", 0)
		req.Markers = append(req.Markers, marker(1, 3, 5, 0, "t", 1).Markers[0])
		resp := call[*kmsg.WriteTxnMarkersResponse](h, req)
		if len(resp.Markers) != 1 || len(markerCodes(resp)) != 2 {
			h.t.Errorf("%+v", resp.Markers)
		}
		if resp = call[*kmsg.WriteTxnMarkersResponse](h, &kmsg.WriteTxnMarkersRequest{Version: 1}); len(resp.Markers) != 0 {
			h.t.Errorf("no markers: %+v", resp.Markers)
		}
	})
}

// A marker wakes the readers of committed records, and none but those see what it ends before.
func TestMarkersWakeReadersOfCommittedRecords(t *testing.T) {
	txnHosting(t, nil, func(h *hosting, _ *scriptedVerifier) {
		produceTxn(h, 12, txnBatch(h.t, 3, 0))
		req := kmsg.NewPtrFetchRequest()
		req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch, req.IsolationLevel = 12, 60_000, 1, 1<<20, -1, 1
		p := kmsg.NewFetchRequestTopicPartition()
		p.PartitionMaxBytes = 1 << 20
		req.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{p}}}
		begin := time.Now()
		time.AfterFunc(time.Second, func() { call[*kmsg.WriteTxnMarkersResponse](h, marker(2, 4, 5, 2, "t", 0)) })
		got := call[*kmsg.FetchResponse](h, req).Topics[0].Partitions[0]
		if waited := time.Since(begin); waited != time.Second || len(got.RecordBatches) == 0 || got.LastStableOffset != 2 {
			h.t.Errorf("after %v: %d bytes, last stable offset %d", waited, len(got.RecordBatches), got.LastStableOffset)
		}
	})
}
