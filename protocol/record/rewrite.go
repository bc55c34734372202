package record

import (
	"encoding/binary"
	"math"

	"github.com/ottla/ottla/protocol"
)

// RawRecord is a record as compaction sees it. It lives until the call that it was passed to returns.
type RawRecord struct {
	Offset, Timestamp int64  // absolute; ms
	Key               []byte // nil is Kafka's null
	Tombstone         bool   // the value is null
	Dropped           bool   // for Filter's caller to set

	body []byte // behind the length
	rest int    // of body: where the offset delta begins
}

// Rewriter takes records out of batches (Kafka's MemoryRecords.filterTo): Filter, then Rebuild where some are gone or the delete horizon is to be set.
// Nothing is allocated for a record. Not safe for concurrent use; it keeps its memory from batch to batch.
type Rewriter struct {
	codecs *Codecs
	some   []RawRecord // those that are gathered for one call
	bodies []byte      // of them, if they were compressed
	kept   []keptRecord
	arena  []byte // the bodies of kept records that were compressed
	plain  []byte // records before compression
}

// keptRecord is one that Filter let through; body aliases the batch or an arena.
type keptRecord struct {
	body      []byte
	rest      int
	timestamp int64
}

// NewRewriter returns a Rewriter that uses the pools of c.
func NewRewriter(c *Codecs) *Rewriter { return &Rewriter{codecs: c} }

// someRecords is how many records are passed on at a time: enough for work on one of them to overlap with waiting for another's memory.
const someRecords = 128

// Each calls fn for the records of b in order, some at a time, and stops at its first error, which it returns. Errors are those of Codecs.Records; headers are not
// looked at.
func (w *Rewriter) Each(b Batch, fn func([]RawRecord) error) error {
	if len(b) < HeaderSize {
		return protocol.Errorf(protocol.CorruptMessage, "a batch of %d bytes has no header", len(b))
	}
	if count := b.Count(); count < 0 {
		return invalid("Found invalid record count %d in magic v%d batch", count, b.Magic())
	}
	defer w.forget()
	if b.Codec() == CodecNone {
		return w.eachPlain(b, fn)
	}
	if b.Count() == 0 {
		return nil
	}
	s, err := w.codecs.openStream(b.Payload(), b.Codec(), MaxDecompressed)
	if err != nil {
		return err
	}
	defer s.close()
	base, t := b.BaseOffset(), b.times()
	for range b.Count() {
		body, err := s.record()
		if err == nil {
			w.bodies, body = saved(w.bodies, body)
			err = w.gather(body, base, t, fn)
		}
		if err != nil {
			return err
		}
	}
	if err := s.ensureEnd(); err != nil {
		return err
	}
	return w.pass(fn)
}

func (w *Rewriter) eachPlain(b Batch, fn func([]RawRecord) error) error {
	base, t, rest := b.BaseOffset(), b.times(), b.Payload()
	for range b.Count() {
		body, tail, err := cutRecord(rest)
		if err == nil {
			err = w.gather(body, base, t, fn)
		}
		if err != nil {
			return err
		}
		rest = tail
	}
	if len(rest) > 0 {
		return invalid(msgRemaining)
	}
	return w.pass(fn)
}

// gather adds a record to some, and passes them on when they are enough.
func (w *Rewriter) gather(body []byte, base int64, t times, fn func([]RawRecord) error) error {
	if w.some == nil {
		w.some = make([]RawRecord, 0, someRecords)
	}
	w.some = w.some[:len(w.some)+1]
	if err := w.some[len(w.some)-1].parse(body, base, t); err != nil {
		return err
	}
	if len(w.some) < cap(w.some) && len(w.bodies) < bufferKept {
		return nil
	}
	return w.pass(fn)
}

func (w *Rewriter) pass(fn func([]RawRecord) error) error {
	if len(w.some) == 0 {
		return nil
	}
	err := fn(w.some)
	w.some, w.bodies = w.some[:0], w.bodies[:0]
	return err
}

// forget lets go of what the records alias.
func (w *Rewriter) forget() {
	clear(w.some[:cap(w.some)])
	w.some = w.some[:0]
	if w.bodies = w.bodies[:0]; cap(w.bodies) > 2*bufferKept {
		w.bodies = nil
	}
}

func (r *RawRecord) parse(body []byte, base int64, t times) error {
	if len(body) < 1 {
		return invalid(msgStructure)
	}
	delta, n := readVarint(body[1:], maxVarint64)
	if n <= 0 {
		return invalid(msgStructure)
	}
	r.rest = 1 + n
	p := body[r.rest:]
	offset, n := readVarint(p, maxVarint32)
	if n <= 0 {
		return invalid(msgStructure)
	}
	p = p[n:]
	if r.Key, n = readBytes(p); n <= 0 {
		return invalid(msgStructure)
	}
	p = p[n:]
	size, n := readVarint(p, maxVarint32)
	if n <= 0 || size > int64(len(p)-n) {
		return invalid(msgStructure)
	}
	r.Offset, r.Timestamp, r.Tombstone, r.Dropped, r.body = base+offset, t.of(delta), size < 0, false, body
	return nil
}

// Filter passes the records of b to judge, some at a time, and remembers those that it does not mark as Dropped, for Rebuild. It returns how many those are. b has to
// stay unchanged until Rebuild.
func (w *Rewriter) Filter(b Batch, judge func([]RawRecord)) (kept int, err error) {
	w.drop()
	compressed := len(b) >= HeaderSize && b.Codec() != CodecNone
	err = w.Each(b, func(some []RawRecord) error {
		judge(some)
		for i := range some {
			if some[i].Dropped {
				continue
			}
			body := some[i].body
			if compressed {
				w.arena, body = saved(w.arena, body)
			}
			w.kept = append(w.kept, keptRecord{body, some[i].rest, some[i].Timestamp})
		}
		return nil
	})
	return len(w.kept), err
}

// drop forgets the records of the batch before.
func (w *Rewriter) drop() {
	clear(w.kept)
	w.kept = w.kept[:0]
	if w.arena = w.arena[:0]; cap(w.arena) > bufferKept {
		w.arena = nil
	}
	if cap(w.plain) > bufferKept {
		w.plain = nil
	}
}

// saved copies b behind what is in the arena. A full arena is left to those who have slices of it.
func saved(arena, b []byte) (_, copied []byte) {
	if cap(arena)-len(arena) < len(b) {
		arena = make([]byte, 0, max(streamBuffer, 2*cap(arena), len(b)))
	}
	start := len(arena)
	arena = append(arena, b...)
	return arena, arena[start:len(arena):len(arena)]
}

// Rebuild appends to dst the batch b with only the records that the last Filter kept, of which there must be one. Offsets, ids, leader epoch, codec and flags stay;
// timestamps count from deleteHorizon (ms) if that is not negative, else from the first record's.
func (w *Rewriter) Rebuild(dst []byte, b Batch, deleteHorizon int64) ([]byte, error) {
	if len(w.kept) == 0 {
		return nil, protocol.Errorf(protocol.InvalidRecord, "a batch needs at least one record")
	}
	h := header{
		baseOffset: b.BaseOffset(), leaderEpoch: b.LeaderEpoch(),
		attributes:      b.attributes() & (attrCodec | attrLogAppendTime | attrTransactional | attrControl),
		lastOffsetDelta: b.LastOffsetDelta(), baseTimestamp: w.kept[0].timestamp, maxTimestamp: w.kept[0].timestamp,
		producerID: b.ProducerID(), producerEpoch: b.ProducerEpoch(), baseSequence: b.BaseSequence(), count: int32(len(w.kept)),
	}
	if deleteHorizon >= 0 {
		h.baseTimestamp = deleteHorizon
		h.attributes |= attrDeleteHorizon
	}
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...) // allocates nothing
	out := dst
	if b.Codec() != CodecNone {
		out = w.plain[:0]
	}
	for i := range w.kept {
		k := &w.kept[i]
		h.maxTimestamp = max(h.maxTimestamp, k.timestamp)
		delta := k.timestamp - h.baseTimestamp
		out = binary.AppendVarint(out, int64(1+varintSize(delta)+len(k.body)-k.rest))
		out = append(out, 0) // attributes
		out = binary.AppendVarint(out, delta)
		out = append(out, k.body[k.rest:]...)
	}
	if b.TimestampType() == LogAppendTime {
		h.maxTimestamp = b.MaxTimestamp()
	}
	if b.Codec() == CodecNone {
		dst = out
	} else {
		w.plain = out
		var err error
		if dst, err = w.codecs.Compress(dst, out, b.Codec(), 0); err != nil {
			return nil, err
		}
	}
	if len(dst)-start-LogOverhead > math.MaxInt32 {
		return nil, protocol.Errorf(protocol.InvalidRecord, "a batch of %d bytes is larger than the format allows", len(dst)-start)
	}
	h.put(Batch(dst[start:]))
	return dst, nil
}
