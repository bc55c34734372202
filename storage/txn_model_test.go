package storage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// txnModelBatch is one batch of the log: data of a producer (0: none) or the end of its transaction.
type txnModelBatch struct {
	first, last int64
	producer    int64
	epoch       int16
	ends        bool
	aborts      bool
}

// txnModel does random things with the transactions of one log, and knows what readers of committed records must see.
type txnModel struct {
	t       *testing.T
	rng     *rand.Rand
	disk    *vfs.Mem
	id      protocol.UUID
	options Options
	store   *Store
	log     *Log

	batches []txnModelBatch // from offset 0 on, with what was deleted
	start   int64           // of the log
	synced  int64
	known   bool  // the log knows of every marker above its high watermark: it has not read its state from the disk since
	base    int64 // start of the log when that was so: what lies below may be forgotten

	bumped map[int64]int16 // the epoch in which a producer goes on whose records may be forgotten
}

// TestTransactionsAgainstAModel appends, ends, deletes, truncates, rolls, restarts and loses power at random.
func TestTransactionsAgainstAModel(t *testing.T) {
	for seed := range crashSeeds(t, 40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &txnModel{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 11)), disk: vfs.NewMem(), id: protocol.NewUUID()}
				m.open()
				defer func() { closeStore(t, m.store) }()
				for n := range 250 {
					m.step()
					if m.verify(); t.Failed() {
						t.Fatalf("after step %d: %+v, the last batches %+v", n, m.log.Offsets(), m.batches[max(0, len(m.batches)-8):])
					}
				}
			})
		})
	}
}

func (m *txnModel) open() {
	m.options = storeOptions(m.t, m.disk, map[string]string{"log.cleaner.enable": "false", "log.flush.offset.checkpoint.interval.ms": "5000"}, "a")
	m.options.Logger = zap.NewNop()
	m.store = openStore(m.t, m.options)
	m.log = create(m.t, m.store, tpOf("t", 0), m.id)
	at := m.log.Offsets()
	m.cut(at.LogEnd)
	if at.LogEnd < m.synced {
		m.t.Fatalf("the log ends at %d, %d were synced", at.LogEnd, m.synced)
	}
	m.start = at.LogStart // a raised start is durable with its checkpoint only
	m.reloaded()
	if m.rng.IntN(2) == 0 {
		m.advance(at.LogEnd)
	}
}

// reloaded notes that the log has read its producers' state from the disk: what lies below its start may be forgotten, as Apache Kafka does it.
func (m *txnModel) reloaded() {
	m.known, m.base, m.bumped = false, m.start, map[int64]int16{}
	for producer := int64(10); producer < 13; producer++ {
		epoch, last := int16(0), int64(-1)
		for _, b := range m.batches {
			if b.producer == producer {
				epoch = b.epoch
				if !b.ends {
					last = b.first
				}
			}
		}
		if last < m.base {
			m.bumped[producer] = epoch + 1
		}
	}
}

// cut drops the batches at and above offset.
func (m *txnModel) cut(offset int64) {
	m.batches = slices.DeleteFunc(m.batches, func(b txnModelBatch) bool { return b.first >= offset })
	m.synced = min(m.synced, offset)
}

func (m *txnModel) end() int64 {
	if len(m.batches) == 0 {
		return 0
	}
	return m.batches[len(m.batches)-1].last + 1
}

func (m *txnModel) advance(offset int64) {
	if m.log.AdvanceHighWatermark(offset); m.log.Offsets().HighWatermark == m.end() {
		m.known = true
	}
}

// state is what the batches say of a producer: its epoch, its next sequence number, and its open transaction's batches.
func (m *txnModel) state(producer int64) (epoch int16, sequence int32, open []txnModelBatch) {
	for _, b := range m.batches {
		if b.producer != producer {
			continue
		}
		if b.epoch != epoch {
			epoch, sequence = b.epoch, 0
		}
		if b.ends {
			open = nil
			continue
		}
		sequence += int32(b.last - b.first + 1)
		open = append(open, b)
	}
	return epoch, sequence, open
}

func (m *txnModel) step() {
	hw := m.log.Offsets().HighWatermark
	switch n := m.rng.IntN(40); {
	case n < 16:
		m.data(10 + m.rng.Int64N(3))
	case n < 18:
		m.data(0)
	case n < 26:
		m.finish(10 + m.rng.Int64N(3))
	case n < 32:
		m.advance(hw + m.rng.Int64N(m.end()-hw+1))
	case n < 33:
		m.must(m.log.Sync())
		m.synced = m.end()
	case n < 34:
		m.must(m.log.Roll())
	case n < 35:
		if offset := m.start + m.rng.Int64N(hw-m.start+1); m.rng.IntN(2) == 0 {
			m.must(m.log.DeleteBefore(offset))
			m.start = m.log.Offsets().LogStart
		}
	case n < 36:
		_, err := m.log.Retention(time.Now())
		m.must(err)
	case n < 37:
		m.truncate(hw)
	case n < 38:
		time.Sleep(time.Duration(m.rng.IntN(10)) * time.Second) // background work
	default:
		m.reopen()
	}
}

// truncate takes away some batches above the high watermark, as a follower does.
func (m *txnModel) truncate(hw int64) {
	for _, b := range m.batches {
		if b.first >= hw && m.rng.IntN(3) == 0 {
			m.must(m.log.TruncateTo(b.first))
			m.cut(b.first)
			m.reloaded()
			return
		}
	}
}

// reopen ends the Store cleanly, by a kill, or with the power.
func (m *txnModel) reopen() {
	switch m.rng.IntN(3) {
	case 0:
		closeStore(m.t, m.store)
		m.synced = m.end()
	case 1:
		kill(m.t, m.store)
	default:
		disk := m.disk.Crash(m.rng.Int64())
		kill(m.t, m.store)
		m.disk = disk
	}
	m.open()
}

func (m *txnModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// data appends a batch of a producer's transaction, which may begin with it; of none with producer 0.
func (m *txnModel) data(producer int64) {
	w := record.NewBuilder()
	o := AppendOptions{LeaderEpoch: 1, Origin: OriginClient, Now: time.Now().UnixMilli()}
	b := txnModelBatch{first: m.end(), producer: producer}
	if producer > 0 {
		epoch, sequence, _ := m.state(producer)
		if bumped := m.bumped[producer]; bumped > epoch {
			epoch, sequence = bumped, 0
		}
		w.Transactional, w.ProducerID, w.ProducerEpoch, w.BaseSequence = true, producer, epoch, sequence
		b.epoch = epoch
		var err error
		o.Guard, err = m.log.StartVerification(producer, epoch, sequence, false, o.Now)
		m.must(err)
	}
	for range 1 + m.rng.IntN(3) {
		w.Add(o.Now, nil, make([]byte, m.rng.IntN(300)))
	}
	info, err := m.log.Append(finish(m.t, w), o)
	m.must(err)
	b.last = info.LastOffset
	m.batches = append(m.batches, b)
	if info.FirstOffset != b.first {
		m.t.Errorf("appended at %d, want %d", info.FirstOffset, b.first)
	}
}

// finish appends a marker, also where no transaction is open. Every other one is of transaction.version 2, and gives the producer a new epoch.
func (m *txnModel) finish(producer int64) {
	epoch, _, open := m.state(producer)
	version := int16(m.rng.IntN(2) * 2)
	if version == 2 && len(open) > 0 {
		epoch++
	}
	b := txnModelBatch{first: m.end(), last: m.end(), producer: producer, epoch: epoch, ends: true, aborts: m.rng.IntN(2) == 0}
	w := record.NewBuilder()
	w.ProducerID, w.ProducerEpoch = producer, epoch
	w.AddEndTxnMarker(time.Now().UnixMilli(), record.EndTxnMarker{Commit: !b.aborts})
	_, err := m.log.Append(finish(m.t, w), AppendOptions{LeaderEpoch: 1, Origin: OriginCoordinator, Now: time.Now().UnixMilli(), TransactionVersion: version})
	m.must(err)
	m.batches = append(m.batches, b)
}

// verify compares the log with the model.
func (m *txnModel) verify() {
	m.t.Helper()
	at := m.log.Offsets()
	if at.LogEnd != m.end() || at.LogStart != m.start {
		m.t.Fatalf("offsets %+v, want start %d and end %d", at, m.start, m.end())
	}
	low, high := m.stable(at.HighWatermark)
	if at.LastStable < low || at.LastStable > high {
		m.t.Errorf("last stable offset %d, want %d to %d", at.LastStable, low, high)
	}
	offset := m.start + m.rng.Int64N(at.HighWatermark-m.start+1)
	for _, from := range []int64{m.start, offset} {
		if from <= at.LastStable {
			m.read(from, at.LastStable)
		}
	}
}

// stable is where the last stable offset must be. A log that was reloaded may have forgotten how an open transaction began, if that was deleted; and it need
// not wait for the markers that it found.
func (m *txnModel) stable(hw int64) (low, high int64) {
	low, high = hw, hw
	begun := map[int64][]int64{} // by producer: the batches of its transaction
	holds := func(batches []int64, surely bool) {
		low = min(low, max(m.start, batches[0]))
		if i := slices.IndexFunc(batches, func(first int64) bool { return first >= m.base }); surely && i >= 0 {
			high = min(high, max(m.start, batches[i]))
		}
	}
	for _, b := range m.batches {
		batches := begun[b.producer]
		switch {
		case b.producer == 0:
		case !b.ends:
			begun[b.producer] = append(batches, b.first)
		case len(batches) > 0:
			if delete(begun, b.producer); b.first >= hw {
				holds(batches, m.known)
			}
		}
	}
	for _, batches := range begun {
		holds(batches, true)
	}
	return low, high
}

// read reads committed records as clients do, in answers of random sizes, and wants those of committed transactions.
func (m *txnModel) read(from, upper int64) {
	m.t.Helper()
	var got, want []int64
	for at := from; at < upper; {
		s, aborted, err := m.log.ReadCommitted(at, upper, 1+m.rng.IntN(3000), true)
		m.must(err)
		if s.Len() == 0 {
			break
		}
		b := make([]byte, s.Len())
		if _, err := s.ReadAt(b, 0); err != nil {
			m.t.Fatal(err)
		}
		s.Release()
		var visible []int64
		visible, at = m.filter(b, at, aborted)
		got = append(got, visible...)
	}
	outcome := map[int64]string{}
	for _, b := range slices.Backward(m.batches) {
		switch {
		case b.ends && b.aborts:
			outcome[b.producer] = "aborted"
		case b.ends:
			outcome[b.producer] = "committed"
		case b.last >= upper:
		case b.producer == 0 || outcome[b.producer] == "committed":
			for o := b.last; o >= max(from, b.first); o-- {
				want = append(want, o)
			}
		case outcome[b.producer] == "" && b.last >= from:
			m.t.Errorf("the open transaction's record %d lies below the last stable offset %d", b.first, upper)
		}
	}
	slices.Reverse(want)
	if !slices.Equal(got, want) {
		m.t.Errorf("from %d to %d: read %v, want %v", from, upper, got, want)
	}
}

// filter is what a client does with one answer (Java's CompletedFetch): it returns the offsets of the records that it shows, and where it goes on.
func (m *txnModel) filter(b []byte, from int64, aborted []AbortedTransaction) (visible []int64, next int64) {
	slices.SortFunc(aborted, func(a, b AbortedTransaction) int { return int(a.FirstOffset - b.FirstOffset) })
	skip := map[int64]bool{}
	for next = from; len(b) > 0; {
		batch, rest, err := record.Split(b)
		m.must(err)
		for len(aborted) > 0 && aborted[0].FirstOffset <= batch.LastOffset() {
			skip[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if batch.IsControl() {
			marker, ok, err := m.options.Codecs.ReadEndTxnMarker(batch)
			if m.must(err); ok && !marker.Commit {
				delete(skip, batch.ProducerID())
			}
		} else if !batch.IsTransactional() || !skip[batch.ProducerID()] {
			for o := max(from, batch.BaseOffset()); o <= batch.LastOffset(); o++ {
				visible = append(visible, o)
			}
		}
		next, b = batch.LastOffset()+1, rest
	}
	return visible, next
}
