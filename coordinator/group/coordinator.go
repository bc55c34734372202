package group

import (
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
	// Open returns the log of a partition of __consumer_offsets that this broker leads.
	Open  func(partition int32) (runtime.Log, error)
	Image func() *metadata.Image
	// Registered tells whether an image knows of this start of the broker. Such an image is at least as new as every offset that is loaded, so that
	// offsets of topics that it does not know are of deleted ones. nil: every image does.
	Registered func(*metadata.Image) bool
	// Describable returns those of topics that a client may know of (Describe): a regular expression matches no others. It is called beside the shards'
	// loops, and may change topics. nil: every client may know of all.
	Describable func(from Client, topics []string) []string
	Codecs      *record.Codecs
	Logger      *zap.Logger
}

// Client is who sent a request: its client id, "" if it has none, and its address as Kafka shows it ("/192.0.2.1").
type Client struct{ ID, Host string }

// Coordinator serves the group APIs over the shards of __consumer_offsets that this broker leads. Safe for concurrent use.
//
// The methods named after APIs wait for no other request, but may append to the log; their callers hold no lock. Each queues the request before it returns, if it does not
// handle it at once, so that calls keep their order, and copies what it needs of bytes: what req was read from may be reused at once, its strings may not. The Future is the answer, a response of req's version. Authorization, topic ids and
// the existence of topics are the caller's business.
type Coordinator struct {
	o        Options
	settings settings
	counters *counters
	runtime  *runtime.Runtime[*shard]
}

// New returns a Coordinator that leads nothing yet.
func New(o Options) *Coordinator {
	c := &Coordinator{o: o, settings: settingsOf(o.Config), counters: &counters{}}
	c.runtime = runtime.New(runtime.Options[*shard]{
		New: func(partition int32) *shard {
			s := newShard(c.settings, o.Logger.With(zap.Int32("partition", partition)))
			s.counters = c.counters
			if o.Registered != nil {
				s.registered = o.Registered
			}
			if o.Describable != nil {
				s.describable = o.Describable
			}
			return s
		},
		NodeID:       o.NodeID,
		Topic:        protocol.GroupMetadataTopic,
		Open:         o.Open,
		Image:        o.Image,
		Codecs:       o.Codecs,
		Codec:        c.settings.offsetsCodec,
		Logger:       o.Logger,
		WriteTimeout: c.settings.commitTimeout,
	})
	return c
}

// Apply follows the leaders of __consumer_offsets in d.Image, and takes the offsets of deleted topics away. Replication must
// have applied d before.
func (c *Coordinator) Apply(d *metadata.Delta) {
	c.runtime.Follow(d.Image)
	registered := c.o.Registered != nil && !c.o.Registered(d.Before) && c.o.Registered(d.Image)
	if registered || concernsSubscriptions(d) {
		c.runtime.ImageChanged(d)
	}
}

// PartitionFor is the partition of __consumer_offsets that holds a group: by the topic's number of partitions, or by
// offsets.topic.num.partitions while it does not exist.
func (c *Coordinator) PartitionFor(group string) int32 {
	return c.runtime.PartitionFor(group, c.settings.offsetsPartitions)
}

// Close drops all shards; what is parked is answered with NotCoordinator.
func (c *Coordinator) Close() { c.runtime.Close() }
