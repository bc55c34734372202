package record

import (
	"errors"
	"io"

	"github.com/ottla/ottla/protocol"
)

// Validation is what one partition's records of a client are checked against: Kafka's ProduceRequest.validateRecords,
// UnifiedLog.analyzeAndValidateRecords and LogValidator, in their order.
type Validation struct {
	Partition       protocol.TopicPartition // for messages
	Now             int64                   // ms
	TimestampType   TimestampType           // message.timestamp.type
	BeforeMaxMs     int64                   // message.timestamp.before.max.ms
	AfterMaxMs      int64                   // message.timestamp.after.max.ms
	Compacted       bool                    // cleanup.policy contains compact: null keys are refused
	Codec           Codec                   // compression.type; CodecProducer keeps the batch's
	Level           int                     // compression.<codec>.level; 0 is the default
	MaxMessageBytes int                     // max.message.bytes, for the batch as it comes and as it will be stored
	ProduceVersion  int16                   // of the request; zstd needs 7
	MaxDecompressed int64                   // bytes that the records may decompress to; 0 is MaxDecompressed
}

// produceWithZstd is the first version of Produce whose batches may be compressed with zstd.
const produceWithZstd = 7

// magicEnd is how much of an entry is needed to see its format.
const magicEnd = posMagic + 1

// Validate checks records, which must be one v2 batch with base offset 0, and stamps it in place: max timestamp, timestamp type and CRC
// become what the topic and the records say. Trailing bytes that are no whole batch are cut off, as Kafka does. The batch
// returned aliases records unless its codec had to change; then it is one new batch with the same producer fields. Base
// offset and leader epoch are left to the log. Nothing is allocated for a record, and nothing at all where no compression is involved.
//
// Errors: *ValidationError for faults of single records, otherwise *protocol.Error. Of the latter Kafka tells the client the
// code and not the message.
func (c *Codecs) Validate(records []byte, v Validation) (Batch, error) {
	b, err := v.soleBatch(records)
	if err != nil {
		return nil, err
	}
	if err := v.analyze(b); err != nil {
		return nil, err
	}
	if err := v.header(b); err != nil {
		return nil, err
	}
	target := v.Codec
	if target == CodecProducer {
		target = b.Codec()
	}
	switch {
	case b.Codec() != target:
		return c.rebuild(b, target, v)
	case target == CodecNone:
		err = v.plain(b)
	default:
		err = c.compressed(b, &v)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// soleBatch returns the one batch that records must be (ProduceRequest.validateRecords).
func (v *Validation) soleBatch(records []byte) (Batch, error) {
	b, rest, err := NextBatch(records)
	if err == io.EOF { //nolint:errorlint // NextBatch gives io.EOF itself
		return nil, invalid("Produce requests with version %d must have at least one record batch per partition", v.ProduceVersion)
	} else if err != nil {
		return nil, err
	}
	if b.Magic() != Magic2 {
		return nil, invalid("Produce requests with version %d are only allowed to contain record batches with magic version 2",
			v.ProduceVersion)
	}
	if v.ProduceVersion < produceWithZstd && len(b) > posAttributes+1 {
		switch codec := b.Codec(); {
		case codec == CodecZstd:
			return nil, protocol.Errorf(protocol.UnsupportedCompressionType,
				"Produce requests with version %d are not allowed to use ZStandard compression", v.ProduceVersion)
		case codec > CodecZstd:
			return nil, unknownCodec(codec)
		}
	}
	if _, _, err := NextBatch(rest); err == nil {
		return nil, invalid("Produce requests with version %d are only allowed to contain exactly one record batch per partition",
			v.ProduceVersion)
	} else if err != io.EOF { //nolint:errorlint // as above
		return nil, err
	}
	return b, nil
}

// NextBatch cuts an entry off b as Kafka's ByteBufferLogInputStream does: io.EOF itself if there is no whole one,
// protocol.CorruptMessage for lengths and formats that do not exist.
func NextBatch(b []byte) (Batch, []byte, error) {
	first, rest, err := Split(b)
	if err == nil && len(b) >= magicEnd || errors.Is(err, io.ErrUnexpectedEOF) && len(b) >= magicEnd {
		if magic := Batch(b).Magic(); magic < 0 || magic > Magic2 {
			return nil, nil, protocol.Errorf(protocol.CorruptMessage, "Invalid magic found in record: %d", magic)
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, io.EOF
	}
	return first, rest, err
}

// analyze is UnifiedLog.analyzeAndValidateRecords for a client's batch.
func (v *Validation) analyze(b Batch) error {
	if base := b.BaseOffset(); base != 0 {
		return invalid("The baseOffset of the record batch in the append to %s should be 0, but it is %d", v.Partition, base)
	}
	if len(b) > v.MaxMessageBytes {
		return protocol.Errorf(protocol.MessageTooLarge,
			"The record batch size in the append to %s is %d bytes which exceeds the maximum configured value of %d",
			v.Partition, len(b), v.MaxMessageBytes)
	}
	if len(b) < HeaderSize || b.CRC() != b.computeCRC() {
		return protocol.Errorf(protocol.CorruptMessage, "Record is corrupt (stored crc = %d) in topic partition %s.", b.CRC(), v.Partition)
	}
	if b.Codec() > CodecZstd {
		return unknownCodec(b.Codec())
	}
	return nil
}

// header is LogValidator.validateBatch.
func (v *Validation) header(b Batch) error {
	offsets, count := int64(b.LastOffsetDelta())+1, int64(b.Count())
	switch {
	case offsets <= 0:
		return invalid("Batch has an invalid offset range: [%d, %d] in topic partition %s", b.BaseOffset(), b.LastOffset(), v.Partition)
	case count <= 0:
		return invalid("Invalid reported count for record batch: %d in topic partition %s", count, v.Partition)
	case offsets != count:
		return invalid("Inconsistent batch offset range [%d, %d] and count of records %d in topic partition %s",
			b.BaseOffset(), b.LastOffset(), count, v.Partition)
	case b.IsControl():
		return invalid("Clients are not allowed to write control records in topic partition %s", v.Partition)
	case b.HasProducerID() && b.BaseSequence() < 0:
		return invalid("Invalid sequence number %d in record batch with producerId %d in topic partition %s",
			b.BaseSequence(), b.ProducerID(), v.Partition)
	}
	return nil
}

// plain walks an uncompressed batch (LogValidator.assignOffsetsNonCompressed).
func (v *Validation) plain(b Batch) error {
	check := recordCheck{v: *v, b: b, times: b.times(), max: NoTimestamp}
	rest := b.Payload()
	for range b.Count() {
		body, tail, err := cutRecord(rest)
		if err != nil {
			return err
		}
		var f fields
		if err := f.parse(body); err != nil {
			return err
		}
		check.record(seen{
			timestampDelta: f.timestampDelta, offsetDelta: f.offsetDelta, hasKey: f.key != nil,
			keySize: len(f.key), valueSize: len(f.value), kind: "DefaultRecord",
		})
		rest = tail
	}
	if len(rest) > 0 {
		return invalid(msgRemaining)
	}
	return check.finish()
}

// compressed walks a batch whose codec stays, record by record through the decoder and without keeping any
// (LogValidator.validateMessagesAndAssignOffsetsCompressed).
func (c *Codecs) compressed(b Batch, v *Validation) error {
	s, err := c.openStream(b.Payload(), b.Codec(), v.MaxDecompressed)
	if err != nil {
		return err
	}
	defer s.close()
	check := recordCheck{v: *v, b: b, times: b.times(), max: NoTimestamp}
	for range b.Count() {
		r, err := s.skim()
		if err != nil {
			return err
		}
		check.displaced = check.displaced || r.offsetDelta != check.index
		check.record(r)
	}
	if err := s.ensureEnd(); err != nil {
		return err
	}
	if check.displaced && check.faults == nil {
		return displaced()
	}
	return check.finish()
}

// recordCheck looks at the records of a batch one by one.
type recordCheck struct {
	v      Validation // a copy, so that the caller's need not be on the heap
	b      Batch
	times  times
	index  int32
	max    int64 // the largest timestamp so far
	faults *faults

	displaced bool // some offset delta is not the record's index
}

// seen is what validation looks at in a record.
type seen struct {
	timestampDelta     int64
	offsetDelta        int32
	hasKey             bool
	keySize, valueSize int
	kind               string // how Kafka's message names it
}

// record is LogValidator.validateRecord.
func (k *recordCheck) record(r seen) {
	ts := k.times.of(r.timestampDelta)
	k.max = max(k.max, ts)
	switch v := &k.v; {
	case v.Compacted && !r.hasKey:
		k.fault().nullKey(k)
	case v.TimestampType == CreateTime && ts != NoTimestamp:
		if age := v.Now - ts; age > v.BeforeMaxMs || -age > v.AfterMaxMs {
			k.fault().outOfRange(k, r, ts)
		}
	case k.times.appended:
		k.fault().appendTime(k, r, ts)
	}
	k.index++
}

func (k *recordCheck) fault() *faults {
	if k.faults == nil {
		k.faults = &faults{}
	}
	return k.faults
}

// err is the faults of the records, if there are any.
func (k *recordCheck) err() error {
	if k.faults == nil {
		return nil
	}
	return k.faults.err()
}

// finish stamps the batch if all records are in order.
func (k *recordCheck) finish() error {
	if err := k.err(); err != nil {
		return err
	}
	k.b.SetTimestamps(k.v.TimestampType, k.stamp())
	return nil
}

// stamp is the max timestamp that the batch gets.
func (k *recordCheck) stamp() int64 {
	if k.v.TimestampType == LogAppendTime {
		return k.v.Now
	}
	return k.max
}
