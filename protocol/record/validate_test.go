package record

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
)

const testNow = sampleTime + 10

// validation is that of a topic with Kafka's defaults.
func validation() Validation {
	return Validation{
		Partition: protocol.TopicPartition{Topic: "t"}, Now: testNow, BeforeMaxMs: math.MaxInt64, AfterMaxMs: 3600000,
		Codec: CodecProducer, MaxMessageBytes: 1048588, ProduceVersion: 12,
	}
}

func resum(b Batch) Batch {
	b.setCRC()
	return b
}

func put32(b Batch, at int, v uint32) Batch {
	binary.BigEndian.PutUint32(b[at:], v)
	return resum(b)
}

// The refusals of whole batches, in the order in which Kafka looks for them: each input also has the faults that come later.
func TestValidateRefusesBatches(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	good := func() Batch { return build(t, 2, nil) }
	zstdBatch := build(t, 2, func(w *Builder) { w.Codec = CodecZstd })
	worst := func() Batch { // wrong in all that comes after the codec
		b := build(t, 2, func(w *Builder) { w.Control, w.ProducerID = true, 5 })
		return b
	}
	for name, test := range map[string]struct {
		records []byte
		set     func(*Validation)
		code    protocol.Code
		message string
	}{
		"no bytes": {nil, nil, protocol.InvalidRecord, "Produce requests with version 12 must have at least one record batch per partition"},
		"truncated": {good()[:70], nil, protocol.InvalidRecord,
			"Produce requests with version 12 must have at least one record batch per partition"},
		"two batches": {append(good(), good()...), nil, protocol.InvalidRecord,
			"Produce requests with version 12 are only allowed to contain exactly one record batch per partition"},
		"magic 1": {func() []byte { b := good(); b[posMagic] = 1; return b }(), nil, protocol.InvalidRecord,
			"Produce requests with version 12 are only allowed to contain record batches with magic version 2"},
		"magic 3":   {func() []byte { b := good(); b[posMagic] = 3; return b }(), nil, protocol.CorruptMessage, "Invalid magic found in record: 3"},
		"length 13": {put32(good(), 8, 13), nil, protocol.CorruptMessage, "Record size 13 is less than the minimum record overhead (14)"},
		"zstd before version 7": {slices.Clone(zstdBatch), func(v *Validation) { v.ProduceVersion = 6 }, protocol.UnsupportedCompressionType,
			"Produce requests with version 6 are not allowed to use ZStandard compression"},
		"base offset": {func() []byte { b := good(); b.SetBaseOffset(1); b[20]++; return b }(), func(v *Validation) { v.MaxMessageBytes = 1 },
			protocol.InvalidRecord, "The baseOffset of the record batch in the append to t-0 should be 0, but it is 1"},
		"too large": {func() []byte { b := good(); b[20]++; return b }(), func(v *Validation) { v.MaxMessageBytes = len(good()) - 1 },
			protocol.MessageTooLarge, ""},
		"wrong CRC":  {func() []byte { b := worst(); b[30]++; return b }(), nil, protocol.CorruptMessage, ""},
		"too short":  {func() []byte { b := good()[:40]; binary.BigEndian.PutUint32(b[8:], 28); return b }(), nil, protocol.CorruptMessage, ""},
		"codec 7":    {func() []byte { b := worst(); b[22] |= 7; return resum(b) }(), nil, protocol.UnknownServerError, "Unknown compression type id: 7"},
		"no offsets": {put32(worst(), posLastOffsetDelta, math.MaxUint32), nil, protocol.InvalidRecord, "Batch has an invalid offset range: [0, -1] in topic partition t-0"},
		"no records": {put32(worst(), posCount, 0), nil, protocol.InvalidRecord, "Invalid reported count for record batch: 0 in topic partition t-0"},
		"negative count": {put32(worst(), posCount, math.MaxUint32), nil, protocol.InvalidRecord,
			"Invalid reported count for record batch: -1 in topic partition t-0"},
		"count and offsets": {put32(worst(), posCount, 3), nil, protocol.InvalidRecord,
			"Inconsistent batch offset range [0, 1] and count of records 3 in topic partition t-0"},
		"control": {worst(), nil, protocol.InvalidRecord, "Clients are not allowed to write control records in topic partition t-0"},
		"no sequence": {build(t, 2, func(w *Builder) { w.ProducerID = 5 }), nil, protocol.InvalidRecord,
			"Invalid sequence number -1 in record batch with producerId 5 in topic partition t-0"},
	} {
		t.Run(name, func(t *testing.T) {
			v := validation()
			if test.set != nil {
				test.set(&v)
			}
			got, err := c.Validate(slices.Clone(test.records), v)
			hasCode(t, err, test.code, test.message)
			var records *ValidationError
			if got != nil || errors.As(err, &records) {
				t.Fatalf("a fault of the batch, not of records: %v", err)
			}
		})
	}
}

func TestValidateCutsOffWhatIsNoBatch(t *testing.T) {
	b := build(t, 2, nil)
	for _, tail := range [][]byte{{0}, make([]byte, 11), b[:len(b)-1]} {
		got, err := NewCodecs().Validate(append(slices.Clone(b), tail...), validation())
		ok(t, err)
		equal(t, b, got)
	}
}

// Records that do not fill their batch, in each codec and both ways to read them.
func TestValidateRefusesMalformedRecords(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	body := func(fields ...byte) []byte { return append([]byte{byte(len(fields)) << 1}, fields...) }
	for name, payload := range map[string][]byte{
		"nothing":                      {},
		"an endless length":            {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a length beyond the end":      {100, 0, 0},
		"a negative length":            {1, 0, 0},
		"no fields":                    body(),
		"trailing bytes":               append(body(0, 0, 0, 1, 1, 0), 0),
		"a second record":              append(body(0, 0, 0, 1, 1, 0), body(0, 0, 2, 1, 1, 0)...),
		"a key beyond the end":         body(0, 0, 0, 20, 1, 0),
		"a value beyond the end":       body(0, 0, 0, 1, 20, 0),
		"a negative number of headers": body(0, 0, 0, 1, 1, 1),
		"too many headers":             body(0, 0, 0, 1, 1, 100),
		"a header without key":         body(0, 0, 0, 1, 1, 2, 1, 1),
		"bytes behind the headers":     body(0, 0, 0, 1, 1, 0, 7),
		"a cut offset":                 body(0, 0, 0x80),
	} {
		for _, codec := range codecNames {
			if codec == CodecSnappy && len(payload) == 0 {
				continue
			}
			z, err := c.Compress(nil, payload, codec, 0)
			ok(t, err)
			for _, target := range []Codec{CodecProducer, CodecGzip, CodecNone} {
				v := validation()
				v.Codec = target
				_, err := c.Validate(rawBatch(codec, 1, z), v)
				if err == nil || protocol.CodeOf(err) != protocol.InvalidRecord {
					t.Errorf("%s, %v to %v: %v", name, codec, target, err)
				}
			}
			if err := c.Records(rawBatch(codec, 1, z), func(*Record) error { return nil }); protocol.CodeOf(err) != protocol.InvalidRecord {
				t.Errorf("%s, %v: Records: %v", name, codec, err)
			}
		}
	}
}

func TestValidateRefusesBrokenCompression(t *testing.T) {
	c := NewCodecs()
	for _, codec := range codecNames[1:] {
		for _, target := range []Codec{CodecProducer, CodecNone} {
			v := validation()
			v.Codec = target
			_, err := c.Validate(rawBatch(codec, 1, []byte("\xff\xff\xffno stream at all")), v)
			hasCode(t, err, protocol.UnknownServerError, "")
		}
	}
}

func TestValidateDisplacedOffsets(t *testing.T) {
	w := NewBuilder()
	add := func() {
		w.Reset()
		w.AddAt(1, sampleTime, []byte("a"), nil)
		w.AddAt(0, sampleTime, []byte("b"), nil)
	}
	c := NewCodecs()
	w.LastOffsetDelta = 1
	add()
	b, err := w.Build(c)
	ok(t, err)
	_, err = c.Validate(b, validation())
	ok(t, err) // Kafka does not look at them in an uncompressed batch
	w.Codec = CodecLZ4
	add()
	b, err = w.Build(c)
	ok(t, err)
	_, err = c.Validate(b, validation())
	hasCode(t, err, protocol.UnknownServerError, "")
	v := validation()
	v.Codec = CodecNone
	got, err := c.Validate(b, v)
	ok(t, err)
	equal(t, int64(1), collect(t, c, got)[1].Offset, "written anew in place")
}

func TestValidateBombs(t *testing.T) {
	c := NewCodecs()
	w := NewBuilder()
	w.Codec = CodecZstd
	w.Add(sampleTime, []byte("k"), make([]byte, 50<<20))
	bomb, err := w.Build(c)
	ok(t, err)
	if len(bomb) > 100_000 {
		t.Fatalf("no bomb: %d bytes", len(bomb))
	}
	v := validation()
	_, err = c.Validate(slices.Clone(bomb), v) // warm
	ok(t, err)
	b := slices.Clone(bomb)
	if got := growth(func() { _, err = c.Validate(b, v) }); got > 4<<20 || err != nil {
		t.Errorf("%d bytes allocated, %v", got, err)
	}
	v.MaxDecompressed = 10 << 20
	_, err = c.Validate(slices.Clone(bomb), v)
	hasCode(t, err, protocol.InvalidRecord, "")
	v.MaxDecompressed, v.Codec = 0, CodecNone
	_, err = c.Validate(slices.Clone(bomb), v)
	hasCode(t, err, protocol.MessageTooLarge, "")
}

func TestValidateManyBadRecordsAreCounted(t *testing.T) {
	w := NewBuilder()
	w.Codec = CodecZstd
	const n = faultsKept + 1000
	for range n {
		w.Add(sampleTime, nil, nil)
	}
	c := NewCodecs()
	b, err := w.Build(c)
	ok(t, err)
	v := validation()
	v.Compacted = true
	_, err = c.Validate(b, v)
	var records *ValidationError
	if !errors.As(err, &records) || len(records.Records) != faultsKept || !strings.Contains(records.Error(), "due to 66536 record errors in total") {
		t.Fatal(err)
	}
}
