package storage

import (
	"cmp"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// cleanedTxns follows the transactions of a log while a pass walks over it in order: which batches are of aborted ones, and which markers have no batches any
// more (Kafka's CleanedTransactionMetadata).
type cleanedTxns struct {
	aborted   []abortedTxn // by first offset, those from the walk's position on
	open      map[int64]*openAborted
	committed map[int64]struct{}     // producers of which batches of a committed transaction were seen
	retain    func(abortedTxn) error // takes the entries of the new transaction index; nil while keys are indexed
}

// openAborted is an aborted transaction between its first offset and its marker.
type openAborted struct {
	txn  abortedTxn
	seen bool // one of its batches is in the log
}

func (t *cleanedTxns) begin(aborted []abortedTxn) {
	*t = cleanedTxns{aborted: aborted, open: map[int64]*openAborted{}, committed: map[int64]struct{}{}}
}

// upTo opens the aborted transactions that begin at or below offset.
func (t *cleanedTxns) upTo(offset int64) {
	for len(t.aborted) > 0 && t.aborted[0].firstOffset <= offset {
		next := t.aborted[0]
		t.aborted = t.aborted[1:]
		if t.open[next.producerID] == nil {
			t.open[next.producerID] = &openAborted{txn: next}
		}
	}
}

// data notes a batch of data and reports whether its transaction was aborted.
func (t *cleanedTxns) data(b record.Batch) (aborted bool) {
	t.upTo(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	if open := t.open[b.ProducerID()]; open != nil {
		open.seen = true
		return true
	}
	t.committed[b.ProducerID()] = struct{}{}
	return false
}

// control notes a control batch and reports whether it is of no more use: a marker none of whose transaction's batches is left.
func (t *cleanedTxns) control(b record.Batch) (useless bool, err error) {
	t.upTo(b.LastOffset())
	if b.Count() == 0 {
		return true, nil
	}
	kind, err := controlType(b)
	if err != nil {
		return false, err
	}
	switch kind { //nolint:exhaustive // the other kinds end no transaction
	case record.ControlAbort:
		open := t.open[b.ProducerID()]
		delete(t.open, b.ProducerID())
		if open == nil || !open.seen {
			return true, nil
		}
		if t.retain != nil {
			err = t.retain(open.txn)
		}
		return false, err
	case record.ControlCommit:
		_, seen := t.committed[b.ProducerID()]
		delete(t.committed, b.ProducerID())
		return !seen, nil
	}
	return false, nil
}

// controlType reads the type of a control batch from its first record.
func controlType(b record.Batch) (record.ControlType, error) {
	r := fieldReader{b: b.Payload()}
	r.varint() // length
	r.bytes(1) // attributes
	r.varint() // timestamp delta
	r.varint() // offset delta
	key := r.bytes(r.varint())
	if r.bad {
		return 0, protocol.Errorf(protocol.InvalidRecord, "malformed control record at offset %d", b.BaseOffset())
	}
	return record.ParseControlKey(key)
}

// abortedTxns lists the aborted transactions that touch [start, upper), by first offset.
func (p *pass) abortedTxns(start, upper int64) ([]abortedTxn, error) {
	var out []abortedTxn
	for i := p.view.find(start); i < len(p.view.segments); i++ {
		var entries []abortedTxn
		err := p.view.segments[i].held(func() (err error) {
			entries, err = p.view.segments[i].txns.all()
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, t := range entries {
			if t.lastOffset >= start && t.firstOffset < upper {
				out = append(out, t)
			}
		}
		if n := len(entries); n > 0 && entries[n-1].lastStable >= upper {
			break
		}
	}
	slices.SortFunc(out, func(a, b abortedTxn) int { return cmp.Compare(a.firstOffset, b.firstOffset) })
	return out, nil
}

// lastRecord is what must stay of a producer that the log knows (Kafka's LastRecord).
type lastRecord struct {
	lastData int64 // offset of its last data record, noOffset if only a marker is known
	epoch    int16
}

// lastRecords lists the last record of each producer.
func (l *Log) lastRecords() map[int64]lastRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[int64]lastRecord, len(l.producers.entries))
	for id, e := range l.producers.entries {
		if e.tentative {
			continue
		}
		r := lastRecord{lastData: noOffset, epoch: e.epoch}
		if e.n > 0 {
			r.lastData = e.batches[e.n-1].lastOffset
		}
		last[id] = r
	}
	return last
}
