//go:build synctests

package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/server/config"
	"github.com/ottla/ottla/storage/vfs"
)

// Limits in simulated time.
const (
	startLimit = 2 * time.Minute
	stopLimit  = time.Minute
)

const (
	combined       = "broker,controller"
	brokerOnly     = "broker"
	controllerOnly = "controller"
)

// cluster is the nodes of a run. It is used by the run's goroutine alone.
type cluster struct {
	t     testing.TB
	seed  uint64
	rng   *rand.Rand // of the faults
	trace *trace
	net   *network
	h     *history
	nodes []*node // by id, from 1
}

// node is a machine: its disk stays when the process ends.
type node struct {
	id       int
	name     string
	roles    string
	settings map[string]string
	files    *vfs.Mem
	disk     *disk          // of the process
	broker   *server.Broker // nil: not running
	starts   int
}

func (n *node) isBroker() bool     { return strings.Contains(n.roles, "broker") }
func (n *node) isController() bool { return strings.Contains(n.roles, "controller") }

// newCluster makes one node for each of roles; start starts them.
func newCluster(t testing.TB, seed uint64, roles ...string) *cluster {
	tr := newTrace()
	c := &cluster{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), trace: tr, net: newNetwork(seed, tr), h: newHistory(tr)}
	var voters []string
	for i, r := range roles {
		n := &node{id: i + 1, name: fmt.Sprint("n", i+1), roles: r, files: vfs.NewMem()}
		c.nodes = append(c.nodes, n)
		c.net.mu.Lock()
		c.net.address(n.name, 0)
		c.net.mu.Unlock()
		if n.isController() {
			voters = append(voters, fmt.Sprintf("%d@%s:9093", n.id, n.name))
		}
	}
	for _, n := range c.nodes {
		n.settings = settings(n, len(roles), voters)
		if c.compacts() {
			maps.Copy(n.settings, map[string]string{
				"log.cleaner.backoff.ms": "2000", "log.roll.ms": "10000", "log.cleaner.min.cleanable.ratio": "0.1",
			})
		}
		if c.dynamic() {
			c.bootstraps(n)
		}
		if seed%3 == 0 {
			n.settings["metadata.log.max.record.bytes.between.snapshots"] = "10000"
		}
	}
	return c
}

// compacts reports whether the internal topics are compacted in this run, by each broker for itself.
func (c *cluster) compacts() bool { return c.seed%2 == 0 }

// dynamic reports whether the quorum begins with one controller, and others join, leave and come again. Otherwise all are named in the configuration.
func (c *cluster) dynamic() bool { return c.seed%3 == 1 && len(c.nodes) > 1 }

// controllers are the nodes of a quorum, in the order of their ids.
func (c *cluster) controllers() []*node {
	var some []*node
	for _, n := range c.nodes {
		if n.isController() {
			some = append(some, n)
		}
	}
	return some
}

// bootstraps makes n's configuration that of a dynamic quorum. The first controller names only itself until there is a quorum.
func (c *cluster) bootstraps(n *node) {
	delete(n.settings, "controller.quorum.voters")
	var servers []string
	for _, other := range c.controllers() {
		servers = append(servers, other.name+":9093")
	}
	if n.isController() {
		n.settings["controller.quorum.auto.join.enable"] = "true"
	}
	if n == c.controllers()[0] && n.starts == 0 {
		servers = servers[:1]
	}
	n.settings["controller.quorum.bootstrap.servers"] = strings.Join(servers, ",")
}

// settings is server.properties of a node among others.
func settings(n *node, nodes int, voters []string) map[string]string {
	s := map[string]string{
		"node.id": fmt.Sprint(n.id), "process.roles": n.roles, "log.dirs": "/data",
		"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "3", "transaction.state.log.num.partitions": "3",
		"num.partitions": "3", "log.flush.offset.checkpoint.interval.ms": "5000", "log.retention.check.interval.ms": "5000",
		"broker.rack": rack(n.id), "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
	}
	var listeners []string
	if n.isBroker() {
		listeners = append(listeners, fmt.Sprintf("PLAINTEXT://%s:9092", n.name))
	}
	if nodes > 1 {
		if n.isController() {
			listeners = append(listeners, fmt.Sprintf("CONTROLLER://%s:9093", n.name))
		}
		maps.Copy(s, map[string]string{
			"controller.listener.names": "CONTROLLER", "controller.quorum.voters": strings.Join(voters, ","),
			"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
			"default.replication.factor":     "3", "min.insync.replicas": "2",
			"offsets.topic.replication.factor": "3", "transaction.state.log.replication.factor": "3", "transaction.state.log.min.isr": "2",
			"replica.lag.time.max.ms": "10000",
		})
	}
	s["listeners"] = strings.Join(listeners, ",")
	return s
}

// rack is that of a node: each has its own.
func rack(id int) string { return fmt.Sprint("rack-", id) }

// start starts the nodes side by side, and waits until all run.
func (c *cluster) start(nodes ...*node) {
	c.t.Helper()
	failed := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() { failed <- c.boot(n) }()
	}
	for range nodes {
		if err := <-failed; err != nil {
			c.fatalf("start: %v", err)
		}
	}
}

// boot starts one node's process. It is called by one goroutine at a time for each node.
func (c *cluster) boot(n *node) error {
	cfg, err := config.FromSettings(maps.Clone(n.settings))
	if err != nil {
		return err
	}
	n.starts++
	c.trace.addf("%s starts (%d)", n.name, n.starts)
	c.net.up(n.name)
	n.disk = newDisk(n.files, c.seed<<16+uint64(n.id<<8+n.starts))
	h := c.net.host(n.name)
	b := server.New(server.Options{
		Config: cfg, FS: n.disk, Logger: c.trace.logger(fmt.Sprintf("%s.%d", n.name, n.starts)), Listen: h.Listen, Dial: h.Dial,
	})
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := b.Start(ctx); err != nil {
		c.net.down(n.name, false)
		n.disk.kill()
		return fmt.Errorf("%s: %w", n.name, err)
	}
	n.broker = b
	if c.dynamic() {
		c.bootstraps(n)
	}
	c.trace.addf("%s runs", n.name)
	return nil
}

// stop stops a node cleanly.
func (c *cluster) stop(n *node) {
	if n.broker == nil {
		return
	}
	c.trace.addf("%s stops", n.name)
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := n.broker.Shutdown(ctx); err != nil {
		c.trace.addf("%s did not stop cleanly: %v", n.name, err)
	}
	n.broker = nil
	c.net.down(n.name, false)
	n.disk.kill()
	c.trace.addf("%s is stopped", n.name)
}

// kill ends a node's process as kill -9 does; with a power loss, its disk loses what was not synced, and others do not learn of it.
func (c *cluster) kill(n *node, powerLoss bool) {
	if n.broker == nil {
		return
	}
	c.trace.addf("%s is killed, power loss %v", n.name, powerLoss)
	n.files = n.disk.kill()
	c.net.down(n.name, powerLoss)
	if powerLoss {
		n.files = n.files.Crash(c.rng.Int64())
	}
	remains := n.broker
	n.broker = nil
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = remains.Shutdown(ctx) // its goroutines have to end some time: they reach nothing
	c.trace.addf("what was %s is gone", n.name)
}

// close stops everything.
func (c *cluster) close() {
	c.net.heal()
	done := make(chan struct{})
	for _, n := range c.nodes {
		go func() {
			c.stop(n)
			done <- struct{}{}
		}()
	}
	for range c.nodes {
		<-done
	}
}

// client makes a client on a machine of its own. It may be called by any goroutine of the run.
func (c *cluster) client(name string, opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(c.options(name, opts)...)
	if err != nil {
		panic(fmt.Sprintf("client %s: %v", name, err)) // options that do not go together
	}
	return client
}

// depart closes a client. It leaves its group if that can be told within a time.
func depart(client *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client.AllowRebalance()
	_ = client.LeaveGroupContext(ctx) // the group finds out by itself
	client.CloseAllowingRebalance()
	client.AllowRebalance() // closing polls once more: what that finds would keep the second leave waiting for ever
}

func (c *cluster) options(name string, opts []kgo.Opt) []kgo.Opt {
	var seeds []string
	for _, n := range c.nodes {
		if n.isBroker() {
			seeds = append(seeds, n.name+":9092")
		}
	}
	return append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.Dialer(c.net.host(name).Dial), kgo.ClientID(name), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }), kgo.DisableClientMetrics(), kgo.DialTimeout(5 * time.Second),
		kgo.RequestTimeoutOverhead(5 * time.Second),
	}, opts...)
}

// fatalf ends the run with what happened last. Only the run's goroutine may call it.
func (c *cluster) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("seed %d: %s\nagain: OTTLA_SIM_FIRST=%d OTTLA_SIM_SEEDS=1 OTTLA_SIM_CHAOS=%s go test -tags synctests ./integration/sim -run '%s'\n%s",
		c.seed, fmt.Sprintf(format, args...), c.seed, os.Getenv("OTTLA_SIM_CHAOS"), c.t.Name(), c.trace)
}
