package api

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// TryNext implements txn.ProducerIDs.
func (c *countingIDs) TryNext() (int64, bool) {
	c.next++
	return c.next, true
}

// noMarkers never answers: transactions stay prepared.
type noMarkers struct{}

func (noMarkers) WriteTxnMarkers(ctx context.Context, _ int32, _ *kmsg.WriteTxnMarkersRequest) (*kmsg.WriteTxnMarkersResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// transactionNode runs test on broker 1 in a bubble of fake time, which coordinates transactions and groups and leads "one" and "two" of 2 partitions.
func transactionNode(t *testing.T, test func(t *testing.T, n *Node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		records := []schema.MetadataRecord{
			&schema.FeatureLevelRecord{Name: protocol.TransactionVersion, FeatureLevel: 2},
			&schema.RegisterBrokerRecord{BrokerID: 1, EndPoints: []schema.BrokerEndpoint{{Name: "PLAINTEXT", Host: "here", Port: 9092}}},
		}
		for i, name := range []string{protocol.GroupMetadataTopic, protocol.TransactionStateTopic, "one", "two"} {
			records = append(records, &schema.TopicRecord{Name: name, TopicID: uid(byte(i))}, partitionRecord(byte(i), 0, 1, 0, 1), partitionRecord(byte(i), 1, 1, 0, 1))
		}
		image := imageOf(t, records...)
		n, _ := imageNode(t, image, nil)
		codecs := record.NewCodecs()
		values := func() config.Values { return n.Config() }
		n.Groups = group.New(group.Options{NodeID: 1, Config: values, Image: n.Image, Codecs: codecs, Logger: n.Logger})
		logs := map[int32]*runtimetest.Log{0: {}, 1: {}}
		n.Transactions = txn.New(txn.Options{
			NodeID: 1, Config: values, Open: func(p int32) (runtime.Log, error) { return logs[p], nil },
			Image: n.Image, Codecs: codecs, Logger: n.Logger, ProducerIDs: &countingIDs{next: 1000}, Markers: noMarkers{},
		})
		n.Transactions.Apply(&metadata.Delta{Image: image})
		synctest.Wait()
		test(t, n)
		n.Transactions.Close()
		n.Groups.Close()
		codecs.Close()
	})
}

// eachTransactionVersion runs test in every version of an API, for a producer 1001 of epoch 0 under the transactional id "tx".
func eachTransactionVersion(t *testing.T, key int16, test func(t *testing.T, n *Node, version int16)) {
	t.Helper()
	row := NewRoutes(Table()).Get(key)
	for version := row.Min; version <= row.Max; version++ {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			transactionNode(t, func(t *testing.T, n *Node) {
				req := kmsg.NewPtrInitProducerIDRequest()
				req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, ptr("tx"), 60_000
				if resp := ask[*kmsg.InitProducerIDResponse](t, n, "PLAINTEXT", req); resp.ErrorCode != 0 || resp.ProducerID != 1001 {
					t.Fatalf("init: %+v", resp)
				}
				test(t, n, version)
			})
		})
	}
}

func TestInitProducerIDOfATransactionalID(t *testing.T) {
	eachTransactionVersion(t, 22, func(t *testing.T, n *Node, version int16) {
		for _, c := range []struct {
			id      string
			timeout int32
			want    string
		}{
			{"", 60_000, "INVALID_REQUEST -1/-1"},
			{"tx", 0, "INVALID_TRANSACTION_TIMEOUT -1/-1"},
			{"tx", -1, "INVALID_TRANSACTION_TIMEOUT -1/-1"},
			{"tx", 900_001, "INVALID_TRANSACTION_TIMEOUT -1/-1"},
			{"tx", 900_000, "NONE 1001/1"},
			{"another", 1, "NONE 1002/0"},
		} {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.Version, req.TransactionalID, req.TransactionTimeoutMillis = version, &c.id, c.timeout
			resp := ask[*kmsg.InitProducerIDResponse](t, n, "PLAINTEXT", req)
			if got := fmt.Sprintf("%v %d/%d", protocol.Code(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch); got != c.want {
				t.Errorf("%q with %d ms: %s, want %s", c.id, c.timeout, got, c.want)
			}
		}
	})
}

// addCodes adds partitions of topics to the transaction of "tx" and of "nobody", and returns the codes of the first.
func addCodes(t *testing.T, n *Node, version int16, topics map[string][]int32) map[string]protocol.Code {
	t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID = version, "tx", 1001
	batched := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: "tx", ProducerID: 1001}
	for name, partitions := range topics {
		req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: name, Partitions: partitions})
		batched.Topics = append(batched.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: name, Partitions: partitions})
	}
	other := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: "nobody", Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{
		{Topic: "one", Partitions: []int32{0}},
	}}
	req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{other, batched}
	resp := ask[*kmsg.AddPartitionsToTxnResponse](t, n, "PLAINTEXT", req)
	codes := map[string]protocol.Code{}
	if version < 4 {
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				codes[fmt.Sprint(topic.Topic, "-", p.Partition)] = protocol.Code(p.ErrorCode)
			}
		}
		return codes
	}
	if first := resp.Transactions[0]; first.TransactionalID != "nobody" ||
		protocol.Code(first.Topics[0].Partitions[0].ErrorCode) != protocol.InvalidProducerIDMapping {
		t.Errorf("the other transaction: %+v", first)
	}
	for _, topic := range resp.Transactions[1].Topics {
		for _, p := range topic.Partitions {
			codes[fmt.Sprint(topic.Topic, "-", p.Partition)] = protocol.Code(p.ErrorCode)
		}
	}
	return codes
}

func TestAddPartitionsToTxn(t *testing.T) {
	eachTransactionVersion(t, 24, func(t *testing.T, n *Node, version int16) {
		const notAttempted, unknown = protocol.OperationNotAttempted, protocol.UnknownTopicOrPartition
		check := func(topics map[string][]int32, want map[string]protocol.Code) {
			t.Helper()
			if got := addCodes(t, n, version, topics); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v: %v, want %v", topics, got, want)
			}
		}
		check(map[string][]int32{"one": {0, 1, 2}, "gone": {0}}, map[string]protocol.Code{
			"one-0": notAttempted, "one-1": notAttempted, "one-2": unknown, "gone-0": unknown,
		})
		if got := describeTx(t, n); got.State != "Empty" {
			t.Errorf("refused partitions made it %+v", got)
		}
		internal := map[string]protocol.Code{"__consumer_offsets-0": protocol.TopicAuthorizationFailed, "one-0": notAttempted}
		if version >= 4 {
			internal = map[string]protocol.Code{"__consumer_offsets-0": 0, "one-0": 0}
		}
		check(map[string][]int32{"one": {0}, "__consumer_offsets": {0}}, internal)
		check(map[string][]int32{"one": {1}, "two": {0}}, map[string]protocol.Code{"one-1": 0, "two-0": 0})
	})
}

func describeTx(t *testing.T, n *Node) kmsg.DescribeTransactionsResponseTransactionState {
	t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{"tx", "nobody", ""}
	states := ask[*kmsg.DescribeTransactionsResponse](t, n, "PLAINTEXT", req).TransactionStates
	if len(states) != 3 || protocol.Code(states[1].ErrorCode) != protocol.TransactionalIDNotFound || protocol.Code(states[2].ErrorCode) != protocol.InvalidRequest {
		t.Errorf("described %+v", states)
	}
	return states[0]
}

func TestAddOffsetsAndEndTxn(t *testing.T) {
	eachTransactionVersion(t, 26, func(t *testing.T, n *Node, version int16) {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.Version, add.TransactionalID, add.ProducerID, add.Group = min(version, 4), "tx", 1001, "group"
		resp := ask[*kmsg.AddOffsetsToTxnResponse](t, n, "PLAINTEXT", add)
		wantCode(t, "add offsets", resp.ErrorCode, protocol.None)
		got := describeTx(t, n)
		partition := n.Groups.PartitionFor("group")
		if got.State != "Ongoing" || len(got.Topics) != 1 || got.Topics[0].Topic != protocol.GroupMetadataTopic ||
			!slices.Equal(got.Topics[0].Partitions, []int32{partition}) {
			t.Errorf("described %+v", got)
		}
		add.ProducerEpoch = 7
		want := protocol.ProducerFenced
		if version < 2 {
			want = protocol.InvalidProducerEpoch
		}
		wantCode(t, "add offsets as another", ask[*kmsg.AddOffsetsToTxnResponse](t, n, "PLAINTEXT", add).ErrorCode, want)
		end := kmsg.NewPtrEndTxnRequest()
		end.Version, end.TransactionalID, end.ProducerID, end.Commit = version, "tx", 1001, true
		ended := ask[*kmsg.EndTxnResponse](t, n, "PLAINTEXT", end)
		wantCode(t, "commit", ended.ErrorCode, protocol.None)
		if version >= 5 && (ended.ProducerID != 1001 || ended.ProducerEpoch != 1) {
			t.Errorf("goes on as %d/%d", ended.ProducerID, ended.ProducerEpoch)
		}
		wantCode(t, "commit again", ask[*kmsg.EndTxnResponse](t, n, "PLAINTEXT", end).ErrorCode, protocol.ConcurrentTransactions)
		if got := describeTx(t, n); got.State != "PrepareCommit" {
			t.Errorf("described %+v", got)
		}
	})
}

func TestListTransactions(t *testing.T) {
	eachTransactionVersion(t, 66, func(t *testing.T, n *Node, version int16) {
		req := kmsg.NewPtrListTransactionsRequest()
		req.Version, req.StateFilters = version, []string{"Empty", "Nothing"}
		resp := ask[*kmsg.ListTransactionsResponse](t, n, "PLAINTEXT", req)
		if len(resp.TransactionStates) != 1 || resp.TransactionStates[0].TransactionalID != "tx" || resp.TransactionStates[0].ProducerID != 1001 ||
			!slices.Equal(resp.UnknownStateFilters, []string{"Nothing"}) {
			t.Errorf("listed %+v", resp)
		}
		req.StateFilters, req.TransactionalIDPattern = nil, ptr("t")
		if resp := ask[*kmsg.ListTransactionsResponse](t, n, "PLAINTEXT", req); len(resp.TransactionStates) != map[bool]int{true: 0, false: 1}[version >= 2] {
			t.Errorf("listed by a pattern %+v", resp)
		}
	})
}

func TestFindCoordinatorOfTransactions(t *testing.T) {
	eachTransactionVersion(t, 10, func(t *testing.T, n *Node, version int16) {
		if version == 0 {
			return // has no key type
		}
		if f := find(t, n, "PLAINTEXT", version, 1, "tx"); f.code != protocol.None || f.node != 1 || f.host != "here" || f.port != 9092 {
			t.Errorf("found %+v", f)
		}
	})
}
