//go:build linux && netns

package clients

import (
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

const (
	// cutFor is how long a broker is cut off: the controller fences it.
	cutFor = 2 * clusterSession
	// pausedFor is how long a broker is stopped where it is.
	pausedFor = time.Minute
	// slowWrite is how much longer each write and fsync of a slow disk takes.
	slowWrite = 300 * time.Millisecond
	// afterwards is how long the clients may need once the broker is back that they waited for: librdkafka waits a minute for an answer.
	afterwards = 15 * time.Second
)

// TestClientsOfACutCluster is TestClusterClients with a network that fails, and with what takes rights: each node is in a network namespace of its own, is cut off from the others both
// ways and one way (its clients still reach it), is paused for a minute, and has a slow disk (`make test-cluster`).
func TestClientsOfACutCluster(t *testing.T) {
	net := process.NewMachines(t, clusterSize)
	var hosts []host
	for id := 1; id <= clusterSize; id++ {
		hosts = append(hosts, host{net.Address(id), net.Command(id), func(out, in bool) (join func()) { return net.Cut(id, out, in) }})
	}
	c := startNodesAt(t, hosts, false, groupBrokerSettings...)
	w := startWorkload(c)
	w.settled()
	for _, victim := range []struct {
		name string
		id   func() int32
	}{{"a leader", func() int32 { return c.partition("java", 0).Leader }}, {"the active controller", c.controller}} {
		for _, way := range []struct {
			name    string
			out, in bool
		}{{"both ways", true, true}, {"sends nothing", true, false}, {"receives nothing", false, true}} {
			w.duringAtMost(cutFor+afterwards, victim.name+" is cut off: "+way.name, func() {
				join := c.hosts[victim.id()-1].cut(way.out, way.in)
				time.Sleep(cutFor)
				join()
				c.awaitInSync()
			})
		}
		w.duringAtMost(pausedFor+afterwards, victim.name+" is paused", func() {
			b := c.node(victim.id())
			b.Pause(t)
			time.Sleep(pausedFor)
			b.Resume(t)
			c.awaitInSync()
		})
		w.during(victim.name+" has a slow disk", func() { w.slowed(victim.id()) })
	}
	w.settled()
	w.finish()
}

// slowed lets each write and fsync of a broker take slowWrite longer while three records and more come to each partition.
func (w *workload) slowed(id int32) {
	w.t.Helper()
	end := w.node(id).SlowDisk(w.t, slowWrite)
	for range 3 {
		w.settledWriters()
	}
	end()
	w.awaitInSync()
}
