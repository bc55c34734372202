package parity

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnRecords is what a coordinator writes to __transaction_state, byte for byte but for producer ids and times.
func txnRecords(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("recorded", 2)
	cl.createTopic("recorded-too", 1)
	cl.coordinated("recorded")
	p := cl.transactionalProducer("recorded")
	p.added("recorded", 0)
	p.added("recorded", 0) // writes nothing
	p.added("recorded-too", 0)
	p.end(4, true)
	p.added("recorded", 1)
	p.end(4, false)
	until(cl, "add from a broker", addBatched(5, p.addTo(5, false, addTopic("recorded", 1))), func(r *kmsg.AddPartitionsToTxnResponse) bool {
		return r.Transactions[0].Topics[0].Partitions[0].ErrorCode == 0
	})
	until(cl, "add offsets", p.addOffsets(3, "recorded"), func(r *kmsg.AddOffsetsToTxnResponse) bool { return r.ErrorCode == 0 })
	p.end(5, true)
	p.end(5, false)
	q := cl.transactionalProducer("recorded")
	q.added("recorded", 0)
	ask[*kmsg.InitProducerIDResponse](cl, "fence", initProducer(5, &q.txn, 30_000, nil))
	cl.noMarkersDue(q.txn)
	cl.transactionalProducer("recorded")
	for i, r := range cl.transactionRecords("recorded", p.id) {
		c.note(fmt.Sprint("record ", i), r)
	}
}

// transactionRecords reads the records of a transactional id, with the base producer id as 0 and times that are set as 1.
func (cl *client) transactionRecords(id string, base int64) (found []string) {
	for partition := range int32(5) {
		req := fetch(12, "__transaction_state", [16]byte{}, 0)
		req.Topics[0].Partitions[0].Partition, req.Topics[0].Partitions[0].PartitionMaxBytes = partition, 1<<24
		resp := await[*kmsg.FetchResponse](cl.send("records", req, func(_ server, answer kmsg.Response) {
			answer.(*kmsg.FetchResponse).Topics = nil
		}))
		for b := resp.Topics[0].Partitions[0].RecordBatches; len(b) > 61; {
			size := 12 + int(binary.BigEndian.Uint32(b[8:]))
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(b[:size]); err != nil {
				cl.abort("batch: %v", err)
			}
			b = b[size:]
			records := batch.Records
			for range batch.NumRecords {
				n, length := binary.Varint(records)
				var r kmsg.Record
				if err := r.ReadFrom(records[:length+int(n)]); err != nil {
					cl.abort("record: %v", err)
				}
				records = records[length+int(n):]
				if strings.HasSuffix(string(r.Key), id) && len(r.Key) == len(id)+4 {
					found = append(found, fmt.Sprintf("attributes %d producer %d/%d sequence %d key %x value %s",
						batch.Attributes, batch.ProducerID, batch.ProducerEpoch, batch.FirstSequence, r.Key, normalValue(r.Value, base)))
				}
			}
		}
	}
	return found
}

// normalValue is the hex of a value without what each server has for itself, its partitions sorted.
func normalValue(value []byte, base int64) string {
	if value == nil {
		return "null"
	}
	v := kmsg.NewTxnMetadataValue()
	if err := v.ReadFrom(value); err != nil {
		return err.Error()
	}
	for _, id := range []*int64{&v.ProducerID, &v.PreviousProducerID, &v.NextProducerID} {
		if *id >= 0 {
			*id -= base
		}
	}
	v.LastUpdateTimestamp, v.StartTimestamp = min(v.LastUpdateTimestamp, 1), min(v.StartTimestamp, 1)
	slices.SortFunc(v.Topics, func(a, b kmsg.TxnMetadataValueTopic) int { return strings.Compare(a.Topic, b.Topic) })
	for _, t := range v.Topics {
		slices.Sort(t.Partitions)
	}
	return hex.EncodeToString(v.AppendTo(nil))
}
