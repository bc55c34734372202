package replication

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
)

// Options is what a Manager works with; all fields but Moved, Peers and Controller are required.
type Options struct {
	NodeID int32
	Store  *storage.Store
	Codecs *record.Codecs
	Config func() config.Values // the broker's values as of now
	Logger *zap.Logger
	// Moved is called after a replica moved to another log dir, or could not. It must not block. Default: nothing.
	Moved func(protocol.TopicPartition)
	// Peers is the way to the leaders of the partitions that this broker follows. Nil: there are no other brokers.
	Peers Peers
	// Controller decides changes of the ISR. Nil: replicas neither join nor leave it by what this broker sees, as where there is only one.
	Controller Controller
}

// Controller passes a request of this broker to the active controller.
type Controller interface {
	// Handle answers req as the active controller; the response has req's version. An error means that no controller could be reached until ctx ended.
	Handle(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
}

// Manager hosts this broker's replicas and makes them follow the metadata. Apply has one caller, the publisher; everything
// else is safe for concurrent use.
type Manager struct {
	o     Options
	image atomic.Pointer[metadata.Image] // as last applied
	// brokers is by which brokers are judged: ahead of image while a delta is applied, as Kafka's metadata cache is, so that one that is fenced with the change of a partition does
	// not hold up what that commits.
	brokers atomic.Pointer[metadata.Image]

	verifier Verifier // set once, by SetVerifier
	former   traffic  // of replicas that are hosted no more
	fetchers *fetchers

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // goroutines that end with ctx

	maxLag                           int64 // replica.lag.time.max.ms
	rackAware                        bool  // replica.selector.class
	changes                          *isrChanges
	leaderThrottle, followerThrottle *Throttle

	// applying is held over each change of what is hosted, disk work included; only Apply and the retries of failed creations take it.
	applying sync.Mutex
	lost     map[protocol.TopicPartition]struct{} // replicas whose logs may be in a dir that is offline; guarded by applying
	retry    atomic.Int64                         // when creations that failed may be tried again, ms

	mu        sync.RWMutex
	parts     map[protocol.TopicPartition]*Partition // guarded by mu
	repairing map[protocol.TopicPartition]struct{}   // replicas that give up their data; guarded by mu
}

// NewManager returns a manager that hosts nothing until the first Apply.
func NewManager(o Options) *Manager {
	if o.Moved == nil {
		o.Moved = func(protocol.TopicPartition) {}
	}
	c := o.Config()
	samples, width := c.Int("replication.quota.window.num"), time.Duration(c.Int("replication.quota.window.size.seconds"))*time.Second
	m := &Manager{
		o: o, parts: make(map[protocol.TopicPartition]*Partition), repairing: make(map[protocol.TopicPartition]struct{}), lost: make(map[protocol.TopicPartition]struct{}),
		maxLag: c.Int64("replica.lag.time.max.ms"), rackAware: c.String("replica.selector.class") == rackAwareSelector,
		leaderThrottle: NewThrottle(samples, width), followerThrottle: NewThrottle(samples, width),
	}
	m.image.Store(metadata.Empty())
	m.brokers.Store(metadata.Empty())
	m.fetchers = newFetchers(o, m.settled)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.changes = &isrChanges{controller: o.Controller, node: o.NodeID, brokerEpoch: m.brokerEpoch, logger: o.Logger, ctx: m.ctx}
	if o.Controller != nil {
		m.tasks.Go(m.shrinkAll)
	}
	return m
}

// Image returns the image that was applied last.
func (m *Manager) Image() *metadata.Image { return m.image.Load() }

// Newest returns the image that is being applied, or was applied last. It is for telling clients who leads elsewhere: whoever waited for a leader that was just deposed would be sent
// back to it by Image.
func (m *Manager) Newest() *metadata.Image { return m.brokers.Load() }

// Partition returns a hosted replica. Errors: UnknownTopicOrPartition if the cluster has no such partition,
// NotLeaderOrFollower if other brokers host it, KafkaStorageError if its log could not be opened here.
func (m *Manager) Partition(topic string, partition int32) (*Partition, error) {
	m.mu.RLock()
	p := m.parts[protocol.TopicPartition{Topic: topic, Partition: partition}]
	m.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	known := m.Image().Partition(topic, partition)
	switch {
	case known == nil:
		return nil, protocol.UnknownTopicOrPartition
	case slices.Contains(known.Replicas, m.o.NodeID):
		if p := m.createAgain(protocol.TopicPartition{Topic: topic, Partition: partition}); p != nil {
			return p, nil
		}
		return nil, protocol.KafkaStorageError
	default:
		return nil, protocol.NotLeaderOrFollower
	}
}

// Partitions returns the hosted replicas by topic and partition.
func (m *Manager) Partitions() []*Partition {
	m.mu.RLock()
	all := make([]*Partition, 0, len(m.parts))
	for _, p := range m.parts {
		all = append(all, p)
	}
	m.mu.RUnlock()
	slices.SortFunc(all, func(a, b *Partition) int {
		if c := strings.Compare(a.tp.Topic, b.tp.Topic); c != 0 {
			return c
		}
		return int(a.tp.Partition - b.tp.Partition)
	})
	return all
}

// Apply makes the hosted partitions follow d: created and moved ones are opened, deleted ones are removed, leaders are
// installed before the new image is visible, so that whoever learns of a leader from it can use it. The first delta also
// sets aside the folders that the metadata does not know (Kafka's stray replicas).
func (m *Manager) Apply(d *metadata.Delta) {
	m.applying.Lock()
	defer m.applying.Unlock()
	if m.Image().Offset() < 0 {
		m.setStraysAside(d.Image)
	}
	m.brokers.Store(d.Image)
	m.fetchers.begin(d)
	for _, t := range d.Deleted {
		for _, p := range t.Partitions {
			m.remove(protocol.TopicPartition{Topic: t.Name, Partition: p.ID}, t.ID)
		}
	}
	for _, change := range d.Topics {
		for _, id := range change.Partitions {
			m.applyPartition(d.Image, change.Topic, change.Topic.Partitions[id])
		}
	}
	m.reconfigure(d)
	m.image.Store(d.Image)
	m.fetchers.finish(d)
}

// Close wakes everybody who waits on a partition; their requests end with NotLeaderOrFollower. The logs belong to the store.
func (m *Manager) Close() {
	m.fetchers.close()
	m.cancel()
	m.changes.close()
	m.tasks.Wait()
	for _, p := range m.Partitions() {
		p.retire()
	}
}

func (m *Manager) applyPartition(image *metadata.Image, topic *metadata.Topic, state *metadata.Partition) {
	tp := protocol.TopicPartition{Topic: topic.Name, Partition: state.ID}
	if !slices.Contains(state.Replicas, m.o.NodeID) {
		m.remove(tp, topic.ID)
		return
	}
	p := m.hosted(tp, topic.ID)
	if p == nil {
		if m.mayBeLost(tp) {
			m.o.Logger.Error("a partition is offline: its log is not found, and may be in a log dir that is offline", zap.Stringer("partition", tp))
			m.lost[tp] = struct{}{}
			return
		}
		log, err := m.o.Store.Create(tp, topic.ID, m.logConfig(image, topic.Name))
		if err != nil {
			m.o.Logger.Error("cannot open the log of a partition: it is offline",
				zap.Stringer("partition", tp), zap.Error(err))
			m.fetchers.seek(tp)
			return
		}
		p = newPartition(m, tp, topic.ID, log)
		p.throttled.Store(throttledSides(m.topicConfig(image, topic.Name), tp.Partition, m.o.NodeID))
		m.mu.Lock()
		m.parts[tp] = p
		m.mu.Unlock()
		m.o.Store.ResumeMove(tp, m.relocation(p))
	}
	p.apply(state)
	m.fetchers.assign(p, state)
}

// hosted returns the replica of this very topic, or nil. One of an older topic with the same name is removed first.
func (m *Manager) hosted(tp protocol.TopicPartition, topicID protocol.UUID) *Partition {
	m.mu.RLock()
	p := m.parts[tp]
	m.mu.RUnlock()
	if p != nil && p.topicID != topicID {
		m.remove(tp, p.topicID)
		return nil
	}
	return p
}

// remove stops hosting a partition and deletes its log, if it is hosted for that topic.
func (m *Manager) remove(tp protocol.TopicPartition, topicID protocol.UUID) {
	m.mu.Lock()
	p := m.parts[tp]
	if p == nil || p.topicID != topicID {
		m.mu.Unlock()
		return
	}
	delete(m.parts, tp)
	m.mu.Unlock()
	m.fetchers.release(tp)
	p.retire()
	if err := m.o.Store.Delete(tp); err != nil {
		m.o.Logger.Error("cannot delete the log of a partition", zap.Stringer("partition", tp), zap.Error(err))
	}
}

func (m *Manager) setStraysAside(image *metadata.Image) {
	for _, log := range m.o.Store.Logs() {
		tp := log.TopicPartition()
		topic := image.TopicByID(log.TopicID())
		assigned := topic != nil && int(tp.Partition) < len(topic.Partitions) &&
			slices.Contains(topic.Partitions[tp.Partition].Replicas, m.o.NodeID)
		if assigned {
			continue
		}
		m.o.Logger.Warn("setting aside a folder that the metadata does not assign to this broker",
			zap.Stringer("partition", tp), zap.String("folder", log.Dir()))
		if err := m.o.Store.SetAside(tp); err != nil {
			m.o.Logger.Error("cannot set a folder aside", zap.String("folder", log.Dir()), zap.Error(err))
		}
	}
}

// reconfigure gives the logs of topics their new config. A change of a broker's config may change every topic's defaults.
func (m *Manager) reconfigure(d *metadata.Delta) {
	topics := make(map[string]bool)
	all := false
	for _, r := range d.Configs {
		switch r.Scope {
		case config.Topic:
			topics[r.Name] = true
		case config.Broker:
			all = true
		case config.Group, config.ClientMetrics: // no log reads these
		}
	}
	if !all && len(topics) == 0 {
		return
	}
	var last string
	var topic config.Values
	var settings storage.LogConfig
	for _, p := range m.Partitions() { // sorted: the partitions of a topic follow each other
		if !all && !topics[p.tp.Topic] {
			continue
		}
		if p.tp.Topic != last {
			last, topic = p.tp.Topic, m.topicConfig(d.Image, p.tp.Topic)
			settings = storage.LogConfigOf(topic)
		}
		p.throttled.Store(throttledSides(topic, p.tp.Partition, m.o.NodeID))
		p.configure(settings)
	}
}

func (m *Manager) logConfig(image *metadata.Image, topic string) storage.LogConfig {
	return storage.LogConfigOf(m.topicConfig(image, topic))
}

func (m *Manager) topicConfig(image *metadata.Image, topic string) config.Values {
	return m.o.Config().Topic(image.Config(config.Topic, topic))
}
