package api

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/storage"
)

// scriptedVerifier answers with the codes of its script, the last one again and again, and keeps what it was asked. mu guards all.
type scriptedVerifier struct {
	mu     sync.Mutex
	script []protocol.Code
	takes  time.Duration // each answer
	asked  []replication.TxnPartitions
}

func (v *scriptedVerifier) VerifyTxn(_ context.Context, t replication.TxnPartitions) ([]protocol.Code, protocol.Code) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, t)
	time.Sleep(v.takes) // in a bubble
	code := protocol.None
	if len(v.script) > 0 {
		code = v.script[min(len(v.asked), len(v.script))-1]
	}
	if code == protocol.CoordinatorNotAvailable {
		return nil, code // of all of them
	}
	return slices.Repeat([]protocol.Code{code}, len(t.Partitions)), protocol.None
}

// hostedLog is a hosted partition as a coordinator's log.
type hostedLog struct{ *replication.Partition }

func (l hostedLog) Append(epoch int32, b []byte, txn runtime.TxnAppend) (int64, error) {
	result, err := l.Partition.Append(b, replication.ProduceOptions{
		Acks: -1, Origin: storage.OriginCoordinator, LeaderEpoch: epoch, Guard: storage.VerificationGuard(txn.Guard), TransactionVersion: txn.Version,
	})
	return result.LastOffset, err
}
func (l hostedLog) HighWatermark() int64 { return l.Log().Offsets().HighWatermark }
func (l hostedLog) LogEndOffset() int64  { return l.Log().Offsets().LogEnd }
func (l hostedLog) MaxMessageBytes() int { return l.Log().Config().MaxMessageBytes }
func (l hostedLog) Load(ctx context.Context, fn func(record.Batch) error) error {
	return l.Log().Batches(ctx, 0, fn)
}

// txnHosting runs test on a broker that hosts "t" and __consumer_offsets, each of two partitions, in a bubble of fake time.
func txnHosting(t *testing.T, static map[string]string, test func(h *hosting, v *scriptedVerifier)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHosting(t, static)
		v := &scriptedVerifier{}
		h.Replicas.SetVerifier(v)
		h.topic("t", 1, 2, nil)
		h.Groups = group.New(group.Options{
			NodeID: 1, Config: h.Config, Image: h.Image, Codecs: h.codecs, Logger: h.Logger,
			Open: func(p int32) (runtime.Log, error) {
				hosted, err := h.Replicas.Partition(protocol.GroupMetadataTopic, p)
				return hostedLog{hosted}, err
			},
		})
		defer h.Groups.Close()
		h.topic(protocol.GroupMetadataTopic, 2, 2, nil)
		h.Groups.Apply(h.delta)
		synctest.Wait()
		test(h, v)
	})
}

// txnBatch is a transactional batch of producer 7.
func txnBatch(t testing.TB, epoch int16, sequence int32) record.Batch {
	t.Helper()
	b := record.NewBuilder()
	b.Transactional, b.ProducerID, b.ProducerEpoch, b.BaseSequence = true, 7, epoch, sequence
	b.Add(1, nil, []byte("value"))
	return build(t, b)
}

// produceTxn writes one transactional batch to each partition.
func produceTxn(h *hosting, version int16, batches ...record.Batch) []kmsg.ProduceResponseTopicPartition {
	h.t.Helper()
	return call[*kmsg.ProduceResponse](h, txnRequest(version, batches...)).Topics[0].Partitions
}

func txnRequest(version int16, batches ...record.Batch) *kmsg.ProduceRequest {
	req := produceTo(version, "t", 1, 0, batches[0])
	req.TransactionID = ptr("tx")
	for i, b := range batches[1:] {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i+1), b
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
	}
	return req
}

func TestProduceVerifiesATransactionOnce(t *testing.T) {
	for version, add := range map[int16]bool{9: false, 11: false, 12: true, 13: true} {
		txnHosting(t, nil, func(h *hosting, v *scriptedVerifier) {
			for _, p := range produceTxn(h, version, txnBatch(h.t, 0, 0), txnBatch(h.t, 0, 0)) {
				wantCode(h.t, "first", p.ErrorCode, protocol.None)
			}
			for _, p := range produceTxn(h, version, txnBatch(h.t, 0, 1), txnBatch(h.t, 0, 1)) {
				wantCode(h.t, "second", p.ErrorCode, protocol.None)
			}
			tp := func(p int32) protocol.TopicPartition { return protocol.TopicPartition{Topic: "t", Partition: p} }
			if len(v.asked) != 1 || v.asked[0].TransactionalID != "tx" || v.asked[0].ProducerID != 7 || v.asked[0].Add != add ||
				!slices.Equal(v.asked[0].Partitions, []protocol.TopicPartition{tp(0), tp(1)}) {
				h.t.Errorf("v%d asked %+v", version, v.asked)
			}
		})
	}
}

func TestProduceOfAnUnverifiedTransaction(t *testing.T) {
	const unable = "Unable to verify the partition has been added to the transaction. Underlying error: "
	for _, c := range []struct {
		said    protocol.Code
		version int16
		want    protocol.Code
		message string
	}{
		{protocol.TransactionAbortable, 10, protocol.InvalidTxnState, "Partition was not added to the transaction"},
		{protocol.TransactionAbortable, 11, protocol.TransactionAbortable, ""},
		{protocol.TransactionAbortable, 12, protocol.TransactionAbortable, ""},
		{protocol.InvalidTxnState, 12, protocol.InvalidTxnState, "Partition was not added to the transaction"},
		{protocol.ProducerFenced, 12, protocol.InvalidProducerEpoch, ""},
		{protocol.InvalidProducerIDMapping, 12, protocol.InvalidProducerIDMapping, ""},
		{protocol.CoordinatorNotAvailable, 12, protocol.NotEnoughReplicas, unable + "COORDINATOR_NOT_AVAILABLE"},
		{protocol.NotCoordinator, 9, protocol.NotEnoughReplicas, unable + "NOT_COORDINATOR"},
		{protocol.CoordinatorLoadInProgress, 7, protocol.NotEnoughReplicas, ""},
		{protocol.ConcurrentTransactions, 11, protocol.NotEnoughReplicas, unable + "CONCURRENT_TRANSACTIONS"},
		{protocol.ConcurrentTransactions, 12, protocol.ConcurrentTransactions, ""},
	} {
		txnHosting(t, nil, func(h *hosting, v *scriptedVerifier) {
			v.script = []protocol.Code{c.said}
			p := produceTxn(h, c.version, txnBatch(h.t, 0, 0))[0]
			wantCode(h.t, c.said.String(), p.ErrorCode, c.want)
			message := ""
			if p.ErrorMessage != nil {
				message = *p.ErrorMessage
			}
			if message != c.message || p.BaseOffset != -1 || p.LogStartOffset != -1 {
				h.t.Errorf("%v v%d: message %q, %+v", c.said, c.version, message, p)
			}
			if end := h.log("t", 0).Offsets().LogEnd; end != 0 {
				h.t.Errorf("%v: something was written", c.said)
			}
		})
	}
}

// While the producer's last transaction is still being ended, clients that do not add partitions themselves need not try again.
func TestProduceWaitsForTheLastTransaction(t *testing.T) {
	txnHosting(t, nil, func(h *hosting, v *scriptedVerifier) {
		v.script = []protocol.Code{protocol.ConcurrentTransactions, protocol.ConcurrentTransactions, protocol.None}
		wantCode(h.t, "produce", produceTxn(h, 12, txnBatch(h.t, 0, 0))[0].ErrorCode, protocol.None)
		if len(v.asked) != 3 {
			h.t.Errorf("asked %d times", len(v.asked))
		}
	})
}

// While the coordinator moves, which takes a moment, no client need try again.
func TestProduceWaitsForTheCoordinator(t *testing.T) {
	for _, version := range []int16{9, 12} {
		txnHosting(t, nil, func(h *hosting, v *scriptedVerifier) {
			v.script = []protocol.Code{protocol.NotCoordinator, protocol.CoordinatorNotAvailable, protocol.CoordinatorLoadInProgress, protocol.None}
			wantCode(h.t, "produce", produceTxn(h, version, txnBatch(h.t, 0, 0))[0].ErrorCode, protocol.None)
		})
	}
}

// A coordinator that died with the request has a successor by then, who is asked, too.
func TestProduceAsksTheNextCoordinator(t *testing.T) {
	txnHosting(t, nil, func(h *hosting, v *scriptedVerifier) {
		v.script, v.takes = []protocol.Code{protocol.NetworkException, protocol.None}, time.Second
		wantCode(h.t, "produce", produceTxn(h, 12, txnBatch(h.t, 0, 0))[0].ErrorCode, protocol.None)
		v.script, v.asked = []protocol.Code{protocol.NetworkException}, nil
		wantCode(h.t, "nobody answers", produceTxn(h, 12, txnBatch(h.t, 1, 0))[0].ErrorCode, protocol.NotEnoughReplicas)
		if len(v.asked) != 2 {
			h.t.Errorf("asked %d times", len(v.asked))
		}
	})
}

func TestProduceWithoutVerification(t *testing.T) {
	txnHosting(t, map[string]string{"transaction.partition.verification.enable": "false"}, func(h *hosting, v *scriptedVerifier) {
		v.script = []protocol.Code{protocol.TransactionAbortable}
		wantCode(h.t, "v11", produceTxn(h, 11, txnBatch(h.t, 0, 0))[0].ErrorCode, protocol.None)
		wantCode(h.t, "v12", produceTxn(h, 12, txnBatch(h.t, 1, 0))[0].ErrorCode, protocol.TransactionAbortable)
		if len(v.asked) != 1 {
			h.t.Errorf("asked %+v", v.asked)
		}
	})
}

func TestProduceOfSeveralTransactionalProducers(t *testing.T) {
	txnHosting(t, nil, func(h *hosting, _ *scriptedVerifier) {
		for _, p := range produceTxn(h, 9, txnBatch(h.t, 0, 0), txnBatch(h.t, 1, 0)) {
			wantCode(h.t, "produce", p.ErrorCode, protocol.InvalidProducerIDMapping)
			if p.ErrorMessage == nil || *p.ErrorMessage != "Transactional records contained more than one producer ID" {
				h.t.Errorf("message %v", p.ErrorMessage)
			}
		}
		req := txnRequest(9, txnBatch(h.t, 0, 0), txnBatch(h.t, 1, 0))
		req.Topics[0].Partitions[1].Partition = 9 // there is none: its records do not count
		p := call[*kmsg.ProduceResponse](h, req).Topics[0].Partitions
		wantCode(h.t, "good", p[0].ErrorCode, protocol.None)
		wantCode(h.t, "unknown", p[1].ErrorCode, protocol.UnknownTopicOrPartition)
	})
}

// Requests that are read while an earlier one waits for the coordinator keep the order of each partition.
func TestProduceKeepsTheOrderBehindAVerification(t *testing.T) {
	txnHosting(t, nil, func(h *hosting, v *scriptedVerifier) {
		wantCode(h.t, "open", produceTxn(h, 12, txnBatch(h.t, 0, 0))[0].ErrorCode, protocol.None)
		requests := []*kmsg.ProduceRequest{
			txnRequest(12, txnBatch(h.t, 0, 1), txnBatch(h.t, 0, 0)), txnRequest(12, txnBatch(h.t, 0, 2), txnBatch(h.t, 0, 1)),
		}
		var results []Result
		for _, req := range requests {
			results = append(results, h.result(req, "test"))
		}
		for i, r := range results {
			for _, p := range finish[*kmsg.ProduceResponse](h.t.Context(), h, requests[i], r).Topics[0].Partitions {
				wantCode(h.t, "pipelined", p.ErrorCode, protocol.None)
			}
		}
		if len(v.asked) != 2 {
			h.t.Errorf("asked %d times, want once for each partition", len(v.asked))
		}
	})
}
