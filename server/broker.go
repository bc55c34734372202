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
	"go.uber.org/zap/zapcore"

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
	"github.com/ottla/ottla/server/logs"
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

// Broker is one node: a broker, a controller, or both. It owns everything below it; several live in one process.
// Start and Shutdown are called once each, by one goroutine.
type Broker struct {
	o      Options
	quotas *quotas                       // of its clients
	failed chan error                    // has room for the first failure
	abort  context.CancelCauseFunc       // ends a start that is under way; set by Start before anything can fail
	values atomic.Pointer[values.Values] // the broker's configuration as of now
	lost   chan struct{}                 // signalled when a log dir fails; has room for one
	levels *logs.Levels                  // of o.Logger and all made of it

	codecs       *record.Codecs
	store        *storage.Store
	controller   *controller.Controller // nil on a node that is a broker only
	grew         chan struct{}          // signalled when the controller's metadata log grew; has room for one
	follower     *metadata.Follower     // of the metadata log, where there is no controller
	quorum       *controllers
	transport    *raftTransport // nil if the quorum is this node alone
	registrar    *registrar     // likewise
	replicas     *replication.Manager
	groups       *group.Coordinator
	transactions *txn.Coordinator
	peers        *peers
	lifecycle    *lifecycle
	assignments  *assignments
	internals    *internalTopics
	observer     *metadata.Observer
	node         *api.Node
	sockets      *socketServer
	listeners    []boundListener // as the start gave them
	keeper       *listenerKeeper // of those that are changed while it runs
	scrapes      *scrapeServer   // nil: no metrics

	controlSockets   *socketServer // nil: no controller listeners
	controlListeners []boundListener
}

//go:generate go test -run TestLoggersPageIsCurrent . -update

// loggerNames are the loggers that the parts of a broker have.
var loggerNames = []string{
	"api", "controller", "controller.api", "controller.network", "controller.network.request", "controller.network.slow", "controllers", "directories", "group", "lifecycle", "metadata", "metrics", "network", "network.request", "network.slow", "replication",
	"storage", "telemetry", "topics", "transaction",
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
	b := &Broker{o: o, failed: make(chan error, 1), lost: make(chan struct{}, 1), grew: make(chan struct{}, 1)}
	b.values.Store(&o.Config.Values)
	b.quotas = newQuotas(o.Config.Values)
	level := logs.Level(o.Config.Values.String("ottla.log.level"))
	if own := zapcore.LevelOf(o.Logger.Core()); own != zapcore.InvalidLevel {
		level = max(level, own)
	}
	b.levels = logs.New(level, loggerNames...)
	for _, name := range []string{"network.request", "controller.network.request"} { // as in Apache Kafka's own log4j2.yaml
		_ = b.levels.Set(name, "WARN") // the names are those above
	}
	b.o.Logger = b.levels.Under(o.Logger)
	return b
}

// Start opens the data, joins or begins the quorum, and returns when clients are served; a node that is a controller only is ready when a controller
// leads. When it fails, or ctx ends before that, everything that was opened is closed again.
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
	b.codecs = record.NewCodecs()
	if err := b.openStore(ctx); err != nil {
		return err
	}
	clusterID, err := b.joinQuorum(ctx)
	if err != nil {
		return err
	}
	if want := b.o.Config.ClusterID; want != "" && want != clusterID {
		return fmt.Errorf("this node belongs to cluster %s, and the environment (CLUSTER_ID) wants cluster %s: unset it, or use other log.dirs", clusterID, want)
	}
	identified := make(chan error, 1)
	go func() { identified <- b.store.SetClusterID(clusterID) }() // meanwhile, as it syncs the disk when the id is new
	return errors.Join(b.startParts(ctx, clusterID), <-identified)
}

// startParts starts what the roles want on top of the metadata, and serves clients when the cluster has taken this broker in.
func (b *Broker) startParts(ctx context.Context, clusterID string) error {
	if !b.o.Config.IsBroker() {
		if err := b.observe(clusterID); err != nil {
			return err
		}
		b.serveControllerMetrics()
		return nil
	}
	b.assemble(clusterID)
	if err := b.observe(clusterID); err != nil {
		return err
	}
	b.serveMetrics()
	b.lifecycle.start()
	b.assignments.start()
	b.internals.start()
	select {
	case <-b.lifecycle.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b.store.SetBrokerEpoch(b.lifecycle.epoch.Load())
	for _, l := range b.listeners {
		for _, s := range l.sockets {
			b.sockets.serve(l.name, s)
		}
	}
	b.keeper.start()
	return nil
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
func (b *Broker) ClusterID() string { return b.store.ClusterID() }

// Shutdown hands over what this broker leads to the others of its cluster, which takes milliseconds when they are well and at most five minutes, tells clients
// for at most lingerLimit who leads now, stops serving, lets answers that are under way finish for at most ShutdownGrace, and closes the data cleanly. When ctx ends it waits for neither.
// It is safe on a broker whose start failed.
func (b *Broker) Shutdown(ctx context.Context) error {
	if b.lifecycle != nil && b.lifecycle.leave(ctx) {
		b.sockets.linger(ctx)
	}
	if b.keeper != nil {
		b.keeper.stop()
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
		b.internals.stop()
		if epoch := b.lifecycle.epoch.Load(); epoch >= 0 {
			b.store.SetBrokerEpoch(epoch)
		}
	}
	if b.observer != nil {
		b.observer.Close()
	}
	var errs []error
	if b.follower != nil {
		errs = append(errs, b.follower.Close())
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
	if b.registrar != nil {
		b.registrar.stop()
	}
	if b.quorum != nil {
		b.quorum.close()
	}
	if b.controlSockets != nil {
		grace, cancel := context.WithTimeout(ctx, ShutdownGrace)
		defer cancel()
		b.controlSockets.shutdown(grace)
	}
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
	return c.Controller.Handle(ctx, req, controller.CallerOf(ctx))
}

// ShutdownGrace is how long a stop waits for answers that are under way; parked requests do not hold it up.
const ShutdownGrace = 300 * time.Millisecond
