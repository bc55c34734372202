package replication

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage"
)

// followedKey names a partition as leader and follower do between them.
type followedKey struct {
	topic     protocol.UUID
	partition int32
}

// followed is one partition of a fetcher (Kafka's PartitionFetchState).
type followed struct {
	key   followedKey
	p     *Partition
	epoch int32    // the leader's, in which it is fetched
	at    position // of the log, as of the last look: the next fetch begins at its end
	lag   int64    // records behind the leader's high watermark; -1 not known yet

	ready   bool // is fetched now
	gone    bool // is not the fetcher's any more
	asked   bool // is in the session, as the leader knows it
	changed bool // the leader is to be told

	failures int       // in a row
	due      time.Time // when to go on, of one that waits for its backoff
	held     bool      // waits for the throttle
}

// fetcher replicates its partitions from one leader (Kafka's ReplicaFetcherThread): one request at a time, each for all that there is. All but inbox, assigned and started belong to the goroutine of run.
type fetcher struct {
	inbox

	key      fetcherKey
	all      *fetchers
	assigned int  // partitions, guarded by fetchers.mu
	started  bool // guarded by fetchers.mu
	ctx      context.Context
	end      context.CancelFunc
	logger   *zap.Logger

	peer    Peer
	parts   map[followedKey]*followed
	round   fetchRound
	waiting []*followed   // for their backoff
	held    []*followed   // for the throttle
	quiet   bool          // the last answer brought no records
	wait    time.Duration // that the next request may stay with the leader, if replica.fetch.wait.max.ms is not less
	downs   int           // failures of the connection in a row

	// What one round works with.
	changes  []change
	diverged []divergence
	outside  []*followed // whose offset the leader does not have
	flushes  []flushing
	troubles []trouble
}

// divergence is a leader's word that a follower has other records than it.
type divergence struct {
	x      *followed
	leader epochEnd
}

// flushing is an fsync that the leader must not be told before.
type flushing struct {
	x     *followed
	flush storage.Flush
}

// Changes of the metadata seldom come alone: the first requests of a session stay with the leader for less than the others, twice as long each time.
const (
	firstWait = 25 * time.Millisecond
	maxWait   = time.Hour
)

func newFetcher(fs *fetchers, key fetcherKey) *fetcher {
	f := &fetcher{
		inbox: inbox{wake: make(chan struct{}, 1)}, key: key, all: fs, parts: make(map[followedKey]*followed),
		logger: fs.o.Logger.With(zap.Int32("leader", key.leader), zap.Int32("fetcher", key.id)),
	}
	f.wait = firstWait
	// An answer for each commit is one round more for each record that waits for acks=all: only consumers that read from this replica gain by it.
	c := fs.o.Config()
	f.round = newFetchRound(c.Int("replica.fetch.max.bytes"), c.String("replica.selector.class") == rackAwareSelector)
	f.ctx, f.end = context.WithCancel(fs.ctx)
	return f
}

// run fetches until end is called.
func (f *fetcher) run() {
	f.peer = f.all.o.Peers.Open(f.key.leader)
	defer func() { f.peer.Close() }()
	for f.ctx.Err() == nil {
		f.learn()
		now := time.Now()
		f.resume(now)
		if !f.round.build(f.parts) {
			f.pause(f.nextDue(now))
			continue
		}
		resp, err := f.ask()
		switch {
		case err != nil:
			f.lost(err)
		case f.round.answered(resp, f.parts) != protocol.None:
			f.refused(protocol.Code(resp.ErrorCode))
		default:
			f.downs, f.wait = 0, min(2*f.wait, maxWait)
			f.take(resp)
		}
		f.tellTroubles()
	}
}

// learn takes up what the metadata says.
func (f *fetcher) learn() {
	var redial bool
	f.changes, redial = f.inbox.take(f.changes[:0])
	if redial {
		f.peer.Close()
		f.peer = f.all.o.Peers.Open(f.key.leader)
		f.round.restart(false, f.parts)
		f.downs = 0
	}
	for _, c := range f.changes {
		f.change(c)
	}
	clear(f.changes)
}

func (f *fetcher) change(c change) {
	key := followedKey{c.p.topicID, c.p.tp.Partition}
	x := f.parts[key]
	if c.epoch < 0 {
		if x != nil && x.p == c.p {
			x.ready, x.gone = false, true
			f.round.change(x)
		}
		return
	}
	if x == nil {
		x = &followed{key: key}
		f.parts[key] = x
	}
	x.p, x.epoch, x.lag, x.failures, x.gone = c.p, c.epoch, -1, 0, false
	at, err := c.p.startFollowing(c.epoch)
	f.settle(x, at, err)
	f.hold(x, time.Now())
}

// settle notes where the log of x is after something was done with it, or lets x wait if that failed.
func (f *fetcher) settle(x *followed, at position, err error) {
	if err != nil {
		f.failed(x, err)
		return
	}
	if x.at != at || !x.ready {
		x.at = at
		f.round.change(x)
	}
	x.ready, x.due = true, time.Time{}
}

// failed lets x wait after something failed here.
func (f *fetcher) failed(x *followed, err error) {
	if stale(err) { // the metadata has more to say of it: that is in the inbox, or will be
		f.suspend(x)
		return
	}
	if x.failures == 0 {
		f.complain("cannot replicate partitions: trying again", x, err)
	}
	f.delay(x, f.backoff())
}

// suspend leaves x alone until the metadata says more.
func (f *fetcher) suspend(x *followed) {
	x.ready, x.due = false, time.Time{}
	f.round.change(x)
}

// delay lets x wait.
func (f *fetcher) delay(x *followed, d time.Duration) {
	x.ready, x.due = false, time.Now().Add(d)
	x.failures++
	f.round.change(x)
	f.waiting = append(f.waiting, x)
}

func (f *fetcher) backoff() time.Duration {
	return f.all.o.Config().Duration("replica.fetch.backoff.ms")
}

// resume goes on with the partitions whose wait is over.
func (f *fetcher) resume(now time.Time) {
	var due []*followed
	f.waiting = slices.DeleteFunc(f.waiting, func(x *followed) bool {
		if x.gone || x.ready || x.due.IsZero() {
			return true
		}
		if x.due.After(now) {
			return false
		}
		due = append(due, x)
		return true
	})
	for _, x := range due {
		at, err := x.p.startFollowing(x.epoch)
		f.settle(x, at, err)
	}
	if len(f.held) == 0 || f.all.exceeded(now) {
		return
	}
	for _, x := range f.held {
		if x.held = false; !x.gone && x.due.IsZero() {
			x.ready = true
			f.round.change(x)
		}
	}
	f.held = f.held[:0]
}

// hold lets x wait for the throttle, if it counts and there is nothing left of it. Replicas in sync do not wait: they are what others commit by.
func (f *fetcher) hold(x *followed, now time.Time) {
	if x.lag == 0 || !x.ready || !f.all.throttled(x.p) || !f.all.exceeded(now) {
		return
	}
	x.ready = false
	f.round.change(x)
	if !x.held {
		x.held = true
		f.held = append(f.held, x)
	}
}

// pause waits for a change of the metadata, or for d (0: no limit).
func (f *fetcher) pause(d time.Duration) {
	var due <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-f.wake:
	case <-due:
	case <-f.ctx.Done():
	}
}

// nextDue is how long there is nothing to do at most: 0 without limit.
func (f *fetcher) nextDue(now time.Time) time.Duration {
	var next time.Duration
	if len(f.held) > 0 {
		next = f.backoff()
	}
	for _, x := range f.waiting {
		if d := max(x.due.Sub(now), time.Millisecond); next == 0 || d < next {
			next = d
		}
	}
	return next
}

// ask sends the fetch that was built.
func (f *fetcher) ask() (*kmsg.FetchResponse, error) {
	c, image, req := f.all.o.Config(), f.all.image.Load(), f.round.req
	req.SetVersion(protocol.ReplicaFetchVersion(image.FeatureLevel("metadata.version")))
	req.ReplicaID, req.ReplicaState.ID, req.ReplicaState.Epoch = f.all.o.NodeID, f.all.o.NodeID, -1
	if self := image.Broker(f.all.o.NodeID); self != nil {
		req.ReplicaState.Epoch = self.Epoch
	}
	req.MaxWaitMillis = int32(min(int64(c.Int("replica.fetch.wait.max.ms")), f.wait.Milliseconds()))
	req.MinBytes = int32(c.Int("replica.fetch.min.bytes"))
	req.MaxBytes = int32(c.Int("replica.fetch.response.max.bytes"))
	ctx, cancel := context.WithTimeout(f.ctx, c.Duration("replica.socket.timeout.ms"))
	defer cancel()
	f.asking(cancel, f.quiet, f.round.asked)
	answer, err := f.peer.Do(ctx, req)
	f.answered()
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok || resp.Version < 13 { // before that topics go by name, and no broker of Kafka's lowest metadata.version speaks so
		return nil, fmt.Errorf("an answer to Fetch that is none: key %d, version %d", answer.Key(), answer.GetVersion())
	}
	return resp, nil
}

// lost goes on after the connection was lost, or given up.
func (f *fetcher) lost(err error) {
	f.round.restart(true, f.parts)
	f.quiet, f.wait = false, firstWait
	if f.ctx.Err() != nil || f.pending() {
		return // it was this side that gave it up
	}
	if f.downs == 0 {
		f.logger.Warn("cannot fetch from a leader: trying again", zap.Error(err))
	}
	wait := backoffAfter(f.downs, f.backoff())
	f.downs++
	f.pause(wait)
}

// refused goes on after an answer that is an error as a whole: of the session, which is made anew at once, or another one.
func (f *fetcher) refused(code protocol.Code) {
	f.quiet = false
	switch code {
	case protocol.FetchSessionIDNotFound, protocol.InvalidFetchSessionEpoch, protocol.FetchSessionTopicIDError:
		f.logger.Debug("the fetch session ends", zap.Stringer("code", code))
		if f.downs++; f.downs == 1 {
			return
		}
	default:
		f.logger.Warn("a leader refuses to be fetched from: trying again", zap.Stringer("code", code))
		f.downs++
	}
	f.pause(backoffAfter(f.downs, f.backoff()))
}
