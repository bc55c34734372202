package txn

import (
	"math"
	"slices"

	"github.com/ottla/ottla/protocol"
)

const (
	noProducerID int64 = -1
	noEpoch      int16 = -1
	noStart      int64 = -1

	// lastEpoch is the last epoch that a producer gets; the one above is for fencing it (Kafka's isEpochExhausted).
	lastEpoch int16 = math.MaxInt16 - 1
	// epochBumpVersion is the transaction.version from which on each transaction ends with a new epoch (KIP-890 part 2).
	epochBumpVersion int16 = 2
	// twoPhaseTimeout is the timeout of a transaction that never times out (KIP-939).
	twoPhaseTimeout int32 = math.MaxInt32
)

// snapshot is what is durable about a transactional id: the value of its last record (Kafka's TxnTransitMetadata).
type snapshot struct {
	producerID         int64
	previousProducerID int64 // of the last record before; -1: unknown
	nextProducerID     int64 // that the producer goes on with when this transaction is complete; -1: the same
	start              int64 // of the transaction, in ms since 1970; -1: none was begun
	lastUpdate         int64 // ms since 1970
	partitions         []protocol.TopicPartition
	timeout            int32 // ms
	producerEpoch      int16
	lastProducerEpoch  int16 // the epoch before, for a client that repeats its request; not in records, -1: unknown
	clientVersion      int16 // transaction.version of the client that began or ended the transaction
	state              state
}

// transaction is one transactional id. The shard's loop owns it. Snapshots share their partitions, which are never changed in place.
type transaction struct {
	snapshot
	id      string
	pending state // the state that a record on its way will bring; none: there is none

	list       *list // the list that it is in, or nil
	prev, next *transaction
}

// newTransaction is a transactional id before its first record.
func newTransaction(id string, producerID int64, timeout int32, now int64) *transaction {
	return &transaction{id: id, pending: none, snapshot: snapshot{
		producerID: producerID, previousProducerID: noProducerID, nextProducerID: noProducerID,
		start: noStart, lastUpdate: now, timeout: timeout, producerEpoch: noEpoch, lastProducerEpoch: noEpoch, state: empty,
	}}
}

// to begins the next snapshot.
func (t *transaction) to(next state) snapshot {
	s := t.snapshot
	s.state, s.previousProducerID = next, t.producerID
	return s
}

func (t *transaction) exhausted() bool { return t.producerEpoch >= lastEpoch }

// bump gives the producer the next epoch. expected is the epoch that it says it has, or noEpoch if it says nothing: ProducerFenced if it is
// neither the current one nor, because the answer was lost, the one before.
func (t *transaction) bump(timeout int32, expected int16, now int64) (snapshot, error) {
	if t.exhausted() {
		return snapshot{}, protocol.Errorf(protocol.UnknownServerError, "Cannot allocate any more producer epochs for producerId %d", t.producerID)
	}
	s := t.to(empty)
	switch {
	case expected == noEpoch:
		s.producerEpoch, s.lastProducerEpoch = t.producerEpoch+1, noEpoch
	case t.producerEpoch == noEpoch || expected == t.producerEpoch:
		s.producerEpoch, s.lastProducerEpoch = t.producerEpoch+1, t.producerEpoch
	case expected == t.lastProducerEpoch:
	default:
		return snapshot{}, protocol.ProducerFenced
	}
	s.timeout, s.partitions, s.start, s.lastUpdate = timeout, nil, noStart, now
	return s, nil
}

// rotate gives the producer a new id. recovered says that it told which one it had.
func (t *transaction) rotate(producerID int64, timeout int32, recovered bool, now int64) snapshot {
	s := t.to(empty)
	s.producerID, s.producerEpoch, s.lastProducerEpoch = producerID, 0, noEpoch
	if recovered {
		s.lastProducerEpoch = t.producerEpoch
	}
	s.timeout, s.partitions, s.start, s.lastUpdate = timeout, nil, noStart, now
	return s
}

// add puts partitions into the transaction, which begins with the first.
func (t *transaction) add(partitions []protocol.TopicPartition, clientVersion int16, now int64) snapshot {
	s := t.to(ongoing)
	if t.state != ongoing {
		s.start = now
	}
	s.partitions = append(make([]protocol.TopicPartition, 0, len(t.partitions)+len(partitions)), t.partitions...)
	for _, p := range partitions {
		if !slices.Contains(s.partitions, p) {
			s.partitions = append(s.partitions, p)
		}
	}
	s.lastUpdate, s.clientVersion = now, clientVersion
	return s
}

func (t *transaction) contains(partitions []protocol.TopicPartition) bool {
	for _, p := range partitions {
		if !slices.Contains(t.partitions, p) {
			return false
		}
	}
	return true
}

// end decides the transaction. nextID is the producer's next id where its epochs are used up, else noProducerID.
func (t *transaction) end(decision state, clientVersion int16, nextID, now int64) snapshot {
	s := t.to(decision)
	if clientVersion >= epochBumpVersion {
		if t.producerEpoch < math.MaxInt16 {
			s.producerEpoch++
		}
		s.lastProducerEpoch = t.producerEpoch
	}
	if t.state != ongoing { // an abort without a transaction
		s.start = now
	}
	s.nextProducerID, s.lastUpdate, s.clientVersion = nextID, now, clientVersion
	return s
}

// complete is the state after all markers are written.
func (t *transaction) complete(now int64) snapshot {
	s := t.to(completeAbort)
	if t.state == prepareCommit {
		s.state = completeCommit
	}
	if t.clientVersion >= epochBumpVersion && t.nextProducerID != noProducerID {
		s.producerID, s.producerEpoch = t.nextProducerID, 0
	}
	s.nextProducerID, s.partitions, s.lastUpdate = noProducerID, nil, now
	return s
}

// list is a list of transactions, in the order in which they came in.
type list struct {
	first, last *transaction
}

// move puts t at the end of l, or in no list if l is nil.
func (t *transaction) move(l *list) {
	if old := t.list; old != nil {
		if t.prev == nil {
			old.first = t.next
		} else {
			t.prev.next = t.next
		}
		if t.next == nil {
			old.last = t.prev
		} else {
			t.next.prev = t.prev
		}
	}
	t.list, t.prev, t.next = l, nil, nil
	if l == nil {
		return
	}
	t.prev = l.last
	if l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
}
