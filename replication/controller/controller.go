package controller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// Options is what a Controller is made of.
type Options struct {
	NodeID    int32
	ClusterID string // "": as on disk, else the first start makes one
	// DirectoryID is the id of Dir, as meta.properties has it, for a controller that has none yet; zero: it makes one.
	DirectoryID protocol.UUID
	FS          vfs.FS
	Dir         string // metadata.log.dir
	Config      config.Values
	Codecs      *record.Codecs // stays the caller's
	Logger      *zap.Logger
	// Transport connects this controller with the others; closed with it. nil: the controller is alone, a quorum of one in memory.
	Transport Transport
	// Endpoint is where this controller is reached. It is kept with the voters, so that the others find it.
	Endpoint Endpoint
	// Voters are the members that a new quorum begins with: controller.quorum.voters, or the initial controllers with their directory ids. The same on
	// all of them. Without effect once there is a raft log, but that static voters are dialled at the addresses given here.
	Voters []Voter
	// Bootstrap says that a node without data and without Voters begins a quorum of its own. Otherwise it waits, as an observer, until it is added
	// (AddRaftVoter, or controller.quorum.auto.join.enable), asking at controller.quorum.bootstrap.servers. Without Transport it is implied.
	Bootstrap bool
	// OnAppend is called after records were appended to __cluster_metadata-0, to wake who follows it here; must not block. May be nil.
	OnAppend func()
	// Mutations returns the quota of a request that creates or deletes partitions; it, or what it returns, may be nil: there is none.
	Mutations func(who Caller, strict bool) MutationQuota
	// OnFailure is called once when the metadata log cannot be written any more, as on a broken disk, or has what this release does not understand: nothing is decided after it.
	// Must not block. May be nil.
	OnFailure func(error)
	// LookupHost fails on a name that stands for no address; quotas of ips may be set by name. nil: every name fails.
	LookupHost func(ctx context.Context, name string) error

	formatted formatting // read by Start
}

// Controller decides changes of the cluster's metadata while this node leads the quorum. Its goroutine runs queued decisions against the
// committed image and what is proposed, and proposes their records; many may be in flight.
type Controller struct {
	o         Options
	quorum    Quorum
	log       *storage.Log // __cluster_metadata-0; nil in tests without one
	tasks     chan *task
	events    *mailbox[event]
	stop      chan struct{} // ends run
	done      chan struct{} // run has ended
	ready     chan struct{} // closed when there is a leader and metadata.version is decided
	counters  counters
	closing   sync.Once
	closeErr  error
	random    *rand.Rand
	observers observers
	growth    growth
	leads     atomic.Int32 // the epoch in which this node leads, and one more; 0: it does not

	lead      *leadership // nil while another node leads; owned by run
	readiness bool        // ready is closed; owned by run
}

// leadership is what the active controller knows; owned by run.
type leadership struct {
	id        uint64
	epoch     int32
	view      *View
	committed int64           // offset after the last committed record
	pending   []*task         // proposed, by end; a task without records waits for what it saw
	applying  map[*task]int64 // committed, waiting for brokers
	duties    []*duty
	yielding  bool // nothing more is decided: another is to lead
}

// event is what the quorum tells: one of the fields is set.
type event struct {
	elected   *Election
	committed *Commit
	deposed   uint64
	met       *controllerRegistration
	resumed   bool // yielding ends
}

// task is one decision on its way.
type task struct {
	decide  func(*View) (Decision, error)
	state   atomic.Int32  // queued, running, withdrawn
	decided chan struct{} // closed when decide has returned
	done    chan struct{} // closed when err is final
	err     error
	end     int64   // offset after the last record that this task made or saw
	await   []int32 // brokers to wait for
}

func newTask(decide func(*View) (Decision, error)) *task {
	return &task{decide: decide, decided: make(chan struct{}), done: make(chan struct{})}
}

const (
	taskQueued int32 = iota
	taskRunning
	taskWithdrawn
)

// Start opens raft log and metadata log under o.Dir, bootstraps a quorum of one on first start, and begins to take part. It waits for
// nothing: see Ready.
func Start(o Options) (*Controller, error) {
	v := o.Config
	q, err := openRaft(raftOptions{
		reserve: reserveBytes,
		nodeID:  o.NodeID, clusterID: o.ClusterID, directoryID: o.DirectoryID, fs: o.FS, dir: o.Dir, codecs: o.Codecs, logger: o.Logger.Named("controller"),
		snapshotBytes:    v.Int64("metadata.log.max.record.bytes.between.snapshots"),
		snapshotInterval: v.Duration("metadata.log.max.snapshot.interval.ms"), retention: metadata.RetentionOf(v), logConfig: metadata.LogConfig(v),
		onAppend: o.OnAppend, onFailure: o.OnFailure,
		transport: o.Transport, endpoint: o.Endpoint, initial: o.Voters, bootstrap: o.Bootstrap,
		bootstrapServers: v.List("controller.quorum.bootstrap.servers"),
		autoJoin:         v.Bool("controller.quorum.auto.join.enable"),
		electionTimeout:  v.Duration("controller.quorum.election.timeout.ms"),
		fetchTimeout:     v.Duration("controller.quorum.fetch.timeout.ms"),
		timeout:          v.Duration("controller.quorum.request.timeout.ms"),
		retry:            v.Duration("controller.quorum.retry.backoff.ms"),
		incarnation:      protocol.NewUUID(),
	})
	if err != nil {
		if o.Transport != nil {
			err = errors.Join(err, o.Transport.Close())
		}
		return nil, err
	}
	o.formatted = q.formatted
	c, err := newController(o, q)
	if err != nil {
		return nil, err
	}
	c.log = q.machine.log
	return c, nil
}

// newController runs a controller on any quorum.
func newController(o Options, q Quorum) (*Controller, error) {
	seed := rand.Uint64()
	c := &Controller{
		o: o, quorum: q,
		tasks: make(chan *task, 128), events: newMailbox[event](),
		stop: make(chan struct{}), done: make(chan struct{}), ready: make(chan struct{}),
		random: rand.New(rand.NewPCG(seed, seed>>1)),
	}
	if err := q.Start(c); err != nil {
		return nil, fmt.Errorf("%w (close: %w)", err, q.Close())
	}
	go c.run()
	return c, nil
}

// Elected implements Listener.
func (c *Controller) Elected(e Election) { c.events.put(event{elected: &e}) }

// Committed implements Listener.
func (c *Controller) Committed(m Commit) {
	c.growth.wake()
	c.events.put(event{committed: &m})
}

// Deposed implements Listener.
func (c *Controller) Deposed(leadership uint64) { c.events.put(event{deposed: leadership}) }

// Met implements Listener.
func (c *Controller) Met(r controllerRegistration) { c.events.put(event{met: &r}) }

// Ready waits until there is a leader and its features are known here, and returns the cluster's id.
func (c *Controller) Ready(ctx context.Context) (clusterID string, err error) {
	select {
	case <-c.ready:
		return c.ClusterID(), nil
	case <-c.done:
		return "", protocol.NotController
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Log is __cluster_metadata-0, for those who follow it. It stays the controller's.
func (c *Controller) Log() *storage.Log { return c.log }

// ActiveID is the node id of the active controller, -1 if unknown.
func (c *Controller) ActiveID() int32 { return c.quorum.Describe().LeaderID }

// Leader is the active controller as far as this one knows: its node id (-1: none is known), epoch and endpoint ("", 0 where that is not known, as
// of a controller without Transport).
func (c *Controller) Leader() (node, epoch int32, host string, port uint16) {
	s := c.quorum.Describe()
	return s.LeaderID, s.LeaderEpoch, s.LeaderHost, s.LeaderPort
}

// Image is the committed image.
func (c *Controller) Image() *metadata.Image { return c.quorum.Image() }

// Close stops deciding, and then the quorum. Requests under way get protocol.NotController.
func (c *Controller) Close() error {
	c.closing.Do(func() {
		close(c.stop)
		<-c.done
		c.closeErr = c.quorum.Close()
	})
	return c.closeErr
}

// do runs one decision and waits until its records are committed, and applied by the brokers that it names. It returns the error of
// decide, protocol.NotController, or ctx's error; with ctx's error, decided says whether the decision was made: it then
// takes effect all the same. decide has returned, or will never be called, when do returns.
func (c *Controller) do(ctx context.Context, decide func(*View) (Decision, error)) (decided bool, err error) {
	t := newTask(decide)
	select {
	case c.tasks <- t:
	case <-c.done:
		return false, protocol.NotController
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case <-t.done:
		return t.err == nil, t.err
	case <-c.done:
	case <-ctx.Done():
	}
	if t.state.CompareAndSwap(taskQueued, taskWithdrawn) {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, protocol.NotController
	}
	<-t.decided // it is being made right now
	select {
	case <-t.done:
		return t.err == nil, t.err
	default:
	}
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	return true, protocol.NotController
}

// run is the controller's goroutine.
func (c *Controller) run() {
	defer close(c.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	due := time.Now().Add(time.Hour)
	for {
		select {
		case <-c.events.wake:
			for _, e := range c.events.take() {
				c.handle(e)
			}
		case t := <-c.tasks:
			c.start(t)
		case <-timer.C:
			c.excuse(time.Since(due))
			c.fenceStale()
			c.perform()
		case <-c.stop:
			c.resign()
			return
		}
		due = c.deadline()
		timer.Reset(time.Until(due))
	}
}

// deadline is when a session may end or a duty is due.
func (c *Controller) deadline() time.Time {
	due := time.Now().Add(time.Hour)
	earliest := func(at time.Time) {
		if at.Before(due) {
			due = at
		}
	}
	if c.lead != nil {
		if at, ok := c.lead.view.Sessions.deadline(c.lead.view.Image); ok {
			earliest(at)
		}
		for _, d := range c.lead.duties {
			earliest(d.at)
		}
	}
	return due
}

// deafFor is how late a timer is on a machine that is merely busy.
const deafFor = time.Second

// excuse grants every broker the time for which this process did not run, as when it was paused: heartbeats may have come meanwhile.
func (c *Controller) excuse(late time.Duration) {
	if c.lead != nil && late > deafFor {
		c.o.Logger.Warn("this controller did not run for a while: sessions last that much longer", zap.Duration("while", late))
		c.lead.view.Sessions.extend(late)
	}
}

func (c *Controller) handle(e event) {
	switch {
	case e.elected != nil:
		c.takeOver(*e.elected)
	case e.met != nil:
		c.register(*e.met)
		c.recordVoters()
	case e.committed != nil:
		c.advance(*e.committed)
	case e.resumed:
		if c.lead != nil {
			c.lead.yielding = false
		}
	case c.lead != nil && c.lead.id == e.deposed:
		c.resign()
	}
}

// heartbeatsToFindLeader is how many heartbeat intervals a broker may take to find a new leader, if it runs beside the one that was lost.
const heartbeatsToFindLeader = 2

// takeOver begins a leadership; the first one of a cluster records the features.
func (c *Controller) takeOver(e Election) {
	c.resign()
	now := time.Now()
	v := &View{
		Image: e.Image, NextOffset: e.NextOffset, NodeID: c.o.NodeID, ClusterID: c.ClusterID(),
		Now: now, Rand: c.random, static: c.o.Config, names: newTopicNames(e.Image), index: newIndex(e.Image),
	}
	c.learn(v)
	v.formatted = c.o.formatted
	v.Sessions = newSessions(e.Image, v.Config().Duration("broker.session.timeout.ms"), now)
	if !e.Former.At.IsZero() {
		v.Sessions.lapse(e.Former.Node, e.Former.At, now, heartbeatsToFindLeader*v.Config().Duration("broker.heartbeat.interval.ms"))
	}
	c.lead = &leadership{id: e.Leadership, epoch: e.Epoch, view: v, committed: e.NextOffset, applying: map[*task]int64{}, duties: newDuties(v.Config(), now)}
	c.leads.Store(e.Epoch + 1)
	c.counters.activations.Add(1)
	c.start(newTask(bootstrap))
	c.recordVoters()
	c.settleReadiness()
}

// settleReadiness notes that there is a leader and that the features are known: decided, if not committed, as whatever is decided next
// comes after them. Where another node leads, something that it has committed has come.
func (c *Controller) settleReadiness() {
	if c.readiness {
		return
	}
	img := c.quorum.Image()
	if c.lead != nil {
		img = c.lead.view.Image
	} else if leader := c.ActiveID(); leader < 0 || leader == c.o.NodeID {
		return // this node is about to lead
	}
	if img.FeatureLevel(protocol.MetadataVersion) != 0 {
		c.readiness = true
		close(c.ready)
	}
}

// resign ends the leadership: what is pending is dropped, and its callers do not learn what becomes of it.
func (c *Controller) resign() {
	l := c.lead
	if l == nil {
		return
	}
	c.lead = nil
	c.leads.Store(0)
	for _, t := range l.pending {
		t.finish(protocol.NotController)
	}
	for t := range l.applying {
		t.finish(nil) // it is committed
	}
}

// start makes the decision of t and proposes its records.
func (c *Controller) start(t *task) {
	if !t.state.CompareAndSwap(taskQueued, taskRunning) {
		return // withdrawn
	}
	l := c.lead
	if l == nil || l.yielding {
		close(t.decided)
		t.finish(protocol.NotController)
		return
	}
	l.view.Now = time.Now()
	d, err := c.decide(t, l)
	close(t.decided)
	if err != nil {
		t.finish(err)
		return
	}
	if d.Soft && len(d.Records) == 0 {
		t.finish(nil)
		c.settle()
		return
	}
	t.end, t.await = l.view.NextOffset, d.Await
	l.pending = append(l.pending, t)
	c.settle()
}

// decide runs the decision of t and makes its records part of the view.
func (c *Controller) decide(t *task, l *leadership) (Decision, error) {
	d, err := t.decide(l.view)
	if err == nil && len(d.Controls) > 0 {
		err = c.proposeControls(l, d.Controls)
	}
	if err != nil || len(d.Records) == 0 {
		return d, err
	}
	if len(d.Records) > maxRecords && !d.Split {
		return d, protocol.Errorf(protocol.PolicyViolation, "Unable to perform excessively large batch operation.")
	}
	for records := range slices.Chunk(d.Records, maxRecords) {
		b, err := metadataBatch(l.view.NextOffset, l.epoch, l.view.Now.UnixMilli(), l.view.Image.FeatureLevel(protocol.MetadataVersion), records)
		if err != nil {
			return d, err
		}
		if err := l.view.advance(l.epoch, records); err != nil {
			c.o.Logger.Error("a decision does not fit the metadata", zap.Error(err))
			return d, err
		}
		c.counters.note(records)
		c.quorum.Propose(l.id, b)
	}
	return d, nil
}

// proposeControls makes control records part of the view and of the log.
func (c *Controller) proposeControls(l *leadership, controls []schema.Control) error {
	b, err := controlBatch(l.view.NextOffset, l.epoch, l.view.Now.UnixMilli(), controls...)
	if err != nil {
		return err
	}
	if err := l.view.advanceControls(l.epoch, controls); err != nil {
		return err
	}
	c.quorum.Propose(l.id, b)
	return nil
}

// advance notes a committed batch.
func (c *Controller) advance(m Commit) {
	if c.lead != nil && m.EndOffset > c.lead.committed {
		c.lead.committed = m.EndOffset
		c.settle()
	}
	c.settleReadiness()
}

// settle answers the tasks whose offsets are committed and applied.
func (c *Controller) settle() {
	l := c.lead
	n := 0
	for ; n < len(l.pending) && l.pending[n].end <= l.committed; n++ {
		if t := l.pending[n]; len(t.await) == 0 {
			t.finish(nil)
		} else {
			l.applying[t] = t.end - 1
		}
	}
	l.pending = slices.Delete(l.pending, 0, n)
	for t, offset := range l.applying {
		behind := slices.ContainsFunc(t.await, func(id int32) bool {
			return l.view.active(id) && l.view.Sessions.applied(id) < offset
		})
		if !behind {
			delete(l.applying, t)
			t.finish(nil)
		}
	}
}

// fenceStale fences brokers whose sessions have ended, one by one, so that each sees what became of the one before.
func (c *Controller) fenceStale() {
	l := c.lead
	if l == nil {
		return
	}
	for {
		id, ok := l.view.Sessions.stale(l.view.Image, time.Now())
		if !ok {
			return
		}
		partitions := 0
		c.start(newTask(func(v *View) (Decision, error) {
			records := fence(v, id, nil)
			partitions = max(0, len(records)-1)
			return Decision{Records: records, Split: true}, nil
		}))
		c.counters.expired.Add(1)
		c.o.Logger.Info("fencing a broker whose session has timed out", zap.Int32("broker", id), zap.Int("partitions that go on without it", partitions))
		if b := l.view.Image.Broker(id); b != nil && !b.Fenced {
			l.view.Sessions.touch(id, time.Now(), l.view.Sessions.applied(id)) // it could not be recorded: try again later
			return
		}
	}
}

func (t *task) finish(err error) {
	t.err = err
	close(t.done)
}
