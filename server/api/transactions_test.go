package api

import (
	"context"
	"fmt"
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
