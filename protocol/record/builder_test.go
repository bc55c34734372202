package record

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

var codecNames = []Codec{CodecNone, CodecGzip, CodecSnappy, CodecLZ4, CodecZstd}

func variedRecords() []Record {
	return []Record{
		{Offset: 10, Timestamp: 1000, Key: []byte("k"), Value: []byte("v")},
		{Offset: 11, Timestamp: 900, Key: []byte{}, Value: nil},
		{Offset: 12, Timestamp: math.MaxInt64 / 2, Key: nil, Value: []byte{}},
		{Offset: 13, Timestamp: -1, Value: bytes.Repeat([]byte("abcdefg"), 30_000)},
		{Offset: 14, Timestamp: 5, Headers: []Header{{"a", []byte("1")}, {"", nil}, {"a", []byte{}}}},
		{Offset: 15, Timestamp: 5, Headers: []Header{{"b", []byte("2")}}},
	}
}

func TestBuilderRoundTrip(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	w := NewBuilder()
	for _, codec := range codecNames {
		for _, level := range []int{0, 1, 9, -1} {
			w.Reset()
			w.BaseOffset, w.Codec, w.Level = 10, codec, level
			want := variedRecords()
			for _, r := range want {
				w.Add(r.Timestamp, r.Key, r.Value, r.Headers...)
			}
			equal(t, len(want), w.Len())
			b, err := w.Build(c)
			ok(t, err)
			ok(t, b.Check())
			if codec == CodecNone {
				equal(t, w.Size(), len(b))
			}
			equal(t, int64(math.MaxInt64/2), b.MaxTimestamp())
			equal(t, int64(1000), b.BaseTimestamp())
			equal(t, want, collect(t, c, b))
		}
	}
}

func TestBuilderResetForgets(t *testing.T) {
	w := NewBuilder()
	w.Add(5, []byte("old"), nil)
	w.Reset()
	equal(t, HeaderSize, w.Size())
	_, err := w.Build(nil)
	hasCode(t, err, protocol.InvalidRecord, "")
	w.Add(1, nil, []byte("new"))
	b, err := w.Build(nil)
	ok(t, err)
	equal(t, []Record{{Timestamp: 1, Value: []byte("new")}}, collect(t, NewCodecs(), b))
	equal(t, int64(1), b.MaxTimestamp())
}

// What compaction needs: gaps, the last offset of a batch whose last records are gone, and the delete horizon.
func TestBuilderForCompaction(t *testing.T) {
	w := NewBuilder()
	w.BaseOffset, w.LastOffsetDelta, w.DeleteHorizon = 100, 9, 5000
	w.AddAt(102, 4000, []byte("a"), []byte("1"))
	w.AddAt(106, 6000, []byte("b"), nil)
	b, err := w.Build(nil)
	ok(t, err)
	ok(t, b.Check())
	equal(t, int64(109), b.LastOffset())
	equal(t, int32(2), b.Count())
	horizon, found := b.DeleteHorizon()
	equal(t, true, found)
	equal(t, int64(5000), horizon)
	equal(t, int64(6000), b.MaxTimestamp())
	equal(t, []Record{
		{Offset: 102, Timestamp: 4000, Key: []byte("a"), Value: []byte("1")},
		{Offset: 106, Timestamp: 6000, Key: []byte("b")},
	}, collect(t, NewCodecs(), b))
}

func TestLogAppendTimeReadsAsMaxTimestamp(t *testing.T) {
	b := build(t, 3, func(w *Builder) { w.TimestampType, w.AppendTime = LogAppendTime, 777 })
	for _, r := range collect(t, NewCodecs(), b) {
		equal(t, int64(777), r.Timestamp)
	}
}

func TestBuilderAllocatesNothingWhenWarm(t *testing.T) {
	w := NewBuilder()
	key, value := []byte("key"), []byte("value")
	fill := func() {
		w.Reset()
		for range 100 {
			w.Add(1, key, value)
		}
		if _, err := w.Build(nil); err != nil {
			t.Error(err)
		}
	}
	fill()
	if allocs := testing.AllocsPerRun(50, fill); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestMarkerGolden(t *testing.T) {
	want := sample(t, "marker-commit.bin")
	w := NewBuilder()
	w.BaseOffset, w.LeaderEpoch, w.ProducerID, w.ProducerEpoch = 55, 7, 9, 3
	w.AddEndTxnMarker(sampleTime, EndTxnMarker{Commit: true, CoordinatorEpoch: 4})
	got, err := w.Build(nil)
	ok(t, err)
	equal(t, want, got)

	c := NewCodecs()
	m, found, err := c.ReadEndTxnMarker(want)
	ok(t, err)
	equal(t, true, found)
	equal(t, EndTxnMarker{Commit: true, CoordinatorEpoch: 4}, m)
	equal(t, NoSequence, want.LastSequence())
	_, found, err = c.ReadEndTxnMarker(AppendEmpty(nil, want))
	ok(t, err)
	equal(t, false, found, "compaction took the marker")
}

func TestControlRecords(t *testing.T) {
	for _, test := range []struct {
		key  []byte
		want ControlType
		code protocol.Code
	}{
		{AppendControlKey(nil, ControlAbort), ControlAbort, 0},
		{AppendControlKey(nil, ControlKRaftVoters), ControlKRaftVoters, 0},
		{[]byte{0, 9, 0, 1, 5, 5}, ControlCommit, 0}, // a newer version
		{[]byte{0, 0, 0, 99}, ControlUnknown, 0},
		{[]byte{0, 0, 255, 254}, ControlUnknown, 0},
		{[]byte{255, 255, 0, 1}, ControlUnknown, protocol.InvalidRecord},
		{[]byte{0, 0, 0}, ControlUnknown, protocol.InvalidRecord},
		{nil, ControlUnknown, protocol.InvalidRecord},
	} {
		got, err := ParseControlKey(test.key)
		equal(t, test.want, got)
		equal(t, test.code, protocol.CodeOf(err))
	}
	equal(t, "SNAPSHOT_FOOTER", ControlSnapshotFooter.String())
	equal(t, "UNKNOWN", ControlUnknown.String())

	m, err := ParseEndTxnMarker(ControlAbort, []byte{0, 1, 0, 0, 0, 8, 1, 2})
	ok(t, err)
	equal(t, EndTxnMarker{CoordinatorEpoch: 8}, m)
	equal(t, ControlAbort, m.Type())
	for _, value := range [][]byte{nil, {0, 0, 0, 0, 0}, {255, 255, 0, 0, 0, 1}} {
		_, err := ParseEndTxnMarker(ControlCommit, value)
		hasCode(t, err, protocol.InvalidRecord, "")
	}
	_, err = ParseEndTxnMarker(ControlLeaderChange, make([]byte, 6))
	hasCode(t, err, protocol.InvalidRecord, "")
}

func TestControlBatchOfMetadataLog(t *testing.T) {
	w := NewBuilder()
	w.AddControl(sampleTime, ControlLeaderChange, []byte("message"))
	b, err := w.Build(nil)
	ok(t, err)
	equal(t, true, b.IsControl())
	equal(t, false, b.IsTransactional())
	c := NewCodecs()
	_, found, err := c.ReadEndTxnMarker(b)
	ok(t, err)
	equal(t, false, found)
	equal(t, slices.Clone(AppendControlKey(nil, ControlLeaderChange)), collect(t, c, b)[0].Key)
}
