package record

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
)

// Codec is the compression of a batch (attributes bits 0-2), and what a topic's compression.type asks for.
type Codec int8

// The codecs, by their number in a batch's attributes. CodecProducer is only a topic's wish: keep what the producer used.
const (
	CodecProducer Codec = -1
	CodecNone     Codec = 0
	CodecGzip     Codec = 1
	CodecSnappy   Codec = 2
	CodecLZ4      Codec = 3
	CodecZstd     Codec = 4

	codecCount = 5
)

// String returns the name that compression.type uses, or "codec-5" and the like for a number without one.
func (c Codec) String() string {
	switch c {
	case CodecProducer:
		return "producer"
	case CodecNone:
		return "uncompressed"
	case CodecGzip:
		return "gzip"
	case CodecSnappy:
		return "snappy"
	case CodecLZ4:
		return "lz4"
	case CodecZstd:
		return "zstd"
	}
	return fmt.Sprintf("codec-%d", int8(c))
}

// MaxDecompressed bounds what one batch may decompress to, in bytes, where no smaller limit is given (Kafka's default of
// max.decompressed.message.bytes).
const MaxDecompressed int64 = math.MaxInt32 - 8

// bufferKept is the largest buffer in bytes that goes back to a pool: one huge record must not pin its memory.
const bufferKept = 1 << 20

// Codecs holds the pooled compressors, decompressors and record walkers of one broker. It is safe for concurrent use, starts
// no goroutines and sets no finalizers. The zero value is not usable: NewCodecs.
type Codecs struct {
	closed   atomic.Bool
	decoders [codecCount]sync.Pool   // of decoder
	encoders [encoderSlots]sync.Pool // of *compressor
	streams  sync.Pool               // of *stream
	walkers  sync.Pool               // of *walker
	rebuilds sync.Pool               // of *rebuild
}

// NewCodecs returns empty pools.
func NewCodecs() *Codecs { return &Codecs{} }

// Close drops what the pools hold. Calls that still run end normally, and what they used is not kept.
func (c *Codecs) Close() {
	c.closed.Store(true)
	for i := range c.decoders {
		for d, _ := c.decoders[i].Get().(decoder); d != nil; d, _ = c.decoders[i].Get().(decoder) {
			d.close()
		}
	}
	for i := range c.encoders {
		drain(&c.encoders[i])
	}
	drain(&c.streams)
	drain(&c.walkers)
	drain(&c.rebuilds)
}

func drain(p *sync.Pool) {
	for p.Get() != nil {
	}
}

// decoder is a pooled decompressor. Read gives decompressed bytes and io.EOF at the stream's own end; every other error means
// that the stream is broken. It allocates by what was decompressed so far, never by what a length in the stream claims (but for buffers of a
// block, at most 4 MiB).
type decoder interface {
	io.Reader
	reset(payload []byte, limit int64) error // payload is kept until release; no more than limit bytes are of use
	release() bool                           // drops payload; whether the decoder is small enough to be kept
	close()                                  // before it is thrown away
}

// errTruncated is a compressed stream that ends before its end.
var errTruncated = errors.New("the compressed stream ended prematurely")

func (c *Codecs) decoder(codec Codec) (decoder, error) {
	if codec < 0 || codec >= codecCount {
		return nil, unknownCodec(codec)
	}
	if d, ok := c.decoders[codec].Get().(decoder); ok {
		return d, nil
	}
	switch codec {
	case CodecGzip:
		return &gzipDecoder{}, nil
	case CodecSnappy:
		return &snappyDecoder{}, nil
	case CodecLZ4:
		return &lz4Decoder{}, nil
	case CodecZstd:
		return newZstdDecoder()
	default:
		return &plainDecoder{}, nil
	}
}

func (c *Codecs) putDecoder(codec Codec, d decoder) {
	if small := d.release(); !small || c.closed.Load() {
		d.close()
		return
	}
	c.decoders[codec].Put(d)
}

// unknownCodec is Kafka's answer to codec numbers 5 to 7: an IllegalArgumentException, thus UNKNOWN_SERVER_ERROR.
func unknownCodec(codec Codec) error {
	return protocol.Errorf(protocol.UnknownServerError, "Unknown compression type id: %d", int8(codec))
}

// plainDecoder is the decoder of uncompressed records.
type plainDecoder struct{ rest []byte }

func (d *plainDecoder) reset(payload []byte, _ int64) error { d.rest = payload; return nil }
func (d *plainDecoder) release() bool                       { d.rest = nil; return true }
func (d *plainDecoder) close()                              {}

func (d *plainDecoder) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// Reader streams the decompressed form of payload, which has to stay unchanged until Close. limit bounds its size in bytes:
// protocol.InvalidRecord past it; 0 is MaxDecompressed. A broken stream is protocol.UnknownServerError, as in Kafka. The reader is for one goroutine,
// and must be closed.
func (c *Codecs) Reader(payload []byte, codec Codec, limit int64) (io.ReadCloser, error) {
	s, err := c.openStream(payload, codec, limit)
	if err != nil {
		return nil, err
	}
	return &streamReader{s: s}, nil
}

type streamReader struct{ s *stream }

func (r *streamReader) Read(p []byte) (int, error) {
	if r.s == nil {
		return 0, io.ErrClosedPipe
	}
	return r.s.read(p)
}

func (r *streamReader) Close() error {
	if r.s != nil {
		r.s.close()
		r.s = nil
	}
	return nil
}

// encoder is a pooled compressor. What it writes to dst is complete after Close.
type encoder interface {
	io.WriteCloser
	Reset(dst io.Writer)
}

// compressor is an encoder with the buffer that it writes to.
type compressor struct {
	enc  encoder
	out  sink
	slot int
}

// sink appends to buf. Past limit bytes (0: none) it keeps nothing and is over, but takes all the same.
type sink struct {
	buf   []byte
	limit int
	over  bool
}

// Write implements io.Writer; it never fails.
func (s *sink) Write(p []byte) (int, error) {
	if s.over = s.over || s.limit > 0 && len(s.buf)+len(p) > s.limit; !s.over {
		s.buf = append(s.buf, p...)
	}
	return len(p), nil
}

// The pools of encoders, one for each codec and level that makes a difference.
const (
	slotSnappy   = iota
	slotGzip                                 // default level, then 1 to 9
	slotLZ4      = slotGzip + gzipLevels     // default level, then 1 to 9
	slotZstd     = slotLZ4 + lz4Levels       // by klauspost/compress's own levels
	encoderSlots = slotZstd + zstdLevels + 1 // plain
	slotPlain    = encoderSlots - 1

	gzipLevels = 10
	lz4Levels  = 10
	zstdLevels = 5
)

// compressor returns one that writes behind dst.
func (c *Codecs) compressor(dst []byte, codec Codec, level int) (*compressor, error) {
	slot, err := encoderSlot(codec, level)
	if err != nil {
		return nil, err
	}
	z, _ := c.encoders[slot].Get().(*compressor)
	if z == nil {
		z = &compressor{slot: slot}
		if z.enc, err = newEncoder(slot); err != nil {
			return nil, err
		}
	}
	z.out = sink{buf: dst}
	z.enc.Reset(&z.out)
	return z, nil
}

func (c *Codecs) putCompressor(z *compressor) {
	z.out = sink{}
	if !c.closed.Load() {
		c.encoders[z.slot].Put(z)
	}
}

func encoderSlot(codec Codec, level int) (int, error) {
	switch codec {
	case CodecNone:
		return slotPlain, nil
	case CodecGzip:
		return slotGzip + gzipLevel(level), nil
	case CodecSnappy:
		return slotSnappy, nil
	case CodecLZ4:
		return slotLZ4 + lz4Level(level), nil
	case CodecZstd:
		return slotZstd + zstdLevel(level), nil
	default:
		return 0, unknownCodec(codec)
	}
}

func newEncoder(slot int) (encoder, error) {
	switch {
	case slot == slotSnappy:
		return &snappyEncoder{}, nil
	case slot == slotPlain:
		return &plainEncoder{}, nil
	case slot < slotLZ4:
		return newGzipEncoder(slot - slotGzip)
	case slot < slotZstd:
		return newLZ4Encoder(slot - slotLZ4), nil
	}
	return newZstdEncoder(slot - slotZstd)
}

// plainEncoder is the encoder of uncompressed records.
type plainEncoder struct{ dst io.Writer }

func (e *plainEncoder) Reset(dst io.Writer)         { e.dst = dst }
func (e *plainEncoder) Write(p []byte) (int, error) { return e.dst.Write(p) }
func (e *plainEncoder) Close() error                { return nil }

// Compress appends the compressed form of src, in the framing that Kafka's writer uses, to dst. level is Kafka's level of the codec; 0 is its
// default. An unknown codec is protocol.UnknownServerError.
func (c *Codecs) Compress(dst, src []byte, codec Codec, level int) ([]byte, error) {
	z, err := c.compressor(dst, codec, level)
	if err != nil {
		return dst, err
	}
	defer c.putCompressor(z)
	if _, err := z.enc.Write(src); err != nil {
		return dst, err
	}
	if err := z.enc.Close(); err != nil {
		return dst, err
	}
	return z.out.buf, nil
}
