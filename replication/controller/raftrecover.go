package controller

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// recoveredTerms is by how much a recovered quorum's term is above that of what was left: more elections than the others can have held, so that no
// epoch is used twice.
const recoveredTerms = 1_000_000

// Folder is a controller's folder while no controller runs on it. The caller has locked it.
type Folder struct {
	NodeID int32
	FS     vfs.FS
	Dir    string // metadata.log.dir
	Codecs *record.Codecs
	Logger *zap.Logger
}

// Remains is what a folder has of the metadata.
type Remains struct {
	ClusterID string
	LastIndex uint64 // of the raft log's last entry, which need not be committed
	LastTerm  uint64
	EndOffset int64     // the offset after the last record of the metadata, if everything is taken as committed
	Committed int64     // the offset after the last record that is known to be committed
	LastTime  time.Time // of the last entry; zero: not known
	Voters    []Voter   // of the last configuration
	Recovered int       // times that the quorum was recovered before
}

// ErrNoMetadata says that a folder has nothing to recover from.
var ErrNoMetadata = errors.New("controller: there are no metadata")

// open opens the files without taking part in anything.
func (f Folder) open() (*raftQuorum, error) {
	folder := filepath.Join(f.Dir, protocol.TopicPartition{Topic: raftLogTopic}.String())
	if _, err := f.FS.ReadFile(filepath.Join(folder, quorumStateFile)); err != nil {
		return nil, fmt.Errorf("%w below %s: %w", ErrNoMetadata, f.Dir, err)
	}
	q, err := openFiles(raftOptions{nodeID: f.NodeID, fs: f.FS, dir: f.Dir, codecs: f.Codecs, logger: f.Logger, snapshotBytes: 1 << 62})
	if err != nil {
		return nil, err
	}
	fresh, err := q.fresh()
	if err == nil && fresh {
		err = fmt.Errorf("%w below %s", ErrNoMetadata, f.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, q.closeFiles())
	}
	return q, nil
}

// Inspect tells what the folder has. It changes nothing but what every start does after a crash.
func (f Folder) Inspect() (r Remains, err error) {
	q, err := f.open()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, q.closeFiles()) }()
	return q.remains()
}

func (q *raftQuorum) remains() (Remains, error) {
	d := q.state.stored()
	r := Remains{ClusterID: d.ClusterID, Recovered: d.Recoveries, Committed: q.machine.log.Offsets().LogEnd}
	var servers []raft.Server
	if at, ok := q.snapshots.newest(); ok {
		r.LastIndex, r.LastTerm, r.EndOffset = at.Index, at.Term, at.EndOffset
		servers = raft.DecodeConfiguration(at.Configuration).Servers
	}
	last, err := q.entries.LastIndex()
	if err != nil {
		return r, err
	}
	for index := r.LastIndex + 1; index <= last; index++ {
		var e raft.Log
		if err := q.entries.GetLog(index, &e); err != nil {
			return r, fmt.Errorf("controller: entry %d: %w", index, err)
		}
		r.LastIndex, r.LastTerm, r.LastTime = e.Index, e.Term, e.AppendedAt
		switch {
		case e.Type == raft.LogConfiguration:
			servers = raft.DecodeConfiguration(e.Data).Servers
		case e.Type != raft.LogCommand || len(e.Data) == 0:
		case e.Data[0] != entryBatch:
			r.EndOffset++
		default:
			if b := record.Batch(e.Data[1:]); b.Check() == nil && b.BaseOffset() == r.EndOffset {
				r.EndOffset = b.NextOffset()
			}
		}
	}
	r.Committed = min(r.Committed, r.EndOffset)
	for _, s := range voters(servers) {
		_, address := splitAddress(s.Address)
		at := endpointOf("", address)
		r.Voters = append(r.Voters, Voter{ID: nodeOf(s.ID), DirectoryID: directoryOf(s.ID), Host: at.Host, Port: at.Port})
	}
	return r, nil
}

// Recover makes a quorum of this node alone, of all that the folder has. What the others had and this node does not is lost; what this node has
// and the others had not agreed to is taken as committed. The others must come back with empty metadata folders.
func (f Folder) Recover() (r Remains, err error) {
	q, err := f.open()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, q.closeFiles()) }()
	if r, err = q.remains(); err != nil {
		return r, err
	}
	directory, err := protocol.ParseUUID(q.state.stored().DirectoryID)
	if err != nil {
		return r, fmt.Errorf("controller: %s: the directory id is damaged", f.Dir)
	}
	q.id = serverID(f.NodeID, directory)
	q.address = serverAddress(q.id, "")
	q.listener = nobody{}
	if _, ok := q.snapshots.newest(); !ok {
		if err := q.machine.align(); err != nil {
			return r, err
		}
	}
	c := q.raftConfig()
	only := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: q.id, Address: q.address}}}
	_, transport := raft.NewInmemTransport(q.address)
	// The term first: should the rest fail, it does no harm.
	err = q.state.change(func(d *quorumStateData) {
		d.CurrentTerm, d.Recoveries = max(d.CurrentTerm, r.LastTerm)+recoveredTerms, d.Recoveries+1
	})
	if err == nil {
		err = raft.RecoverCluster(&c, q.machine, q.entries, q.state, q.snapshots, transport, only)
	}
	if err == nil {
		err = q.health.check()
	}
	if err != nil {
		return r, fmt.Errorf("controller: the quorum could not be recovered: %w", err)
	}
	return r, q.state.change(func(d *quorumStateData) { d.Static = false })
}

// nobody is a Listener without interest.
type nobody struct{}

// Elected implements Listener.
func (nobody) Elected(Election) {}

// Committed implements Listener.
func (nobody) Committed(Commit) {}

// Deposed implements Listener.
func (nobody) Deposed(uint64) {}

// Met implements Listener.
func (nobody) Met(controllerRegistration) {}
