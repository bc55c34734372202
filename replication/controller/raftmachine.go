package controller

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// Snapshot implements raft.FSM: the image is immutable, so it is captured by keeping it.
func (m *stateMachine) Snapshot() (raft.FSMSnapshot, error) {
	return &capture{image: m.image.Load(), timestamp: m.timestamp}, nil
}

// Restore implements raft.FSM.
func (m *stateMachine) Restore(source io.ReadCloser) error {
	img, timestamp, _, err := readCheckpoint(source, m.codecs)
	if err != nil {
		return err
	}
	m.reset(img, timestamp)
	return m.align()
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
	timestamp  int64 // ms
	voters     []int32
}

func (e beginning) encode() []byte {
	b := []byte{entryBeginning}
	b = binary.BigEndian.AppendUint64(b, e.leadership)
	b = binary.BigEndian.AppendUint32(b, uint32(e.leader))
	b = binary.BigEndian.AppendUint64(b, uint64(e.timestamp))
	for _, v := range e.voters {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return b
}

func decodeBeginning(b []byte) (beginning, error) {
	const fixed = 1 + 8 + 4 + 8
	if len(b) < fixed || (len(b)-fixed)%4 != 0 {
		return beginning{}, errors.New("controller: a damaged entry that begins a leadership")
	}
	e := beginning{
		leadership: binary.BigEndian.Uint64(b[1:]), leader: int32(binary.BigEndian.Uint32(b[9:])),
		timestamp: int64(binary.BigEndian.Uint64(b[13:])),
	}
	for at := fixed; at < len(b); at += 4 {
		e.voters = append(e.voters, int32(binary.BigEndian.Uint32(b[at:])))
	}
	return e, nil
}

// batch is the control batch with which Kafka begins an epoch.
func (e beginning) batch(offset int64, epoch int32) (record.Batch, error) {
	change := &schema.LeaderChange{LeaderID: e.leader, GrantingVoters: []schema.ReplicaKey{{ID: e.leader}}}
	for _, v := range e.voters {
		change.Voters = append(change.Voters, schema.ReplicaKey{ID: v})
	}
	return controlBatch(offset, epoch, e.timestamp, change)
}
