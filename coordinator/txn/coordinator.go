package txn

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

// Options are what a Coordinator works with.
type Options struct {
	NodeID int32
	Config func() config.Values // read once, by New: all keys are read-only
	// Open returns the log of a partition of __transaction_state that this broker leads.
	Open  func(partition int32) (runtime.Log, error)
	Image func() *metadata.Image
	// Registered tells whether an image knows of this start of the broker. Such an image is at least as new as every transaction that is loaded,
	// so that partitions that it does not know are of deleted topics. nil: every image does.
	Registered  func(*metadata.Image) bool
	ProducerIDs ProducerIDs
	Markers     Markers
	Codecs      *record.Codecs
	Logger      *zap.Logger
}

// ProducerIDs hands out producer ids, unique in the cluster for ever. Safe for concurrent use.
type ProducerIDs interface {
	// TryNext returns a fresh producer id if one is at hand, without waiting.
	TryNext() (id int64, ok bool)
	// Next waits for a fresh producer id. Errors: CoordinatorLoadInProgress while no block of ids could be had, ctx's error.
	Next(ctx context.Context) (int64, error)
}

// Markers reaches the brokers that lead the partitions of a transaction. Safe for concurrent use.
type Markers interface {
	// WriteTxnMarkers has broker node write markers, and waits for its answer. An error says that there was none: the markers may or may not have
	// been written, and are sent again. req is not used after the return.
	WriteTxnMarkers(ctx context.Context, node int32, req *kmsg.WriteTxnMarkersRequest) (*kmsg.WriteTxnMarkersResponse, error)
}

// Coordinator serves the transaction APIs over the shards of __transaction_state that this broker leads. Safe for concurrent use.
//
// The methods named after APIs never block. Each queues the request before it returns, so that calls keep their order, and
// copies what it needs: req may be reused at once. The Future is the answer, a response of req's version. Authorization and the
// existence of topics are the caller's business.
type Coordinator struct {
	o        Options
	settings settings
	runtime  *runtime.Runtime[*shard]
	markers  *markers
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	waiting  sync.WaitGroup // goroutines that wait for a producer id

	mu     sync.Mutex // guards closed
	closed bool
}

// New returns a Coordinator that leads nothing yet.
func New(o Options) *Coordinator {
	c := &Coordinator{o: o, settings: settingsOf(o.Config())}
	if c.o.Registered == nil {
		c.o.Registered = func(*metadata.Image) bool { return true }
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.markers = newMarkers(&c.o, c.completed)
	c.runtime = runtime.New(runtime.Options[*shard]{
		NodeID:       o.NodeID,
		Topic:        protocol.TransactionStateTopic,
		New:          func(partition int32) *shard { return newShard(c, partition) },
		Open:         o.Open,
		Image:        o.Image,
		Codecs:       o.Codecs,
		Logger:       o.Logger,
		WriteTimeout: writeTimeout,
		BaseSequence: -1,
	})
	return c
}

// Apply follows the leaders of __transaction_state, and of the partitions that wait for their marker, in d.Image. Replication must have applied d
// before.
func (c *Coordinator) Apply(d *metadata.Delta) {
	c.runtime.Follow(d.Image)
	c.markers.imageChanged()
}

// PartitionFor is the partition of __transaction_state that holds a transactional id: by the topic's number of partitions, or by
// transaction.state.log.num.partitions while it does not exist.
func (c *Coordinator) PartitionFor(transactionalID string) int32 {
	return c.runtime.PartitionFor(transactionalID, c.settings.partitions)
}

// Close drops all shards; what is parked is answered with NotCoordinator.
func (c *Coordinator) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.runtime.Close()
	c.markers.close()
	c.waiting.Wait()
}
