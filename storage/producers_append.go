package storage

import (
	"encoding/binary"
	"math"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"go.uber.org/zap"
)

// producerAppend checks one batch and enters it into a pending change (Kafka's ProducerAppendInfo).
type producerAppend struct {
	p       *producerStates
	change  int // index in p.pending
	origin  Origin
	version int16 // transaction.version of a marker
}

func (a producerAppend) state() (current, updated *producerEntry) {
	c := &a.p.pending[a.change]
	return c.entry, &c.updated
}

func (a producerAppend) data(b record.Batch) error {
	_, u := a.state()
	epoch, first, last := b.ProducerEpoch(), b.BaseOffset(), b.LastOffset()
	if err := a.checkEpoch(epoch, first); err != nil {
		return err
	}
	if a.origin == OriginClient {
		if err := a.checkSequence(epoch, b.BaseSequence(), first); err != nil {
			return err
		}
	}
	u.setEpoch(epoch)
	u.add(batchMetadata{lastSequence: b.LastSequence(), offsetDelta: int32(last - first), lastOffset: last, timestamp: b.MaxTimestamp()})
	u.lastTimestamp = b.MaxTimestamp()
	switch {
	case u.txnStart != noOffset && !b.IsTransactional():
		return protocol.Errorf(protocol.InvalidTxnState, "Expected transactional write from producer %d at offset %d in partition %s", u.id, first, a.p.tp)
	case u.txnStart == noOffset && b.IsTransactional():
		u.txnStart = first
		a.p.started = append(a.p.started, txn{producerID: u.id, firstOffset: first, lastOffset: noOffset})
	}
	return nil
}

// checkEpoch refuses an epoch below the last seen one; what a leader has accepted is only logged by its followers.
func (a producerAppend) checkEpoch(epoch int16, offset int64) error {
	_, u := a.state()
	if epoch >= u.epoch {
		return nil
	}
	return a.refuse(protocol.Errorf(protocol.InvalidProducerEpoch, "Epoch of producer %d at offset %d in %s is %d, which is smaller than the last seen epoch %d",
		u.id, offset, a.p.tp, epoch, u.epoch))
}

// refuse returns err, except on a follower, which must take what its leader has.
func (a producerAppend) refuse(err *protocol.Error) error {
	if a.origin == OriginReplication {
		a.p.logger.Debug("replicated batch contradicts the producer state", zap.String("partition", a.p.tp.String()), zap.Error(err))
		return nil
	}
	return err
}

func (a producerAppend) checkSequence(epoch int16, sequence int32, offset int64) error {
	current, u := a.state()
	if v := a.p.verification[u.id]; v != nil {
		if v.epochBump && sequence != 0 && current.n == 0 {
			return protocol.Errorf(protocol.OutOfOrderSequenceNumber, "Invalid sequence number for producer %d at offset %d in partition %s: %d (incoming seq. number). "+
				"Expected sequence 0 for a producer with no state", u.id, offset, a.p.tp, sequence)
		}
		if sequence > v.lowestSequence {
			return protocol.Errorf(protocol.OutOfOrderSequenceNumber, "Out of order sequence number for producer %d at offset %d in partition %s: %d (incoming seq. number), "+
				"%d (earliest seen sequence)", u.id, offset, a.p.tp, sequence, v.lowestSequence)
		}
	}
	if epoch != u.epoch {
		if sequence != 0 && u.epoch != noProducerEpoch {
			return protocol.Errorf(protocol.OutOfOrderSequenceNumber, "Invalid sequence number for new epoch of producer %d at offset %d in partition %s: %d (request epoch), "+
				"%d (seq. number), %d (current producer epoch)", u.id, offset, a.p.tp, epoch, sequence, u.epoch)
		}
		return nil
	}
	last := int32(noSequence)
	switch {
	case u.n > 0:
		last = u.lastSequence()
	case epoch == current.epoch:
		last = current.lastSequence()
	}
	// A producer that is not known here (expired, or all its records deleted) may go on with any sequence.
	if current.epoch == noProducerEpoch || inSequence(last, sequence) {
		return nil
	}
	return protocol.Errorf(protocol.OutOfOrderSequenceNumber, "Out of order sequence number for producer %d at offset %d in partition %s: %d (incoming seq. number), "+
		"%d (current end sequence number)", u.id, offset, a.p.tp, sequence, last)
}

func inSequence(last, next int32) bool {
	return int64(next) == int64(last)+1 || next == 0 && last == math.MaxInt32
}

func (a producerAppend) marker(b record.Batch, m endTxnMarker) error {
	_, u := a.state()
	epoch, offset := b.ProducerEpoch(), b.BaseOffset()
	if err := a.checkMarkerEpoch(epoch, offset); err != nil {
		return err
	}
	if u.coordinatorEpoch > m.coordinatorEpoch {
		if err := a.refuse(protocol.Errorf(protocol.TransactionCoordinatorFenced, "Invalid coordinator epoch for producerId %d at offset %d in partition %s: %d (zombie), %d (current)",
			u.id, offset, a.p.tp, m.coordinatorEpoch, u.coordinatorEpoch)); err != nil {
			return err
		}
	}
	if u.txnStart != noOffset {
		a.p.completed = append(a.p.completed, completedTxn{producerID: u.id, firstOffset: u.txnStart, lastOffset: offset, aborted: m.abort})
	}
	u.setEpoch(epoch)
	u.coordinatorEpoch, u.txnStart, u.lastTimestamp = m.coordinatorEpoch, noOffset, m.timestamp
	return nil
}

// checkMarkerEpoch: with transaction.version 2 every transaction ends with a higher epoch than its data, so an equal one is a late marker, unless no
// transaction is open (the retry of a marker that was written) or the epochs are exhausted.
func (a producerAppend) checkMarkerEpoch(epoch int16, offset int64) error {
	_, u := a.state()
	if a.version < 2 || epoch != u.epoch || u.txnStart == noOffset || epoch == math.MaxInt16 {
		return a.checkEpoch(epoch, offset)
	}
	return a.refuse(protocol.Errorf(protocol.InvalidProducerEpoch, "Epoch of producer %d at offset %d in %s is %d, which is smaller than or equal to the last seen epoch %d",
		u.id, offset, a.p.tp, epoch, u.epoch))
}

// endTxnMarker is the content of a transaction marker.
type endTxnMarker struct {
	abort            bool
	coordinatorEpoch int32
	timestamp        int64
}

// parseEndTxnMarker reads the one record of a control batch. ok is false for an empty batch: compaction has removed the whole transaction.
func parseEndTxnMarker(b record.Batch) (m endTxnMarker, ok bool, err error) {
	if b.Count() == 0 {
		return m, false, nil
	}
	r := fieldReader{b: b.Payload()}
	r.varint() // length
	r.bytes(1) // attributes
	timestampDelta := r.varint()
	r.varint() // offset delta
	key := r.bytes(r.varint())
	value := r.bytes(r.varint())
	if r.bad || len(key) < 4 || len(value) < 6 {
		return m, false, protocol.Errorf(protocol.InvalidRecord, "malformed transaction marker at offset %d", b.BaseOffset())
	}
	switch kind := binary.BigEndian.Uint16(key[2:]); kind {
	case 0:
		m.abort = true
	case 1:
	default:
		return m, false, protocol.Errorf(protocol.InvalidRecord, "control record of type %d at offset %d is no transaction marker", kind, b.BaseOffset())
	}
	m.coordinatorEpoch = int32(binary.BigEndian.Uint32(value[2:]))
	m.timestamp = b.BaseTimestamp() + timestampDelta
	if b.TimestampType() == record.LogAppendTime {
		m.timestamp = b.MaxTimestamp()
	}
	return m, true, nil
}

// fieldReader takes fields off b; bad is set once b does not hold them.
type fieldReader struct {
	b   []byte
	bad bool
}

func (r *fieldReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *fieldReader) bytes(n int64) []byte {
	if n < 0 || n > int64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}
