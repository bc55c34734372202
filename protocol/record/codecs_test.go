package record

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"go.uber.org/goleak"

	"github.com/ottla/ottla/protocol"
)

func readAll(c *Codecs, payload []byte, codec Codec, limit int64) ([]byte, error) {
	r, err := c.Reader(payload, codec, limit)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return out, err
}

// texts are of several blocks of each codec, and of sizes around their ends.
func texts() [][]byte {
	random := make([]byte, 200_000)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(random)
	return [][]byte{
		{}, {1}, bytes.Repeat([]byte("kafka"), 10), bytes.Repeat([]byte("a"), 1<<20), random, append(bytes.Repeat([]byte("x"), 70_000), random...),
		random[:32<<10], random[:32<<10+1], random[:64<<10], random[:64<<10+1],
	}
}

func TestCodecsRoundTrip(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	for _, codec := range codecNames {
		for i, text := range texts() {
			if len(text) == 0 && codec == CodecSnappy {
				continue // an empty stream is only a header: see below
			}
			for _, level := range []int{0, 1, 3, 9, 22, -1, -100} {
				z, err := c.Compress([]byte("head"), text, codec, level)
				ok(t, err)
				equal(t, "head", string(z[:4]))
				got, err := readAll(c, z[4:], codec, 0)
				ok(t, err)
				if !bytes.Equal(text, got) {
					t.Fatalf("%v level %d, text %d: %d bytes come back of %d", codec, level, i, len(got), len(text))
				}
			}
		}
	}
}

func TestLZ4FrameIsKafkas(t *testing.T) {
	c := NewCodecs()
	for _, text := range texts() {
		z, err := c.Compress(nil, text, CodecLZ4, 0)
		ok(t, err)
		equal(t, []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82}, z[:7])
		got, err := io.ReadAll(lz4.NewReader(bytes.NewReader(z))) // another reader takes it
		ok(t, err)
		equal(t, true, bytes.Equal(text, got))
		z = z[7:]
		for left := len(text); left > 0; left -= min(left, 64<<10) {
			n := binary.LittleEndian.Uint32(z) &^ (1 << 31)
			if n > 64<<10 {
				t.Fatalf("a block of %d bytes", n)
			}
			z = z[4+n:]
		}
		equal(t, []byte{0, 0, 0, 0}, z)
	}
}

func TestLZ4FramesOfOthers(t *testing.T) {
	c := NewCodecs()
	text := bytes.Repeat([]byte("some text "), 50_000)
	for _, size := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb} {
		var buf bytes.Buffer
		w := lz4.NewWriter(&buf)
		ok(t, w.Apply(lz4.BlockSizeOption(size), lz4.BlockChecksumOption(true), lz4.ChecksumOption(true), lz4.SizeOption(uint64(len(text)))))
		_, err := w.Write(text)
		ok(t, err)
		ok(t, w.Close())
		got, err := readAll(c, buf.Bytes(), CodecLZ4, 0)
		ok(t, err)
		equal(t, true, bytes.Equal(text, got))
		broken := bytes.Clone(buf.Bytes())
		broken[30] ^= 1
		_, err = readAll(c, broken, CodecLZ4, 0)
		hasCode(t, err, protocol.UnknownServerError, "")
	}
}

// TestLZ4BuffersFitTheBlocks: clients announce blocks of 4 MiB whatever they send, and a buffer of that size would be made for each batch.
func TestLZ4BuffersFitTheBlocks(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	text := bytes.Repeat([]byte("some text "), 6_000)
	var buf bytes.Buffer
	w := lz4.NewWriter(&buf) // 4 MiB
	_, err := w.Write(text)
	ok(t, err)
	ok(t, w.Close())
	out := make([]byte, len(text)+1)
	const runs = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		r, err := c.Reader(buf.Bytes(), CodecLZ4, 0)
		ok(t, err)
		n, err := io.ReadFull(r, out)
		equal(t, len(text), n)
		equal(t, io.ErrUnexpectedEOF, err)
		ok(t, r.Close())
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > 256<<10 {
		t.Errorf("%d bytes were allocated for a batch of %d", each, len(text))
	}
}

func TestXXH32(t *testing.T) {
	for text, want := range map[string]uint32{
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff, "Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		equal(t, want, xxh32([]byte(text)), text)
	}
}

func TestSnappyForms(t *testing.T) {
	c := NewCodecs()
	text := bytes.Repeat([]byte("some text "), 5000)
	bare := snappy.Encode(nil, text)
	framed, err := c.Compress(nil, text, CodecSnappy, 0)
	ok(t, err)
	head := snappyHeader()
	chunks := (len(text) + snappyChunk - 1) / snappyChunk
	equal(t, 2, chunks)
	first := int(binary.BigEndian.Uint32(framed[snappyHeaderSize:]))
	n, err := snappy.DecodedLen(framed[snappyHeaderSize+4 : snappyHeaderSize+4+first])
	ok(t, err)
	equal(t, snappyChunk, n)
	for name, test := range map[string]struct{ payload, want []byte }{
		"a bare block":      {bare, text},
		"framed":            {framed, text},
		"two streams":       {append(bytes.Clone(framed), framed...), append(bytes.Clone(text), text...)},
		"an empty stream":   {head[:], nil},
		"an empty block":    {snappy.Encode(nil, nil), nil},
		"a cut length ends": {append(bytes.Clone(framed), 0, 0, 1), text},
	} {
		got, err := readAll(c, test.payload, CodecSnappy, 0)
		ok(t, err)
		equal(t, true, bytes.Equal(test.want, got), name)
	}
	for name, payload := range map[string][]byte{
		"nothing":                {},
		"a chunk beyond the end": append(bytes.Clone(head[:]), 0, 0, 1, 0, 1, 2),
		"a negative length":      append(bytes.Clone(head[:]), 0xff, 0, 1, 0, 1, 2),
		"a block of lies":        append(binary.AppendUvarint(nil, 1<<31), 1, 2, 3),
		"no block":               []byte("\xff\xff\xff"),
	} {
		_, err := readAll(c, payload, CodecSnappy, 0)
		if err == nil {
			t.Fatal(name)
		}
		hasCode(t, err, protocol.UnknownServerError, "")
	}
}

func TestGzipMembers(t *testing.T) {
	c := NewCodecs()
	one, err := c.Compress(nil, []byte("one"), CodecGzip, 0)
	ok(t, err)
	two, err := c.Compress(nil, []byte("two"), CodecGzip, 0)
	ok(t, err)
	got, err := readAll(c, append(bytes.Clone(one), two...), CodecGzip, 0)
	ok(t, err)
	equal(t, "onetwo", string(got))
	got, err = readAll(c, append(bytes.Clone(one), 0, 0, 0), CodecGzip, 0)
	ok(t, err)
	equal(t, "one", string(got), "what is no member is passed over")
	two[len(two)-5] ^= 1 // its checksum
	_, err = readAll(c, append(bytes.Clone(one), two...), CodecGzip, 0)
	hasCode(t, err, protocol.UnknownServerError, "")
}

func TestZstdFrames(t *testing.T) {
	c := NewCodecs()
	text := bytes.Repeat([]byte("some text, and some more of it "), 100_000)
	for _, window := range []int{1 << 10, 1 << 20, 4 << 20, 128 << 20, 512 << 20} {
		var buf bytes.Buffer
		w, err := zstd.NewWriter(&buf, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		ok(t, err)
		for range 2 { // of unknown size, so that the window is claimed in full; then a second frame
			_, err = w.Write(text[:len(text)/2])
			ok(t, err)
			ok(t, w.Flush())
			_, err = w.Write(text[len(text)/2:])
			ok(t, err)
			ok(t, w.Close())
			w.Reset(&buf)
		}
		z := append([]byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2}, buf.Bytes()...) // behind a frame to skip
		before := bytes.Clone(z)
		got, err := readAll(c, z, CodecZstd, 0)
		ok(t, err)
		equal(t, true, bytes.Equal(append(bytes.Clone(text), text...), got))
		equal(t, true, bytes.Equal(before, z), "the payload is not touched")
	}
}

// growth is the memory that fn allocates.
func growth(fn func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// A few bytes that claim a window, a block or a record of many megabytes must not get them.
func TestClaimsAreNotMemory(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	zstdHead := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00}
	raw := func(b ...byte) []byte { return append([]byte{1 | byte(len(b))<<3, 0, 0}, b...) }
	claims := map[string]struct {
		codec   Codec
		payload []byte
	}{
		"zstd window of 128 MiB":  {CodecZstd, append(append(bytes.Clone(zstdHead), 17<<3), raw(1, 2, 3)...)},
		"zstd content of 100 MiB": {CodecZstd, append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x40, 0x06}, raw(1, 2, 3)...)},
		"zstd window of 3 TiB":    {CodecZstd, append(append(bytes.Clone(zstdHead), 0xff), raw(1, 2, 3)...)},
		"snappy block of 2 GiB":   {CodecSnappy, append(binary.AppendUvarint(nil, 1<<31-1), make([]byte, 40)...)},
	}
	_, _ = readAll(c, claims["zstd window of 128 MiB"].payload, CodecZstd, 0) // warm
	for name, claim := range claims {
		if got := growth(func() { _, _ = readAll(c, claim.payload, claim.codec, 0) }); got > 2<<20 {
			t.Errorf("%s: %d bytes allocated", name, got)
		}
	}
	for _, codec := range codecNames {
		body := append(binary.AppendVarint(nil, 1<<31-1), 0, 0, 0)
		z, err := c.Compress(nil, body, codec, 0)
		ok(t, err)
		b := rawBatch(codec, 1, z)
		if got := growth(func() {
			hasCode(t, c.Records(b, func(*Record) error { return nil }), protocol.InvalidRecord, "")
		}); got > 1<<20 {
			t.Errorf("%v: a record of 2 GiB took %d bytes", codec, got)
		}
	}
}

// rawBatch puts a header before a payload.
func rawBatch(codec Codec, count int32, payload []byte) Batch {
	b := append(make(Batch, HeaderSize), payload...)
	h := header{attributes: byte(codec), lastOffsetDelta: count - 1, producerID: -1, producerEpoch: -1, baseSequence: -1, count: count}
	h.put(b)
	return b
}

func TestReaderLimit(t *testing.T) {
	c := NewCodecs()
	text := bytes.Repeat([]byte("a"), 1<<20)
	for _, codec := range codecNames {
		z, err := c.Compress(nil, text, codec, 0)
		ok(t, err)
		got, err := readAll(c, z, codec, 1<<20)
		ok(t, err)
		equal(t, len(text), len(got))
		_, err = readAll(c, z, codec, 1<<20-1)
		hasCode(t, err, protocol.InvalidRecord, "")
	}
}

func TestBrokenStreams(t *testing.T) {
	c := NewCodecs()
	text := bytes.Repeat([]byte("some text "), 20_000)
	for _, codec := range codecNames[1:] {
		z, err := c.Compress(nil, text, codec, 0)
		ok(t, err)
		for cut := 1; cut < len(z); cut += 1 + len(z)/97 {
			got, err := readAll(c, z[:cut], codec, 0)
			if codec == CodecSnappy && err == nil && len(got) < len(text) {
				continue // the end of a framed stream is not marked
			}
			hasCode(t, err, protocol.UnknownServerError, "")
		}
		got, err := readAll(c, z, codec, 0) // the pools are still good
		ok(t, err)
		equal(t, true, bytes.Equal(text, got))
	}
	for _, codec := range []Codec{5, 6, 7, CodecProducer} {
		_, err := c.Reader(nil, codec, 0)
		hasCode(t, err, protocol.UnknownServerError, "")
		_, err = c.Compress(nil, nil, codec, 0)
		hasCode(t, err, protocol.UnknownServerError, "")
	}
}

func TestReaderAfterClose(t *testing.T) {
	r, err := NewCodecs().Reader([]byte("abc"), CodecNone, 0)
	ok(t, err)
	ok(t, r.Close())
	ok(t, r.Close())
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("a closed reader reads")
	}
}

func TestCodecsAreSafeTogether(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := NewCodecs()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			text := bytes.Repeat([]byte{byte(i), 1, 2, 3}, 10_000)
			for round := range 20 {
				codec := codecNames[(i+round)%len(codecNames)]
				z, err := c.Compress(nil, text, codec, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := readAll(c, z, codec, 0); err != nil || crc32.ChecksumIEEE(got) != crc32.ChecksumIEEE(text) {
					t.Errorf("%v: %v", codec, err)
				}
			}
		})
	}
	wg.Wait()
	c.Close()
	z, err := c.Compress(nil, []byte("late"), CodecZstd, 0)
	ok(t, err)
	got, err := readAll(c, z, CodecZstd, 0)
	ok(t, err)
	equal(t, "late", string(got), "calls after Close still work")
}

// A bubble must be able to end while pools are full, and the next one must not meet anything of the last.
func TestCodecsInBubbles(t *testing.T) {
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			c := NewCodecs()
			for _, codec := range codecNames {
				z, err := c.Compress(nil, []byte("text"), codec, 0)
				ok(t, err)
				done := make(chan []byte)
				go func() {
					got, _ := readAll(c, z, codec, 0)
					done <- got
				}()
				equal(t, "text", string(<-done))
			}
			c.Close()
			synctest.Wait()
		})
	}
}

func TestCodecNames(t *testing.T) {
	for codec, want := range map[Codec]string{
		CodecProducer: "producer", CodecNone: "uncompressed", CodecGzip: "gzip", CodecSnappy: "snappy", CodecLZ4: "lz4",
		CodecZstd: "zstd", 6: "codec-6",
	} {
		equal(t, want, codec.String())
	}
}
