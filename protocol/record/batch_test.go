package record

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

func TestAddSequenceWraps(t *testing.T) {
	for _, test := range []struct{ seq, n, want int32 }{
		{0, 0, 0}, {0, 5, 5}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 2, 5, 2},
		{math.MaxInt32 - 2, 2, math.MaxInt32}, {math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	} {
		if got := AddSequence(test.seq, test.n); got != test.want {
			t.Errorf("%d + %d: want %d, got %d", test.seq, test.n, test.want, got)
		}
	}
}

// build makes a batch of n small records.
func build(t testing.TB, n int, set func(*Builder)) Batch {
	t.Helper()
	w := NewBuilder()
	if set != nil {
		set(w)
	}
	for i := range n {
		w.Add(sampleTime+int64(i), []byte("key"), []byte("value"))
	}
	b, err := w.Build(NewCodecs())
	ok(t, err)
	return slices.Clone(b)
}

func TestLastSequenceStraddlesTheEnd(t *testing.T) {
	b := build(t, 5, func(w *Builder) { w.ProducerID, w.ProducerEpoch, w.BaseSequence = 7, 0, math.MaxInt32-2 })
	equal(t, int32(math.MaxInt32-2), b.BaseSequence())
	equal(t, int32(1), b.LastSequence())
}

func TestHeaderFields(t *testing.T) {
	b := build(t, 3, func(w *Builder) {
		w.BaseOffset, w.LeaderEpoch = 1<<40, 9
		w.ProducerID, w.ProducerEpoch, w.BaseSequence = 1<<50, 12, 34
		w.Transactional, w.Codec = true, CodecLZ4
		w.TimestampType, w.AppendTime = LogAppendTime, 4242
	})
	ok(t, b.Check())
	equal(t, Magic2, b.Magic())
	equal(t, int64(1<<40), b.BaseOffset())
	equal(t, int64(1<<40+2), b.LastOffset())
	equal(t, int32(9), b.LeaderEpoch())
	equal(t, int64(1<<50), b.ProducerID())
	equal(t, true, b.HasProducerID())
	equal(t, int16(12), b.ProducerEpoch())
	equal(t, int32(36), b.LastSequence())
	equal(t, true, b.IsTransactional())
	equal(t, false, b.IsControl())
	equal(t, CodecLZ4, b.Codec())
	equal(t, LogAppendTime, b.TimestampType())
	equal(t, int64(4242), b.MaxTimestamp())
	equal(t, sampleTime, b.BaseTimestamp())
	if _, found := b.DeleteHorizon(); found {
		t.Error("no delete horizon was set")
	}
	equal(t, len(b)-HeaderSize, len(b.Payload()))
}

func TestPatchesKeepTheCRC(t *testing.T) {
	b := build(t, 3, nil)
	crc := b.CRC()
	b.SetBaseOffset(77)
	b.SetLeaderEpoch(5)
	equal(t, crc, b.CRC())
	ok(t, b.Check())
	equal(t, int64(79), b.LastOffset())

	b.SetTimestamps(CreateTime, b.MaxTimestamp())
	equal(t, crc, b.CRC(), "nothing changed")
	b.SetTimestamps(LogAppendTime, 99)
	ok(t, b.Check())
	equal(t, LogAppendTime, b.TimestampType())
	equal(t, int64(99), b.MaxTimestamp())
	b.SetTimestamps(CreateTime, sampleTime+2)
	ok(t, b.Check())
	equal(t, crc, b.CRC(), "as it was built")
}

func TestCheckFindsEveryFlippedBit(t *testing.T) {
	good := build(t, 2, nil)
	for i := range good {
		outside := i < 8 || i >= posLeaderEpoch && i < posMagic // base offset and leader epoch
		for bit := range 8 {
			b := slices.Clone(good)
			b[i] ^= 1 << bit
			if err := b.Check(); outside != (err == nil) || err != nil && !errors.Is(err, protocol.CorruptMessage) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
		}
	}
	for cut := range good {
		hasCode(t, good[:cut].Check(), protocol.CorruptMessage, "")
	}
	hasCode(t, append(slices.Clone(good), 0).Check(), protocol.CorruptMessage, "")
}

func TestSplit(t *testing.T) {
	one, two := build(t, 1, nil), build(t, 3, nil)
	data := append(slices.Clone(one), two...)
	first, rest, err := Split(data)
	ok(t, err)
	equal(t, one, first)
	equal(t, len(two), len(rest))
	equal(t, len(first), cap(first), "appending to a batch must not write into the next")
	second, rest, err := Split(rest)
	ok(t, err)
	equal(t, two, second)
	equal(t, 0, len(rest))
	for cut := range two {
		if _, _, err := Split(two[:cut]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d bytes: %v", cut, err)
		}
	}
	for _, length := range []uint32{13, 0, 1 << 31, math.MaxUint32} {
		bad := slices.Clone(one)
		binary.BigEndian.PutUint32(bad[8:], length)
		_, _, err := Split(bad)
		hasCode(t, err, protocol.CorruptMessage, "")
		if _, valid := EntrySize(bad); valid {
			t.Errorf("length %d passes", length)
		}
	}
	size, valid := EntrySize(one[:LogOverhead])
	equal(t, true, valid)
	equal(t, len(one), size)
}

func TestMagicOfShortBytes(t *testing.T) {
	equal(t, int8(-1), Batch(make([]byte, 16)).Magic())
	equal(t, int8(0), Batch(make([]byte, 17)).Magic())
}
