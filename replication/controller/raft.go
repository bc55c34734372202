package controller

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// The timeouts of a quorum of one, which does not wait for the first (see raftQuorum.hurry) and would only wake up for the second to find
// that it still leads.
const (
	electionTimeout  = time.Minute
	leaseTimeout     = time.Minute
	maxGroupedCommit = 512 // entries that share one sync
)

// raftOptions is what a raftQuorum is made of.
type raftOptions struct {
	nodeID    int32
	clusterID string // "": as stored, else a new one
	fs        vfs.FS
	dir       string
	codecs    *record.Codecs
	logger    *zap.Logger
	// A snapshot is taken after so many bytes of records or so much time (0: never by time), if there is anything new.
	snapshotBytes    int64
	snapshotInterval time.Duration
	onAppend         func()
	reserve          int64       // bytes kept in reserve for a full disk
	onFailure        func(error) // the metadata cannot be written any more
}

// raftQuorum is a Quorum on hashicorp/raft whose log, state and snapshots lie in storage's formats below one folder.
type raftQuorum struct {
	raftOptions
	id        raft.ServerID
	cluster   string
	health    *health
	reserved  *vfs.Reserved // the file system below all files of the quorum
	entries   *raftLog
	state     *quorumState
	snapshots *snapshotStore
	machine   *stateMachine
	config    raft.Config

	raft     *raft.Raft // set by Start
	listener Listener
	notify   chan bool      // raft tells here whether it leads
	futures  chan proposal  // in order; closed by Close
	retake   chan uint64    // leaderships that ended although raft may still lead
	nonce    atomic.Uint64  // the last leadership that was claimed
	claim    atomic.Uint64  // the leadership that is claimed or held, 0: none
	want     chan struct{}  // buffered 1: a snapshot is due
	stop     chan struct{}  // ends follow, snapshotting, refill and who waits for room on the disk
	running  sync.WaitGroup // follow, snapshotting, refill
	watching sync.WaitGroup // watch
	bytes    atomic.Int64   // of records since the last snapshot
	full     atomic.Bool    // the disk has no room: the reserve is in use
}

type proposal struct {
	leadership uint64
	future     raft.ApplyFuture
}

// openRaft opens the quorum's files below o.dir and bootstraps a quorum of one if there is none yet.
func openRaft(o raftOptions) (*raftQuorum, error) {
	q := &raftQuorum{
		raftOptions: o, notify: make(chan bool, 1), futures: make(chan proposal, 4*maxGroupedCommit),
		retake: make(chan uint64, 1), want: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	q.health = &health{report: q.failed}
	folder := filepath.Join(o.dir, protocol.TopicPartition{Topic: raftLogTopic}.String())
	q.reserved = vfs.NewReserved(o.fs, filepath.Join(folder, reserveFile), o.reserve)
	q.fs = q.reserved
	var err error
	if q.state, err = openQuorumState(q.fs, folder, q.health); err != nil {
		return nil, err
	}
	if err := q.openLogs(); err != nil {
		return nil, err
	}
	if err := q.identify(); err != nil {
		return nil, errors.Join(err, q.entries.Close(), q.machine.log.Close())
	}
	return q, nil
}

// openLogs opens the raft log, and at the same time what is made of it: their syncs share the disk's work.
func (q *raftQuorum) openLogs() error {
	opened := make(chan error, 1)
	go func() { opened <- q.openMachine() }()
	var err error
	q.entries, err = openRaftLog(q.fs, q.dir, q.codecs, q.logger, q.health)
	machineErr := <-opened
	if err != nil || machineErr != nil {
		if err == nil {
			machineErr = errors.Join(machineErr, q.entries.Close())
		} else if machineErr == nil {
			err = errors.Join(err, q.machine.log.Close())
		}
		return errors.Join(err, machineErr)
	}
	q.entries.needed = func() (above, newest uint64) {
		oldest, _ := q.snapshots.oldest() // index 0 unless as many are kept as should be
		last, _ := q.snapshots.newest()
		return oldest.Index, last.Index
	}
	return nil
}

// openMachine opens the metadata log and the snapshots beside it.
func (q *raftQuorum) openMachine() error {
	tp := protocol.TopicPartition{Topic: protocol.ClusterMetadataTopic}
	log, err := openInternalLog(q.fs, q.dir, tp, q.codecs, q.logger)
	if err != nil {
		return err
	}
	if q.snapshots, err = openSnapshots(q.fs, log.Dir(), q.codecs, q.logger); err != nil {
		return errors.Join(err, log.Close())
	}
	q.machine = &stateMachine{applier: newApplier(q.codecs), q: q, log: log}
	return nil
}

// identify settles the ids of cluster and directory, and writes the first entry of a new quorum: its configuration with this node
// as the only voter.
func (q *raftQuorum) identify() error {
	cluster, directory := q.state.identity()
	if cluster != "" && q.clusterID != "" && cluster != q.clusterID {
		return fmt.Errorf("controller: %s belongs to cluster %s, not to %s", q.dir, cluster, q.clusterID)
	}
	last, err := q.entries.LastIndex()
	if err != nil {
		return err
	}
	_, snapshotted := q.snapshots.newest()
	fresh := last == 0 && !snapshotted
	if o := q.machine.log.Offsets(); fresh && o.LogEnd > 0 {
		return fmt.Errorf("controller: %s has a metadata log of %d records but no raft log beside it", q.dir, o.LogEnd)
	}
	q.cluster = cluster
	if q.cluster == "" {
		q.cluster = q.clusterID
	}
	if q.cluster == "" {
		q.cluster = protocol.NewUUID().String()
	}
	if directory == "" {
		directory = protocol.NewUUID().String()
	}
	term := uint64(0)
	if fresh {
		term = 1 // of the entry below
	}
	if err := q.state.adopt(q.cluster, directory, term); err != nil {
		return err
	}
	q.id = raft.ServerID(strconv.Itoa(int(q.nodeID)) + ":" + directory)
	if !fresh {
		return nil
	}
	self := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: q.id, Address: raft.ServerAddress(q.id)}}}
	return q.entries.begin(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(self), AppendedAt: time.Now()})
}

// Start implements Quorum.
func (q *raftQuorum) Start(l Listener) error {
	q.listener = l
	q.entries.room, q.state.room = q.room, q.room
	var seed [8]byte
	rand.Read(seed[:])
	q.nonce.Store(binary.BigEndian.Uint64(seed[:]) >> 1)
	_, transport := raft.NewInmemTransport(raft.ServerAddress(q.id))
	q.config = *raft.DefaultConfig()
	q.config.LocalID = q.id
	q.config.HeartbeatTimeout, q.config.ElectionTimeout = 2*electionTimeout, 2*electionTimeout
	q.config.LeaderLeaseTimeout = leaseTimeout
	q.config.MaxAppendEntries, q.config.BatchApplyCh = maxGroupedCommit, true
	q.config.TrailingLogs = 0                                                            // what the older snapshot needs is kept by raftLog
	q.config.SnapshotThreshold, q.config.SnapshotInterval = math.MaxUint64, 24*time.Hour // snapshotting asks for them
	q.config.NotifyCh = q.notify
	q.config.NoLegacyTelemetry = true
	q.config.ShutdownOnRemove = false
	q.config.Logger = newRaftLogger(q.logger, true)
	if _, ok := q.snapshots.newest(); !ok {
		if err := q.machine.align(); err != nil {
			return err
		}
	}
	r, err := raft.NewRaft(&q.config, q.machine, q.entries, q.state, q.snapshots, transport)
	if err != nil {
		return fmt.Errorf("controller: raft: %w", err)
	}
	q.raft = r
	q.running.Go(q.follow)
	q.running.Go(q.snapshotting)
	q.running.Go(q.refill)
	q.watching.Go(q.watch)
	return q.hurry()
}

// hurry makes a node that is the only voter stand for election at once: nobody else can lead, so there is nothing to wait for.
// Raft looks at the election timeout again when it becomes shorter.
func (q *raftQuorum) hurry() error {
	f := q.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return fmt.Errorf("controller: raft: %w", err)
	}
	if len(f.Configuration().Servers) != 1 {
		return nil
	}
	q.state.standAlone()
	c := q.raft.ReloadableConfig()
	c.HeartbeatTimeout = electionTimeout
	if err := q.raft.ReloadConfig(c); err != nil {
		return fmt.Errorf("controller: raft: %w", err)
	}
	return nil
}

// follow turns raft's news about leadership into claims.
func (q *raftQuorum) follow() {
	for {
		select {
		case leads := <-q.notify:
			if held := q.claim.Swap(0); held != 0 {
				q.machine.deposed(held)
			}
			if leads && q.health.check() == nil {
				q.stake()
			}
		case lost := <-q.retake:
			if q.claim.CompareAndSwap(lost, 0) {
				q.machine.deposed(lost)
				if q.raft.State() == raft.Leader && q.health.check() == nil {
					q.stake()
				}
			}
		case <-q.stop:
			return
		}
	}
}

// stake proposes the beginning of a leadership. When the state machine applies it, every earlier entry is applied, and this node
// leads unless raft has told otherwise meanwhile.
func (q *raftQuorum) stake() {
	leadership := q.nonce.Add(1)
	q.claim.Store(leadership)
	q.offer(leadership, beginning{leadership: leadership, leader: q.nodeID, timestamp: time.Now().UnixMilli(), voters: q.voters()}.encode())
}

// Propose implements Quorum.
func (q *raftQuorum) Propose(leadership uint64, b record.Batch) {
	if q.claim.Load() != leadership {
		return
	}
	q.offer(leadership, append([]byte{entryBatch}, b...))
}

func (q *raftQuorum) offer(leadership uint64, data []byte) {
	p := proposal{leadership, q.raft.Apply(data, 0)}
	select {
	case q.futures <- p:
	case <-q.stop:
	}
}

// watch waits for the outcome of each proposal in turn. The state machine has told the listener about those that succeeded.
func (q *raftQuorum) watch() {
	for p := range q.futures {
		err := p.future.Error()
		if err == nil {
			err, _ = p.future.Response().(error)
		}
		if err == nil || q.claim.Load() != p.leadership {
			continue
		}
		q.logger.Warn("a metadata change could not be committed", zap.Error(err))
		select {
		case q.retake <- p.leadership:
		default: // it is known already
		}
	}
}

// snapshotting takes a snapshot when one is due.
func (q *raftQuorum) snapshotting() {
	var due <-chan time.Time
	if q.snapshotInterval > 0 {
		timer := time.NewTicker(q.snapshotInterval)
		defer timer.Stop()
		due = timer.C
	}
	for {
		select {
		case <-q.want:
		case <-due:
			if q.bytes.Load() == 0 {
				continue
			}
		case <-q.stop:
			return
		}
		q.bytes.Store(0)
		if err := q.snapshot(); err != nil {
			q.logger.Error("no metadata snapshot could be taken", zap.Error(err))
		}
	}
}

// snapshot takes a snapshot and drops from the metadata log what the oldest kept one makes unnecessary.
func (q *raftQuorum) snapshot() error {
	if err := q.raft.Snapshot().Error(); err != nil {
		if errors.Is(err, raft.ErrNothingNewToSnapshot) || errors.Is(err, raft.ErrRaftShutdown) {
			return nil
		}
		return err
	}
	at, ok := q.snapshots.oldest()
	if !ok || at.EndOffset <= q.machine.log.Offsets().LogStart {
		return nil
	}
	return q.machine.log.DeleteBefore(at.EndOffset)
}

// failed is told once when one of the quorum's files cannot be written any more.
func (q *raftQuorum) failed(err error) {
	q.logger.Error("the metadata cannot be written any more", zap.Error(err))
	if q.onFailure != nil {
		q.onFailure(err)
	}
}

// health knows whether the quorum's files could be written so far. After the first failure nothing is written, so that nothing is
// acknowledged of which a part is missing.
type health struct {
	failure atomic.Pointer[error]
	report  func(error) // may be nil
}

// check returns the failure, nil if there was none.
func (h *health) check() error {
	if err := h.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// fail notes a failure and returns the first one.
func (h *health) fail(err error) error {
	err = fmt.Errorf("controller: %w", err)
	if h.failure.CompareAndSwap(nil, &err) && h.report != nil {
		h.report(err)
	}
	return h.check()
}

// Image implements Quorum.
func (q *raftQuorum) Image() *metadata.Image { return q.machine.image.Load() }

// Describe implements Quorum.
func (q *raftQuorum) Describe() QuorumState {
	s := QuorumState{LeaderID: -1, Voters: q.voters()}
	if q.raft == nil {
		return s
	}
	_, id := q.raft.LeaderWithID()
	s.LeaderID, s.LeaderEpoch = nodeOf(id), int32(q.raft.CurrentTerm())
	s.Full = q.full.Load()
	o := q.machine.log.Offsets()
	s.HighWatermark, s.LogEndOffset = o.HighWatermark, o.LogEnd
	return s
}

// voters returns the node ids of the voters as they were when the quorum was opened: there is only one so far.
func (q *raftQuorum) voters() []int32 { return []int32{q.nodeID} }

// nodeOf is the node id in a server's id, -1 for none.
func nodeOf(id raft.ServerID) int32 {
	node, _, _ := strings.Cut(string(id), ":")
	n, err := strconv.ParseInt(node, 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}

// Close implements Quorum. Raft runs until every proposal has got its answer.
func (q *raftQuorum) Close() error {
	close(q.stop)
	q.running.Wait()
	close(q.futures)
	var err error
	if q.raft != nil {
		q.watching.Wait()
		drained := make(chan struct{})
		go func() { // raft blocks on telling that it steps down
			for {
				select {
				case <-q.notify:
				case <-drained:
					return
				}
			}
		}()
		err = q.raft.Shutdown().Error()
		close(drained)
	}
	return errors.Join(err, q.entries.Close(), q.machine.log.Close())
}

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
	entryBeginning byte = 1 // a leadership begins
)

// Apply implements raft.FSM. It returns an error if the entry changes nothing, which is decided alike on every node.
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
		return m.commit(b)
	case entryBeginning:
		begin, err := decodeBeginning(l.Data)
		if err != nil {
			return err
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
		}
		return nil
	}
	return fmt.Errorf("controller: an entry of the unknown kind %d", l.Data[0])
}

// commit applies b to the image and the log, and tells the listener.
func (m *stateMachine) commit(b record.Batch) any {
	c, err := m.apply(b)
	if err != nil {
		return err
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
		m.q.listener.Elected(Election{Leadership: leadership, Epoch: epoch, Image: m.image.Load(), NextOffset: m.next})
	}
}

func (m *stateMachine) deposed(leadership uint64) {
	m.telling.Lock()
	defer m.telling.Unlock()
	m.q.listener.Deposed(leadership)
}
