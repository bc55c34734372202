package runtime

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

// Options are what a Runtime works with.
type Options[S Shard] struct {
	NodeID int32                              // of this broker
	Topic  string                             // the internal topic
	New    func(partition int32) S            // an empty shard
	Open   func(partition int32) (Log, error) // the log of a partition that this broker leads
	Image  func() *metadata.Image             // the cluster's metadata as of now
	Codecs *record.Codecs                     // reads compressed batches, and makes them
	Codec  record.Codec                       // of the batches that are written; control batches are never compressed
	Logger *zap.Logger
	// WriteTimeout bounds the wait for the commit of an operation's records; at least 1 ms.
	WriteTimeout time.Duration
	// BaseSequence is that of batches without a producer: 0 as Kafka's own runtime of coordinators writes them, -1 as its transaction coordinator does.
	BaseSequence int32
}

// concurrentLoads bounds how many partitions are read at once (group.coordinator.threads is 4 in Kafka).
const concurrentLoads = 4

// reloadDelay is the wait after a load that failed.
const reloadDelay = time.Second

// Runtime maps led partitions to shards. Safe for concurrent use.
type Runtime[S Shard] struct {
	o      Options[S]
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	loads  chan struct{}  // one place per load under way
	loops  sync.WaitGroup // goroutines of slots

	leaders leaders

	background chan struct{} // one place per piece of background work that runs

	mu     sync.Mutex // guards slots and closed
	slots  map[int32]*slot[S]
	closed bool
}

// New returns a Runtime without partitions.
func New[S Shard](o Options[S]) *Runtime[S] {
	ctx, cancel := context.WithCancel(context.Background())
	return &Runtime[S]{
		o: o, ctx: ctx, cancel: cancel,
		loads: make(chan struct{}, concurrentLoads), background: make(chan struct{}, concurrentBackground),
		slots: make(map[int32]*slot[S]), leaders: leaders{led: make(map[int32]int32)},
	}
}

// Elect says that this broker leads partition since epoch. The shard is loaded in the background; operations meanwhile get
// CoordinatorLoadInProgress. A newer epoch of a shard that is there keeps it; an older one is ignored.
func (r *Runtime[S]) Elect(partition, epoch int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	s, ok := r.slots[partition]
	if !ok {
		s = newSlot(r, partition, epoch)
		r.slots[partition] = s
	}
	s.elect(epoch, !ok)
}

// Resign drops partition, which another broker leads since epoch (or nobody): operations get NotCoordinator. It is ignored if
// this broker was elected at epoch or later.
func (r *Runtime[S]) Resign(partition, epoch int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.slots[partition]; ok && s.stop(epoch) {
		delete(r.slots, partition)
	}
}

// ImageChanged tells every shard of a change of the cluster's metadata. One that is still loading is told after its Loaded, which may have seen
// the image already.
func (r *Runtime[S]) ImageChanged(d *metadata.Delta) {
	for _, s := range r.all() {
		s.imageChanged(d)
	}
}

// Write queues op for partition's shard. fail is called instead, at once or later, if op could not be run: NotCoordinator,
// CoordinatorLoadInProgress, or UnknownServerError after a panic. Once op returned, its Result.Then is told of everything.
func (r *Runtime[S]) Write(partition int32, op func(S, Env) Result, fail func(error)) {
	r.queue(partition, false, func(s *slot[S]) { s.runWrite(op, fail) }, fail)
}

// WriteHere is Write for a caller who waits for the answer anyway, and holds no lock: it runs op, and appends its records, itself where nobody else runs
// operations of the shard. Else it queues op, which is appended with what has queued besides.
func (r *Runtime[S]) WriteHere(partition int32, op func(S, Env) Result, fail func(error)) {
	r.queue(partition, true, func(s *slot[S]) { s.runWrite(op, fail) }, fail)
}

// Read queues op for partition's shard; it must not change the shard, and sees changes that are not committed yet. fail as for Write.
func (r *Runtime[S]) Read(partition int32, op func(S, Env), fail func(error)) {
	r.queue(partition, false, func(s *slot[S]) { s.runRead(op, fail) }, fail)
}

// ReadHere is Read as WriteHere is Write.
func (r *Runtime[S]) ReadHere(partition int32, op func(S, Env), fail func(error)) {
	r.queue(partition, true, func(s *slot[S]) { s.runRead(op, fail) }, fail)
}

// queue has run called in the loop of partition's shard, or fail where there is no shard to run on.
func (r *Runtime[S]) queue(partition int32, here bool, run func(*slot[S]), fail func(error)) {
	s := r.slot(partition)
	if s == nil {
		fail(protocol.NotCoordinator)
		return
	}
	s.post(func() {
		if s.live {
			run(s)
		} else {
			fail(s.refusal())
		}
	}, here, fail)
}

// Partitions lists the partitions that this broker was elected for, in order.
func (r *Runtime[S]) Partitions() []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.slots))
}

// Close drops all shards and waits until nothing of them runs any more. What is parked is answered with NotCoordinator.
func (r *Runtime[S]) Close() {
	r.mu.Lock()
	r.closed = true
	slots := slices.Collect(maps.Values(r.slots))
	clear(r.slots)
	for _, s := range slots {
		s.stop(noEpoch)
	}
	r.mu.Unlock()
	r.cancel()
	r.loops.Wait()
}

func (r *Runtime[S]) slot(partition int32) *slot[S] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.slots[partition]
}

func (r *Runtime[S]) all() []*slot[S] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.slots))
}
