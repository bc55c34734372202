package record

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/ottla/ottla/protocol"
)

// Builder builds one v2 batch. Set the fields, Add records, Build; Reset drops the records and keeps the fields and the
// memory. Not safe for concurrent use.
type Builder struct {
	BaseOffset             int64
	LeaderEpoch            int32 // -1: not known
	Codec                  Codec // CodecNone to CodecZstd
	Level                  int   // compression level; 0 is the codec's default
	TimestampType          TimestampType
	AppendTime             int64 // the max timestamp (ms) of a LogAppendTime batch; -1: the largest of the records
	ProducerID             int64 // -1: none
	ProducerEpoch          int16 // -1: none
	BaseSequence           int32 // -1: none
	Transactional, Control bool
	LastOffsetDelta        int32 // of the batch that this one replaces, where its last records are gone; -1: that of the last record
	DeleteHorizon          int64 // ms; becomes the base timestamp; -1: none

	buf           []byte // room for the header, then the records
	out           []byte // the finished batch where it is compressed
	count         int32
	lastDelta     int32
	baseTimestamp int64
	maxTimestamp  int64
}

// maxRecordOverhead is what a record without headers takes at most besides key and value: lengths, deltas, attributes, the count of headers.
const maxRecordOverhead = 5 + 1 + 10 + 5 + 5 + 5 + 1

// NewBuilder returns a Builder with all ids and overrides at -1, no codec and CreateTime.
func NewBuilder() *Builder {
	return &Builder{
		LeaderEpoch: NoLeaderEpoch, AppendTime: NoTimestamp,
		ProducerID: NoProducerID, ProducerEpoch: NoProducerEpoch, BaseSequence: NoSequence,
		LastOffsetDelta: -1, DeleteHorizon: NoTimestamp,
	}
}

// Reset drops the records, so that the Builder can make another batch. A batch from Build must not be used any more.
func (w *Builder) Reset() {
	w.buf = w.buf[:0]
	w.count, w.lastDelta = 0, 0
}

// Add appends a record at the next offset. timestamp is in ms; a nil key or value is Kafka's null. Nothing is kept of the arguments.
func (w *Builder) Add(timestamp int64, key, value []byte, headers ...Header) {
	delta := int32(0)
	if w.count > 0 {
		delta = w.lastDelta + 1
	}
	w.add(delta, timestamp, key, value, headers)
}

// AddAt appends a record at offset, which must lie after the last record's and at most 2^31-1 after BaseOffset: batches that
// were compacted have gaps.
func (w *Builder) AddAt(offset, timestamp int64, key, value []byte, headers ...Header) {
	w.add(int32(offset-w.BaseOffset), timestamp, key, value, headers)
}

func (w *Builder) add(offsetDelta int32, timestamp int64, key, value []byte, headers []Header) {
	if w.count == 0 {
		w.buf = append(slices.Grow(w.buf[:0], HeaderSize+maxRecordOverhead+len(key)+len(value)), make([]byte, HeaderSize)...)
		w.baseTimestamp, w.maxTimestamp = timestamp, timestamp
		if w.DeleteHorizon >= 0 {
			w.baseTimestamp = w.DeleteHorizon
		}
	}
	w.maxTimestamp = max(w.maxTimestamp, timestamp)
	w.buf = appendRecord(w.buf, timestamp-w.baseTimestamp, offsetDelta, key, value, headers)
	w.lastDelta = offsetDelta
	w.count++
}

// Len is the number of records so far.
func (w *Builder) Len() int { return int(w.count) }

// Size is the size of the batch so far in bytes, with its header and not compressed.
func (w *Builder) Size() int { return max(len(w.buf), HeaderSize) }

// Build returns the finished batch, valid until Add, Build or Reset. c may be nil when Codec is none. Without records, or with more bytes than the
// format can state, it is protocol.InvalidRecord.
func (w *Builder) Build(c *Codecs) (Batch, error) {
	if w.count == 0 {
		return nil, protocol.Errorf(protocol.InvalidRecord, "a batch needs at least one record")
	}
	b := Batch(w.buf)
	if w.Codec != CodecNone {
		w.out = append(w.out[:0], w.buf[:HeaderSize]...)
		out, err := c.Compress(w.out, w.buf[HeaderSize:], w.Codec, w.Level)
		if err != nil {
			return nil, err
		}
		w.out = out
		b = Batch(out)
	}
	if len(b)-LogOverhead > math.MaxInt32 {
		return nil, protocol.Errorf(protocol.InvalidRecord, "a batch of %d bytes is larger than the format allows", len(b))
	}
	w.fillHeader(b)
	return b, nil
}

func (w *Builder) fillHeader(b Batch) {
	h := header{
		baseOffset: w.BaseOffset, leaderEpoch: w.LeaderEpoch, attributes: w.attributes(),
		lastOffsetDelta: max(w.lastDelta, w.LastOffsetDelta), baseTimestamp: w.baseTimestamp, maxTimestamp: w.maxTimestamp,
		producerID: w.ProducerID, producerEpoch: w.ProducerEpoch, baseSequence: w.BaseSequence, count: w.count,
	}
	if w.TimestampType == LogAppendTime && w.AppendTime >= 0 {
		h.maxTimestamp = w.AppendTime
	}
	h.put(b)
}

func (w *Builder) attributes() byte {
	a := byte(w.Codec) & attrCodec
	if w.TimestampType == LogAppendTime {
		a |= attrLogAppendTime
	}
	if w.Transactional {
		a |= attrTransactional
	}
	if w.Control {
		a |= attrControl
	}
	if w.DeleteHorizon >= 0 {
		a |= attrDeleteHorizon
	}
	return a
}

// AppendEmpty appends to dst the batch without records that compaction leaves of b, to keep the producer's last sequence
// number (DefaultRecordBatch.writeEmptyHeader). Ids, offsets, leader epoch and the flags for transaction, control and timestamp type stay.
func AppendEmpty(dst []byte, b Batch) []byte {
	h := header{
		baseOffset: b.BaseOffset(), leaderEpoch: b.LeaderEpoch(),
		attributes:      b.attributes() & (attrLogAppendTime | attrTransactional | attrControl),
		lastOffsetDelta: b.LastOffsetDelta(), baseTimestamp: NoTimestamp, maxTimestamp: b.MaxTimestamp(),
		producerID: b.ProducerID(), producerEpoch: b.ProducerEpoch(), baseSequence: b.BaseSequence(),
	}
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	h.put(Batch(dst[start:]))
	return dst
}

// header is the fields of a v2 batch before the records.
type header struct {
	baseOffset      int64
	leaderEpoch     int32
	attributes      byte
	lastOffsetDelta int32
	baseTimestamp   int64
	maxTimestamp    int64
	producerID      int64
	producerEpoch   int16
	baseSequence    int32
	count           int32
}

// put writes the header into b, which is the whole batch, with its length and CRC.
func (h *header) put(b Batch) {
	be := binary.BigEndian
	be.PutUint64(b, uint64(h.baseOffset))
	be.PutUint32(b[posLength:], uint32(len(b)-LogOverhead))
	be.PutUint32(b[posLeaderEpoch:], uint32(h.leaderEpoch))
	b[posMagic] = byte(Magic2)
	be.PutUint16(b[posAttributes:], uint16(h.attributes))
	be.PutUint32(b[posLastOffsetDelta:], uint32(h.lastOffsetDelta))
	be.PutUint64(b[posBaseTimestamp:], uint64(h.baseTimestamp))
	be.PutUint64(b[posMaxTimestamp:], uint64(h.maxTimestamp))
	be.PutUint64(b[posProducerID:], uint64(h.producerID))
	be.PutUint16(b[posProducerEpoch:], uint16(h.producerEpoch))
	be.PutUint32(b[posBaseSequence:], uint32(h.baseSequence))
	be.PutUint32(b[posCount:], uint32(h.count))
	b.setCRC()
}

// appendRecord appends one record (DefaultRecord.writeTo).
func appendRecord(dst []byte, timestampDelta int64, offsetDelta int32, key, value []byte, headers []Header) []byte {
	size := 1 + varintSize(timestampDelta) + varintSize(int64(offsetDelta)) + bytesSize(key) + bytesSize(value) +
		varintSize(int64(len(headers)))
	for i := range headers {
		size += varintSize(int64(len(headers[i].Key))) + len(headers[i].Key) + bytesSize(headers[i].Value)
	}
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, 0) // attributes
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, int64(offsetDelta))
	dst = appendBytes(dst, key)
	dst = appendBytes(dst, value)
	dst = binary.AppendVarint(dst, int64(len(headers)))
	for i := range headers {
		dst = binary.AppendVarint(dst, int64(len(headers[i].Key)))
		dst = append(dst, headers[i].Key...)
		dst = appendBytes(dst, headers[i].Value)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}

func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

// varintSize is the size of v as a zig-zag varint.
func varintSize(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}
