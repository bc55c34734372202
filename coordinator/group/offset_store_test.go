package group

import (
	"slices"
	"testing"
)

func TestOffsetStoreKeepsTheDurableValue(t *testing.T) {
	s := newOffsetStore()
	k := offsetKey{"g", "t", 0}
	read := func(latest bool) int64 {
		if v, ok := s.read(k, latest); ok {
			return v.offset
		}
		return -1
	}
	check := func(step string, durable, latest int64) {
		t.Helper()
		if d, l := read(false), read(true); d != durable || l != latest {
			t.Errorf("%s: durable %d, latest %d; want %d and %d", step, d, l, durable, latest)
		}
	}
	put := func(recordOffset, offset int64) {
		s.put(k, offsetValue{offset: offset, recordOffset: recordOffset, since: recordOffset, deleted: offset < 0})
	}
	put(0, -1) // a tombstone of nothing
	check("nothing", -1, -1)
	put(1, 10)
	check("written", -1, 10)
	s.committed(2)
	check("committed", 10, 10)
	put(2, 20)
	put(3, 30)
	put(4, -1)
	check("deleted", 10, -1)
	s.committed(4)
	check("half way", 30, -1)
	put(5, 50)
	check("set again", 30, 50)
	s.committed(5)
	check("the deletion is durable", -1, 50)
	s.committed(6)
	check("all is durable", 50, 50)
	put(6, -1)
	s.committed(7)
	if len(s.groups) != 0 || len(s.written) != 0 {
		t.Errorf("left behind: %v %v", s.groups, s.written)
	}
	// Below the high watermark, as during a load, values replace each other at once.
	s.highWatermark = 100
	put(8, 80)
	put(9, 90)
	check("loaded", 90, 90)
	put(10, -1)
	check("loaded", -1, -1)
	if len(s.groups) != 0 || len(s.written) != 0 {
		t.Errorf("left behind: %v %v", s.groups, s.written)
	}
}

func TestOffsetsOfTransactions(t *testing.T) {
	a, b := offsetKey{"g", "t", 0}, offsetKey{"g", "t", 1}
	s := newOffsetStore()
	s.highWatermark = 100
	s.putPending(1, a, offsetValue{offset: 1, recordOffset: 1})
	s.putPending(2, a, offsetValue{offset: 2, recordOffset: 2})
	s.putPending(2, b, offsetValue{offset: 3, recordOffset: 3})
	s.put(b, offsetValue{offset: 4, recordOffset: 4}) // later, outside
	if !s.isPending(a) || !s.isPending(b) || s.isPending(offsetKey{"g", "t", 2}) {
		t.Error("pending offsets are not known")
	}
	if got := slices.SortedFunc(s.pendingOf("g"), compareOffsetKeys); !slices.Equal(got, []offsetKey{a, b}) {
		t.Errorf("pending %v", got)
	}
	s.endTransaction(5, 1, false)
	if _, ok := s.latest(a); ok || !s.isPending(a) {
		t.Error("an aborted offset is visible, or took the other transaction with it")
	}
	s.endTransaction(6, 2, true)
	va, _ := s.latest(a)
	vb, _ := s.latest(b)
	if va.offset != 2 || vb.offset != 4 {
		t.Errorf("offsets %d and %d, want 2, and 4 which is newer", va.offset, vb.offset)
	}
	s.putPending(3, a, offsetValue{offset: 9, recordOffset: 9})
	s.dropPending(a)
	if s.hasPending("g") {
		t.Error("the group has pending offsets although the only one was deleted")
	}
	s.endTransaction(10, 3, true)
	if va, _ := s.latest(a); va.offset != 2 || len(s.pending.open) != 0 || len(s.pending.byProducer) != 0 {
		t.Errorf("offset %d, left behind: %+v", va.offset, s.pending)
	}
}

// What a transaction committed is durable with its marker, not with its own record.
func TestOffsetsOfTransactionsAreDurableWithTheMarker(t *testing.T) {
	k := offsetKey{"g", "t", 0}
	s := newOffsetStore()
	s.put(k, offsetValue{offset: 1, recordOffset: 0, since: 0})
	s.putPending(7, k, offsetValue{offset: 2, recordOffset: 1, since: 1})
	s.committed(2)
	s.endTransaction(2, 7, true)
	if v, ok := s.read(k, false); !ok || v.offset != 1 {
		t.Errorf("before the marker is committed: %+v", v)
	}
	if v, ok := s.read(k, true); !ok || v.offset != 2 {
		t.Errorf("latest: %+v", v)
	}
	s.committed(3)
	if v, ok := s.read(k, false); !ok || v.offset != 2 || len(s.written) != 0 {
		t.Errorf("after: %+v, %v", v, s.written)
	}
}
