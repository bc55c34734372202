package controller

import (
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"go.uber.org/zap"
)

// raftTransport is raft's transport on a network, with an ear for what followers say of themselves, and an eye on who can be reached.
type raftTransport struct {
	*raft.NetworkTransport
	q *raftQuorum
}

// AppendEntries implements raft.Transport. Heartbeats come this way, several each election timeout, also while entries are pipelined.
func (t *raftTransport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	last, _ := t.q.entries.LastIndex()
	if err := t.note(id, t.NetworkTransport.AppendEntries(id, to, args, resp)); err != nil {
		return err
	}
	if resp.Term == args.Term {
		t.q.peers.heard(id, resp.LastLog, last, time.Now())
	}
	return nil
}

// InstallSnapshot implements raft.Transport.
func (t *raftTransport) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse,
	data io.Reader) error {
	return t.note(id, t.NetworkTransport.InstallSnapshot(id, to, args, resp, data))
}

// note tells when a controller is lost, and when it is back; err is what came of a call.
func (t *raftTransport) note(id raft.ServerID, err error) error {
	switch {
	case err == nil:
		if t.q.peers.reached(id) {
			t.q.logger.Info("a controller is reached again", zap.Int32("controller", nodeOf(id)))
		}
	case closedHere(err):
	case t.q.peers.missed(id, time.Now()):
		t.q.logger.Warn("a controller cannot be reached", zap.Int32("controller", nodeOf(id)), zap.Error(err))
	}
	return err
}

// SetHeartbeatHandler implements raft.Transport: the heartbeats of a leader tell that its node is alive.
func (t *raftTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		if req, ok := rpc.Command.(*raft.AppendEntriesRequest); ok {
			t.q.sighted.Store(&Sighting{Node: nodeOf(raft.ServerID(req.ID)), At: time.Now()})
		}
		handle(rpc)
	})
}

// peers is what this node knows of the other controllers beyond raft's configuration. Safe for concurrent use.
type peers struct {
	mu    sync.Mutex // guards since and known
	since time.Time  // when this node's leadership began
	known map[raft.ServerID]peer
}

type peer struct {
	lastLog  uint64    // index of its last entry, 0: not known
	heard    time.Time // in this leadership
	caughtUp time.Time // when its log was as long as this node's
	// What its greeting told, and in which term of this node's a release told it that knows of the voters in the metadata; 0: none.
	directory protocol.UUID
	listener  string
	told      uint64
	// busy: an announcement is under way; due: another should follow.
	busy, due bool
	// lost: the last call failed; logged: there was a line about it; loggedAt: when the last such line was written.
	lost, logged bool
	loggedAt     time.Time
}

// lossInterval is how often the loss of one controller is told of at most.
const lossInterval = 30 * time.Second

// missed notes that id was not reached, and reports whether that is to be told.
func (p *peers) missed(id raft.ServerID, now time.Time) (tell bool) {
	p.edit(id, func(k *peer) {
		tell = !k.logged && now.Sub(k.loggedAt) >= lossInterval
		if k.lost = true; tell {
			k.logged, k.loggedAt = true, now
		}
	})
	return tell
}

// reached notes that id was reached, and reports whether its loss was told of.
func (p *peers) reached(id raft.ServerID) (tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.known[id]; k.lost {
		tell = k.logged
		k.lost, k.logged = false, false
		p.known[id] = k
	}
	return tell
}

// begin forgets how far the others are, as a leadership begins.
func (p *peers) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = now
	for id, k := range p.known {
		k.lastLog, k.heard, k.caughtUp, k.lost, k.logged = 0, time.Time{}, time.Time{}, false, false
		p.known[id] = k
	}
}

// edit changes what is known of id.
func (p *peers) edit(id raft.ServerID, change func(*peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[raft.ServerID]peer{}
	}
	k := p.known[id]
	change(&k)
	p.known[id] = k
}

func (p *peers) heard(id raft.ServerID, lastLog, ours uint64, now time.Time) {
	p.edit(id, func(k *peer) {
		k.lastLog, k.heard = lastLog, now
		if lastLog >= ours {
			k.caughtUp = now
		}
	})
}

func (p *peers) get(id raft.ServerID) peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id]
}

// silent reports whether id was not heard for as long as limit, nor did the leadership begin in that time.
func (p *peers) silent(id raft.ServerID, limit time.Duration, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.known[id].heard
	if last.Before(p.since) {
		last = p.since
	}
	return now.Sub(last) >= limit
}

// forget drops who is no member any more.
func (p *peers) forget(id raft.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, id)
}

// announcement is an entry that is committed.
type announcement struct{ index, term uint64 }

// announce tells the followers that an entry of this node's leadership is committed. Raft itself would tell them with the next entry, or after
// CommitTimeout; brokers that follow a follower would wait so long for each change.
func (q *raftQuorum) announce(a announcement) {
	if q.wire == nil || q.tenure.Load() != a.term {
		return
	}
	q.committed.Store(&a)
	for _, s := range q.raft.GetConfiguration().Configuration().Servers {
		if s.ID == q.id {
			continue
		}
		start := false
		q.peers.edit(s.ID, func(k *peer) {
			start, k.busy, k.due = !k.busy, true, k.busy
		})
		if start {
			q.telling.Go(func() { q.tellCommitted(s) })
		}
	}
}

// tellCommitted sends the newest announcement until there is none that was not sent. It is what raft's leader sends when CommitTimeout has
// passed, for an entry of this node's own term: who does not have that entry refuses it, and nothing comes of it.
func (q *raftQuorum) tellCommitted(s raft.Server) {
	for again := true; again; {
		a := *q.committed.Load()
		own := q.wire.EncodePeer(q.id, q.address)
		req := raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(q.id), Addr: own},
			Term:      a.term, PrevLogEntry: a.index, PrevLogTerm: a.term, LeaderCommitIndex: a.index,
		}
		var resp raft.AppendEntriesResponse
		err := q.wire.note(s.ID, q.wire.NetworkTransport.AppendEntries(s.ID, s.Address, &req, &resp))
		q.peers.edit(s.ID, func(k *peer) {
			again = k.due && err == nil
			k.busy, k.due = again, false
		})
	}
}

// offsetAt is where the metadata log of a controller ends whose last entry is index.
func (q *raftQuorum) offsetAt(index uint64) int64 {
	end := q.machine.log.Offsets().LogEnd
	if last, err := q.entries.LastIndex(); err == nil && index >= last {
		return end
	}
	for at := index; at > 0; at-- {
		if snapshot, ok := q.snapshots.newest(); ok && snapshot.Index == at {
			return snapshot.EndOffset
		}
		var e raft.Log
		if err := q.entries.GetLog(at, &e); err != nil {
			break
		}
		if e.Type != raft.LogCommand || len(e.Data) == 0 || e.Data[0] != entryBatch {
			continue
		}
		if b := record.Batch(e.Data[1:]); b.Check() == nil {
			return min(b.NextOffset()+int64(index-at), end)
		}
	}
	return 0
}
