package clients

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"regexp"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/ottla/ottla/integration/process"
)

// TestTransactionsTool looks at transactions with kafka-transactions, finds one that nobody will ever end, and ends it.
func TestTransactionsTool(t *testing.T) {
	for _, version := range kafkaVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b := process.New(t)
			b.Start(t)
			s := shell{kafka: kafkaRelease(t, version), at: b.Addr}
			client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.TransactionalID("live"), kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := kadm.NewClient(client).CreateTopics(t.Context(), 2, 1, nil, "tx"); err != nil {
				t.Fatal(err)
			}
			s.liveTransaction(t, client)
			s.hangingTransaction(t, client)
		})
	}
}

// liveTransaction is one that is open, and then committed.
func (s shell) liveTransaction(t *testing.T, client *kgo.Client) {
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "tx", Partition: 1, Value: []byte("a")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	id, epoch, err := client.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	matches(t, s.do(t, "", "transactions", "list"), fmt.Sprintf(`(?m)^live\s+1\s+%d\s+Ongoing\s*$`, id))
	matches(t, s.do(t, "", "transactions", "describe", "--transactional-id", "live"), fmt.Sprintf(`(?m)^1\s+live\s+%d\s+%d\s+Ongoing\s+\d+\s+\d+\s+\d+\s+tx-1\s*$`, id, epoch))
	matches(t, s.do(t, "", "transactions", "describe-producers", "--topic", "tx", "--partition", "1"), fmt.Sprintf(`(?m)^%d\s+%d\s+-1\s+0\s+\d+\s+0\s*$`, id, epoch))
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the transaction", func() bool { // the markers follow the answer
		return regexp.MustCompile(`(?m)^1\s+live\s.*\sCompleteCommit\s`).MatchString(s.do(t, "", "transactions", "describe", "--transactional-id", "live"))
	})
	matches(t, s.do(t, "", "transactions", "describe-producers", "--topic", "tx", "--partition", "1"), fmt.Sprintf(`(?m)^%d\s+%d\s+0\s+-1\s+\d+\s+None\s*$`, id, epoch+1))
}

// hangingTransaction is one that no coordinator knows of. Only a broker that does not verify transactions takes its records.
func (s shell) hangingTransaction(t *testing.T, client *kgo.Client) {
	const hung = 4242
	old, err := kgo.NewClient(kgo.SeedBrokers(s.at), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if code := produceUnknown(t, old, hung); code != kerr.InvalidTxnState.Code && code != kerr.InvalidProducerIDMapping.Code {
		t.Errorf("records that are not part of a transaction: %v", kerr.ErrorForCode(code))
	}
	s.do(t, "", "configs", "--alter", "--entity-type", "brokers", "--entity-default", "--add-config", "transaction.partition.verification.enable=false")
	if code := produceUnknown(t, old, hung); code != 0 {
		t.Fatalf("records without verification: %v", kerr.ErrorForCode(code))
	}
	if err := client.BeginTransaction(); err != nil { // holds nothing back where the other hangs
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "tx", Partition: 1, Value: []byte("b")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	stable := func() int64 {
		t.Helper()
		ends, err := kadm.NewClient(client).ListCommittedOffsets(t.Context(), "tx")
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup("tx", 0)
		return end.Offset
	}
	if got := stable(); got != 0 {
		t.Errorf("the last stable offset is %d behind a hanging transaction", got)
	}
	found := s.do(t, "", "transactions", "find-hanging", "--broker-id", "1")
	matches(t, found, fmt.Sprintf(`(?m)^tx\s+0\s+%d\s+3\s+-1\s+0\s`, hung))
	if found := s.do(t, "", "transactions", "find-hanging", "--topic", "tx", "--partition", "1"); len(found) > 0 {
		matches(t, found, `^Topic\s+Partition\s+ProducerId\s+ProducerEpoch\s+CoordinatorEpoch\s+StartOffset\s+LastTimestamp\s+Duration\(min\)\s*$`)
	}
	s.do(t, "", "transactions", "abort", "--topic", "tx", "--partition", "0", "--start-offset", "0")
	if got := stable(); got != 2 {
		t.Errorf("the last stable offset is %d after the hanging transaction was aborted", got)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// produceUnknown writes a transactional record of an hour ago to partition 0, as clients do that add partitions before they write, and returns the code.
func produceUnknown(t *testing.T, client *kgo.Client, producerID int64) int16 {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.TransactionID = -1, 5000, kmsg.StringPtr("gone")
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = hangingBatch(producerID)
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "tx", Partitions: []kmsg.ProduceRequestTopicPartition{p}}}
	resp, err := client.Broker(1).Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
}

// hangingBatch is a transactional batch of one record, an hour old.
func hangingBatch(producerID int64) []byte {
	at := time.Now().Add(-time.Hour).UnixMilli()
	one := kmsg.NewRecord()
	one.Value = []byte("hanging")
	payload := one.AppendTo(nil)[1:] // without the length, which is one byte while it is 0
	payload = append(binary.AppendVarint(nil, int64(len(payload))), payload...)
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: 0x10, FirstTimestamp: at, MaxTimestamp: at, ProducerID: producerID, ProducerEpoch: 3,
		NumRecords: 1, Records: payload,
	}
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}
