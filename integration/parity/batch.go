package parity

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// record is one record of a batch.
type record struct {
	key, value []byte // nil is null
	delta      int64  // of the timestamp
}

// batch is a record batch of magic 2, whose header can be wrong.
type batch struct {
	attributes int16
	first      int64 // timestamp in ms; records add their delta
	producer   int64
	epoch      int16
	sequence   int32
	records    []record

	count     *int32 // instead of the right ones
	lastDelta *int32
	magic     int8
	badCRC    bool
}

// of is a batch of values without producer.
func of(first int64, values ...string) batch {
	b := batch{first: first, producer: -1, epoch: -1, sequence: -1, magic: 2}
	for _, v := range values {
		b.records = append(b.records, record{value: []byte(v)})
	}
	return b
}

// by sets the producer and its sequence number.
func (b batch) by(producer int64, epoch int16, sequence int32) batch {
	b.producer, b.epoch, b.sequence = producer, epoch, sequence
	return b
}

// with sets attributes.
func (b batch) with(attributes int16) batch {
	b.attributes = attributes
	return b
}

// bytes encodes the batch; codec 1 (gzip) is the only one it can write.
func (b batch) bytes() []byte {
	var payload []byte
	latest := b.first
	for i, r := range b.records {
		latest = max(latest, b.first+r.delta)
		one := kmsg.NewRecord()
		one.OffsetDelta, one.TimestampDelta64, one.Key, one.Value = int32(i), r.delta, r.key, r.value
		encoded := one.AppendTo(nil)[1:] // without the length, which is one byte while it is 0
		payload = append(binary.AppendVarint(payload, int64(len(encoded))), encoded...)
	}
	if b.attributes&7 == 1 {
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, _ = w.Write(payload)
		_ = w.Close()
		payload = zipped.Bytes()
	}
	count, lastDelta := int32(len(b.records)), int32(len(b.records))-1
	if b.count != nil {
		count = *b.count
	}
	if b.lastDelta != nil {
		lastDelta = *b.lastDelta
	}
	out := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: b.magic, Attributes: b.attributes, LastOffsetDelta: lastDelta,
		FirstTimestamp: b.first, MaxTimestamp: latest, ProducerID: b.producer, ProducerEpoch: b.epoch, FirstSequence: b.sequence,
		NumRecords: count, Records: payload,
	}
	raw := out.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	crc := crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli))
	if b.badCRC {
		crc++
	}
	binary.BigEndian.PutUint32(raw[17:], crc)
	return raw
}
