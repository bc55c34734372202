package storage

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// fill appends three producers, one of them in a transaction, and a marker with a new epoch: the state at offset 6.
func (p *producerStates) fill(t *testing.T) {
	p.mustAppend(t, testBatch{id: 1, seq: 5, count: 2, offset: 0, time: 900}.build(t), OriginClient)
	p.mustAppend(t, testBatch{id: 7, epoch: 3, offset: 2, time: 901, txn: true}.build(t), OriginClient)
	p.mustAppend(t, testBatch{id: 3, offset: 3, time: 902, txn: true}.build(t), OriginClient)
	p.mustAppend(t, testBatch{id: 1, seq: 7, offset: 4, time: 903}.build(t), OriginClient)
	p.mustAppend(t, testMarker{id: 3, epoch: 1, offset: 5, coordinator: 4, time: 904}.build(t), OriginCoordinator)
}

func TestSnapshotSurvivesReload(t *testing.T) {
	m := memDir(t)
	p := newTestProducers(t, m)
	p.fill(t)
	if err := p.takeSnapshot(true); err != nil {
		t.Fatal(err)
	}
	q := newTestProducers(t, m)
	if err := q.truncateAndReload(0, 6, 1000); err != nil {
		t.Fatal(err)
	}
	if got, want := q.list(), p.list(); !reflect.DeepEqual(got, want) || q.end() != 6 {
		t.Errorf("end %d, got %+v, want %+v", q.end(), got, want)
	}
	if got := q.list()[1]; got != (ProducerState{ProducerID: 3, Epoch: 1, LastSequence: -1, LastTimestamp: 904, CoordinatorEpoch: 4, CurrentTxnStartOffset: -1}) {
		t.Errorf("after a marker with a new epoch: %+v", got)
	}
	if q.firstUnstable() != 2 {
		t.Errorf("first unstable offset %d, want that of producer 7", q.firstUnstable())
	}
	if _, found, _ := q.check(testBatch{id: 1, seq: 7, offset: 9}.build(t), OriginClient); !found {
		t.Error("the last batch is not recognised after a restart")
	}
	q.refuses(t, testBatch{id: 1, seq: 5, count: 2, offset: 9}.build(t), OriginClient, protocol.OutOfOrderSequenceNumber) // only the last one is stored
	q.mustAppend(t, testBatch{id: 1, seq: 8, offset: 6}.build(t), OriginClient)
}

func TestExpiredProducersAreNotLoaded(t *testing.T) {
	m := memDir(t)
	p := newTestProducers(t, m)
	p.fill(t)
	if err := p.takeSnapshot(false); err != nil {
		t.Fatal(err)
	}
	q := newTestProducers(t, m)
	if err := q.truncateAndReload(0, 6, 903+testExpiration); err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for _, s := range q.list() {
		ids = append(ids, s.ProducerID)
	}
	if !slices.Equal(ids, []int64{3, 7}) { // 3 is younger, 7 has a transaction open
		t.Errorf("got %v", ids)
	}
}

func TestCorruptSnapshotFallsBack(t *testing.T) {
	m := memDir(t)
	p := newTestProducers(t, m)
	p.fill(t)
	if err := p.takeSnapshot(true); err != nil {
		t.Fatal(err)
	}
	good, err := m.ReadFile(snapshotPath("d", 6))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, err := parseSnapshot(bad); err == nil {
			t.Fatalf("a flipped bit in byte %d went unnoticed", i)
		}
		if _, err := parseSnapshot(good[:i]); err == nil {
			t.Fatalf("%d of %d bytes were enough", i, len(good))
		}
	}
	for offset, content := range map[int64][]byte{8: good[:20], 9: nil} {
		if err := writeFile(m, snapshotPath("d", offset), content, false); err != nil {
			t.Fatal(err)
		}
	}
	q := newTestProducers(t, m)
	if err := q.truncateAndReload(0, 10, 1000); err != nil {
		t.Fatal(err)
	}
	if q.end() != 6 || len(q.list()) != 3 || !slices.Equal(q.snapshots, []int64{6}) {
		t.Errorf("end %d, %d producers, snapshots %v", q.end(), len(q.list()), q.snapshots)
	}
	if _, err := m.Stat(snapshotPath("d", 9)); err == nil {
		t.Error("the corrupt snapshot is still there")
	}
}

func TestSnapshotHousekeeping(t *testing.T) {
	with := func(offsets ...int64) *producerStates {
		m := memDir(t)
		for _, o := range offsets {
			if err := writeFile(m, snapshotPath("d", o), appendSnapshot(nil, nil), false); err != nil {
				t.Fatal(err)
			}
		}
		if err := writeFile(m, "d/7.snapshot", nil, false); err != nil { // no snapshot's name
			t.Fatal(err)
		}
		return newTestProducers(t, m)
	}
	for _, c := range []struct {
		name string
		have []int64
		do   func(p *producerStates) error
		want []int64
	}{
		{"stray ones: the newest stays", []int64{3, 5, 10, 12, 15}, func(p *producerStates) error { return p.removeStraySnapshots([]int64{0, 5, 10}) }, []int64{5, 10, 15}},
		{"stray ones below the last segment go", []int64{3, 5, 7}, func(p *producerStates) error { return p.removeStraySnapshots([]int64{0, 5, 10}) }, []int64{5}},
		{"outside of the log", []int64{3, 5, 7, 9}, func(p *producerStates) error { return p.truncateAndReload(3, 8, 0) }, []int64{5, 7}},
		{"reset", []int64{3, 5}, func(p *producerStates) error { return p.resetTo(9) }, []int64{}},
	} {
		p := with(c.have...)
		if err := c.do(p); err != nil {
			t.Fatal(err)
		}
		if err := p.listSnapshots(); err != nil || !slices.Equal(p.snapshots, c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.name, p.snapshots, err, c.want)
		}
	}
	p := with(3, 5)
	if path, ok := p.detachSnapshot(3); !ok || path != snapshotPath("d", 3) || !slices.Equal(p.snapshots, []int64{5}) {
		t.Errorf("detached %q, %v", path, p.snapshots)
	}
	if _, ok := p.detachSnapshot(4); ok {
		t.Error("detached what is not there")
	}
}

// A snapshot is written once per offset.
func TestSnapshotOnlyWhenAdvanced(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	if err := p.takeSnapshot(false); err != nil || len(p.snapshots) != 0 {
		t.Errorf("an empty log has snapshots %v, %v", p.snapshots, err)
	}
	p.advanceTo(4)
	for range 2 {
		if err := p.takeSnapshot(false); err != nil || !slices.Equal(p.snapshots, []int64{4}) {
			t.Errorf("got %v, %v", p.snapshots, err)
		}
	}
}

func TestTruncationDropsLaterState(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	p.mustAppend(t, testBatch{id: 1, offset: 0, time: 900}.build(t), OriginClient)
	if err := p.takeSnapshot(false); err != nil {
		t.Fatal(err)
	}
	p.mustAppend(t, testBatch{id: 1, seq: 1, offset: 1, time: 900}.build(t), OriginClient)
	p.mustAppend(t, testBatch{id: 2, offset: 2, time: 900, txn: true}.build(t), OriginClient)
	if err := p.truncateAndReload(0, 2, 900); err != nil {
		t.Fatal(err)
	}
	if p.end() != 1 || p.firstUnstable() != -1 || len(p.list()) != 1 {
		t.Errorf("end %d, first unstable %d, %+v", p.end(), p.firstUnstable(), p.list())
	}
}

func FuzzParseSnapshot(f *testing.F) {
	e := newProducerEntry(7)
	e.add(batchMetadata{lastSequence: 3, lastOffset: 9, offsetDelta: 2, timestamp: 5})
	e.lastTimestamp = 5
	f.Add(appendSnapshot(nil, []*producerEntry{&e})[snapshotCRCEnd:], false)
	f.Add(appendSnapshot(nil, nil), true)
	f.Fuzz(func(t *testing.T, data []byte, raw bool) {
		if !raw { // give it the right header, or next to nothing gets past the checksum
			data = append([]byte{0, snapshotVersion, 0, 0, 0, 0}, data...)
			binary.BigEndian.PutUint32(data[2:], crc32.Checksum(data[snapshotCRCEnd:], crc32.MakeTable(crc32.Castagnoli)))
		}
		entries, err := parseSnapshot(data)
		if err != nil {
			return
		}
		pointers := make([]*producerEntry, len(entries))
		for i := range entries {
			pointers[i] = &entries[i]
			entries[i].duplicate(make(record.Batch, record.HeaderSize))
		}
		again, err := parseSnapshot(appendSnapshot(nil, pointers))
		if err != nil || !slices.Equal(again, entries) {
			t.Fatalf("%x: %v", data, err)
		}
	})
}
