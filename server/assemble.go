package server

import (
	"cmp"
	"context"
	"net"
	"strconv"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/server/config"
	"github.com/ottla/ottla/server/telemetry"
	"github.com/ottla/ottla/storage"
)

// logDirReserve is how much room is kept in each log dir for a stop and a start while it is full: that for the indexes of a gigabyte of records, and the checkpoints of many partitions.
const logDirReserve = 8 << 20

// openStore opens the log dirs.
func (b *Broker) openStore(ctx context.Context) (err error) {
	c := b.o.Config
	b.store, err = storage.Open(storage.Options{
		FS: b.o.FS, Dirs: c.LogDirs, NodeID: c.NodeID, Config: c.Values, Codecs: b.codecs, Logger: b.o.Logger.Named("storage"),
		ReserveBytes: logDirReserve, Context: ctx,
	})
	if err != nil {
		return err
	}
	b.store.OnDirFailure(b.dirFailed)
	return nil
}

// dialing is how this node connects to others.
func (b *Broker) dialing(clientID string) dialing {
	return dialing{dial: b.o.Dial, config: b.Config, clientID: clientID + "-" + brokerName(b.o.Config.NodeID)}
}

// joinQuorum starts this node's controller, if it has one, and its listeners, and waits until a controller leads. It returns the id of the cluster.
func (b *Broker) joinQuorum(ctx context.Context) (clusterID string, err error) {
	c := b.o.Config
	if c.IsController() {
		if err := b.startController(); err != nil {
			return "", err
		}
		b.serveControllers()
	}
	b.quorum = newControllers(c.NodeID, b.controller, b.controllerAddresses(), b.dialing("broker"), b.o.Logger.Named("controllers"))
	if b.controller != nil {
		clusterID, err = b.controller.Ready(ctx)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err == nil && len(b.controlListeners) > 0 {
			b.registrar = &registrar{
				controller: b.quorum, request: b.controllerRegistration(), image: b.controller.Image, logger: b.o.Logger.Named("controller"),
				running: newBackground(),
			}
			b.registrar.start()
		}
		return clusterID, err
	}
	if clusterID = b.store.ClusterID(); clusterID == "" {
		clusterID, err = b.quorum.clusterID(ctx)
	}
	return clusterID, err
}

// startController starts this node's part of the quorum.
func (b *Broker) startController() (err error) {
	c := b.o.Config
	o := controller.Options{
		NodeID: c.NodeID, ClusterID: cmp.Or(b.store.ClusterID(), c.ClusterID), DirectoryID: b.metadataDirectory(), FS: b.o.FS, Dir: c.MetadataLogDir, Config: c.Values, Codecs: b.codecs,
		Logger: b.o.Logger, OnFailure: b.fail, Bootstrap: c.Quorum.Begin, Mutations: b.quotas.mutations,
		LookupHost: func(ctx context.Context, name string) error {
			_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
			return err
		},
		OnAppend: func() {
			select {
			case b.grew <- struct{}{}:
			default: // the observer has a signal already
			}
		},
	}
	if len(b.controlListeners) > 0 {
		l := b.controlListeners[0]
		o.Endpoint = controller.Endpoint{Listener: l.name, Host: l.advertisedHost, Port: l.advertisedPort}
		b.transport = newRaftTransport(l.sockets[0].Addr(), b.o.Dial)
		o.Transport = b.transport
	}
	for _, v := range c.Quorum.Voters {
		if o.Transport != nil {
			o.Voters = append(o.Voters, controller.Voter{ID: v.ID, Host: v.Host, Port: v.Port})
		}
	}
	b.controller, err = controller.Start(o)
	return err
}

// controllerAddresses are where the configuration says that controllers are; none if this node's is the only one there can be.
func (b *Broker) controllerAddresses() []string {
	c := b.o.Config
	if c.IsController() && len(b.controlListeners) == 0 {
		return nil
	}
	var all []string
	for _, v := range c.Quorum.Voters {
		all = append(all, v.Address())
	}
	for _, l := range b.controlListeners {
		all = append(all, net.JoinHostPort(l.advertisedHost, strconv.Itoa(int(l.advertisedPort))))
	}
	return append(all, c.Quorum.Bootstrap...)
}

// serveControllers serves the controller listeners: other nodes, the quorum's own connections, and tools.
func (b *Broker) serveControllers() {
	if len(b.controlListeners) == 0 {
		return
	}
	logger := b.o.Logger.Named("controller")
	node := &api.Node{
		NodeID: b.o.Config.NodeID, Config: b.Config, Image: b.controller.Image, Controller: localController{b.controller}, Quorum: b.controller, Direct: true,
		Routes: api.NewRoutes(api.ControllerTable()), Logger: logger.Named("api"), Loggers: b.levels,
	}
	b.controlSockets = newSocketServer(node, logger.Named("network"))
	b.controlSockets.handOver = b.transport.take
	for _, l := range b.controlListeners {
		for _, s := range l.sockets {
			b.controlSockets.serve(l.name, s)
		}
	}
}

// assemble builds the parts of a broker on top of the data. Nothing is served yet.
func (b *Broker) assemble(clusterID string) {
	c, logger := b.o.Config, b.o.Logger
	registration := b.registration(clusterID)
	b.peers = newPeers(c.NodeID, c.InterBroker, func() *metadata.Image { return b.replicas.Image() }, b.dialing("broker"))
	b.replicas = replication.NewManager(replication.Options{
		NodeID: c.NodeID, Store: b.store, Codecs: b.codecs, Config: b.Config, Logger: logger.Named("replication"),
		Moved: func(tp protocol.TopicPartition) { b.assignments.look(tp) },
		Peers: b.peers, Controller: b.quorum,
	})
	registered := func(i *metadata.Image) bool {
		self := i.Broker(c.NodeID)
		return self != nil && self.Incarnation == registration.IncarnationID
	}
	b.groups = group.New(group.Options{
		NodeID: c.NodeID, Config: b.Config, Open: openCoordinatorLog(b.replicas, protocol.GroupMetadataTopic),
		Image: b.replicas.Image, Codecs: b.codecs, Logger: logger.Named("group"), Registered: registered,
	})
	b.lifecycle = newLifecycle(lifecycleOptions{
		controller: b.quorum, register: registration, config: c.Values, offline: b.offlineDirs, dirFailed: b.lost, fail: b.fail,
		local: b.quorum.alone(), logger: logger.Named("lifecycle"),
	})
	b.assignments = newAssignments(c.NodeID, b.lifecycle.epoch.Load, b.quorum, b.replicas.Image, b.store, logger.Named("directories"))
	b.assignments.held = b.replicas.Repairing
	b.store.OnDamage(b.repair)
	b.store.OnDirFailure(func(string, error) { b.replicas.ReleaseOffline() })
	b.internals = newInternalTopics(c.NodeID, b.Config, b.replicas.Image, b.quorum, logger.Named("topics"))
	ids := &producerIDs{node: c.NodeID, epoch: b.lifecycle.epoch.Load, controller: b.quorum}
	b.transactions = txn.New(txn.Options{
		NodeID: c.NodeID, Config: b.Config, Open: openCoordinatorLog(b.replicas, protocol.TransactionStateTopic),
		Image: b.replicas.Image, Codecs: b.codecs, Logger: logger.Named("transaction"), Registered: registered,
		ProducerIDs: ids, Markers: b.peers,
	})
	b.replicas.SetVerifier(&txnVerifier{image: b.replicas.Image, partitionFor: b.transactions.PartitionFor, ask: b.peers.ask})
	b.node = &api.Node{
		NodeID: c.NodeID, ClusterID: clusterID, Config: b.Config, Image: b.replicas.Image, Replicas: b.replicas, Groups: b.groups,
		Transactions: b.transactions, Store: b.store, Controller: b.quorum, ProducerIDs: ids,
		Sessions: api.NewSessions(c.Values.Int("max.incremental.fetch.session.cache.slots")),
		TopicCreator: api.NewTopicCreator(api.TopicCreatorOptions{
			Controller: b.quorum, Config: b.Config, Image: b.replicas.Image, Logger: logger.Named("topics"),
		}),
		Logger: logger.Named("api"), Loggers: b.levels, CheckListeners: config.CheckListeners,
	}
	b.node.Telemetry = telemetry.New(telemetry.Options{Config: b.Config, Codecs: b.codecs, Logger: logger.Named("telemetry")})
	b.node.Reached = reachedListeners(b.listeners)
	b.peers.node = b.node
	b.sockets = newSocketServer(b.node, logger.Named("network"))
	b.sockets.quotas = b.quotas
	b.sockets.interBroker = c.InterBroker
	b.keeper = newListenerKeeper(b, logger.Named("network"))
}

// observe lets the metadata flow into the parts: from the log of this node's controller, or on a broker only from a copy of the controllers' log.
func (b *Broker) observe(clusterID string) (err error) {
	c, logger := b.o.Config, b.o.Logger.Named("metadata")
	p := &publisher{
		node: c.NodeID, static: c.Values, values: &b.values, quotas: b.quotas, store: b.store, reconfigured: b.reconfigure, replicas: b.replicas, peers: b.peers, groups: b.groups, transactions: b.transactions,
		lifecycle: b.lifecycle, assignments: b.assignments, internals: b.internals,
	}
	if b.node != nil {
		p.telemetry = b.node.Telemetry
	}
	o := metadata.ObserverOptions{FS: b.o.FS, Codecs: b.codecs, Wake: b.grew, Publish: p.publish, OnFailure: b.fail, Logger: logger}
	if b.controller != nil {
		o.Log = b.controller.Log()
		if c.IsBroker() && !b.quorum.alone() {
			o.Confirm = b.confirmMetadata(clusterID)
		}
	} else {
		b.follower, err = metadata.OpenFollower(metadata.FollowerOptions{
			NodeID: c.NodeID, DirectoryID: b.metadataDirectory(), ClusterID: clusterID, FS: b.o.FS, Dir: c.MetadataLogDir, Config: c.Values, Codecs: b.codecs,
			Source: &metadataSource{controllers: b.quorum}, OnFailure: b.fail, Logger: logger,
		})
		if err != nil {
			return err
		}
		o.Follower = b.follower
	}
	b.observer = metadata.NewObserver(o)
	return nil
}

// confirmMetadata makes what waits until this node's controller has all that the quorum had committed.
func (b *Broker) confirmMetadata(clusterID string) func(context.Context) error {
	return func(ctx context.Context) error {
		source := &metadataSource{controllers: b.quorum}
		defer source.close()
		return metadata.Confirm(ctx, metadata.ConfirmOptions{ClusterID: clusterID, Log: b.controller.Log(), Leads: b.controller.Leads, Source: source})
	}
}

// metadataDirectory is the id of the log dir with the metadata, the zero UUID if that is no log dir of partitions.
func (b *Broker) metadataDirectory() protocol.UUID {
	for _, d := range b.store.Dirs() {
		if d.Path == b.o.Config.MetadataLogDir {
			return d.ID
		}
	}
	return protocol.UUID{}
}
