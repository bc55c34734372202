//go:build linux && netns

package cluster

import (
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

// machines are network namespaces.
func machines(t *testing.T) []machine {
	t.Helper()
	net := process.NewMachines(t, brokers)
	var all []machine
	for id := 1; id <= brokers; id++ {
		all = append(all, machine{address: net.Address(id), command: net.Command(id), cut: func(out, in bool) (join func()) { return net.Cut(id, out, in) }})
	}
	return all
}

// cutFor cuts a node off from the others for a while, its clients not: out of what it sends, in what it is sent.
func (c *cluster) cutFor(id int, out, in bool, d time.Duration) {
	c.t.Helper()
	join := c.hosts[id-1].cut(out, in)
	wait(c.t, d)
	join()
}

func TestCut(t *testing.T) {
	for name, way := range map[string]struct{ out, in bool }{"both ways": {true, true}, "sends nothing": {out: true}, "receives nothing": {in: true}} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			load := c.load()
			for _, id := range []int{c.controller(), c.leader(0), 1} {
				c.cutFor(id, way.out, way.in, 2*sessionTimeout)
				c.awaitInSync()
			}
			gap := load.stop()
			// The first requests of a client to a leader that is cut off from the others only end with their timeout.
			within(t, gap, 2*sessionTimeout+15*time.Second)
		})
	}
}
