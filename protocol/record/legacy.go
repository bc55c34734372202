package record

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"

	"github.com/ottla/ottla/protocol"
)

// Layout of a message of magic 0 or 1, which old clusters have left in their logs: offset, length, CRC-32, magic, attributes, of magic 1 the timestamp, and
// key and value, each behind its length as int32. A compressed one wraps others in its value; of magic 1 these count offsets from 0.
const (
	posLegacyCRC        = 12
	posLegacyMagic      = 16
	posLegacyAttributes = 17
	posLegacyTimestamp  = 18
	lz4HeaderEnd        = 6 // of a frame without content size: where the descriptor's checksum is
	lz4ContentSize      = 0x08
)

// legacyMessage is one message, taken apart.
type legacyMessage struct {
	entry      []byte
	timestamp  int64
	key, value []byte // nil is null
}

func (m *legacyMessage) offset() int64 { return int64(binary.BigEndian.Uint64(m.entry)) }
func (m *legacyMessage) codec() Codec  { return Codec(m.entry[posLegacyAttributes] & attrCodec) }

// parseLegacy takes the first message off b, which must be of the magic.
func parseLegacy(b []byte, magic int8) (m legacyMessage, rest []byte, err error) {
	entry, rest, err := Split(b)
	if err != nil {
		return m, nil, invalid("Found invalid message in a message set of magic %d: %w", magic, err)
	}
	m.entry, m.timestamp = entry, NoTimestamp
	p := posLegacyTimestamp
	if magic == 1 {
		p += 8
	}
	if len(entry) < p || entry.Magic() != magic {
		return m, nil, invalid("Found invalid message in a message set of magic %d", magic)
	}
	if magic == 1 {
		m.timestamp = int64(binary.BigEndian.Uint64(entry[posLegacyTimestamp:]))
	}
	body := []byte(entry[p:])
	var ok bool
	if m.key, body, ok = cutLegacy(body); ok {
		m.value, body, ok = cutLegacy(body)
	}
	if !ok || len(body) > 0 {
		return m, nil, invalid("Found invalid message in a message set of magic %d", magic)
	}
	return m, rest, nil
}

func cutLegacy(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	size := int32(binary.BigEndian.Uint32(b))
	if b = b[4:]; size < 0 {
		return nil, b, true
	}
	if int64(size) > int64(len(b)) {
		return nil, nil, false
	}
	return b[:size:size], b[size:], true
}

// EachLegacy is Each for an entry of magic 0 or 1, a message or a compressed set of them. Checksums are not looked at.
func (w *Rewriter) EachLegacy(entry Batch, fn func([]RawRecord) error) error {
	magic := entry.Magic()
	m, _, err := parseLegacy(entry, magic)
	if err != nil {
		return err
	}
	defer w.forget()
	if m.codec() == CodecNone {
		w.some = append(w.some, m.record(0))
		return w.pass(fn)
	}
	set, err := w.unwrap(&m, magic)
	if err != nil {
		return err
	}
	base := int64(0)
	if magic == 1 {
		last := int64(0)
		for b := set; len(b) > 0; {
			inner, rest, err := parseLegacy(b, magic)
			if err != nil {
				return err
			}
			last, b = inner.offset(), rest
		}
		base = m.offset() - last
	}
	for len(set) > 0 {
		inner, rest, err := parseLegacy(set, magic)
		if err != nil {
			return err
		}
		w.some = append(w.some, inner.record(base))
		if len(w.some) >= someRecords {
			if err := w.pass(fn); err != nil {
				return err
			}
		}
		set = rest
	}
	return w.pass(fn)
}

// record is m, whose offset counts from base.
func (m *legacyMessage) record(base int64) RawRecord {
	return RawRecord{Offset: base + m.offset(), Timestamp: m.timestamp, Key: m.key, Tombstone: m.value == nil, body: m.entry}
}

// unwrap decompresses the messages within m; they are valid until the next unwrap.
func (w *Rewriter) unwrap(m *legacyMessage, magic int8) ([]byte, error) {
	payload := m.value
	if end := lz4HeaderEnd; magic == 0 && m.codec() == CodecLZ4 && len(payload) > end {
		// Clients of magic 0 computed the checksum wrongly: it is put right, in a copy, rather than checked.
		if payload[4]&lz4ContentSize != 0 {
			end += 8
		}
		if len(payload) > end {
			payload = slices.Clone(payload)
			payload[end] = byte(xxh32(payload[4:end]) >> 8)
		}
	}
	r, err := w.codecs.Reader(payload, m.codec(), MaxDecompressed)
	if err != nil {
		return nil, err
	}
	w.arena = w.arena[:0]
	for {
		if len(w.arena) == cap(w.arena) {
			w.arena = slices.Grow(w.arena, max(streamBuffer, len(w.arena)))
		}
		n, err := r.Read(w.arena[len(w.arena):cap(w.arena)])
		w.arena = w.arena[:len(w.arena)+n]
		if err == io.EOF {
			return w.arena, r.Close()
		}
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
}

// FilterLegacy is Filter for an entry of magic 0 or 1. records is how many there were.
func (w *Rewriter) FilterLegacy(entry Batch, judge func([]RawRecord)) (kept, records int, err error) {
	w.drop()
	err = w.EachLegacy(entry, func(some []RawRecord) error {
		records += len(some)
		judge(some)
		for i := range some {
			if !some[i].Dropped {
				w.kept = append(w.kept, keptRecord{some[i].body, 0, some[i].Timestamp})
			}
		}
		return nil
	})
	return len(w.kept), records, err
}

// RebuildLegacy appends to dst the compressed entry with only the messages that the last FilterLegacy kept, of which there must be one.
func (w *Rewriter) RebuildLegacy(dst []byte, entry Batch) ([]byte, error) {
	magic := entry.Magic()
	m, _, err := parseLegacy(entry, magic)
	if err != nil {
		return nil, err
	}
	if len(w.kept) == 0 || m.codec() == CodecNone {
		return nil, protocol.Errorf(protocol.InvalidRecord, "nothing of a message set is left")
	}
	be := binary.BigEndian
	lastOf := func(b []byte) int64 { return int64(be.Uint64(b)) }
	plain := w.plain[:0]
	largest := NoTimestamp
	for i := range w.kept {
		plain = append(plain, w.kept[i].body...)
		largest = max(largest, w.kept[i].timestamp)
	}
	w.plain = plain
	offset := lastOf(w.kept[len(w.kept)-1].body)
	header := posLegacyTimestamp
	if magic == 1 { // the wrapper has the offset of its last message, from which the others count
		header += 8
		set := w.arena
		last := int64(0)
		for len(set) > 0 {
			inner, rest, err := parseLegacy(set, magic)
			if err != nil {
				return nil, err
			}
			last, set = inner.offset(), rest
		}
		offset += m.offset() - last
	}
	start := len(dst)
	dst = append(dst, entry[:header]...)
	dst = be.AppendUint32(dst, ^uint32(0)) // no key
	sizeAt := len(dst)
	dst = be.AppendUint32(dst, 0)
	if dst, err = w.codecs.Compress(dst, plain, m.codec(), 0); err != nil {
		return nil, err
	}
	b, value := dst[start:], dst[sizeAt+4:]
	if magic == 0 && m.codec() == CodecLZ4 {
		value[lz4HeaderEnd] = byte(xxh32(value[:lz4HeaderEnd]) >> 8) // as these clients expect it
	}
	be.PutUint32(dst[sizeAt:], uint32(len(value)))
	be.PutUint64(b, uint64(offset))
	be.PutUint32(b[posLength:], uint32(len(b)-LogOverhead))
	if magic == 1 && b[posLegacyAttributes]&attrLogAppendTime == 0 {
		be.PutUint64(b[posLegacyTimestamp:], uint64(largest))
	}
	be.PutUint32(b[posLegacyCRC:], crc32.ChecksumIEEE(b[posLegacyMagic:]))
	return dst, nil
}
