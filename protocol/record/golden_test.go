package record

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The files in testdata were written by Apache Kafka's own classes.
func sample(t testing.TB, name string) Batch {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	ok(t, err)
	return b
}

var sampleCodecs = map[string]Codec{
	"batch-v2-none.bin": CodecNone, "batch-v2-gzip.bin": CodecGzip, "batch-v2-snappy.bin": CodecSnappy,
	"batch-v2-lz4.bin": CodecLZ4, "batch-v2-zstd.bin": CodecZstd,
}

const sampleTime = int64(0x18bcfe56800)

func sampleRecords() []Record {
	value := func(n byte) []byte {
		return append([]byte{'v', 'a', 'l', 'u', 'e', n}, bytes.Repeat([]byte("-"), 40)...)
	}
	return []Record{
		{Offset: 100, Timestamp: sampleTime, Key: []byte("key0"), Value: value('0')},
		{Offset: 101, Timestamp: sampleTime + 1000, Key: []byte("key1")},
		{Offset: 102, Timestamp: sampleTime + 2000, Key: []byte("key2"), Value: value('2')},
	}
}

func collect(t testing.TB, c *Codecs, b Batch) []Record {
	t.Helper()
	var got []Record
	ok(t, c.Records(b, func(r *Record) error {
		got = append(got, cloneRecord(r))
		return nil
	}))
	return got
}

func cloneRecord(r *Record) Record {
	out := Record{Offset: r.Offset, Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, Header{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	return out
}

func TestGoldenBatchesRead(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	for name, codec := range sampleCodecs {
		t.Run(name, func(t *testing.T) {
			b := sample(t, name)
			ok(t, b.Check())
			equal(t, codec, b.Codec())
			equal(t, len(b), b.Size())
			equal(t, int64(100), b.BaseOffset())
			equal(t, int64(102), b.LastOffset())
			equal(t, int64(103), b.NextOffset())
			equal(t, int32(7), b.LeaderEpoch())
			equal(t, int32(3), b.Count())
			equal(t, CreateTime, b.TimestampType())
			equal(t, sampleTime, b.BaseTimestamp())
			equal(t, sampleTime+2000, b.MaxTimestamp())
			equal(t, NoProducerID, b.ProducerID())
			equal(t, false, b.HasProducerID())
			equal(t, NoProducerEpoch, b.ProducerEpoch())
			equal(t, NoSequence, b.BaseSequence())
			equal(t, NoSequence, b.LastSequence())
			equal(t, sampleRecords(), collect(t, c, b))
		})
	}
}

// What has only one right form must come out byte for byte as Kafka writes it; compressed bytes may differ between compressors.
func TestGoldenBatchWritten(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	for name, codec := range sampleCodecs {
		t.Run(name, func(t *testing.T) {
			want := sample(t, name)
			w := NewBuilder()
			w.BaseOffset, w.LeaderEpoch, w.Codec = 100, 7, codec
			for _, r := range sampleRecords() {
				w.Add(r.Timestamp, r.Key, r.Value)
			}
			got, err := w.Build(c)
			ok(t, err)
			ok(t, got.Check())
			equal(t, sampleRecords(), collect(t, c, got))
			const crcAndLength = posAttributes
			equal(t, want[crcAndLength:HeaderSize], got[crcAndLength:HeaderSize])
			switch codec {
			case CodecNone:
				equal(t, want, got)
			case CodecGzip:
				equal(t, want[HeaderSize:HeaderSize+10], got[HeaderSize:HeaderSize+10], "gzip header")
			case CodecLZ4:
				equal(t, want[HeaderSize:HeaderSize+7], got[HeaderSize:HeaderSize+7], "LZ4 frame header")
				equal(t, []byte{0, 0, 0, 0}, []byte(got[len(got)-4:]), "LZ4 end mark")
			case CodecSnappy:
				equal(t, want[HeaderSize:HeaderSize+16], got[HeaderSize:HeaderSize+16], "snappy stream header")
			case CodecZstd:
				equal(t, want[HeaderSize:HeaderSize+4], got[HeaderSize:HeaderSize+4], "zstd magic")
			default:
				t.Fatal("no such sample")
			}
		})
	}
}

func TestGoldenEmptyBatch(t *testing.T) {
	want := sample(t, "empty-batch.bin")
	ok(t, want.Check())
	equal(t, int32(0), want.Count())
	equal(t, int64(55), want.BaseOffset())
	equal(t, int32(5), want.LastOffsetDelta())
	equal(t, int32(15), want.LastSequence())
	c := NewCodecs()
	defer c.Close()
	equal(t, 0, len(collect(t, c, want)))

	w := NewBuilder()
	w.BaseOffset, w.LeaderEpoch, w.ProducerID, w.ProducerEpoch, w.BaseSequence = 55, 7, 9, 3, 10
	w.Transactional, w.Codec, w.LastOffsetDelta = true, CodecGzip, 5
	w.Add(sampleTime, []byte("k"), []byte("v"))
	full, err := w.Build(c)
	ok(t, err)
	equal(t, want, Batch(AppendEmpty(nil, full)))
}
