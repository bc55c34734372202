package parity

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactional is the attribute of a transaction's batches.
const transactional = 0x10

// producer is a transactional producer of a script.
type producer struct {
	cl    *client
	txn   string
	id    int64
	epoch int16
	next  map[int32]int32 // sequence of the next record of topic's partitions
}

// transactionalProducer gets a producer id and epoch for a transactional id.
func (cl *client) transactionalProducer(txn string) *producer {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, &txn, 60000
	until(cl, "transactions topic", findCoordinator(4, 1, txn), func(r *kmsg.FindCoordinatorResponse) bool { return r.Coordinators[0].ErrorCode == 0 })
	r := until(cl, "transactional id", req, func(r *kmsg.InitProducerIDResponse) bool { return r.ErrorCode == 0 })
	return &producer{cl: cl, txn: txn, id: r.ProducerID, epoch: r.ProducerEpoch, next: map[int32]int32{}}
}

// produce is a request with one transactional record for a partition.
func (p *producer) produce(version int16, topic string, id [16]byte, partition int32, value string) *kmsg.ProduceRequest {
	b := of(p.cl.now.UnixMilli(), value).by(p.id, p.epoch, p.next[partition]).with(transactional)
	req := produce(version, -1, topic, id, partition, b.bytes())
	req.TransactionID = &p.txn
	return req
}

// write produces one record, without comparing the answer.
func (p *producer) write(version int16, topic string, id [16]byte, partition int32, value string) {
	until(p.cl, "write "+value, p.produce(version, topic, id, partition, value), func(r *kmsg.ProduceResponse) bool {
		return r.Topics[0].Partitions[0].ErrorCode == 0
	})
	p.next[partition]++
}

// add is AddPartitionsToTxn.
func (p *producer) add(version int16, topic string, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = version, p.txn, p.id, p.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: partitions}}
	return req
}

// added adds partitions when the last transaction is over.
func (p *producer) added(topic string, partitions ...int32) {
	until(p.cl, "add", p.add(3, topic, partitions...), func(r *kmsg.AddPartitionsToTxnResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
}

// end ends the transaction with the given version of EndTxn, takes on the new epoch that version 5 gives, and waits until readers see it.
func (p *producer) end(version int16, commit bool) {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = version, p.txn, p.id, p.epoch, commit
	r := ask[*kmsg.EndTxnResponse](p.cl, "end", req, withoutProducer)
	if version >= 5 && r.ErrorCode == 0 {
		p.id, p.epoch, p.next = r.ProducerID, r.ProducerEpoch, map[int32]int32{}
	}
	over := kmsg.NewPtrDescribeTransactionsRequest()
	over.TransactionalIDs = []string{p.txn}
	until(p.cl, "it is over", over, func(r *kmsg.DescribeTransactionsResponse) bool {
		state := r.TransactionStates[0].State
		return state == "CompleteCommit" || state == "CompleteAbort" || state == "Empty"
	})
}

// withoutProducer removes the producer id of an answer, of which each server has its own.
func withoutProducer(_ server, answer kmsg.Response) {
	if r, ok := answer.(*kmsg.EndTxnResponse); ok && r.ProducerID >= 0 {
		r.ProducerID = 0
	}
}

// markers is WriteTxnMarkers for one producer.
func markers(version int16, producerID int64, epoch int16, coordinatorEpoch int32, transactionVersion int8, commit bool, topic string, partitions ...int32) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Version = version
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch, m.Committed, m.CoordinatorEpoch, m.TransactionVersion = producerID, epoch, commit, coordinatorEpoch, transactionVersion
	m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: partitions}}
	req.Markers = append(req.Markers, m)
	return req
}

// producersKnown replaces in batches and in lists of aborted transactions the producer ids that the script knows by their place in known, and the times
// of markers by 1, with the CRC that follows from that.
func producersKnown(known ...*producer) option {
	place := func(id int64) int64 {
		for i, p := range known {
			if p.id == id {
				return int64(i) + 1_000_000
			}
		}
		return id
	}
	return func(_ server, answer kmsg.Response) {
		for _, t := range answer.(*kmsg.FetchResponse).Topics {
			for i := range t.Partitions {
				p := &t.Partitions[i]
				for j := range p.AbortedTransactions {
					p.AbortedTransactions[j].ProducerID = place(p.AbortedTransactions[j].ProducerID)
				}
				for b := p.RecordBatches; len(b) > 61; {
					size := min(len(b), 12+int(binary.BigEndian.Uint32(b[8:])))
					normal(b[:size], place)
					b = b[size:]
				}
			}
		}
	}
}

func normal(b []byte, place func(int64) int64) {
	be := binary.BigEndian
	be.PutUint64(b[43:], uint64(place(int64(be.Uint64(b[43:])))))
	if b[22]&0x20 != 0 { // a marker
		be.PutUint64(b[27:], 1)
		be.PutUint64(b[35:], 1)
	}
	be.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}

// describeProducers asks what partitions of a topic know of producers.
func describeProducers(topic string, partitions ...int32) *kmsg.DescribeProducersRequest {
	req := kmsg.NewPtrDescribeProducersRequest()
	req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: partitions}}
	return req
}

// transactionsOf is producersSorted with the places of the known producers instead of their ids, and 1 instead of times of this run.
func transactionsOf(known ...*producer) option {
	return func(s server, answer kmsg.Response) {
		for _, t := range answer.(*kmsg.DescribeProducersResponse).Topics {
			for _, p := range t.Partitions {
				for i := range p.ActiveProducers {
					for place, one := range known {
						if id := &p.ActiveProducers[i].ProducerID; *id == one.id {
							*id = int64(place) + 1_000_000
						}
					}
				}
			}
		}
		producersSorted(s, answer)
		for _, t := range answer.(*kmsg.DescribeProducersResponse).Topics {
			for _, p := range t.Partitions {
				for i := range p.ActiveProducers {
					if at := &p.ActiveProducers[i].LastTimestamp; *at > known[0].cl.now.UnixMilli() {
						*at = 1
					}
				}
			}
		}
	}
}

// markersSorted sorts what has no order in the answer.
func markersSorted(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.WriteTxnMarkersResponse)
	slices.SortFunc(r.Markers, func(a, b kmsg.WriteTxnMarkersResponseMarker) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	for _, m := range r.Markers {
		for _, t := range m.Topics {
			slices.SortFunc(t.Partitions, func(a, b kmsg.WriteTxnMarkersResponseMarkerTopicPartition) int {
				return cmp.Compare(a.Partition, b.Partition)
			})
		}
	}
}

// relevantAborts removes from the lists of aborted transactions those that begin behind the data: Kafka adds what lies before the next entry of its offset
// index, and Ottla does not.
func relevantAborts(_ server, answer kmsg.Response) {
	for _, t := range answer.(*kmsg.FetchResponse).Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			end := int64(-1)
			for b := p.RecordBatches; len(b) >= 61; b = b[12+int(binary.BigEndian.Uint32(b[8:])):] {
				end = int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:])) + 1
			}
			p.AbortedTransactions = slices.DeleteFunc(p.AbortedTransactions, func(a kmsg.FetchResponseTopicPartitionAbortedTransaction) bool { return a.FirstOffset >= end })
		}
	}
}
