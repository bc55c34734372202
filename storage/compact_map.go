package storage

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"

	"github.com/ottla/ottla/protocol/record"
)

// offsetMap knows the last offset of each key in a log's dirty part, in bounded memory (Kafka's SkimpyOffsetMap). It holds 128-bit digests in the place of
// keys: SipHash-2-4 under a random secret, so that nobody can make two keys that collide. It belongs to one cleaner thread.
type offsetMap struct {
	most   int // slots, at most
	load   float64
	slots  []mapSlot // open addressing, linear
	n      int       // slots in use
	limit  int       // slots that may be in use
	latest int64     // all batches up to this offset are in the map; -1 none

	k0, k1 uint64

	found []mapDigest // of the keys that look was given
	met   int64       // keeps look's loads alive
}

// mapDigest is the digest of a key.
type mapDigest struct{ hi, lo uint64 }

// mapSlot is one key; all zero if the slot is free.
type mapSlot struct {
	hi, lo uint64
	next   int64 // the last offset + 1
}

// mapSlotSize is what one slot takes, in bytes: as in Kafka.
const mapSlotSize = 24

// newOffsetMap returns a map of at most memory bytes, of which it fills the share load.
func newOffsetMap(memory int64, load float64) *offsetMap {
	m := &offsetMap{most: max(2, int(min(memory, math.MaxInt32)/mapSlotSize)), load: load, latest: noOffset}
	m.k0, m.k1 = rand.Uint64(), rand.Uint64()
	return m
}

// reset empties the map for at most keys keys, or as many as fit.
func (m *offsetMap) reset(keys int64) {
	want := m.most
	if need := float64(keys)/max(m.load, 0.01) + 2; need < float64(m.most) {
		want = max(2, int(need))
	}
	if cap(m.slots) < want {
		m.slots = make([]mapSlot, want)
	} else {
		m.slots = m.slots[:want]
		clear(m.slots)
	}
	m.n, m.latest = 0, noOffset
	m.limit = min(want-1, max(1, int(float64(want)*m.load))) // a free slot is where searches end
}

// release gives the memory back.
func (m *offsetMap) release() { m.slots = nil }

// utilization is the share of the memory that may be filled which is in use.
func (m *offsetMap) utilization() float64 { return float64(m.n) / (float64(m.most) * m.load) }

// look prepares for put and get of the keys of some records. It touches all their slots in one loop, for the loads do not depend on each other: the memory is far larger
// than the processor's caches, and this way it waits for many of them at once.
func (m *offsetMap) look(some []record.RawRecord) {
	m.found = m.found[:0]
	for i := range some {
		hi, lo := sipHash128(m.k0, m.k1, some[i].Key)
		m.found = append(m.found, mapDigest{hi, lo})
	}
	met := int64(0)
	for i := range m.found {
		met |= m.slots[m.home(m.found[i].hi)].next
	}
	m.met = met
}

// home is the slot at which the search for a digest begins.
func (m *offsetMap) home(hi uint64) uint64 {
	at, _ := bits.Mul64(hi, uint64(len(m.slots)))
	return at
}

// put notes that the i-th key that look was given has a record at offset, which is higher than all before; false if the key is new and the map full.
func (m *offsetMap) put(i int, offset int64) bool {
	d := m.found[i]
	s := m.find(d.hi, d.lo)
	if s.next == 0 {
		if m.n >= m.limit {
			return false
		}
		m.n++
		s.hi, s.lo = d.hi, d.lo
	}
	s.next = offset + 1
	return true
}

// get returns the last offset of the i-th key that look was given, -1 if it has none.
func (m *offsetMap) get(i int) int64 { return m.find(m.found[i].hi, m.found[i].lo).next - 1 }

// find returns the slot of a digest, or the free one where it belongs.
func (m *offsetMap) find(hi, lo uint64) *mapSlot {
	for i := int(m.home(hi)); ; {
		s := &m.slots[i]
		if s.next == 0 || s.hi == hi && s.lo == lo {
			return s
		}
		if i++; i == len(m.slots) {
			i = 0
		}
	}
}

// sipHash128 is SipHash-2-4 with 128 bits of output (Aumasson and Bernstein).
func sipHash128(k0, k1 uint64, b []byte) (hi, lo uint64) {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d^0xee
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		v3 ^= w
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= w
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xee
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	hi = v0 ^ v1 ^ v2 ^ v3
	v1 ^= 0xdd
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return hi, v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v1
	v0 += v3
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	return v0, v1, bits.RotateLeft64(v2, 32), v3
}
