package record

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/golang/snappy"
)

// The framing of snappy-java: a magic and two versions, then for each chunk its length and one raw snappy block.
const (
	snappyHeaderSize = 16
	snappyMagicSize  = 8
	snappyChunk      = 32 << 10 // of uncompressed bytes, in what is written

	// snappyMaxRatio bounds what a raw block can hold for each of its bytes: the densest element takes 3 bytes for 64.
	snappyMaxRatio = 22
)

// snappyHeader returns the header of a stream: the magic, the version and the oldest version that can read it.
func snappyHeader() [snappyHeaderSize]byte {
	return [snappyHeaderSize]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}
}

var (
	errSnappyHeader = errors.New("the snappy stream goes on with a broken header")
	errSnappyClaim  = errors.New("the snappy block claims more than its bytes can hold")
)

// snappyDecoder reads framed streams, also several behind each other, and a bare raw block.
type snappyDecoder struct {
	src   []byte // compressed, not yet read
	bare  bool
	buf   []byte
	block []byte // decompressed, not yet read; aliases buf
}

func (d *snappyDecoder) reset(payload []byte, _ int64) error {
	if len(payload) == 0 {
		return errTruncated
	}
	d.src, d.block = payload, nil
	d.bare = !isSnappyHeader(payload)
	if d.bare {
		return nil
	}
	return d.header()
}

func isSnappyHeader(b []byte) bool {
	want := snappyHeader()
	return len(b) >= snappyHeaderSize && [snappyMagicSize]byte(b) == [snappyMagicSize]byte(want[:snappyMagicSize])
}

// header passes the header of a framed stream. The versions in it have been 1 for ever.
func (d *snappyDecoder) header() error {
	if !isSnappyHeader(d.src) {
		return errSnappyHeader
	}
	d.src = d.src[snappyHeaderSize:]
	return nil
}

func (d *snappyDecoder) Read(p []byte) (int, error) {
	for len(d.block) == 0 {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.block)
	d.block = d.block[n:]
	return n, nil
}

// next decompresses the next block.
func (d *snappyDecoder) next() error {
	if d.bare {
		if len(d.src) == 0 {
			return io.EOF
		}
		raw := d.src
		d.src = nil
		return d.decode(raw)
	}
	const lengthSize = 4
	if len(d.src) < lengthSize {
		return io.EOF // as the Java reader does, which takes an incomplete length for the end
	}
	if d.src[0] == snappyHeader()[0] { // no length can begin so: it would be negative
		return d.header()
	}
	n := int(int32(binary.BigEndian.Uint32(d.src)))
	d.src = d.src[lengthSize:]
	if n < 0 || n > len(d.src) {
		return errTruncated
	}
	raw := d.src[:n]
	d.src = d.src[n:]
	return d.decode(raw)
}

func (d *snappyDecoder) decode(raw []byte) error {
	n, err := snappy.DecodedLen(raw)
	if err != nil {
		return err
	}
	if n > len(raw)*snappyMaxRatio {
		return errSnappyClaim
	}
	if n > cap(d.buf) {
		d.buf = make([]byte, n)
	}
	d.block, err = snappy.Decode(d.buf[:cap(d.buf)], raw)
	return err
}

func (d *snappyDecoder) release() bool {
	d.src, d.block = nil, nil
	if cap(d.buf) > bufferKept {
		d.buf = nil
	}
	return true
}

func (d *snappyDecoder) close() {}

// snappyEncoder writes a framed stream.
type snappyEncoder struct {
	dst     io.Writer
	started bool
	chunk   []byte // uncompressed, not yet written
	out     []byte
}

// Reset implements encoder.
func (e *snappyEncoder) Reset(dst io.Writer) {
	e.dst, e.started, e.chunk = dst, false, e.chunk[:0]
}

// Write implements io.Writer.
func (e *snappyEncoder) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), snappyChunk-len(e.chunk))
		e.chunk = append(e.chunk, p[:n]...)
		p = p[n:]
		if len(e.chunk) == snappyChunk {
			if err := e.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

func (e *snappyEncoder) flush() error {
	if !e.started {
		e.started = true
		header := snappyHeader()
		if _, err := e.dst.Write(header[:]); err != nil {
			return err
		}
	}
	if len(e.chunk) == 0 {
		return nil
	}
	if e.out == nil {
		e.out = make([]byte, 4+snappy.MaxEncodedLen(snappyChunk))
	}
	raw := snappy.Encode(e.out[4:], e.chunk)
	binary.BigEndian.PutUint32(e.out, uint32(len(raw)))
	e.chunk = e.chunk[:0]
	_, err := e.dst.Write(e.out[:4+len(raw)])
	return err
}

// Close implements io.Closer.
func (e *snappyEncoder) Close() error { return e.flush() }
