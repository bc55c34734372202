package controller

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
)

// stateMachine applies committed entries to the image and to __cluster_metadata-0. It lives on raft's state machine goroutine.
type stateMachine struct {
	*applier
	q   *raftQuorum
	log *storage.Log

	telling sync.Mutex // makes calls of the listener one at a time; guards nothing else
}

// The kinds of raft entries.
const (
	entryBatch     byte = 0 // the batch of one decision
	entryBegun     byte = 1 // a leadership begins, as entries said it that knew of one voter without its directory
	entryBeginning byte = 2 // a leadership begins
)

// Apply implements raft.FSM. It returns an error if the entry changes nothing, which is decided alike on every node. What this release does not
// understand ends the controller: others of a newer release do, and it must not go on without.
func (m *stateMachine) Apply(l *raft.Log) any {
	if err := m.q.health.check(); err != nil {
		return err
	}
	if len(l.Data) == 0 {
		return errors.New("controller: an empty entry")
	}
	epoch := int32(l.Term)
	switch l.Data[0] {
	case entryBatch:
		b := record.Batch(l.Data[1:])
		if err := b.Check(); err != nil {
			return err
		}
		if b.BaseOffset() != m.next || b.LeaderEpoch() != epoch {
			return fmt.Errorf("controller: a proposal for offset %d in epoch %d came too late", b.BaseOffset(), b.LeaderEpoch())
		}
		err := m.commit(b)
		m.q.announce(announcement{l.Index, l.Term})
		return err
	case entryBegun, entryBeginning:
		begin, err := decodeBeginning(l.Data)
		if err != nil {
			return m.q.health.fail(err)
		}
		if err := m.q.settle(begin.cluster); err != nil {
			return m.q.health.fail(err)
		}
		b, err := begin.batch(m.next, epoch)
		if err != nil {
			return err
		}
		if err := m.commit(b); err != nil {
			return err
		}
		if begin.leader == m.q.nodeID {
			m.elected(begin.leadership, epoch)
			m.q.announce(announcement{l.Index, l.Term})
		}
		return nil
	}
	return m.q.health.fail(fmt.Errorf("the log has an entry of kind %d, which this release does not know", l.Data[0]))
}

// commit applies b to the image and the log, and tells the listener.
func (m *stateMachine) commit(b record.Batch) any {
	c, err := m.apply(b)
	if err != nil {
		return m.q.health.fail(err)
	}
	if err := m.q.room(func() error { return m.write(b) }); err != nil {
		if errors.Is(err, errStopping) {
			return err
		}
		return m.q.health.fail(fmt.Errorf("__cluster_metadata-0: %w", err))
	}
	m.telling.Lock()
	m.q.listener.Committed(c)
	m.telling.Unlock()
	if m.q.onAppend != nil {
		m.q.onAppend()
	}
	if m.q.bytes.Add(int64(len(b))) >= m.q.snapshotBytes {
		select {
		case m.q.want <- struct{}{}:
		default:
		}
	}
	return nil
}

// write appends b unless the log has it from before a restart. What was written in another epoch at its place goes.
func (m *stateMachine) write(b record.Batch) error {
	o := m.log.Offsets()
	base, next := b.BaseOffset(), b.NextOffset()
	if base < o.LogEnd {
		if next <= o.LogEnd && m.log.EpochOf(base) == b.LeaderEpoch() {
			return nil
		}
		if err := m.log.TruncateTo(base); err != nil {
			return err
		}
	}
	_, err := m.log.Append(b, storage.AppendOptions{Origin: storage.OriginReplication, LeaderEpoch: b.LeaderEpoch(), Now: b.MaxTimestamp()})
	if err != nil {
		return err
	}
	m.log.AdvanceHighWatermark(next)
	return nil
}

// align makes the log begin where the image ends, or before, without a gap.
func (m *stateMachine) align() error {
	o := m.log.Offsets()
	if o.LogEnd < m.next || o.LogStart > m.next {
		if err := m.log.ResetTo(m.next); err != nil {
			return fmt.Errorf("controller: __cluster_metadata-0: %w", err)
		}
	}
	m.log.AdvanceHighWatermark(m.log.Offsets().LogEnd) // it holds nothing but committed records
	return nil
}

// elected tells the listener that this node leads, if the claim still stands.
func (m *stateMachine) elected(leadership uint64, epoch int32) {
	m.telling.Lock()
	defer m.telling.Unlock()
	if m.q.claim.Load() == leadership {
		m.q.tenure.Store(uint64(epoch))
		e := Election{Leadership: leadership, Epoch: epoch, Image: m.image.Load(), NextOffset: m.next}
		if former := m.q.sighted.Swap(nil); former != nil {
			e.Former = *former
		}
		m.q.listener.Elected(e)
		if m.q.network != nil {
			m.q.listener.Met(controllerRegistration{id: m.q.nodeID, incarnation: m.q.incarnation, endpoint: m.q.endpoint, features: ownFeatures()})
		}
	}
}

func (m *stateMachine) deposed(leadership uint64) {
	m.telling.Lock()
	defer m.telling.Unlock()
	m.q.listener.Deposed(leadership)
}

// Snapshot implements raft.FSM: the image is immutable, so it is captured by keeping it.
func (m *stateMachine) Snapshot() (raft.FSMSnapshot, error) {
	return &capture{image: m.image.Load(), timestamp: m.timestamp}, nil
}

// Restore implements raft.FSM: at start, or when a leader has sent a snapshot as its log does not reach back to where this node is.
func (m *stateMachine) Restore(source io.ReadCloser) error {
	img, timestamp, _, err := readCheckpoint(source, m.codecs)
	if err != nil {
		return err
	}
	m.reset(img, timestamp)
	if err := m.align(); err != nil {
		return err
	}
	select {
	case <-m.q.begun:
	default:
		return nil // nobody leads yet
	}
	m.telling.Lock()
	m.q.listener.Committed(Commit{Image: img, Epoch: img.Epoch(), EndOffset: m.next})
	m.telling.Unlock()
	if m.q.onAppend != nil {
		m.q.onAppend()
	}
	return nil
}

// capture is the state at one entry.
type capture struct {
	image     *metadata.Image
	timestamp int64
}

// Persist implements raft.FSMSnapshot.
func (c *capture) Persist(sink raft.SnapshotSink) error {
	k, ok := sink.(*snapshotSink)
	if !ok {
		return fmt.Errorf("controller: a snapshot cannot go into a %T", sink)
	}
	at := k.at
	at.EndOffset, at.Epoch = c.image.Offset()+1, c.image.Epoch()
	return writeCheckpoint(k, c.image, c.timestamp, at)
}

// Release implements raft.FSMSnapshot.
func (c *capture) Release() {}

// beginning is the entry that begins a leadership.
type beginning struct {
	leadership uint64
	leader     int32
	timestamp  int64  // ms
	cluster    string // "": not said
	voters     []schema.ReplicaKey
}

// The sizes of what a beginning is made of.
const (
	beginningHead = 1 + 8 + 4 + 8
	voterSize     = 4 + 16
)

func (e beginning) encode() []byte {
	b := []byte{entryBeginning}
	b = binary.BigEndian.AppendUint64(b, e.leadership)
	b = binary.BigEndian.AppendUint32(b, uint32(e.leader))
	b = binary.BigEndian.AppendUint64(b, uint64(e.timestamp))
	b = append(b, byte(len(e.cluster)))
	b = append(b, e.cluster...)
	for _, v := range e.voters {
		b = binary.BigEndian.AppendUint32(b, uint32(v.ID))
		b = append(b, v.DirectoryID[:]...)
	}
	return b
}

func decodeBeginning(b []byte) (beginning, error) {
	damaged := errors.New("controller: a damaged entry that begins a leadership")
	if len(b) < beginningHead {
		return beginning{}, damaged
	}
	e := beginning{
		leadership: binary.BigEndian.Uint64(b[1:]), leader: int32(binary.BigEndian.Uint32(b[9:])),
		timestamp: int64(binary.BigEndian.Uint64(b[13:])),
	}
	kind, b := b[0], b[beginningHead:]
	if kind == entryBegun {
		if len(b)%4 != 0 {
			return beginning{}, damaged
		}
		for ; len(b) > 0; b = b[4:] {
			e.voters = append(e.voters, schema.ReplicaKey{ID: int32(binary.BigEndian.Uint32(b))})
		}
		return e, nil
	}
	if len(b) == 0 || len(b) < 1+int(b[0]) || (len(b)-1-int(b[0]))%voterSize != 0 {
		return beginning{}, damaged
	}
	e.cluster, b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	for ; len(b) > 0; b = b[voterSize:] {
		e.voters = append(e.voters, schema.ReplicaKey{ID: int32(binary.BigEndian.Uint32(b)), DirectoryID: protocol.UUID(b[4:voterSize])})
	}
	return e, nil
}

// batch is the control batch with which Kafka begins an epoch, in version 0, which is that of kraft.version 0: the directories
// of the voters belong to version 1, and Kafka's dump tool reads every version as if it were 0.
func (e beginning) batch(offset int64, epoch int32) (record.Batch, error) {
	change := &schema.LeaderChange{LeaderID: e.leader, Voters: e.voters}
	change.GrantingVoters = []schema.ReplicaKey{{ID: e.leader}}
	return controlBatch(offset, epoch, e.timestamp, change)
}
