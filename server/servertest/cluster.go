package servertest

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/storage/vfs"
)

// maxControllers is how many brokers of a cluster are controllers too.
const maxControllers = 3

// Brokers makes Start run a cluster of n brokers, the first three of which are its controllers too. Sessions last three seconds, so that a broker that was killed is
// missed soon; With sets other times.
func Brokers(n int) Option {
	return func(b *Broker) { b.size = n }
}

// makeCluster prepares the nodes of a cluster.
func (b *Broker) makeCluster(t testing.TB) {
	t.Helper()
	reserve := func(i int) string {
		address, err := b.net.reserve(i)
		if err != nil {
			t.Fatalf("servertest: %v", err)
		}
		return address
	}
	controllers := make([]string, min(b.size, maxControllers))
	voters := make([]string, len(controllers))
	for i := range controllers {
		controllers[i] = reserve(i)
		voters[i] = fmt.Sprintf("%d@%s", i+1, controllers[i])
	}
	for i := range b.size {
		n := &node{disk: vfs.NewMem(), settings: map[string]string{
			"node.id": strconv.Itoa(i + 1), "process.roles": "broker", "listeners": "PLAINTEXT://" + reserve(i), "log.dirs": "/data",
			"controller.listener.names": "CONTROLLER", "controller.quorum.voters": strings.Join(voters, ","),
			"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500",
		}}
		if i < len(controllers) {
			n.settings["process.roles"] = "broker,controller"
			n.settings["listeners"] += ",CONTROLLER://" + controllers[i]
		}
		if b.dir != "" {
			n.disk, n.settings["log.dirs"] = vfs.OS(), filepath.Join(b.dir, strconv.Itoa(i+1))
		}
		maps.Copy(n.settings, b.settings)
		n.faults = vfs.NewFaulty(n.disk)
		n.options = server.Options{Logger: b.logger.With(zap.Int("broker", i+1)), Listen: b.net.listen(i), Dial: b.net.dial(i)}
		b.nodes = append(b.nodes, n)
	}
}

// Kill ends a broker as if its process was killed: nobody is told, nothing more is written; what was written is there after Restart.
func (b *Broker) Kill(t testing.TB, i int) {
	t.Helper()
	n := b.nodes[i]
	if n.broker == nil {
		return
	}
	n.faults.Inject(vfs.Fault{})
	b.net.setDead(i, true)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.broker.Shutdown(ctx) // what it fails to write is what a killed process would not have written
	n.broker = nil
	b.net.setDead(i, false)
}

// Disk is the file system that a broker keeps its data in: of a broker that is stopped, tests take things away there, damage them, or put them back.
func (b *Broker) Disk(i int) vfs.FS { return b.nodes[i].disk }

// Break makes operations of a running broker of a cluster on its files fail, until its next start.
func (b *Broker) Break(i int, fault vfs.Fault) { b.nodes[i].faults.Inject(fault) }

// Slow makes every write and fsync of a running broker of a cluster take that much longer, until end is called or the broker starts again.
func (b *Broker) Slow(i int, by time.Duration) (end func()) {
	var ends []func()
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpVolume} {
		_, remove := b.nodes[i].faults.Inject(vfs.Fault{Op: op, Delay: by})
		ends = append(ends, remove)
	}
	return func() {
		for _, remove := range ends {
			remove()
		}
	}
}

// Partition cuts off two brokers from each other: what they send is lost until Heal. Clients reach both.
func (b *Broker) Partition(i, j int) { b.net.setCut(way{i, j}, way{j, i}) }

// Deafen has what one broker sends to another be lost until Heal; the other way stays open.
func (b *Broker) Deafen(from, to int) { b.net.setCut(way{from, to}) }

// Isolate cuts off a broker from all others until Heal.
func (b *Broker) Isolate(i int) {
	for j := range b.nodes {
		if j != i {
			b.Partition(i, j)
		}
	}
}

// Heal ends all partitions.
func (b *Broker) Heal() { b.net.heal() }
