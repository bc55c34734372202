package record

import (
	"errors"
	"io"

	"github.com/ottla/ottla/protocol"
)

// errEnd is the clean end of the decompressed bytes in the middle of a field.
var errEnd = errors.New("premature EOF reached")

// streamBuffer is the size of a stream's buffer in bytes, unless a record needs more.
const streamBuffer = 32 << 10

// stream is decompressed bytes with a look ahead. All its errors but errEnd are protocol errors.
type stream struct {
	owner *Codecs
	codec Codec
	dec   decoder
	buf   []byte
	r, w  int   // buf[r:w] is not yet taken
	taken int64 // bytes before buf[r]
	left  int64 // bytes that may still be decompressed
	err   error // of dec, after which nothing comes
}

// openStream returns a pooled stream over payload; close gives it back.
func (c *Codecs) openStream(payload []byte, codec Codec, limit int64) (*stream, error) {
	if limit <= 0 {
		limit = MaxDecompressed
	}
	dec, err := c.decoder(codec)
	if err != nil {
		return nil, err
	}
	if err := dec.reset(payload, limit); err != nil {
		c.putDecoder(codec, dec)
		return nil, brokenStream(err)
	}
	s, _ := c.streams.Get().(*stream)
	if s == nil {
		s = &stream{buf: make([]byte, streamBuffer)}
	}
	s.owner, s.codec, s.dec, s.left = c, codec, dec, limit
	s.r, s.w, s.taken, s.err = 0, 0, 0, nil
	return s, nil
}

// brokenStream is how Kafka answers what a decompressor does not take: a KafkaException, thus UNKNOWN_SERVER_ERROR.
func brokenStream(err error) error {
	if errors.Is(err, protocol.InvalidRecord) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errTruncated
	}
	return protocol.Errorf(protocol.UnknownServerError, "Failed to decompress record stream: %w", err)
}

// overLimit is for batches that decompress to more than the limit.
func overLimit() error {
	return invalid("the batch decompresses to more than is allowed")
}

func (s *stream) close() {
	c := s.owner
	c.putDecoder(s.codec, s.dec)
	s.owner, s.dec = nil, nil
	if len(s.buf) > bufferKept {
		s.buf = make([]byte, streamBuffer)
	}
	if !c.closed.Load() {
		c.streams.Put(s)
	}
}

// read is io.Reader's Read past the buffer, which has to be empty.
func (s *stream) read(p []byte) (int, error) {
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	n, err := s.dec.Read(p)
	if s.left -= int64(n); s.left < 0 {
		n, err = 0, overLimit()
	} else if err != nil && err != io.EOF { //nolint:errorlint // decoders give io.EOF itself at the end
		err = brokenStream(err)
	}
	s.err = err
	return n, err
}

// fill gets at least one more byte into the buffer, which grows when it is full: by what is there, not by what is claimed.
func (s *stream) fill() error {
	if s.r == s.w {
		s.r, s.w = 0, 0
	} else if s.w == len(s.buf) {
		if s.r > 0 {
			s.w = copy(s.buf, s.buf[s.r:s.w])
			s.r = 0
		} else {
			grown := make([]byte, 2*len(s.buf))
			copy(grown, s.buf)
			s.buf = grown
		}
	}
	for {
		n, err := s.read(s.buf[s.w:])
		s.w += n
		if n > 0 {
			return nil
		}
		if err == io.EOF { //nolint:errorlint // as in read
			return errEnd
		}
		if err != nil {
			return err
		}
	}
}

// atEnd reports whether nothing follows.
func (s *stream) atEnd() (bool, error) {
	if s.r < s.w {
		return false, nil
	}
	if err := s.fill(); err != nil {
		return err == errEnd, endIsNil(err) //nolint:errorlint // fill gives errEnd itself
	}
	return false, nil
}

func endIsNil(err error) error {
	if err == errEnd { //nolint:errorlint // fill gives errEnd itself
		return nil
	}
	return err
}

func (s *stream) advance(n int) {
	s.r += n
	s.taken += int64(n)
}

// take returns the next n bytes, valid until the next call.
func (s *stream) take(n int) ([]byte, error) {
	for s.w-s.r < n {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	b := s.buf[s.r : s.r+n]
	s.advance(n)
	return b, nil
}

// skip passes over n bytes; nothing if n is negative.
func (s *stream) skip(n int) error {
	for n > s.w-s.r {
		n -= s.w - s.r
		s.advance(s.w - s.r)
		if err := s.fill(); err != nil {
			return err
		}
	}
	s.advance(max(n, 0))
	return nil
}

// varint reads a zig-zag varint of at most maxVarint32 or maxVarint64 bytes.
func (s *stream) varint(most int) (v int64, n int, err error) {
	for {
		v, n = readVarint(s.buf[s.r:s.w], most)
		switch {
		case n > 0:
			s.advance(n)
			return v, n, nil
		case n < 0:
			return 0, 0, errVarint
		}
		if err := s.fill(); err != nil {
			return 0, 0, err
		}
	}
}

// The longest varints in bytes.
const (
	maxVarint32 = 5
	maxVarint64 = 10
)

// errVarint is a varint that is longer than its type allows.
var errVarint = errors.New("a varint is too long")

// readVarint reads a zig-zag varint of at most most bytes from the front of b (ByteUtils.readVarint and readVarlong): bits that do
// not fit are dropped. n is its size; 0 if b ends early, -1 if it is too long.
func readVarint(b []byte, most int) (v int64, n int) {
	if len(b) > 0 && b[0] < 0x80 { // small enough to be inlined
		return int64(b[0]>>1) ^ -int64(b[0]&1), 1
	}
	return readLongVarint(b, most)
}

func readLongVarint(b []byte, most int) (v int64, n int) {
	var u uint64
	for i := range min(len(b), most) {
		u |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if most == maxVarint32 {
				u = uint64(uint32(u))
				return int64(int32(uint32(u>>1) ^ -uint32(u&1))), i + 1
			}
			return int64(u>>1 ^ -(u & 1)), i + 1
		}
	}
	if len(b) >= most {
		return 0, -1
	}
	return 0, 0
}
