package servertest

import (
	"context"
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
const startLimit = 30 * time.Second

// Broker is a running broker. Its methods are for the test's goroutine.
type Broker struct {
	// Addr is host:port of the broker's first listener; it stays the same over Restart.
	Addr string
	// Metrics is host:port of the metrics where With sets ottla.metrics.listener; "" otherwise.
	Metrics string

	settings map[string]string
	options  server.Options
	broker   *server.Broker
}

// Option changes how a broker is started.
type Option func(*Broker)

// With sets one key of the broker's configuration, as server.properties would.
func With(key, value string) Option {
	return func(b *Broker) { b.settings[key] = value }
}

// InDir keeps the data in a folder of the disk instead of in memory.
func InDir(dir string) Option {
	return func(b *Broker) {
		b.options.FS = vfs.OS()
		b.settings["log.dirs"] = dir
	}
}

// WithLogger makes the broker log; by default it is silent.
func WithLogger(l *zap.Logger) Option {
	return func(b *Broker) { b.options.Logger = l }
}

// Start runs a broker until the test and its subtests end. It fails the test if the broker does not start, and if it does
// not stop cleanly.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	b := &Broker{
		options: server.Options{FS: vfs.NewMem()},
		settings: map[string]string{
			"node.id": "1", "process.roles": "broker,controller", "listeners": systemsChoice, "log.dirs": "/data",
			"group.initial.rebalance.delay.ms": "0",
		},
	}
	for _, o := range opts {
		o(b)
	}
	b.start(t)
	t.Cleanup(func() { b.stop(t) })
	return b
}

// Restart stops the broker cleanly and starts it again on the same data and address. Of listeners that With has set, only the
// first keeps a port that the system chose.
func (b *Broker) Restart(t testing.TB) {
	t.Helper()
	b.stop(t)
	first, others, several := strings.Cut(b.settings["listeners"], ",")
	if bind, chosen := strings.CutSuffix(first, ":0"); chosen {
		_, port, err := net.SplitHostPort(b.Addr)
		if err != nil {
			t.Fatalf("servertest: %v", err)
		}
		first = bind + ":" + port
	}
	b.settings["listeners"] = first
	if several {
		b.settings["listeners"] += "," + others
	}
	b.start(t)
}

func (b *Broker) start(t testing.TB) {
	t.Helper()
	c, err := config.FromSettings(maps.Clone(b.settings))
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	b.options.Config = c
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	b.broker = server.New(b.options)
	if err := b.broker.Start(ctx); err != nil {
		b.broker = nil
		t.Fatalf("servertest: %v", err)
	}
	b.Addr, b.Metrics = b.broker.Addr(), b.broker.MetricsAddr()
}

func (b *Broker) stop(t testing.TB) {
	t.Helper()
	if b.broker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), server.ShutdownGrace)
	defer cancel()
	if err := b.broker.Shutdown(ctx); err != nil {
		t.Errorf("servertest: the broker did not stop cleanly: %v", err)
	}
	b.broker = nil
}
