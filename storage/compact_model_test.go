package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// modelRecord is one record that was appended; txn is nil outside of transactions.
type modelRecord struct {
	offset, timestamp int64
	key               string
	value             []byte // nil: a tombstone
	txn               *modelTxn
}

type modelTxn struct{ ended, aborted bool }

// compactModel is a compacted log and what was appended to it.
type compactModel struct {
	t       testing.TB
	rng     *rand.Rand
	store   *Store
	log     *Log
	options Options
	tp      protocol.TopicPartition
	id      protocol.UUID
	config  LogConfig
	now     int64

	records []modelRecord
	open    map[int64]*modelTxn // by producer
	seq     map[int64]int32
	cleaned int64
}

func compactConfig() LogConfig {
	c := testLogConfig()
	c.Compact, c.Delete = true, false
	c.SegmentBytes, c.IndexIntervalBytes, c.MinCleanableDirtyRatio = 1500, 100, 0
	return c
}

func newCompactModel(t testing.TB, fsys vfs.FS, rng *rand.Rand) *compactModel {
	m := &compactModel{
		t: t, rng: rng, tp: tpOf("compacted", 0), id: protocol.NewUUID(), config: compactConfig(), now: time.Now().UnixMilli(),
		open: map[int64]*modelTxn{}, seq: map[int64]int32{},
	}
	m.options = storeOptions(t, fsys, map[string]string{"log.cleaner.enable": "false", "producer.id.expiration.ms": "2147483647"}, "a")
	m.options.Logger = zap.NewNop()
	m.start()
	return m
}

func (m *compactModel) start() {
	m.store = openStore(m.t, m.options)
	var err error
	if m.log, err = m.store.Create(m.tp, m.id, m.config); err != nil {
		m.t.Fatal(err)
	}
}

func (m *compactModel) append(b record.Batch, origin Origin) AppendInfo {
	m.t.Helper()
	o := AppendOptions{LeaderEpoch: 4, Origin: origin, Now: m.now}
	var err error
	if b.IsTransactional() && !b.IsControl() {
		if o.Guard, err = m.log.StartVerification(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), false, m.now); err != nil {
			m.t.Fatal(err)
		}
	}
	info, err := m.log.Append(slices.Clone(b), o)
	if err != nil {
		m.t.Fatal(err)
	}
	return info
}

// step does one random thing.
func (m *compactModel) step() {
	m.now += m.rng.Int64N(2000)
	switch n := m.rng.IntN(20); {
	case n < 11:
		m.data(-1 - m.rng.Int64N(2))
	case n < 13:
		m.data(1 + m.rng.Int64N(3))
	case n < 18:
		m.data(10 + m.rng.Int64N(3))
	default:
		for id := range int64(3) {
			if m.rng.IntN(2) == 0 {
				m.end(10 + id)
			}
		}
	}
	if m.rng.IntN(4) > 0 {
		m.log.AdvanceHighWatermark(m.log.Offsets().LogEnd)
	}
}

// data appends one batch: of no producer (negative), an idempotent one, or from 10 on a transactional one.
func (m *compactModel) data(producer int64) {
	w := record.NewBuilder()
	w.Codec = record.Codec(max(0, m.rng.IntN(9)-4))
	var own *modelTxn
	if producer > 0 {
		w.ProducerID, w.ProducerEpoch, w.BaseSequence = producer, 0, m.seq[producer]
	}
	if producer >= 10 {
		w.Transactional = true
		if own = m.open[producer]; own == nil {
			own = &modelTxn{}
			m.open[producer] = own
		}
	}
	first := m.log.Offsets().LogEnd
	n := 1 + m.rng.IntN(6)
	m.seq[producer] += int32(n)
	for i := range n {
		r := modelRecord{offset: first + int64(i), timestamp: m.now - m.rng.Int64N(50), key: fmt.Sprint("key", m.rng.IntN(25)), txn: own}
		if m.rng.IntN(6) > 0 {
			r.value = fmt.Appendf(nil, "value of %d %s", r.offset, strings.Repeat("x", m.rng.IntN(40)))
		}
		w.Add(r.timestamp, []byte(r.key), r.value, record.Header{Key: "offset", Value: fmt.Append(nil, r.offset)})
		m.records = append(m.records, r)
	}
	b, err := w.Build(m.options.Codecs)
	if err != nil {
		m.t.Fatal(err)
	}
	m.append(b, OriginClient)
}

// end writes the marker of a producer's transaction, if it has one.
func (m *compactModel) end(producer int64) {
	own := m.open[producer]
	if own == nil {
		return
	}
	delete(m.open, producer)
	own.ended, own.aborted = true, m.rng.IntN(2) == 0
	w := record.NewBuilder()
	w.ProducerID, w.ProducerEpoch = producer, 0
	w.AddEndTxnMarker(m.now, record.EndTxnMarker{Commit: !own.aborted, CoordinatorEpoch: 1})
	m.append(finished(m.t, w), OriginCoordinator)
}

// compact does one pass with room for so many keys.
func (m *compactModel) compact(keys int) error {
	d, err := m.log.dirtiness(m.now)
	if err != nil || d.dirty == 0 {
		return err
	}
	_, err = newTestCompactor(m.options.Codecs, keys).clean(context.Background(), d, m.now)
	if err == nil {
		m.cleaned = m.log.cleaned.Load()
	}
	return err
}

func newTestCompactor(codecs *record.Codecs, keys int) *compactor {
	throttle := &ioThrottle{}
	throttle.setRate(1e300)
	return newCompactor(codecs, int64(keys*mapSlotSize), 0.9, 0, throttle)
}

// survivors reads the log as it is and checks that it is one.
func (m *compactModel) survivors() (all map[int64]bool, committed map[string][]byte) {
	m.t.Helper()
	all, committed = map[int64]bool{}, map[string][]byte{}
	o := m.log.Offsets()
	aborted, err := m.log.AbortedTransactions(o.LogStart, o.LogEnd)
	if err != nil {
		m.t.Fatal(err)
	}
	slices.SortFunc(aborted, func(a, b AbortedTransaction) int { return int(a.FirstOffset - b.FirstOffset) })
	skipping := map[int64]bool{}
	next := int64(0)
	byOffset := map[int64]*modelRecord{}
	for i := range m.records {
		byOffset[m.records[i].offset] = &m.records[i]
	}
	err = m.log.Batches(context.Background(), o.LogStart, func(b record.Batch) error {
		if err := b.Check(); err != nil {
			return err
		}
		if b.BaseOffset() < next {
			return fmt.Errorf("batch at %d after %d", b.BaseOffset(), next)
		}
		next = b.NextOffset()
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() { // as consumers do
			skipping[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if b.IsControl() {
			if marker, ok, err := m.options.Codecs.ReadEndTxnMarker(b); err != nil || ok && !marker.Commit {
				delete(skipping, b.ProducerID())
				return err
			}
			return nil
		}
		last := b.BaseOffset() - 1
		return m.options.Codecs.Records(b, func(r *record.Record) error {
			want := byOffset[r.Offset]
			if want == nil || r.Offset <= last || r.Offset > b.LastOffset() || string(r.Key) != want.key || !bytes.Equal(r.Value, want.value) ||
				(r.Value == nil) != (want.value == nil) || r.Timestamp != want.timestamp || len(r.Headers) != 1 {
				return fmt.Errorf("record %+v after %d, want %+v", r, last, want)
			}
			last = r.Offset
			all[r.Offset] = true
			if b.IsTransactional() && skipping[b.ProducerID()] {
				return nil
			}
			if r.Offset >= o.LastStable {
				return nil
			}
			if r.Value == nil {
				delete(committed, want.key)
			} else {
				committed[want.key] = slices.Clone(r.Value)
			}
			return nil
		})
	})
	if err != nil {
		m.t.Fatal(err)
	}
	if next != o.LogEnd && o.LogEnd > 0 {
		m.t.Fatalf("the last batch ends at %d, the log at %d", next, o.LogEnd)
	}
	return all, committed
}

// verify compares what readers see with what was appended.
func (m *compactModel) verify() {
	m.t.Helper()
	all, committed := m.survivors()
	o := m.log.Offsets()
	want := map[string][]byte{}
	inClean := map[string]int{}
	for _, r := range m.records {
		if r.offset >= m.cleaned && !all[r.offset] && r.offset < o.LogEnd && (r.txn == nil || !r.txn.aborted) {
			m.t.Fatalf("record %d is gone, compacted up to %d", r.offset, m.cleaned)
		}
		if all[r.offset] && r.offset < m.cleaned {
			if r.txn != nil && r.txn.aborted {
				m.t.Fatalf("aborted record %d stayed, compacted up to %d", r.offset, m.cleaned)
			}
			if inClean[r.key]++; inClean[r.key] > 1 {
				m.t.Fatalf("two records of %s in the compacted part, up to %d", r.key, m.cleaned)
			}
		}
		if r.txn != nil && (!r.txn.ended || r.txn.aborted) || r.offset >= o.LastStable {
			continue
		}
		delete(want, r.key)
		if r.value != nil {
			want[r.key] = r.value
		}
	}
	for key, value := range want {
		if !bytes.Equal(committed[key], value) {
			m.t.Fatalf("%s is %q, want %q; compacted up to %d", key, committed[key], value, m.cleaned)
		}
	}
	for key, value := range committed {
		if want[key] == nil {
			m.t.Fatalf("%s is %q but was deleted; compacted up to %d", key, value, m.cleaned)
		}
	}
}

// Random appends, passes and restarts; then every reader sees the last committed value of each key.
func TestCompactionAgainstAModel(t *testing.T) {
	eachSeed(t, 30, func(t *testing.T, seed int64) {
		rng := rand.New(rand.NewPCG(uint64(seed), 11))
		disk := vfs.NewMem()
		m := newCompactModel(t, disk, rng)
		m.config.DeleteRetentionMs = rng.Int64N(100_000)
		m.log.Configure(m.config)
		for range 25 {
			for range rng.IntN(60) {
				m.step()
			}
			before := m.log.Offsets()
			switch rng.IntN(6) {
			case 0: // less room than there are keys
				if err := m.compact(8); err != nil && !errors.Is(err, protocol.InvalidRecord) {
					t.Fatal(err)
				}
			case 1:
				m.reopen(rng.IntN(2) == 0)
			default:
				if err := m.compact(1000); err != nil {
					t.Fatal(err)
				}
			}
			after := m.log.Offsets()
			if after.HighWatermark < after.LogEnd { // a restart does not know transactions that ended above it: the last stable offset may rise
				before.LastStable = after.LastStable
			}
			if after != before {
				t.Fatalf("offsets %+v became %+v", before, after)
			}
			m.verify()
		}
		closeStore(t, m.store)
	})
}

// reopen stops the store, cleanly or as a kill does, and starts it again: producers are still known.
func (m *compactModel) reopen(clean bool) {
	m.t.Helper()
	hw, producers := m.log.Offsets().HighWatermark, m.log.Producers()
	if clean {
		closeStore(m.t, m.store)
	} else {
		if err := m.store.eachDir(m.store.checkpointAll); err != nil {
			m.t.Fatal(err)
		}
		kill(m.t, m.store)
	}
	m.start()
	m.log.AdvanceHighWatermark(hw)
	if got := m.log.Producers(); !slices.Equal(got, producers) {
		m.t.Fatalf("producers\n%+v\nbecame\n%+v", producers, got)
	}
	if got := m.log.cleaned.Load(); got != m.cleaned && m.cleaned > 0 {
		m.t.Fatalf("compacted up to %d, was %d", got, m.cleaned)
	}
}
