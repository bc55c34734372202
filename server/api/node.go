package api

import (
	"context"
	"time"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/threads"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/logs"
	"github.com/ottla/ottla/server/telemetry"
	"github.com/ottla/ottla/storage"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// Node is what handlers may use: the parts of one broker, or of one controller for its controller listeners, assembled by server.Broker. Its fields are set once,
// before the first request, and never change afterwards; every part is safe for concurrent use. A controller's has no replicas, coordinators and store.
type Node struct {
	NodeID       int32
	ClusterID    string
	Config       func() config.Values   // broker values as of now: static ones under the dynamic overlay
	Image        func() *metadata.Image // as last published to replication and coordinators
	Replicas     *replication.Manager
	Groups       *group.Coordinator
	Transactions *txn.Coordinator
	Store        *storage.Store
	Controller   Controller     // on a controller listener this node's own, which answers only while it is active
	Quorum       MetadataQuorum // this node's controller; nil if it has none
	Direct       bool           // this is a controller listener: the controller's requests are not passed on to another node
	ProducerIDs  ProducerIDs
	Sessions     *Sessions // fetch sessions of this broker
	Routes       *Routes   // the APIs that these listeners serve
	Logger       *zap.Logger
	Reached      []string     // listeners without an advertised address: clients are told the one at which they reached this node, see Conn.Reached
	Loggers      *logs.Levels // the levels of this node's loggers, which BROKER_LOGGER resources show and alter
	// CheckListeners checks what a change of the configuration, from now to next, makes of the listeners: InvalidRequest, in Kafka's words.
	CheckListeners func(now, next config.Values) error
	// Threads are num.io.threads: the requests that work on disks hold one each. Handlers of routes that are marked so are called with one.
	Threads *threads.Pool

	// TopicCreator creates the topics that Metadata and FindCoordinator find missing.
	TopicCreator *TopicCreator
	// Telemetry takes the metrics that clients push.
	Telemetry *telemetry.Receiver
}

// onDisk does disk work that a handler left for later, with one of the threads. An error is that of ctx.
func (n *Node) onDisk(ctx context.Context, work func()) error {
	if n.Threads == nil {
		work()
		return nil
	}
	if err := n.Threads.Acquire(ctx); err != nil {
		return err
	}
	began := time.Now()
	defer func() { n.Threads.Release(time.Since(began)) }()
	work()
	return nil
}

// Controller passes a request to the active controller, in this process or over the wire.
type Controller interface {
	// Handle answers req as the active controller; the response has req's version. An error means that no controller could be reached.
	Handle(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	// ActiveID is the node id of the active controller, -1 if unknown.
	ActiveID() int32
}

// ProducerIDs hands out producer ids, unique in the cluster for ever.
type ProducerIDs interface {
	// Next returns a fresh producer id; CoordinatorLoadInProgress while no block of ids could be had yet.
	Next(ctx context.Context) (int64, error)
}
