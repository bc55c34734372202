package replication

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/metadata"
)

// fetcherKey names one fetcher: the leader that it fetches from, and its number of num.replica.fetchers.
type fetcherKey struct{ leader, id int32 }

// fetchers are a broker's replica fetchers (Kafka's ReplicaFetcherManager): for each leader as many as num.replica.fetchers, each with a connection and a goroutine of its
// own. They are told of changes by Manager.Apply only; close stops them.
type fetchers struct {
	o        Options
	image    atomic.Pointer[metadata.Image] // ahead of the manager's while a delta is applied
	throttle *Throttle

	stop    context.CancelFunc // ends them all
	ctx     context.Context
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool                                    // guarded by mu
	count  int                                     // guarded by mu: num.replica.fetchers
	byKey  map[fetcherKey]*fetcher                 // guarded by mu
	where  map[protocol.TopicPartition]*assignment // guarded by mu
	missing
}

// assignment is one partition that a fetcher has.
type assignment struct {
	p       *Partition
	leader  int32
	epoch   int32
	fetcher *fetcher
}

// newFetchers returns nil where there are no other brokers: its methods do nothing then. look tries to create the log of a replica once more, and reports whether that is settled.
func newFetchers(o Options, look func(protocol.TopicPartition) bool) *fetchers {
	if o.Peers == nil {
		return nil
	}
	c := o.Config()
	fs := &fetchers{
		o: o, count: c.Int("num.replica.fetchers"),
		throttle: NewThrottle(c.Int("replication.quota.window.num"), c.Duration("replication.quota.window.size.seconds")),
		byKey:    make(map[fetcherKey]*fetcher), where: make(map[protocol.TopicPartition]*assignment),
		missing: missing{look: look, parts: make(map[protocol.TopicPartition]struct{})},
	}
	fs.image.Store(metadata.Empty())
	fs.ctx, fs.stop = context.WithCancel(context.Background())
	return fs
}

// close ends all fetchers and waits for them.
func (fs *fetchers) close() {
	if fs == nil {
		return
	}
	fs.mu.Lock()
	fs.closed = true
	all := slices.Collect(maps.Values(fs.byKey))
	clear(fs.byKey)
	clear(fs.where)
	fs.mu.Unlock()
	fs.stop()
	for _, f := range all {
		f.end()
	}
	fs.running.Wait()
}

// begin is called before the partitions of d are.
func (fs *fetchers) begin(d *metadata.Delta) {
	if fs != nil {
		fs.image.Store(d.Image)
	}
}

// moved reports whether connections to a broker are of no use any more.
func moved(before, after *metadata.Broker) bool {
	return after != nil && (before == nil || before.Epoch != after.Epoch || !slices.Equal(before.Endpoints, after.Endpoints))
}

// assign gives a partition to the fetcher of its leader, after the partition has taken on the role. One that this broker leads, or nobody, is fetched no more.
func (fs *fetchers) assign(p *Partition, s *metadata.Partition) {
	if fs == nil {
		return
	}
	if s.Leader < 0 || s.Leader == fs.o.NodeID {
		fs.release(p.tp)
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if a := fs.where[p.tp]; a != nil {
		if a.p == p && a.leader == s.Leader && a.epoch == s.LeaderEpoch {
			return // only the ISR has changed, or the like
		}
		fs.take(a)
	}
	fs.give(&assignment{p: p, leader: s.Leader, epoch: s.LeaderEpoch})
}

// release takes a partition from its fetcher.
func (fs *fetchers) release(tp protocol.TopicPartition) {
	if fs == nil {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if a := fs.where[tp]; a != nil {
		fs.take(a)
		delete(fs.where, tp)
	}
}

// finish is called after the partitions of d, when its image is the manager's: fetchers learn what is new all at once, and those without partitions end. A leader that has
// registered anew, or at another address, is dialled again: what it knew of the fetchers is gone, and a connection to where it was may hang.
func (fs *fetchers) finish(d *metadata.Delta) {
	if fs == nil {
		return
	}
	resized := slices.ContainsFunc(d.Configs, func(r metadata.ConfigResource) bool { return r.Scope == config.Broker })
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if resized {
		fs.resize(fs.o.Config().Int("num.replica.fetchers"))
	}
	for key, f := range fs.byKey {
		if f.assigned == 0 {
			delete(fs.byKey, key)
			f.end()
			continue
		}
		if _, ok := d.Brokers[key.leader]; ok && moved(d.Before.Broker(key.leader), d.Image.Broker(key.leader)) {
			f.redial()
		}
		fs.wake(f)
	}
}

// wake has f look what is new; one that is new itself starts, now that it has all its partitions. Caller holds mu.
func (fs *fetchers) wake(f *fetcher) {
	if f.started {
		f.tell()
		return
	}
	f.started = true
	fs.running.Go(f.run)
	f.logger.Debug("a replica fetcher starts")
}

// tell has the fetchers look what is new.
func (fs *fetchers) tell() {
	if fs == nil {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.byKey {
		fs.wake(f)
	}
}

// resize moves the partitions to other fetchers when there are more or fewer. Caller holds mu.
func (fs *fetchers) resize(count int) {
	if count == fs.count {
		return
	}
	fs.count = count
	for _, a := range fs.where {
		if a.fetcher.key.id != fetcherOf(a.p.tp.Topic, a.p.tp.Partition, count) {
			fs.take(a)
			fs.give(&assignment{p: a.p, leader: a.leader, epoch: a.epoch})
		}
	}
}

// give hands a to its fetcher, which is made if there is none. Caller holds mu.
func (fs *fetchers) give(a *assignment) {
	key := fetcherKey{a.leader, fetcherOf(a.p.tp.Topic, a.p.tp.Partition, fs.count)}
	f := fs.byKey[key]
	if f == nil {
		if fs.closed {
			return
		}
		f = newFetcher(fs, key)
		fs.byKey[key] = f
	}
	a.fetcher = f
	fs.where[a.p.tp] = a
	f.assigned++
	f.post(change{p: a.p, epoch: a.epoch})
}

// take takes a from its fetcher. Caller holds mu.
func (fs *fetchers) take(a *assignment) {
	a.fetcher.assigned--
	a.fetcher.post(change{p: a.p, epoch: -1})
}

// throttled reports whether the fetching of a replica counts against follower.replication.throttled.rate.
func (fs *fetchers) throttled(p *Partition) bool { return p.throttled.Load()&throttleFollower != 0 }

// exceeded reports whether throttled replicas that are not in sync have to wait.
func (fs *fetchers) exceeded(now time.Time) bool {
	return fs.throttle.Exceeded(fs.o.Config().Int64("follower.replication.throttled.rate"), now)
}
