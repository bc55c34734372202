package record

import (
	"errors"

	"github.com/ottla/ottla/protocol"
)

// Record is one record of a batch. Slices alias the batch or the decoder's buffer and live until the next step; copy what
// has to last. A nil slice is Kafka's null.
type Record struct {
	Offset, Timestamp int64 // absolute; ms
	Key, Value        []byte
	Headers           []Header
}

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte // nil is Kafka's null
}

// Kafka's messages for malformed batches.
const (
	msgPrematureEnd = "Incorrect declared batch size, premature EOF reached"
	msgRemaining    = "Incorrect declared batch size, records still remaining in file"
	msgStructure    = "Found invalid record structure"
)

// Records calls fn for each record of b in order, and stops at fn's first error, which it returns. The CRC is not looked at.
// Malformed records are protocol.InvalidRecord, a broken compressed stream is protocol.UnknownServerError. Uncompressed batches are
// walked in place; nothing is allocated for a record but header keys that differ from those of the record before, and a buffer as
// large as the largest record where the batch is compressed.
func (c *Codecs) Records(b Batch, fn func(*Record) error) error {
	if len(b) < HeaderSize {
		return protocol.Errorf(protocol.CorruptMessage, "a batch of %d bytes has no header", len(b))
	}
	count := b.Count()
	if count < 0 {
		return invalid("Found invalid record count %d in magic v%d batch", count, b.Magic())
	}
	if count == 0 {
		return nil
	}
	w, _ := c.walkers.Get().(*walker)
	if w == nil {
		w = &walker{}
	}
	defer func() {
		w.drop()
		if !c.closed.Load() {
			c.walkers.Put(w)
		}
	}()
	if b.Codec() == CodecNone {
		return w.plain(b, fn)
	}
	s, err := c.openStream(b.Payload(), b.Codec(), MaxDecompressed)
	if err != nil {
		return err
	}
	defer s.close()
	return w.compressed(b, s, fn)
}

func invalid(format string, args ...any) error {
	return protocol.Errorf(protocol.InvalidRecord, format, args...)
}

// times is what turns timestamp deltas into timestamps.
type times struct {
	base, max int64
	appended  bool
}

func (b Batch) times() times {
	return times{base: b.BaseTimestamp(), max: b.MaxTimestamp(), appended: b.TimestampType() == LogAppendTime}
}

func (t times) of(delta int64) int64 {
	if t.appended {
		return t.max
	}
	return t.base + delta
}

// walker is a pooled Record that is filled again and again.
type walker struct {
	rec  Record
	keys []Header // as many headers as any record had: their keys are used again where they are equal
}

// headersKept is how many headers a walker takes back to its pool.
const headersKept = 256

func (w *walker) drop() {
	if len(w.keys) > headersKept {
		w.keys = nil
	}
	for i := range w.keys {
		w.keys[i].Value = nil
	}
	w.rec = Record{}
}

func (w *walker) plain(b Batch, fn func(*Record) error) error {
	base, t, rest := b.BaseOffset(), b.times(), b.Payload()
	for range b.Count() {
		body, tail, err := cutRecord(rest)
		if err != nil {
			return err
		}
		if err := w.visit(body, base, t, fn); err != nil {
			return err
		}
		rest = tail
	}
	if len(rest) > 0 {
		return invalid(msgRemaining)
	}
	return nil
}

func (w *walker) compressed(b Batch, s *stream, fn func(*Record) error) error {
	base, t := b.BaseOffset(), b.times()
	for range b.Count() {
		body, err := s.record()
		if err != nil {
			return err
		}
		if err := w.visit(body, base, t, fn); err != nil {
			return err
		}
	}
	return s.ensureEnd()
}

func (w *walker) visit(body []byte, base int64, t times, fn func(*Record) error) error {
	var f fields
	if err := f.parse(body); err != nil {
		return err
	}
	w.rec = Record{Offset: base + int64(f.offsetDelta), Timestamp: t.of(f.timestampDelta), Key: f.key, Value: f.value}
	if f.headerCount > 0 {
		w.rec.Headers = w.headers(&f)
	}
	return fn(&w.rec)
}

// headers parses the headers again, which fields.parse has checked.
func (w *walker) headers(f *fields) []Header {
	p := f.headers
	for i := range f.headerCount {
		if i == len(w.keys) {
			w.keys = append(w.keys, Header{})
		}
		h := &w.keys[i]
		key, n := readBytes(p)
		p = p[n:]
		if h.Key != string(key) {
			h.Key = string(key)
		}
		h.Value, n = readBytes(p)
		p = p[n:]
	}
	return w.keys[:f.headerCount:f.headerCount]
}

// record returns the body of the next record.
func (s *stream) record() ([]byte, error) {
	size, _, err := s.varint(maxVarint32)
	if err != nil {
		return nil, recordError(err)
	}
	if size < 0 {
		return nil, invalid(msgStructure)
	}
	body, err := s.take(int(size))
	if err == errEnd { //nolint:errorlint // fill gives errEnd itself
		return nil, invalid("Invalid record size: expected %d bytes in record payload, but the record payload reached EOF.", size)
	}
	return body, err
}

// recordError gives the errors of a stream their codes.
func recordError(err error) error {
	switch {
	case errors.Is(err, errEnd):
		return invalid(msgPrematureEnd)
	case errors.Is(err, errVarint):
		return invalid(msgStructure)
	}
	return err
}

// ensureEnd is InvalidRecord if anything follows the last record.
func (s *stream) ensureEnd() error {
	end, err := s.atEnd()
	if err == nil && !end {
		err = invalid(msgRemaining)
	}
	return err
}

// cutRecord cuts the body of the first record off b.
func cutRecord(b []byte) (body, rest []byte, err error) {
	size, n := readVarint(b, maxVarint32)
	if n <= 0 {
		return nil, nil, invalid(msgPrematureEnd)
	}
	if size < 0 {
		return nil, nil, invalid(msgStructure)
	}
	b = b[n:]
	if size > int64(len(b)) {
		return nil, nil, invalid("Invalid record size: expected %d bytes in record payload, but instead the buffer has only %d remaining bytes.",
			size, len(b))
	}
	return b[:size], b[size:], nil
}

// fields is a record's body, taken apart. The slices alias the body.
type fields struct {
	timestampDelta int64
	offsetDelta    int32
	key, value     []byte
	keyAt          int // where in the body the key's length is
	headerCount    int
	headers        []byte // encoded
}

// parse takes body apart and checks it to its last byte (DefaultRecord.readFrom).
func (f *fields) parse(body []byte) error {
	if len(body) < 1 {
		return invalid(msgStructure)
	}
	p := body[1:] // the attributes of a record are not used
	delta, n := readVarint(p, maxVarint64)
	if n <= 0 {
		return invalid(msgStructure)
	}
	p = p[n:]
	offset, n := readVarint(p, maxVarint32)
	if n <= 0 {
		return invalid(msgStructure)
	}
	p = p[n:]
	f.timestampDelta, f.offsetDelta, f.keyAt = delta, int32(offset), len(body)-len(p)
	if f.key, n = readBytes(p); n <= 0 {
		return invalid(msgStructure)
	}
	p = p[n:]
	if f.value, n = readBytes(p); n <= 0 {
		return invalid(msgStructure)
	}
	return f.parseHeaders(p[n:])
}

func (f *fields) parseHeaders(p []byte) error {
	count, n := readVarint(p, maxVarint32)
	if n <= 0 {
		return invalid(msgStructure)
	}
	p = p[n:]
	if count < 0 {
		return invalid("Found invalid number of record headers %d", count)
	}
	if count > int64(len(p)) {
		return invalid("Found invalid number of record headers. %d is larger than the remaining size of the buffer", count)
	}
	f.headerCount, f.headers = int(count), p
	for range count {
		key, n := readBytes(p)
		switch {
		case n <= 0:
			return invalid(msgStructure)
		case key == nil:
			return invalid("Invalid negative header key size")
		}
		p = p[n:]
		if _, n = readBytes(p); n <= 0 {
			return invalid(msgStructure)
		}
		p = p[n:]
	}
	if len(p) > 0 {
		return invalid("Invalid record size: %d bytes are left behind the last field", len(p))
	}
	return nil
}

// readBytes reads a length and so many bytes: n is the size of both, not positive if they are not there. A negative length
// is null.
func readBytes(p []byte) (b []byte, n int) {
	size, n := readVarint(p, maxVarint32)
	if n <= 0 || size < 0 {
		return nil, n
	}
	if size > int64(len(p)-n) {
		return nil, -1
	}
	end := n + int(size)
	return p[n:end:end], end
}
