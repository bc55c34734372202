package controller

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

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
