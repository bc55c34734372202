package record

import (
	"encoding/binary"

	"github.com/ottla/ottla/protocol"
)

// rebuild is the rebuilding of one batch with another codec; pooled for its scratch.
type rebuild struct {
	check recordCheck
	z     *compressor
	head  []byte // the start of a record, encoded anew
	base  int64  // the timestamp of the first record
}

// rebuild validates b and writes its records into a new batch with another codec
// (LogValidator.validateMessagesAndAssignOffsetsCompressed and buildRecordsAndAssignOffsets). It streams: no more than one record is held beside
// the result, which is not kept past the size limit.
func (c *Codecs) rebuild(b Batch, target Codec, v Validation) (Batch, error) {
	s, err := c.openStream(b.Payload(), b.Codec(), v.MaxDecompressed)
	if err != nil {
		return nil, err
	}
	defer s.close()
	dst := make([]byte, HeaderSize, max(len(b), 2*HeaderSize))
	z, err := c.compressor(dst, target, v.Level)
	if err != nil {
		return nil, err
	}
	defer c.putCompressor(z)
	z.out.limit = v.MaxMessageBytes
	w, _ := c.rebuilds.Get().(*rebuild)
	if w == nil {
		w = &rebuild{}
	}
	w.check, w.z = recordCheck{v: v, b: b, times: b.times(), max: NoTimestamp}, z
	out, err := w.run(s, target)
	w.check, w.z = recordCheck{}, nil
	if !c.closed.Load() {
		c.rebuilds.Put(w)
	}
	return out, err
}

func (w *rebuild) run(s *stream, target Codec) (Batch, error) {
	b, v := w.check.b, &w.check.v
	for i := range b.Count() {
		body, err := s.record()
		if err != nil {
			return nil, err
		}
		if err := w.record(i, body); err != nil {
			return nil, err
		}
	}
	if err := s.ensureEnd(); err != nil {
		return nil, err
	}
	if err := w.check.err(); err != nil {
		return nil, err
	}
	if err := checkProducer(b); err != nil {
		return nil, err
	}
	if err := w.z.enc.Close(); err != nil {
		return nil, err
	}
	if w.z.out.over {
		return nil, protocol.Errorf(protocol.MessageTooLarge,
			"Message batch size in append to partition %s exceeds the maximum configured size of %d.", v.Partition, v.MaxMessageBytes)
	}
	attributes := byte(target)
	if v.TimestampType == LogAppendTime {
		attributes |= attrLogAppendTime
	}
	out := Batch(w.z.out.buf)
	h := header{
		leaderEpoch: NoLeaderEpoch, attributes: attributes | b.attributes()&attrTransactional,
		lastOffsetDelta: b.Count() - 1, baseTimestamp: w.base, maxTimestamp: w.check.stamp(),
		producerID: b.ProducerID(), producerEpoch: b.ProducerEpoch(), baseSequence: b.BaseSequence(), count: b.Count(),
	}
	h.put(out)
	return out, nil
}

// record checks a record and writes it at the next offset. Its timestamp may count from another base than before.
func (w *rebuild) record(index int32, body []byte) error {
	var f fields
	if err := f.parse(body); err != nil {
		return err
	}
	w.check.record(seen{
		timestampDelta: f.timestampDelta, offsetDelta: f.offsetDelta, hasKey: f.key != nil,
		keySize: len(f.key), valueSize: len(f.value), kind: "DefaultRecord",
	})
	ts := w.check.times.of(f.timestampDelta)
	if index == 0 {
		w.base = ts
	}
	tail := body[f.keyAt:]
	size := 1 + varintSize(ts-w.base) + varintSize(int64(index)) + len(tail)
	w.head = binary.AppendVarint(w.head[:0], int64(size))
	w.head = append(w.head, 0)
	w.head = binary.AppendVarint(w.head, ts-w.base)
	w.head = binary.AppendVarint(w.head, int64(index))
	if _, err := w.z.enc.Write(w.head); err != nil {
		return err
	}
	_, err := w.z.enc.Write(tail)
	return err
}

// checkProducer is what Kafka looks at when it writes a batch, and not before (MemoryRecordsBuilder.validateProducerState).
func checkProducer(b Batch) error {
	switch {
	case b.IsTransactional() && b.ProducerID() == NoProducerID:
		return protocol.Errorf(protocol.UnknownServerError, "Cannot write transactional messages without a valid producer ID")
	case b.ProducerID() != NoProducerID && b.ProducerEpoch() == NoProducerEpoch:
		return protocol.Errorf(protocol.UnknownServerError, "Invalid negative producer epoch")
	}
	return nil
}
