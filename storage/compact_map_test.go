package storage

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ottla/ottla/protocol/record"
)

// The first vectors of the reference implementation's 128-bit output: key and message are 0, 1, 2, ...
func TestSipHash128Vectors(t *testing.T) {
	want := map[int]string{
		0: "\xa3\x81\x7f\x04\xba\x25\xa8\xe6\x6d\xf6\x72\x14\xc7\x55\x02\x93",
		1: "\xda\x87\xc1\xd8\x6b\x99\xaf\x44\x34\x76\x59\x11\x9b\x22\xfc\x45",
	}
	var message []byte
	for i := range 64 {
		message = append(message, byte(i))
	}
	k := message[:16]
	seen := map[[2]uint64]bool{}
	for n := range 64 {
		hi, lo := sipHash128(binary.LittleEndian.Uint64(k), binary.LittleEndian.Uint64(k[8:]), message[:n])
		seen[[2]uint64{hi, lo}] = true
		if w, ok := want[n]; ok && string(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, hi), lo)) != w {
			t.Errorf("%d bytes: %x %x", n, hi, lo)
		}
	}
	if len(seen) != 64 {
		t.Errorf("%d digests of 64 messages", len(seen))
	}
}

func TestOffsetMapAgainstAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := newOffsetMap(24*1000, 0.9)
	for _, expected := range []int64{50, 400, 1 << 40} {
		m.reset(expected)
		model := map[string]int64{}
		full := 0
		for offset := range int64(3000) {
			key := binary.AppendUvarint(nil, rng.Uint64N(1200))
			_, known := model[string(key)]
			m.look([]record.RawRecord{{Key: key}})
			if m.put(0, offset) {
				model[string(key)] = offset
			} else if full++; known || len(model) < m.limit {
				t.Fatalf("refused key %x with %d of %d in use", key, len(model), m.limit)
			}
		}
		if len(m.slots) > 1000 || m.limit > 900 || full == 0 || m.n != len(model) {
			t.Errorf("%d slots, limit %d, %d refused, %d in use", len(m.slots), m.limit, full, m.n)
		}
		for i := range uint64(1200) {
			key := binary.AppendUvarint(nil, i)
			want, known := model[string(key)]
			if !known {
				want = -1
			}
			m.look([]record.RawRecord{{Key: []byte("another")}, {Key: key}})
			if got := m.get(1); got != want {
				t.Errorf("key %d: %d, want %d", i, got, want)
			}
		}
	}
}

func TestOffsetMapIsNoLargerThanItsKeysNeed(t *testing.T) {
	m := newOffsetMap(128<<20, 0.9)
	m.reset(1000)
	if len(m.slots) > 1200 || m.limit < 1000 {
		t.Errorf("%d slots, limit %d for 1000 keys", len(m.slots), m.limit)
	}
}

func BenchmarkOffsetMap(b *testing.B) {
	m := newOffsetMap(64<<20, 0.9)
	m.reset(1 << 40)
	keys := make([]byte, 1<<20)
	for i := range keys {
		keys[i] = byte(rand.Uint32())
	}
	b.ReportAllocs()
	some := make([]record.RawRecord, 128)
	at := 0
	for b.Loop() {
		for i := range some {
			some[i].Key = keys[at : at+16 : at+16]
			at = (at + 16) % (len(keys) - 16)
		}
		m.look(some)
		for i := range some {
			m.put(i, int64(i))
		}
	}
}
