package controller

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// The timeouts of a quorum of one without a network, which does not wait for the first (see raftQuorum.stand) and would only wake up for the second
// to find that it still leads.
const (
	electionTimeout = time.Minute
	leaseTimeout    = time.Minute
)

const (
	maxGroupedCommit = 512 // entries that share one sync
	maxConnections   = 3   // idle ones kept to each controller
)

// raftOptions is what a raftQuorum is made of.
type raftOptions struct {
	nodeID      int32
	clusterID   string        // "": as stored, else a new one
	directoryID protocol.UUID // zero: as stored, else a new one
	fs          vfs.FS
	dir         string
	codecs      *record.Codecs
	logger      *zap.Logger
	// A snapshot is taken after so many bytes of records or so much time (0: never by time), if there is anything new.
	snapshotBytes    int64
	snapshotInterval time.Duration
	retention        metadata.Retention
	logConfig        storage.LogConfig // of the metadata log; zero: internalLogConfig
	onAppend         func()
	// A quorum of several; see Options. transport is nil for a quorum of one in memory.
	transport        Transport
	endpoint         Endpoint
	initial          []Voter
	bootstrap        bool
	bootstrapServers []string
	autoJoin         bool
	electionTimeout  time.Duration // controller.quorum.election.timeout.ms
	fetchTimeout     time.Duration // controller.quorum.fetch.timeout.ms
	timeout          time.Duration // controller.quorum.request.timeout.ms
	retry            time.Duration // controller.quorum.retry.backoff.ms
	incarnation      protocol.UUID // of this start
	reserve          int64         // bytes kept in reserve for a full disk
	onFailure        func(error)   // this controller cannot go on: the metadata cannot be written, or not be understood
}

// raftQuorum is a Quorum on hashicorp/raft whose log, state and snapshots lie in storage's formats below one folder.
type raftQuorum struct {
	raftOptions
	id        raft.ServerID
	address   raft.ServerAddress
	directory protocol.UUID
	founding  bool       // this start has begun the quorum, with others
	formatted formatting // of a folder without data
	health    *health
	reserved  *vfs.Reserved // the file system below all files of the quorum
	entries   *raftLog
	state     *quorumState
	snapshots *snapshotStore
	machine   *stateMachine
	config    raft.Config

	raft      *raft.Raft     // set by Start
	begun     chan struct{}  // closed when raft is set
	network   *raftNetwork   // nil without transport
	wire      *raftTransport // nil without transport
	peers     peers
	changing  chan struct{}   // buffered 1: full while the members are being changed
	asked     atomic.Bool     // a change of the voters that was asked for is under way
	life      context.Context // ends with stop
	end       context.CancelFunc
	tenure    atomic.Uint64            // the last term in which this node led
	sighted   atomic.Pointer[Sighting] // of the last leader, since this node led; nil: none
	committed atomic.Pointer[announcement]
	telling   sync.WaitGroup // tellCommitted
	listener  Listener
	notify    chan bool      // raft tells here whether it leads
	stands    int            // calls of stand that had an effect; attend's, after Start
	futures   chan proposal  // in order; closed by Close
	retake    chan uint64    // leaderships that ended although raft may still lead
	nonce     atomic.Uint64  // the last leadership that was claimed
	claim     atomic.Uint64  // the leadership that is claimed or held, 0: none
	want      chan struct{}  // buffered 1: a snapshot is due
	stop      chan struct{}  // ends follow, snapshotting, refill and who waits for room on the disk
	running   sync.WaitGroup // follow, snapshotting, refill
	watching  sync.WaitGroup // watch
	bytes     atomic.Int64   // of records since the last snapshot
	full      atomic.Bool    // the disk has no room: the reserve is in use
}

type proposal struct {
	leadership uint64
	future     raft.ApplyFuture
}

// openRaft opens the quorum's files below o.dir and bootstraps a quorum of one if there is none yet.
func openRaft(o raftOptions) (*raftQuorum, error) {
	q, err := openFiles(o)
	if err != nil {
		return nil, err
	}
	if err := q.identify(); err != nil {
		return nil, errors.Join(err, q.closeFiles())
	}
	return q, nil
}

// openFiles opens the quorum's files below o.dir as they are.
func openFiles(o raftOptions) (*raftQuorum, error) {
	q := &raftQuorum{
		raftOptions: o, notify: make(chan bool, 1), futures: make(chan proposal, 4*maxGroupedCommit),
		retake: make(chan uint64, 1), want: make(chan struct{}, 1), stop: make(chan struct{}),
		begun: make(chan struct{}), changing: make(chan struct{}, 1),
	}
	q.life, q.end = context.WithCancel(context.Background())
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
	return q, nil
}

// closeFiles closes what openFiles opened.
func (q *raftQuorum) closeFiles() error {
	q.end()
	return errors.Join(q.entries.Close(), q.machine.log.Close())
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
		oldest, _ := q.snapshots.needed() // index 0 unless as many are kept as should be
		last, _ := q.snapshots.newest()
		return oldest.Index, last.Index
	}
	q.entries.snapshot = func() (index, term uint64) {
		last, _ := q.snapshots.newest()
		return last.Index, last.Term
	}
	return nil
}

// openMachine opens the metadata log and the snapshots beside it.
func (q *raftQuorum) openMachine() error {
	tp := protocol.TopicPartition{Topic: protocol.ClusterMetadataTopic}
	config := q.logConfig
	if config.SegmentBytes == 0 {
		config = internalLogConfig()
	}
	log, err := openInternalLog(q.fs, q.dir, tp, config, q.codecs, q.logger)
	if err != nil {
		return err
	}
	if q.snapshots, err = openSnapshots(q.fs, log.Dir(), q.codecs, q.logger); err != nil {
		return errors.Join(err, log.Close())
	}
	q.machine = &stateMachine{applier: newApplier(q.codecs), q: q, log: log}
	return nil
}

// Start implements Quorum.
func (q *raftQuorum) Start(l Listener) error {
	q.listener = l
	q.entries.room, q.state.room = q.room, q.room
	var seed [8]byte
	rand.Read(seed[:])
	q.nonce.Store(binary.BigEndian.Uint64(seed[:]) >> 1)
	if _, ok := q.snapshots.newest(); !ok {
		if err := q.machine.align(); err != nil {
			return err
		}
	}
	q.config = q.raftConfig()
	r, err := raft.NewRaft(&q.config, q.machine, q.entries, q.state, q.snapshots, q.connect())
	if err != nil {
		return fmt.Errorf("controller: raft: %w", err)
	}
	q.raft = r
	close(q.begun)
	q.running.Go(q.follow)
	q.running.Go(q.snapshotting)
	q.running.Go(q.refill)
	q.watching.Go(q.watch)
	if err := q.hurry(); err != nil || q.network == nil {
		return err
	}
	q.running.Go(q.attend)
	return nil
}

// connect makes raft's transport.
func (q *raftQuorum) connect() raft.Transport {
	if q.transport == nil {
		_, alone := raft.NewInmemTransport(q.address)
		return alone
	}
	q.network = newRaftNetwork(q, q.timeout)
	q.wire = &raftTransport{q: q, NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: q.network, MaxPool: maxConnections, Timeout: q.timeout, Logger: q.config.Logger,
		// No pipeline: raft's sender waits in it for ever when its reader has stopped at a refusal. Entries that come meanwhile go together in the next request.
		MaxRPCsInFlight: 1,
	})}
	return q.wire
}

// raftConfig maps Kafka's timeouts to raft's. A follower that hears nothing stands for election after one to two times the heartbeat timeout, so
// half of Kafka's fetch timeout ends where that does; a leader that does not hear from a majority steps down before others can be elected.
func (q *raftQuorum) raftConfig() raft.Config {
	c := *raft.DefaultConfig()
	c.LocalID = q.id
	lease, election := leaseTimeout, electionTimeout
	if q.transport != nil {
		lease = max(q.fetchTimeout/2, 10*time.Millisecond)
		election = max(q.electionTimeout, lease)
	}
	// stand makes the heartbeat timeout shorter each time, down to the lease.
	c.LeaderLeaseTimeout, c.HeartbeatTimeout = lease, lease+maxStands*standStep
	c.ElectionTimeout = max(election, c.HeartbeatTimeout)
	c.MaxAppendEntries, c.BatchApplyCh = maxGroupedCommit, true
	c.TrailingLogs = 0                                                     // what the older snapshot needs is kept by raftLog
	c.SnapshotThreshold, c.SnapshotInterval = math.MaxUint64, 24*time.Hour // snapshotting asks for them
	c.NotifyCh = q.notify
	c.NoLegacyTelemetry = true
	c.ShutdownOnRemove = false
	c.Logger = newRaftLogger(q.logger, q.transport == nil)
	return c
}

const (
	maxStands = 2
	standStep = time.Millisecond
)

// stand makes a follower that knows of no leader stand for election at once, at most maxStands times: raft looks at the time that has passed
// since it heard of one when the timeout becomes shorter.
func (q *raftQuorum) stand() {
	if q.stands == maxStands {
		return
	}
	q.stands++
	c := q.raft.ReloadableConfig()
	c.HeartbeatTimeout -= standStep
	if err := q.raft.ReloadConfig(c); err != nil {
		q.logger.Error("raft does not take a shorter timeout", zap.Error(err))
	}
}

// hurry makes a node that is the only voter stand for election at once: nobody else can lead, so there is nothing to wait for.
func (q *raftQuorum) hurry() error {
	servers := q.servers()
	if v := voters(servers); len(v) != 1 || v[0].ID != q.id {
		return nil
	}
	if len(servers) == 1 {
		if err := q.state.standAlone(true); err != nil {
			return err
		}
	}
	q.stand()
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
				q.peers.begin(time.Now())
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
	cluster := q.ClusterID()
	if cluster == "" {
		cluster = protocol.NewUUID().String() // adopted by all, this node too, when it is committed
	}
	begin := beginning{leadership: leadership, leader: q.nodeID, timestamp: time.Now().UnixMilli(), cluster: cluster}
	for _, s := range voters(q.servers()) {
		begin.voters = append(begin.voters, schema.ReplicaKey{ID: nodeOf(s.ID), DirectoryID: directoryOf(s.ID)})
	}
	q.offer(leadership, begin.encode())
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

// snapshot takes a snapshot, and drops snapshots and records that need not be kept.
func (q *raftQuorum) snapshot() error {
	if err := q.raft.Snapshot().Error(); err != nil {
		if errors.Is(err, raft.ErrNothingNewToSnapshot) || errors.Is(err, raft.ErrRaftShutdown) {
			return nil
		}
		return err
	}
	return q.snapshots.clean(q.machine.log, q.retention)
}

// failed is told once when this controller cannot go on: one of the files cannot be written any more, or an entry is not understood.
func (q *raftQuorum) failed(err error) {
	q.logger.Error("this controller cannot go on", zap.Error(err))
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
	s := QuorumState{LeaderID: -1, Full: q.full.Load()}
	o := q.machine.log.Offsets()
	s.HighWatermark, s.LogEndOffset = o.HighWatermark, o.LogEnd
	if q.raft == nil {
		return s
	}
	leader, id := q.raft.LeaderWithID()
	s.LeaderID, s.LeaderEpoch = nodeOf(id), int32(q.raft.CurrentTerm())
	if _, address := splitAddress(leader); address != "" {
		at := endpointOf("", q.whereIs(id, address))
		s.LeaderHost, s.LeaderPort = at.Host, at.Port
	}
	return s
}

// Replicas implements Quorum.
func (q *raftQuorum) Replicas() (voting, observing []QuorumReplica, kraftVersion int16) {
	now := time.Now()
	for _, m := range q.servers() {
		known := q.peers.get(m.ID)
		_, address := splitAddress(m.Address)
		r := QuorumReplica{
			ID: nodeOf(m.ID), DirectoryID: q.voterDirectory(m.ID), Endpoint: endpointOf(known.listener, q.whereIs(m.ID, address)),
			LogEndOffset: -1, LastFetch: known.heard, LastCaughtUp: known.caughtUp,
		}
		switch {
		case m.ID == q.id:
			r.Endpoint, r.LastFetch, r.LastCaughtUp = q.endpoint, now, now
			r.DirectoryID, r.LogEndOffset = q.directory, q.machine.log.Offsets().LogEnd
		case !known.heard.IsZero():
			r.LogEndOffset = q.offsetAt(known.lastLog)
		}
		if r.DirectoryID.IsZero() && known.told == q.raft.CurrentTerm() { // what it told an earlier leader may be of a disk that was replaced
			r.DirectoryID = known.directory
		}
		if m.Suffrage == raft.Voter {
			voting = append(voting, r)
		} else {
			observing = append(observing, r)
		}
	}
	byID := func(a, b QuorumReplica) int { return cmp.Compare(a.ID, b.ID) } // as Kafka tells them, not as they joined
	slices.SortStableFunc(voting, byID)
	slices.SortStableFunc(observing, byID)
	return voting, observing, q.kraftVersion()
}

// Close implements Quorum. Raft runs until every proposal has got its answer. A leader gives its place to another voter first.
func (q *raftQuorum) Close() error {
	close(q.stop)
	q.end()
	q.running.Wait()
	close(q.futures)
	var err error
	if q.raft != nil {
		q.watching.Wait()
		err = q.shutdown()
	} else if q.transport != nil {
		err = q.transport.Close()
	}
	return errors.Join(err, q.closeFiles())
}

// handOver makes another voter lead that has all that this node has, if this node leads, and reports whether one does. Nothing is proposed any more: raft
// would refuse it.
func (q *raftQuorum) handOver() bool {
	if q.network == nil || q.raft.State() != raft.Leader || len(voters(q.servers())) == 1 {
		return false
	}
	last, err := q.entries.LastIndex()
	if err != nil || q.raft.VerifyLeader().Error() != nil { // it asks all how far they are
		return false
	}
	for _, s := range voters(q.servers()) {
		known := q.peers.get(s.ID)
		if s.ID == q.id || known.lastLog < last || time.Since(known.heard) > q.config.LeaderLeaseTimeout {
			continue
		}
		if err := q.raft.LeadershipTransferToServer(s.ID, s.Address).Error(); err != nil {
			q.logger.Debug("the leadership could not be handed over", zap.Error(err))
			return false
		}
		return true
	}
	return false
}

// shutdown stops raft. Its connections are closed at the same time, so that it waits for nobody.
func (q *raftQuorum) shutdown() error {
	drained := make(chan struct{})
	defer close(drained)
	go func() { // raft blocks on telling that it steps down
		for {
			select {
			case <-q.notify:
			case <-drained:
				return
			}
		}
	}()
	q.handOver()
	q.changing <- struct{}{} // for good: raft gives no answer to a change of members that is committed while it ends
	ended := q.raft.Shutdown()
	var err error
	if q.network != nil {
		err = q.network.Close()
	}
	err = errors.Join(err, ended.Error())
	q.telling.Wait()
	return err
}
