package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/protocol"
	values "github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/server/config"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// Options is what a Broker is made of. Config is required; the rest has defaults.
type Options struct {
	Config *config.Server
	Logger *zap.Logger // default: none
	FS     vfs.FS      // default: the system's
	// Listen opens a client listener; default net.Listen.
	Listen func(network, address string) (net.Listener, error)
	// Dial connects to another node; default net.Dialer's DialContext.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Broker is one node: a broker with its controller. It owns everything below it; several live in one process.
// Start and Shutdown are called once each, by one goroutine.
type Broker struct {
	o      Options
	failed chan error                    // has room for the first failure
	abort  context.CancelCauseFunc       // ends a start that is under way; set by Start before anything can fail
	values atomic.Pointer[values.Values] // the broker's configuration as of now
	lost   chan struct{}                 // signalled when a log dir fails; has room for one

	codecs       *record.Codecs
	store        *storage.Store
	controller   *controller.Controller
	replicas     *replication.Manager
	groups       *group.Coordinator
	transactions *txn.Coordinator
	peers        *peers
	lifecycle    *lifecycle
	assignments  *assignments
	observer     *metadata.Observer
	node         *api.Node
	sockets      *socketServer
	listeners    []boundListener
	scrapes      *scrapeServer // nil: no metrics
}

// New returns a broker that holds nothing yet.
func New(o Options) *Broker {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.Listen == nil {
		o.Listen = net.Listen
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	b := &Broker{o: o, failed: make(chan error, 1), lost: make(chan struct{}, 1)}
	b.values.Store(&o.Config.Values)
	return b
}

// Start opens the data, becomes the controller, and returns when clients are served. When it fails, or ctx ends before
// that, everything that was opened is closed again.
func (b *Broker) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			if closeErr := b.Shutdown(context.Background()); closeErr != nil {
				b.o.Logger.Warn("after the failed start not everything was closed cleanly", zap.Error(closeErr))
			}
		}
	}()
	if err := errors.Join(b.bind(), b.bindMetrics()); err != nil {
		return err
	}
	ctx, b.abort = context.WithCancelCause(ctx)
	defer b.abort(nil)
	clusterID, wake, err := b.openData(ctx)
	if err != nil {
		return err
	}
	identified := make(chan error, 1)
	go func() { identified <- b.store.SetClusterID(clusterID) }() // meanwhile, as it syncs the disk when the id is new
	b.assemble(clusterID, wake)
	b.lifecycle.start()
	b.assignments.start()
	select {
	case <-b.lifecycle.ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err := errors.Join(err, <-identified); err != nil {
		return err
	}
	b.store.SetBrokerEpoch(b.lifecycle.epoch.Load())
	for _, l := range b.listeners {
		for _, s := range l.sockets {
			b.sockets.serve(l.name, s)
		}
	}
	b.serveMetrics()
	return nil
}

// dialing is how this node connects to others.
func (b *Broker) dialing() dialing {
	return dialing{dial: b.o.Dial, config: b.Config, clientID: "broker-" + brokerName(b.o.Config.NodeID)}
}

// logDirReserve is how much room is kept in each log dir for a stop and a start while it is full: that for the indexes of a gigabyte of records, and the checkpoints of many partitions.
const logDirReserve = 8 << 20

// openData opens the folders and elects the controller. wake is signalled when the metadata log grew.
func (b *Broker) openData(ctx context.Context) (clusterID string, wake chan struct{}, err error) {
	c := b.o.Config
	b.codecs = record.NewCodecs()
	b.store, err = storage.Open(storage.Options{
		FS: b.o.FS, Dirs: c.LogDirs, NodeID: c.NodeID, Config: c.Values, Codecs: b.codecs, Logger: b.o.Logger.Named("storage"),
		ReserveBytes: logDirReserve, Context: ctx,
	})
	if err != nil {
		return "", nil, err
	}
	b.store.OnDirFailure(b.dirFailed)
	grew := make(chan struct{}, 1) // not the result itself, which a failure sets
	b.controller, err = controller.Start(controller.Options{
		NodeID: c.NodeID, ClusterID: b.store.ClusterID(), FS: b.o.FS, Dir: c.MetadataLogDir, Config: c.Values, Codecs: b.codecs,
		Logger: b.o.Logger, OnFailure: b.fail,
		OnAppend: func() {
			select {
			case grew <- struct{}{}:
			default: // the observer has a signal already
			}
		},
	})
	if err != nil {
		return "", nil, err
	}
	if clusterID, err = b.controller.Ready(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", nil, err
	}
	return clusterID, grew, nil
}

// assemble builds the parts on top of the data and lets the metadata flow into them. Nothing is served yet.
func (b *Broker) assemble(clusterID string, wake <-chan struct{}) {
	c, logger := b.o.Config, b.o.Logger
	registration := b.registration(clusterID)
	b.replicas = replication.NewManager(replication.Options{
		NodeID: c.NodeID, Store: b.store, Codecs: b.codecs, Config: b.Config, Logger: logger.Named("replication"),
		Moved: func(tp protocol.TopicPartition) { b.assignments.look(tp) },
	})
	registered := func(i *metadata.Image) bool {
		self := i.Broker(c.NodeID)
		return self != nil && self.Incarnation == registration.IncarnationID
	}
	b.groups = group.New(group.Options{
		NodeID: c.NodeID, Config: b.Config, Open: openCoordinatorLog(b.replicas, protocol.GroupMetadataTopic),
		Image: b.replicas.Image, Codecs: b.codecs, Logger: logger.Named("group"), Registered: registered,
	})
	local := localController{b.controller}
	b.lifecycle = newLifecycle(lifecycleOptions{
		controller: local, register: registration, config: c.Values, offline: b.offlineDirs, dirFailed: b.lost, fail: b.fail,
		local: true, logger: logger.Named("lifecycle"),
	})
	b.assignments = newAssignments(c.NodeID, b.lifecycle.epoch.Load, local, b.replicas.Image, b.store, logger.Named("directories"))
	ids := &producerIDs{node: c.NodeID, epoch: b.lifecycle.epoch.Load, controller: local}
	peers := newPeers(c.NodeID, c.InterBroker, b.replicas.Image, b.dialing())
	b.peers = peers
	b.transactions = txn.New(txn.Options{
		NodeID: c.NodeID, Config: b.Config, Open: openCoordinatorLog(b.replicas, protocol.TransactionStateTopic),
		Image: b.replicas.Image, Codecs: b.codecs, Logger: logger.Named("transaction"), Registered: registered,
		ProducerIDs: ids, Markers: peers,
	})
	b.replicas.SetVerifier(&txnVerifier{image: b.replicas.Image, partitionFor: b.transactions.PartitionFor, ask: peers.ask})
	b.node = &api.Node{
		NodeID: c.NodeID, ClusterID: clusterID, Config: b.Config, Image: b.replicas.Image, Replicas: b.replicas, Groups: b.groups,
		Transactions: b.transactions, Store: b.store, Controller: local, ProducerIDs: ids,
		Sessions: api.NewSessions(c.Values.Int("max.incremental.fetch.session.cache.slots")),
		TopicCreator: api.NewTopicCreator(api.TopicCreatorOptions{
			Controller: local, Config: b.Config, Image: b.replicas.Image, Logger: logger.Named("topics"),
		}),
		Logger: logger.Named("api"),
	}
	peers.node = b.node
	b.sockets = newSocketServer(b.node, logger.Named("network"))
	p := &publisher{
		node: c.NodeID, static: c.Values, values: &b.values, store: b.store, replicas: b.replicas, groups: b.groups, transactions: b.transactions,
		lifecycle: b.lifecycle, assignments: b.assignments,
	}
	b.observer = metadata.NewObserver(metadata.ObserverOptions{
		Log: b.controller.Log(), FS: b.o.FS, Codecs: b.codecs, Wake: wake, Publish: p.publish,
		OnFailure: b.fail, Logger: logger.Named("metadata"),
	})
}

// Failed yields the failure after which the broker cannot go on: its metadata cannot be written or followed any further, or the last
// of its folders failed. Whoever runs the broker shuts it down then.
func (b *Broker) Failed() <-chan error { return b.failed }

func (b *Broker) fail(err error) {
	b.abort(err)
	select {
	case b.failed <- err:
	default: // the first failure is the one that counts
	}
}

// dirFailed ends the broker when a folder failed that it cannot do without.
func (b *Broker) dirFailed(dir string, err error) {
	online := slices.ContainsFunc(b.store.Dirs(), func(d storage.Dir) bool { return d.Offline == nil })
	if !online || dir == b.o.Config.MetadataLogDir {
		b.fail(fmt.Errorf("log dir %s failed: %w", dir, err))
	}
	select {
	case b.lost <- struct{}{}:
	default: // the next heartbeat tells of it
	}
}

// offlineDirs are the ids of the folders that failed.
func (b *Broker) offlineDirs() []protocol.UUID {
	var ids []protocol.UUID
	if b.store.AnyDirOffline() {
		for _, d := range b.store.Dirs() {
			if d.Offline != nil {
				ids = append(ids, d.ID)
			}
		}
	}
	return ids
}

// registration is what this broker tells the controller about itself (KIP-631).
func (b *Broker) registration(clusterID string) *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.ClusterID = b.o.Config.NodeID, clusterID
	req.IncarnationID = protocol.NewUUID()
	req.PreviousBrokerEpoch = b.store.PreviousBrokerEpoch()
	if rack := b.o.Config.Values.String("broker.rack"); rack != "" {
		req.Rack = &rack
	}
	for _, l := range b.listeners {
		e := kmsg.NewBrokerRegistrationRequestListener()
		e.Name, e.Host, e.Port, e.SecurityProtocol = l.name, l.advertisedHost, l.advertisedPort, 0
		req.Listeners = append(req.Listeners, e)
	}
	for _, supported := range protocol.Features() {
		f := kmsg.NewBrokerRegistrationRequestFeature()
		f.Name, f.MinSupportedVersion, f.MaxSupportedVersion = supported.Name, supported.Min, supported.Max
		req.Features = append(req.Features, f)
	}
	for _, dir := range b.store.Dirs() {
		if dir.Offline == nil {
			req.LogDirs = append(req.LogDirs, dir.ID)
		}
	}
	return req
}

// Config returns the broker's configuration as of now: what the start gave, under the dynamic configs.
func (b *Broker) Config() values.Values { return *b.values.Load() }

// ClusterID returns the cluster's id. Call it after Start.
func (b *Broker) ClusterID() string { return b.node.ClusterID }

// Shutdown hands over what this broker leads to the others of its cluster, which takes milliseconds when they are well and at most five minutes, stops
// serving, lets answers that are under way finish for at most ShutdownGrace, and closes the data cleanly. When ctx ends it waits for neither.
// It is safe on a broker whose start failed.
func (b *Broker) Shutdown(ctx context.Context) error {
	if b.lifecycle != nil {
		b.lifecycle.leave(ctx)
	}
	if b.sockets != nil {
		grace, cancel := context.WithTimeout(ctx, ShutdownGrace)
		defer cancel()
		b.sockets.shutdown(grace)
	}
	b.closeListeners()
	if b.scrapes != nil {
		b.scrapes.close(ctx)
	}
	if b.node != nil {
		b.node.TopicCreator.Close()
	}
	if b.lifecycle != nil {
		b.lifecycle.stop()
		b.assignments.stop()
		if epoch := b.lifecycle.epoch.Load(); epoch >= 0 {
			b.store.SetBrokerEpoch(epoch)
		}
	}
	if b.observer != nil {
		b.observer.Close()
	}
	if b.transactions != nil {
		b.transactions.Close()
	}
	if b.groups != nil {
		b.groups.Close()
	}
	if b.replicas != nil {
		b.replicas.Close()
	}
	if b.peers != nil {
		b.peers.close()
	}
	var errs []error
	if b.controller != nil {
		errs = append(errs, b.controller.Close())
	}
	if b.store != nil {
		errs = append(errs, b.store.Close())
	}
	if b.codecs != nil {
		b.codecs.Close()
	}
	return errors.Join(errs...)
}

// localController is the controller of this very node, as the handlers and the life cycle see it.
type localController struct{ *controller.Controller }

// Handle implements api.Controller.
func (c localController) Handle(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return c.Controller.Handle(ctx, req, controller.Caller{})
}

// ShutdownGrace is how long a stop waits for answers that are under way; parked requests do not hold it up.
const ShutdownGrace = 300 * time.Millisecond
