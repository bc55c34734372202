package storage

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap/zaptest"
)

const testExpiration = 1000 // ms

func newTestProducers(t *testing.T, fsys vfs.FS) *producerStates {
	t.Helper()
	p, err := newProducerStates(fsys, "d", protocol.TopicPartition{Topic: "t"}, producerConfig{expirationMs: testExpiration}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// testBatch describes a batch of a producer.
type testBatch struct {
	id     int64
	epoch  int16
	seq    int32
	count  int   // records; 0 means 1
	offset int64 // base offset
	time   int64
	txn    bool
}

func (b testBatch) build(t testing.TB) record.Batch {
	t.Helper()
	w := record.NewBuilder()
	w.BaseOffset, w.ProducerID, w.ProducerEpoch, w.BaseSequence, w.Transactional = b.offset, b.id, b.epoch, b.seq, b.txn
	for range max(1, b.count) {
		w.Add(b.time, nil, []byte("v"))
	}
	return finish(t, w)
}

func finish(t testing.TB, w *record.Builder) record.Batch {
	t.Helper()
	batch, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// testMarker describes a transaction marker.
type testMarker struct {
	id          int64
	epoch       int16
	offset      int64
	abort       bool
	coordinator int32
	time        int64
}

func (m testMarker) build(t testing.TB) record.Batch {
	t.Helper()
	w := record.NewBuilder()
	w.BaseOffset, w.ProducerID, w.ProducerEpoch, w.Transactional, w.Control = m.offset, m.id, m.epoch, true, true
	kind := byte(1)
	if m.abort {
		kind = 0
	}
	value := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(m.coordinator))
	w.Add(m.time, []byte{0, 0, 0, kind}, value)
	return finish(t, w)
}

// mustAppend checks and applies b and returns the transactions that it ended.
func (p *producerStates) mustAppend(t *testing.T, b record.Batch, origin Origin) []completedTxn {
	t.Helper()
	_, dup, err := p.check(b, origin)
	if err != nil || dup {
		t.Fatalf("check of %d@%d seq %d: duplicate %v, %v", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), dup, err)
	}
	return p.apply(b.NextOffset())
}

// refuses checks that b is refused with code and changes nothing.
func (p *producerStates) refuses(t *testing.T, b record.Batch, origin Origin, code protocol.Code) {
	t.Helper()
	before := p.list()
	_, dup, err := p.check(b, origin)
	if dup || protocol.CodeOf(err) != code {
		t.Errorf("check of %d@%d seq %d: duplicate %v, %v, want %v", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), dup, err, code)
	}
	if len(p.pending)+len(p.started)+len(p.completed) != 0 || len(p.list()) != len(before) {
		t.Errorf("the refused batch left a change behind")
	}
}

func TestSequenceRules(t *testing.T) {
	const ok, dup = protocol.None, protocol.Code(-100)
	for _, c := range []struct {
		name string
		have []testBatch
		next testBatch
		want protocol.Code
	}{
		{"unknown producer, any sequence", nil, testBatch{id: 1, seq: 42}, ok},
		{"next", []testBatch{{id: 1, seq: 0, count: 3}}, testBatch{id: 1, seq: 3}, ok},
		{"gap", []testBatch{{id: 1, seq: 0, count: 3}}, testBatch{id: 1, seq: 4}, protocol.OutOfOrderSequenceNumber},
		{"same batch", []testBatch{{id: 1, seq: 0, count: 3}}, testBatch{id: 1, seq: 0, count: 3}, dup},
		{"same first, other last", []testBatch{{id: 1, seq: 0, count: 3}}, testBatch{id: 1, seq: 0, count: 2}, protocol.OutOfOrderSequenceNumber},
		{"overlap", []testBatch{{id: 1, seq: 0, count: 3}}, testBatch{id: 1, seq: 2, count: 2}, protocol.OutOfOrderSequenceNumber},
		{"new epoch from 0", []testBatch{{id: 1, seq: 5}}, testBatch{id: 1, epoch: 1, seq: 0}, ok},
		{"new epoch not from 0", []testBatch{{id: 1, seq: 5}}, testBatch{id: 1, epoch: 1, seq: 6}, protocol.OutOfOrderSequenceNumber},
		{"old epoch", []testBatch{{id: 1, epoch: 2, seq: 5}}, testBatch{id: 1, epoch: 1, seq: 6}, protocol.InvalidProducerEpoch},
		{"old epoch, remembered batch", []testBatch{{id: 1, epoch: 1, seq: 5}, {id: 1, epoch: 2, seq: 0}}, testBatch{id: 1, epoch: 1, seq: 5}, protocol.InvalidProducerEpoch},
		{"window dropped by the new epoch", []testBatch{{id: 1, seq: 0}, {id: 1, epoch: 1, seq: 0}}, testBatch{id: 1, epoch: 1, seq: 0}, dup},
		{"wrap", []testBatch{{id: 1, seq: math.MaxInt32}}, testBatch{id: 1, seq: 0}, ok},
		{"wrap inside a batch", []testBatch{{id: 1, seq: math.MaxInt32 - 1, count: 4}}, testBatch{id: 1, seq: 2}, ok},
		{"retry of a batch that wraps", []testBatch{{id: 1, seq: math.MaxInt32 - 1, count: 4}}, testBatch{id: 1, seq: math.MaxInt32 - 1, count: 4}, dup},
		{"not before the last sequence", []testBatch{{id: 1, seq: 7}}, testBatch{id: 1, seq: 0}, protocol.OutOfOrderSequenceNumber},
		{"other producer", []testBatch{{id: 1, seq: 7}}, testBatch{id: 2, seq: 3}, ok},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newTestProducers(t, memDir(t))
			offset := int64(0)
			for _, b := range c.have {
				b.offset = offset
				batch := b.build(t)
				p.mustAppend(t, batch, OriginClient)
				offset = batch.NextOffset()
			}
			c.next.offset = offset
			next := c.next.build(t)
			switch c.want {
			case ok:
				p.mustAppend(t, next, OriginClient)
				if got := p.list(); got[len(got)-1].LastSequence != next.LastSequence() {
					t.Errorf("state is %+v", got)
				}
			case dup:
				if _, found, err := p.check(next, OriginClient); !found || err != nil {
					t.Errorf("not a duplicate: %v", err)
				}
			default:
				p.refuses(t, next, OriginClient, c.want)
			}
			if c.want == protocol.OutOfOrderSequenceNumber {
				p.mustAppend(t, next, OriginReplication) // a follower takes what its leader took
			}
		})
	}
}

// Exactly the last five batches are recognised, with the offsets and the timestamp of their first append.
func TestDuplicateWindow(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	batch := func(i int) record.Batch {
		return testBatch{id: 9, seq: int32(2 * i), count: 2, offset: int64(100 + 2*i), time: int64(1000 + i)}.build(t)
	}
	for i := range 7 {
		p.mustAppend(t, batch(i), OriginClient)
	}
	for i := range 7 {
		retry := batch(i)
		retry.SetBaseOffset(500)
		d, found, err := p.check(retry, OriginClient)
		if i < 2 {
			if found || protocol.CodeOf(err) != protocol.OutOfOrderSequenceNumber {
				t.Errorf("batch %d: found %v, %v", i, found, err)
			}
			continue
		}
		want := duplicateBatch{firstOffset: int64(100 + 2*i), lastOffset: int64(101 + 2*i), maxTimestamp: int64(1000 + i)}
		if !found || d != want {
			t.Errorf("batch %d: got %+v, %v, %v, want %+v", i, d, found, err, want)
		}
	}
	if _, found, _ := p.check(batch(6), OriginReplication); found {
		t.Error("a follower must not look for duplicates")
	}
	p.discard()
}

// What is checked is not there before it is applied, and not after it is discarded.
func TestCheckIsTentative(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	if _, _, err := p.check(testBatch{id: 1}.build(t), OriginClient); err != nil {
		t.Fatal(err)
	}
	if len(p.list()) != 0 {
		t.Error("the state changed before apply")
	}
	p.discard()
	if !p.empty() {
		t.Error("discard left the producer behind")
	}
	first, second := testBatch{id: 1, count: 2}.build(t), testBatch{id: 1, seq: 2, offset: 2}.build(t)
	for _, b := range []record.Batch{first, second, testBatch{id: 2, seq: 8, offset: 3}.build(t)} {
		if _, _, err := p.check(b, OriginClient); err != nil {
			t.Fatal(err)
		}
	}
	p.apply(4)
	if got := p.list(); len(got) != 2 || got[0].LastSequence != 2 || got[1].LastSequence != 8 || p.end() != 4 {
		t.Errorf("got %+v, end %d", got, p.end())
	}
	if _, found, _ := p.check(first, OriginClient); !found {
		t.Error("the first batch of an append of two is not remembered")
	}
	for _, b := range []record.Batch{testBatch{id: 1, seq: 3, offset: 4}.build(t), testBatch{id: 1, seq: 5, offset: 5}.build(t)} {
		_, _, err := p.check(b, OriginClient)
		if bad := b.BaseSequence() == 5; bad != (err != nil) {
			t.Errorf("sequence %d: %v", b.BaseSequence(), err)
		}
	}
	if got := p.list(); got[0].LastSequence != 2 {
		t.Errorf("a refused append changed the state: %+v", got)
	}
}

func TestBatchesWithoutProducerPass(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	p.mustAppend(t, testBatch{id: -1, epoch: -1, seq: -1, offset: 7}.build(t), OriginClient)
	if !p.empty() || p.end() != 8 {
		t.Errorf("%+v, end %d", p.list(), p.end())
	}
}

func TestProducersExpire(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	p.mustAppend(t, testBatch{id: 1, time: 5000}.build(t), OriginClient)
	p.mustAppend(t, testBatch{id: 2, time: 5000, offset: 1, txn: true}.build(t), OriginClient)
	p.mustAppend(t, testBatch{id: 3, time: 5001, offset: 2}.build(t), OriginClient)
	p.expire(5000 + testExpiration - 1)
	if len(p.list()) != 3 {
		t.Errorf("expired too early: %+v", p.list())
	}
	p.expire(5000 + testExpiration)
	if got := p.list(); len(got) != 2 || got[0].ProducerID != 2 || got[1].ProducerID != 3 {
		t.Errorf("got %+v; the one with an open transaction and the younger one stay", got)
	}
	p.mustAppend(t, testBatch{id: 1, seq: 77, time: 6000, offset: 3}.build(t), OriginClient) // goes on where it was
}

func TestCheckDoesNotAllocate(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	p.mustAppend(t, testBatch{id: 1}.build(t), OriginClient)
	b := testBatch{id: 1, epoch: 1}.build(t)
	epoch := uint16(1)
	if n := testing.AllocsPerRun(100, func() {
		epoch++
		binary.BigEndian.PutUint16(b[51:], epoch) // a new epoch starts at sequence 0 again
		if _, dup, err := p.check(b, OriginClient); err != nil || dup {
			t.Fatal(dup, err)
		}
		p.apply(1)
	}); n > 0 {
		t.Errorf("%v allocations per batch", n)
	}
}
