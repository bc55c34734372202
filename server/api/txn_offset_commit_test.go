package api

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// txnCommit commits offset 5 of partitions of "t" and others in producer 7's transaction.
func txnCommit(version int16, topics map[string][]int32) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.Group, req.ProducerID, req.Generation = version, "tx", "g", 7, -1
	for name, ids := range topics {
		topic := kmsg.TxnOffsetCommitRequestTopic{Topic: name, TopicID: uid(99)}
		if name == "t" {
			topic.TopicID = uid(1)
		}
		for _, id := range ids {
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset = id, 5
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
	}
	return req
}

// txnCommitCodes are the codes of the answer, by partition.
func txnCommitCodes(resp *kmsg.TxnOffsetCommitResponse) string {
	codes := map[string]protocol.Code{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			name := t.Topic
			if resp.Version >= 6 {
				name = map[byte]string{1: "t", 99: "unknown"}[t.TopicID[15]]
			}
			codes[fmt.Sprint(name, "-", p.Partition)] = protocol.Code(p.ErrorCode)
		}
	}
	return fmt.Sprint(codes)
}

// fetchTxn reads the offset of t-0.
func fetchTxn(h *hosting, stable bool) (int64, protocol.Code) {
	h.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.RequireStable = 8, stable
	req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}}}
	p := call[*kmsg.OffsetFetchResponse](h, req).Groups[0].Topics[0].Partitions[0]
	return p.Offset, protocol.Code(p.ErrorCode)
}

// endGroupTxn ends producer 7's transaction in all partitions of __consumer_offsets.
func endGroupTxn(h *hosting, commit bool) {
	h.t.Helper()
	req := marker(2, 1, 0, 2, protocol.GroupMetadataTopic, 0, 1)
	req.Markers[0].Committed = commit
	for key, code := range markerCodes(call[*kmsg.WriteTxnMarkersResponse](h, req)) {
		if code != protocol.None {
			h.t.Errorf("marker %s: %v", key, code)
		}
	}
}

func TestTxnOffsetCommitCountsFromTheCommitOn(t *testing.T) {
	for version := int16(0); version <= 6; version++ {
		for _, commit := range []bool{true, false} {
			txnHosting(t, nil, func(h *hosting, v *scriptedVerifier) {
				resp := call[*kmsg.TxnOffsetCommitResponse](h, txnCommit(version, map[string][]int32{"t": {0, 9}, "unknown": {1}}))
				want := fmt.Sprint(map[string]protocol.Code{"t-0": 0, "t-9": protocol.UnknownTopicOrPartition, "unknown-1": protocol.UnknownTopicOrPartition})
				if version >= 6 {
					want = fmt.Sprint(map[string]protocol.Code{"t-0": 0, "t-9": protocol.UnknownTopicOrPartition, "unknown-1": protocol.UnknownTopicID})
				}
				if got := txnCommitCodes(resp); got != want {
					h.t.Errorf("v%d: %s, want %s", version, got, want)
				}
				if len(v.asked) != 1 || v.asked[0].Add != (version >= 5) || v.asked[0].Partitions[0].Topic != protocol.GroupMetadataTopic {
					h.t.Errorf("v%d asked %+v", version, v.asked)
				}
				if offset, code := fetchTxn(h, false); offset != -1 || code != protocol.None {
					h.t.Errorf("v%d before the end: offset %d, %v", version, offset, code)
				}
				if offset, code := fetchTxn(h, true); offset != -1 || code != protocol.UnstableOffsetCommit {
					h.t.Errorf("v%d before the end, stable: offset %d, %v", version, offset, code)
				}
				endGroupTxn(h, commit)
				after := int64(-1)
				if commit {
					after = 5
				}
				for _, stable := range []bool{true, false} {
					if offset, code := fetchTxn(h, stable); offset != after || code != protocol.None {
						h.t.Errorf("v%d after the end, commit %v: offset %d, %v", version, commit, offset, code)
					}
				}
			})
		}
	}
}

func TestTxnOffsetCommitErrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int16
		said    protocol.Code // by the transaction coordinator
		change  func(req *kmsg.TxnOffsetCommitRequest)
		want    protocol.Code
	}{
		{"no group id", 3, 0, func(req *kmsg.TxnOffsetCommitRequest) { req.Group = "" }, protocol.InvalidGroupID},
		{"a generation of no group", 6, 0, func(req *kmsg.TxnOffsetCommitRequest) { req.Generation = 3 }, protocol.GroupIDNotFound},
		{"a generation of no group", 3, 0, func(req *kmsg.TxnOffsetCommitRequest) { req.Generation = 3 }, protocol.IllegalGeneration},
		{"metadata", 3, 0, func(req *kmsg.TxnOffsetCommitRequest) {
			req.Topics[0].Partitions[0].Metadata = ptr(string(make([]byte, 4097)))
		}, protocol.OffsetMetadataTooLarge},
		{"not added", 3, protocol.TransactionAbortable, nil, protocol.InvalidTxnState},
		{"not added", 4, protocol.TransactionAbortable, nil, protocol.TransactionAbortable},
		{"fenced", 3, protocol.ProducerFenced, nil, protocol.InvalidProducerEpoch},
		{"concurrent", 5, protocol.ConcurrentTransactions, nil, protocol.ConcurrentTransactions},
		{"no coordinator", 5, protocol.CoordinatorNotAvailable, nil, protocol.CoordinatorNotAvailable},
		{"loading", 1, protocol.CoordinatorLoadInProgress, nil, protocol.CoordinatorNotAvailable},
		{"loading", 2, protocol.CoordinatorLoadInProgress, nil, protocol.CoordinatorLoadInProgress},
	} {
		txnHosting(t, nil, func(h *hosting, v *scriptedVerifier) {
			v.script = []protocol.Code{c.said}
			req := txnCommit(c.version, map[string][]int32{"t": {0}})
			if c.change != nil {
				c.change(req)
			}
			resp := call[*kmsg.TxnOffsetCommitResponse](h, req)
			wantCode(h.t, fmt.Sprint(c.name, " v", c.version), resp.Topics[0].Partitions[0].ErrorCode, c.want)
			if offset, code := fetchTxn(h, true); offset != -1 || code != protocol.None {
				h.t.Errorf("%s: offset %d, %v", c.name, offset, code)
			}
		})
	}
}

// A producer that the log has seen with a newer epoch commits nothing, and others go on.
func TestTxnOffsetCommitOfAFencedProducer(t *testing.T) {
	txnHosting(t, map[string]string{"transaction.partition.verification.enable": "false"}, func(h *hosting, _ *scriptedVerifier) {
		endGroupTxn(h, false) // epoch 1
		resp := call[*kmsg.TxnOffsetCommitResponse](h, txnCommit(3, map[string][]int32{"t": {0}}))
		wantCode(h.t, "old epoch", resp.Topics[0].Partitions[0].ErrorCode, protocol.InvalidProducerEpoch)
		req := txnCommit(3, map[string][]int32{"t": {0}})
		req.ProducerEpoch = 1
		resp = call[*kmsg.TxnOffsetCommitResponse](h, req)
		wantCode(h.t, "new epoch", resp.Topics[0].Partitions[0].ErrorCode, protocol.None)
	})
}
