package record

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// Whatever the bytes: no panic, no more memory than what is there can explain, and only batches that read well are accepted.
func FuzzBatch(f *testing.F) {
	c := NewCodecs()
	f.Cleanup(c.Close)
	for name := range sampleCodecs {
		b := sample(f, name)
		b.SetBaseOffset(0)
		f.Add([]byte(b), int8(-1), false)
		f.Add([]byte(b), int8(CodecZstd), true)
	}
	f.Add([]byte(sample(f, "marker-commit.bin")), int8(-1), false)
	f.Add([]byte(sample(f, "empty-batch.bin")), int8(0), true)
	f.Fuzz(func(t *testing.T, data []byte, target int8, compacted bool) {
		if len(data) >= HeaderSize { // let the fuzzer pass the outer checks
			b := Batch(data)
			b.SetBaseOffset(0)
			binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-LogOverhead))
			b[posMagic] = byte(Magic2)
			b.setCRC()
		}
		v := validation()
		v.Codec, v.Compacted, v.MaxDecompressed = Codec(max(-1, min(target, 4))), compacted, 1<<20
		v.AfterMaxMs = math.MaxInt64
		before := slices.Clone(data)
		var got Batch
		var err error
		allocated := growth(func() { got, err = c.Validate(data, v) })
		if limit := int64(32<<20) + 100*int64(len(data)); allocated > limit {
			t.Fatalf("%d bytes allocated for %d", allocated, len(data))
		}
		if err != nil {
			var e *protocol.Error
			if got != nil || !errors.As(err, &e) || !slices.Equal(before, data) {
				t.Fatalf("%v %v", got, err)
			}
			checkWalk(t, c, data)
			return
		}
		if err := got.Check(); err != nil {
			t.Fatal(err)
		}
		n := int32(0)
		if err := c.Records(got, func(r *Record) error { n++; return nil }); err != nil || n != got.Count() {
			t.Fatalf("%d of %d records, %v", n, got.Count(), err)
		}
	})
}

// checkWalk is for batches that are not accepted, as they may still be in a log.
func checkWalk(t *testing.T, c *Codecs, data []byte) {
	for rest := data; ; {
		b, tail, err := Split(rest)
		if err != nil {
			return
		}
		rest = tail
		_ = b.Check()
		if len(b) < HeaderSize || b.Codec() == CodecZstd { // zstd may expand by 30,000, which is legal and slow
			continue
		}
		if err := c.Records(b, func(*Record) error { return nil }); err != nil && protocol.CodeOf(err) == protocol.None {
			t.Fatal(err)
		}
		_, _, _ = c.ReadEndTxnMarker(b)
	}
}

// What one codec has written it reads again, and what it reads is bounded.
func FuzzCodecs(f *testing.F) {
	c := NewCodecs()
	f.Cleanup(c.Close)
	for codec := range int8(codecCount) {
		z, err := c.Compress(nil, []byte("some text, some text"), Codec(codec), 0)
		ok(f, err)
		f.Add(z, codec)
	}
	f.Fuzz(func(t *testing.T, data []byte, n int8) {
		codec := Codec(n & 7)
		const limit = 1 << 20
		if got, err := readAll(c, data, codec, limit); len(got) > limit || codec > CodecZstd && err == nil {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if codec > CodecZstd || len(data) == 0 {
			return
		}
		z, err := c.Compress(nil, data, codec, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(c, z, codec, 0); err != nil || !slices.Equal(got, data) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(data), err)
		}
	})
}
