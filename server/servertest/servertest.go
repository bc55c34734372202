package servertest

import (
	"context"
	"errors"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/server/config"
	"github.com/ottla/ottla/storage/vfs"
)

// systemsChoice is the listener where With sets none.
const systemsChoice = "PLAINTEXT://127.0.0.1:0"

// startLimit is how long a start may take before the test fails.
const startLimit = 2 * time.Minute

// Broker is a running broker, or a cluster of them. Its methods are for the test's goroutine.
type Broker struct {
	// Addr is host:port of the first broker's first listener; it stays the same over Restart.
	Addr string
	// Addrs are those of all brokers, by their numbers: broker i has node.id i+1, or what With set if it is alone.
	Addrs []string
	// Metrics is host:port of the metrics where With sets ottla.metrics.listener; "" otherwise.
	Metrics string

	settings map[string]string // of all
	logger   *zap.Logger
	dir      string // "": in memory
	size     int
	nodes    []*node
	net      *network // nil for a broker alone
}

// node is one broker with what it keeps over a restart.
type node struct {
	settings map[string]string
	options  server.Options
	disk     vfs.FS
	faults   *vfs.Faulty    // around disk, for a broker that can be killed; nil for one alone
	broker   *server.Broker // nil while it does not run
}

// Option changes how a broker is started.
type Option func(*Broker)

// With sets one key of the broker's configuration, as server.properties would; of all brokers of a cluster.
func With(key, value string) Option {
	return func(b *Broker) { b.settings[key] = value }
}

// InDir keeps the data in a folder of the disk instead of in memory; the brokers of a cluster have a folder in it each.
func InDir(dir string) Option {
	return func(b *Broker) { b.dir = dir }
}

// WithLogger makes the broker log; by default it is silent. A cluster's log names the broker of each line.
func WithLogger(l *zap.Logger) Option {
	return func(b *Broker) { b.logger = l }
}

// Start runs a broker until the test and its subtests end. It fails the test if the broker does not start, and if it does
// not stop cleanly.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	b := &Broker{logger: zap.NewNop(), size: 1, settings: map[string]string{"group.initial.rebalance.delay.ms": "0"}}
	for _, o := range opts {
		o(b)
	}
	if b.size > 1 {
		b.net = newNetwork()
		t.Cleanup(b.net.close)
		b.makeCluster(t)
	} else {
		b.makeOne()
	}
	t.Cleanup(func() { b.stopAll(t) })
	b.startAll(t)
	return b
}

// makeOne prepares a broker alone.
func (b *Broker) makeOne() {
	n := &node{
		settings: map[string]string{"node.id": "1", "process.roles": "broker,controller", "listeners": systemsChoice, "log.dirs": "/data"},
		disk:     vfs.NewMem(), options: server.Options{Logger: b.logger},
	}
	if b.dir != "" {
		n.disk, n.settings["log.dirs"] = vfs.OS(), b.dir
	}
	maps.Copy(n.settings, b.settings)
	b.nodes = []*node{n}
}

// Restart stops brokers cleanly, those that run, and starts them again on the same data and addresses; all of them if none is given. Of listeners that With has
// set, only the first keeps a port that the system chose.
func (b *Broker) Restart(t testing.TB, brokers ...int) {
	t.Helper()
	if len(brokers) == 0 {
		b.stopAll(t)
		b.startAll(t)
		return
	}
	for _, i := range brokers {
		b.Stop(t, i)
		b.start(t, i)
	}
}

// keepPort makes a listener whose port the system chose keep it.
func (n *node) keepPort(t testing.TB, addr string) {
	first, others, several := strings.Cut(n.settings["listeners"], ",")
	if bind, chosen := strings.CutSuffix(first, ":0"); chosen {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatalf("servertest: %v", err)
		}
		first = bind + ":" + port
	}
	n.settings["listeners"] = first
	if several {
		n.settings["listeners"] += "," + others
	}
}

// startAll starts all brokers at once, as those of a cluster wait for each other.
func (b *Broker) startAll(t testing.TB) {
	t.Helper()
	started := make(chan error, len(b.nodes))
	for _, n := range b.nodes {
		n.prepare(t)
		go func() { started <- n.run() }()
	}
	var failed error
	for range b.nodes {
		failed = errors.Join(failed, <-started)
	}
	if failed != nil {
		t.Fatalf("servertest: %v", failed)
	}
	b.Addrs = nil
	for _, n := range b.nodes {
		b.Addrs = append(b.Addrs, n.broker.Addr())
	}
	b.noteAddresses(t)
}

// start starts one broker.
func (b *Broker) start(t testing.TB, i int) {
	t.Helper()
	b.nodes[i].prepare(t)
	if err := b.nodes[i].run(); err != nil {
		t.Fatalf("servertest: broker %d: %v", i, err)
	}
	b.noteAddresses(t)
}

func (b *Broker) noteAddresses(t testing.TB) {
	b.Addr, b.Metrics = b.Addrs[0], ""
	if first := b.nodes[0].broker; first != nil {
		b.Metrics = first.MetricsAddr()
	}
	for i, n := range b.nodes {
		n.keepPort(t, b.Addrs[i])
	}
}

// prepare makes the broker of a node.
func (n *node) prepare(t testing.TB) {
	t.Helper()
	c, err := config.FromSettings(maps.Clone(n.settings))
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	n.options.Config, n.options.FS = c, n.disk
	if n.faults != nil {
		n.faults = vfs.NewFaulty(n.disk)
		n.options.FS = n.faults
	}
	n.broker = server.New(n.options)
}

// run starts the broker of a node.
func (n *node) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	err := n.broker.Start(ctx)
	if err != nil {
		n.broker = nil
	}
	return err
}

// Stop stops a broker cleanly, if it runs: it hands over what it leads first.
func (b *Broker) Stop(t testing.TB, i int) {
	t.Helper()
	b.nodes[i].stop(context.Background(), t)
}

// stopAll stops all brokers at once; those of a cluster do not hand over to each other.
func (b *Broker) stopAll(t testing.TB) {
	t.Helper()
	if b.net != nil {
		b.Heal()
	}
	ctx, cancel := context.WithTimeout(context.Background(), server.ShutdownGrace)
	defer cancel()
	stopped := make(chan struct{})
	for _, n := range b.nodes {
		go func() {
			n.stop(ctx, t)
			stopped <- struct{}{}
		}()
	}
	for range b.nodes {
		<-stopped
	}
}

func (n *node) stop(ctx context.Context, t testing.TB) {
	t.Helper()
	if n.broker == nil {
		return
	}
	if err := n.broker.Shutdown(ctx); err != nil {
		t.Errorf("servertest: the broker did not stop cleanly: %v", err)
	}
	n.broker = nil
}
