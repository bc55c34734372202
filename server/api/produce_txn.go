package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication"
)

// This file is the transactional part of Produce: what is checked of the whole request, and the records that wait for their transaction's coordinator.
//
// A partition in which the transaction is open already is appended to at once. The others wait for their turn in the order of answers. So the records of one
// partition stay in the order of requests: as long as one request's wait, the transaction is not open there, and the next request's wait behind them.

// produceLater is the part of a request for one partition that waits for the transaction's coordinator.
type produceLater struct {
	topic                string
	in                   *kmsg.ProduceRequestTopicPartition
	topicAt, partitionAt int // in the response
}

// refuse is the error of every partition of a request, or nil. Looking for transactional records, Kafka stumbles over first batches of formats and
// lengths that do not exist, and then refuses the whole request with a message (RequestUtils.hasTransactionalRecords).
func (p *produce) refuse() error {
	for i := range p.req.Topics {
		for j := range p.req.Topics[i].Partitions {
			b, _, err := record.NextBatch(p.req.Topics[i].Partitions[j].Records)
			switch {
			case errors.Is(err, protocol.CorruptMessage):
				return err
			case !isTransactional(b):
			case p.req.TransactionID == nil:
				return protocol.TransactionalIDAuthorizationFailed
			default:
				p.transactional++
			}
		}
	}
	if p.transactional > 1 && p.severalProducers() {
		return protocol.Errorf(protocol.InvalidProducerIDMapping, "Transactional records contained more than one producer ID")
	}
	p.verifies = p.transactional > 0 && p.node.Replicas.VerifiesTxn(p.support())
	return nil
}

func isTransactional(b record.Batch) bool {
	return len(b) >= record.HeaderSize && b.Magic() == record.Magic2 && b.IsTransactional()
}

// severalProducers reports whether the transactional records that would be appended are of more than one producer or epoch.
func (p *produce) severalProducers() bool {
	type producer struct {
		id    int64
		epoch int16
	}
	var first *producer
	for i := range p.req.Topics {
		name, unknown := p.topicName(&p.req.Topics[i])
		for j := range p.req.Topics[i].Partitions {
			in := &p.req.Topics[i].Partitions[j]
			b, _, err := record.NextBatch(in.Records)
			if err != nil || !isTransactional(b) || b.ProducerID() < 0 || p.check(name, in, unknown) != protocol.None {
				continue
			}
			one := producer{b.ProducerID(), b.ProducerEpoch()}
			if first != nil && *first != one {
				return true
			}
			first = &one
		}
	}
	return false
}

func (p *produce) support() replication.TxnSupport {
	return replication.ProduceTxnSupport(p.resp.Version)
}

// startVerification reports whether the records of one partition have to wait for the coordinator.
func (p *produce) startVerification(partition *replication.Partition, in *kmsg.ProduceRequestTopicPartition) (wait bool, err error) {
	if !p.verifies {
		return false, nil
	}
	b, _, err := record.NextBatch(in.Records)
	if err != nil || !isTransactional(b) || b.ProducerID() < 0 {
		return false, nil // validation finds what is wrong with it
	}
	guard, err := partition.StartVerification(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), p.support())
	return guard != 0, err
}

// appendVerified asks the coordinator for the partitions that wait for it, and appends to them.
func (p *produce) appendVerified(ctx context.Context) {
	v := &replication.TxnVerification{
		TransactionalID: *p.req.TransactionID, Support: p.support(), Retry: true, Partitions: make([]replication.TxnPartition, 0, len(p.later)),
	}
	for _, l := range p.later {
		b, _, _ := record.NextBatch(l.in.Records) // is one, as startVerification saw
		v.ProducerID, v.ProducerEpoch = b.ProducerID(), b.ProducerEpoch()
		v.Partitions = append(v.Partitions, replication.TxnPartition{
			TopicPartition: protocol.TopicPartition{Topic: l.topic, Partition: l.in.Partition}, Sequence: b.BaseSequence(),
		})
	}
	p.node.Replicas.VerifyTxn(ctx, v)
	if ctx.Err() != nil {
		return
	}
	if err := p.node.onDisk(ctx, func() { p.appendLater(v) }); err == nil {
		p.later = nil
	}
}

// appendLater appends what the coordinator has allowed.
func (p *produce) appendLater(v *replication.TxnVerification) {
	for i, l := range p.later {
		out := &p.resp.Topics[l.topicAt].Partitions[l.partitionAt]
		if err := v.Partitions[i].Err; err != nil {
			p.verificationFailed(l.topic, out, err)
			continue
		}
		partition, err := p.node.Replicas.Partition(l.topic, l.in.Partition)
		if err != nil {
			p.appendFailed(l.topic, out, err)
			continue
		}
		p.appendTo(partition, l, out, v.Partitions[i].Guard)
	}
}

// verificationFailed fills in the answer for records that were not appended because of their transaction.
func (p *produce) verificationFailed(topic string, out *kmsg.ProduceResponseTopicPartition, err error) {
	p.failed = true
	err = replication.ProduceVerificationError(err, p.support())
	p.setError(topic, out, err)
	if p.resp.Version >= 8 {
		out.ErrorMessage = protocol.MessageOf(err)
	}
}
