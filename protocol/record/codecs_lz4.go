package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/pierrec/lz4/v4"
)

// The LZ4 frame format, as much of it as Kafka uses.
const (
	lz4Magic         = 0x184d2204 // little-endian
	lz4MinHeader     = 6
	lz4Uncompressed  = 1 << 31 // in a block's length
	lz4BlockWritten  = 64 << 10
	lz4FlagsVersion  = 0xc0 // must be 1
	lz4FlagVersion1  = 0x40
	lz4FlagBlocks    = 0x20 // independent blocks: must be set
	lz4FlagBlockSum  = 0x10
	lz4FlagSize      = 0x08
	lz4FlagSum       = 0x04
	lz4FlagsReserved = 0x03 // one of them means a dictionary elsewhere
	lz4BDReserved    = 0x8f

	lz4MostExpansion  = 255 // of a block, by the format
	lz4UsualExpansion = 4
	lz4FirstBuffer    = 64 << 10
)

var (
	errLZ4Magic      = errors.New("the LZ4 frame has another magic")
	errLZ4Descriptor = errors.New("the LZ4 frame descriptor is corrupted or not supported")
	errLZ4BlockSum   = errors.New("the LZ4 block has another checksum")
)

// lz4Decoder reads one LZ4 frame with independent blocks. The content checksum is passed over, as Kafka's reader does, and so is what
// follows the frame.
type lz4Decoder struct {
	src      []byte // compressed, not yet read
	flags    byte
	maxBlock int
	done     bool
	buf      []byte
	block    []byte // decompressed, not yet read; aliases buf or src
}

func (d *lz4Decoder) reset(payload []byte, _ int64) error {
	d.src, d.block, d.done = payload, nil, false
	if len(payload) < lz4MinHeader {
		return errTruncated
	}
	if binary.LittleEndian.Uint32(payload) != lz4Magic {
		return errLZ4Magic
	}
	d.flags = payload[4]
	bd := payload[5]
	if d.flags&lz4FlagsVersion != lz4FlagVersion1 || d.flags&lz4FlagBlocks == 0 || d.flags&lz4FlagsReserved != 0 {
		return fmt.Errorf("%w: flags %#x", errLZ4Descriptor, d.flags)
	}
	if bd&lz4BDReserved != 0 || bd>>4 < 4 {
		return fmt.Errorf("%w: block descriptor %#x", errLZ4Descriptor, bd)
	}
	d.maxBlock = 1 << (2*(bd>>4) + 8)
	end := lz4MinHeader
	if d.flags&lz4FlagSize != 0 {
		end += 8
	}
	if len(payload) <= end {
		return errTruncated
	}
	if payload[end] != byte(xxh32(payload[4:end])>>8) {
		return fmt.Errorf("%w: another checksum", errLZ4Descriptor)
	}
	d.src = payload[end+1:]
	return nil
}

func (d *lz4Decoder) Read(p []byte) (int, error) {
	for len(d.block) == 0 {
		if d.done {
			return 0, io.EOF
		}
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.block)
	d.block = d.block[n:]
	return n, nil
}

// next decompresses the next block, or finds the end mark.
func (d *lz4Decoder) next() error {
	length, err := d.uint32()
	if err != nil {
		return err
	}
	n := int(length &^ lz4Uncompressed)
	switch {
	case n == 0:
		d.done = true
		if d.flags&lz4FlagSum != 0 {
			_, err = d.uint32()
		}
		return err
	case n > d.maxBlock:
		return fmt.Errorf("LZ4 block size %d exceeded max: %d", n, d.maxBlock)
	case n > len(d.src):
		return errTruncated
	}
	raw := d.src[:n]
	d.src = d.src[n:]
	if length&lz4Uncompressed != 0 {
		d.block = raw
	} else if err := d.decode(raw); err != nil {
		return err
	}
	if d.flags&lz4FlagBlockSum == 0 {
		return nil
	}
	sum, err := d.uint32()
	if err == nil && sum != xxh32(raw) {
		err = errLZ4BlockSum
	}
	return err
}

// decode decompresses a block. How long it will be is not told, but that it is no longer than maxBlock, which most clients set to 4 MiB whatever they
// send: so the buffer begins small and grows, because to make and clear it would take far longer than the block.
func (d *lz4Decoder) decode(raw []byte) error {
	most := min(d.maxBlock, lz4MostExpansion*len(raw))
	for {
		if size := min(most, max(lz4FirstBuffer, lz4UsualExpansion*len(raw))); cap(d.buf) < size {
			d.buf = make([]byte, size)
		}
		buf := d.buf[:min(cap(d.buf), most)]
		n, err := lz4.UncompressBlock(raw, buf)
		if err == nil {
			d.block = buf[:n]
			return nil
		}
		if len(buf) == most {
			return err
		}
		d.buf = make([]byte, min(most, 4*len(buf)))
	}
}

func (d *lz4Decoder) uint32() (uint32, error) {
	if len(d.src) < 4 {
		return 0, errTruncated
	}
	v := binary.LittleEndian.Uint32(d.src)
	d.src = d.src[4:]
	return v, nil
}

func (d *lz4Decoder) release() bool {
	d.src, d.block = nil, nil
	if cap(d.buf) > bufferKept {
		d.buf = nil
	}
	return true
}

func (d *lz4Decoder) close() {}

// lz4Level maps Kafka's level to 0 (the fast compressor, also for Kafka's default 9) to 9 (high compression).
func lz4Level(level int) int {
	const kafkaDefault = 9
	if level <= 0 || level == kafkaDefault {
		return 0
	}
	return min(level, lz4Levels-1)
}

// lz4Encoder writes one frame: version 1, independent blocks of 64 KiB, no checksums but that of the descriptor.
type lz4Encoder struct {
	dst     io.Writer
	started bool
	level   int
	fast    lz4.Compressor
	high    lz4.CompressorHC
	chunk   []byte // uncompressed, not yet written
	out     []byte
}

func newLZ4Encoder(level int) encoder {
	e := &lz4Encoder{level: level}
	e.high.Level = lz4.CompressionLevel(1 << (8 + level)) // Level1 is 1<<9
	return e
}

// Reset implements encoder.
func (e *lz4Encoder) Reset(dst io.Writer) {
	e.dst, e.started, e.chunk = dst, false, e.chunk[:0]
}

// Write implements io.Writer.
func (e *lz4Encoder) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), lz4BlockWritten-len(e.chunk))
		e.chunk = append(e.chunk, p[:n]...)
		p = p[n:]
		if len(e.chunk) == lz4BlockWritten {
			if err := e.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

func (e *lz4Encoder) flush() error {
	if !e.started {
		e.started = true
		// magic, FLG, BD and the second byte of the descriptor's xxHash
		if _, err := e.dst.Write([]byte{0x04, 0x22, 0x4d, 0x18, lz4FlagVersion1 | lz4FlagBlocks, 0x40, 0x82}); err != nil {
			return err
		}
	}
	if len(e.chunk) == 0 {
		return nil
	}
	if e.out == nil {
		e.out = make([]byte, 4+lz4.CompressBlockBound(lz4BlockWritten))
	}
	n, err := e.compress()
	if err != nil {
		return err
	}
	if n == 0 || n >= len(e.chunk) {
		n = copy(e.out[4:], e.chunk)
		binary.LittleEndian.PutUint32(e.out, uint32(n)|lz4Uncompressed)
	} else {
		binary.LittleEndian.PutUint32(e.out, uint32(n))
	}
	e.chunk = e.chunk[:0]
	_, err = e.dst.Write(e.out[:4+n])
	return err
}

func (e *lz4Encoder) compress() (int, error) {
	if e.level == 0 {
		return e.fast.CompressBlock(e.chunk, e.out[4:])
	}
	return e.high.CompressBlock(e.chunk, e.out[4:])
}

// Close implements io.Closer.
func (e *lz4Encoder) Close() error {
	if err := e.flush(); err != nil {
		return err
	}
	_, err := e.dst.Write([]byte{0, 0, 0, 0})
	return err
}

// xxh32 is xxHash32 with seed 0.
func xxh32(b []byte) uint32 {
	const p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	le := binary.LittleEndian
	h := uint32(p5)
	total := uint32(len(b))
	if len(b) >= 16 {
		v1, v2, v3, v4 := uint32(0x24234428), uint32(p2), uint32(0), uint32(0x61c8864f) // p1+p2, p2, 0, -p1
		for ; len(b) >= 16; b = b[16:] {
			v1 = bits.RotateLeft32(v1+le.Uint32(b)*p2, 13) * p1
			v2 = bits.RotateLeft32(v2+le.Uint32(b[4:])*p2, 13) * p1
			v3 = bits.RotateLeft32(v3+le.Uint32(b[8:])*p2, 13) * p1
			v4 = bits.RotateLeft32(v4+le.Uint32(b[12:])*p2, 13) * p1
		}
		h = bits.RotateLeft32(v1, 1) + bits.RotateLeft32(v2, 7) + bits.RotateLeft32(v3, 12) + bits.RotateLeft32(v4, 18)
	}
	h += total
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+le.Uint32(b)*p3, 17) * p4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*p5, 11) * p1
	}
	h = (h ^ h>>15) * p2
	h = (h ^ h>>13) * p3
	return h ^ h>>16
}
