package record

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"

	"github.com/ottla/ottla/protocol"
)

// TimestampType says what a record's timestamp means (message.timestamp.type).
type TimestampType int8

// The timestamp types, by their value in bit 3 of a batch's attributes.
const (
	CreateTime    TimestampType = 0 // set by the producer
	LogAppendTime TimestampType = 1 // set by the leader on append; every record reads as the batch's max timestamp
)

// Sizes in bytes.
const (
	HeaderSize  = 61 // a v2 batch without records (RECORD_BATCH_OVERHEAD)
	LogOverhead = 12 // base offset and length, with which an entry of any format begins (LOG_OVERHEAD)

	minEntryLength = 14 // the smallest length field of any format: an empty message of magic 0
)

// What a batch holds where a field does not apply.
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoTimestamp     int64 = -1
	NoLeaderEpoch   int32 = -1
)

// Magic2 is the format of all batches since Kafka 0.11.
const Magic2 int8 = 2

// Positions of the fields of a v2 batch.
const (
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21 // the CRC covers from here to the end
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

// Bits of the low byte of the attributes; the high byte is not used.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
)

// Batch is a view of one v2 record batch (Kafka's DefaultRecordBatch): the bytes from the base offset to the end. Methods
// read or patch the bytes in place. All but Check and Magic need the whole header (HeaderSize bytes); Check or Split with a look at
// Magic and the size has to come first.
type Batch []byte

// BaseOffset is the offset of the first record that the batch once had; compaction keeps it.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b)) }

// SetBaseOffset patches the base offset, which the CRC does not cover.
func (b Batch) SetBaseOffset(offset int64) { binary.BigEndian.PutUint64(b, uint64(offset)) }

// Size is the size in bytes that the length field claims: 12 + batchLength.
func (b Batch) Size() int { return LogOverhead + int(int32(binary.BigEndian.Uint32(b[posLength:]))) }

// LeaderEpoch is the epoch of the leader that appended the batch, -1 if it comes from a client.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[posLeaderEpoch:])) }

// SetLeaderEpoch patches the partition leader epoch, which the CRC does not cover.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(epoch))
}

// Magic is the format version: 2, or 0 and 1 in message sets, which have it at the same place. It is -1 if b is too short.
func (b Batch) Magic() int8 {
	if len(b) <= posMagic {
		return -1
	}
	return int8(b[posMagic])
}

// CRC is the stored CRC-32C.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Codec is the compression of the records; values past CodecZstd are possible and not legal.
func (b Batch) Codec() Codec { return Codec(b.attributes() & attrCodec) }

// TimestampType is the meaning of the timestamps.
func (b Batch) TimestampType() TimestampType {
	if b.attributes()&attrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional reports whether the batch belongs to a transaction (true also for the transaction's end marker).
func (b Batch) IsTransactional() bool { return b.attributes()&attrTransactional != 0 }

// IsControl reports whether the batch holds control records, which consumers do not see.
func (b Batch) IsControl() bool { return b.attributes()&attrControl != 0 }

// DeleteHorizon returns the time (ms) from which compaction may drop the batch's tombstones or marker, if one was set.
func (b Batch) DeleteHorizon() (ms int64, ok bool) {
	if b.attributes()&attrDeleteHorizon == 0 {
		return NoTimestamp, false
	}
	return b.BaseTimestamp(), true
}

func (b Batch) attributes() byte { return b[posAttributes+1] }

// LastOffsetDelta is LastOffset - BaseOffset, also the sequence number's range; compaction keeps it.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:])) }

// LastOffset is the offset of the last record that the batch once had.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after the batch: LastOffset + 1.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// BaseTimestamp is what timestamp deltas count from, in ms: the first record's timestamp, or the delete horizon.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posBaseTimestamp:])) }

// MaxTimestamp is the largest record timestamp (CreateTime) or the time of the append (LogAppendTime), in ms, or -1.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])) }

// ProducerID is the id of an idempotent or transactional producer, or -1.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[posProducerID:])) }

// HasProducerID reports whether the batch has a producer id.
func (b Batch) HasProducerID() bool { return b.ProducerID() > NoProducerID }

// ProducerEpoch is the producer's epoch, or -1.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[posProducerEpoch:])) }

// BaseSequence is the sequence number of the first record, or -1.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[posBaseSequence:])) }

// LastSequence is the sequence number of the last record, or -1. Numbers wrap past 2^31-1 to 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == NoSequence {
		return NoSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence returns the sequence number n after seq, both not negative; numbers wrap past 2^31-1 to 0
// (DefaultRecordBatch.incrementSequence).
func AddSequence(seq, n int32) int32 {
	if seq > math.MaxInt32-n {
		return n - (math.MaxInt32 - seq) - 1
	}
	return seq + n
}

// Count is the number of records in the batch; 0 in the empty batches that compaction leaves. It is a claim until the
// records were walked.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[posCount:])) }

// Payload is what follows the header: the records, compressed as Codec says. It aliases b.
func (b Batch) Payload() []byte { return b[HeaderSize:] }

// SetTimestamps sets the type bit and the max timestamp (ms), and recomputes the CRC if either changed. The base timestamp
// and the records stay (DefaultRecordBatch.setMaxTimestamp).
func (b Batch) SetTimestamps(t TimestampType, maxTimestamp int64) {
	if b.TimestampType() == t && b.MaxTimestamp() == maxTimestamp {
		return
	}
	attributes := b.attributes() & (attrCodec | attrTransactional | attrControl | attrDeleteHorizon)
	if t == LogAppendTime {
		attributes |= attrLogAppendTime
	}
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(attributes))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(maxTimestamp))
	b.setCRC()
}

func (b Batch) setCRC() { binary.BigEndian.PutUint32(b[posCRC:], b.computeCRC()) }

func (b Batch) computeCRC() uint32 {
	return crc32.Checksum(b[posAttributes:], crc32.MakeTable(crc32.Castagnoli)) // MakeTable returns the shared table
}

// Split cuts the first entry off b by its length field. The format is not looked at and nothing verified, but that the
// entry is whole (io.ErrUnexpectedEOF, also if b is empty) and its length one that some format has (protocol.CorruptMessage
// below 14). An entry may be shorter than HeaderSize: look at Magic and the length before any field of a v2 batch, or Check.
func Split(b []byte) (first Batch, rest []byte, err error) {
	if len(b) < LogOverhead {
		return nil, b, io.ErrUnexpectedEOF
	}
	length := int32(binary.BigEndian.Uint32(b[posLength:]))
	if length < minEntryLength {
		return nil, b, protocol.Errorf(protocol.CorruptMessage,
			"Record size %d is less than the minimum record overhead (%d)", length, minEntryLength)
	}
	size := LogOverhead + int(length)
	if size > len(b) {
		return nil, b, io.ErrUnexpectedEOF
	}
	return Batch(b[:size:size]), b[size:], nil
}
