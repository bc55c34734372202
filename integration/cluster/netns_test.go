//go:build linux && netns

package cluster

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The namespaces hang on a bridge, through which they and the test's clients reach each other.
const (
	bridge = "ottla-test"
	subnet = "10.213.77."
	self   = subnet + "254"
)

func namespace(id int) string { return fmt.Sprint("ottla-test-", id) }
func link(id int) string      { return fmt.Sprint("ottla-t-", id) }
func address(id int) string   { return fmt.Sprint(subnet, id) }

// ip runs the command of that name.
func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// machines makes a network namespace for each node; they go with the test.
func machines(t *testing.T) []machine {
	t.Helper()
	remove := func() {
		for id := 1; id <= brokers; id++ {
			_ = exec.Command("ip", "link", "del", link(id)).Run() // there may be none
			_ = exec.Command("ip", "netns", "del", namespace(id)).Run()
		}
		_ = exec.Command("ip", "link", "del", bridge).Run()
	}
	remove() // what a run before has left
	t.Cleanup(remove)
	ip(t, "link", "add", bridge, "type", "bridge")
	ip(t, "addr", "add", self+"/24", "dev", bridge)
	ip(t, "link", "set", bridge, "up")
	var all []machine
	for id := 1; id <= brokers; id++ {
		name, end := namespace(id), link(id)
		ip(t, "netns", "add", name)
		ip(t, "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
		ip(t, "link", "set", end, "master", bridge, "up")
		ip(t, "-n", name, "addr", "add", address(id)+"/24", "dev", "eth0")
		ip(t, "-n", name, "link", "set", "eth0", "up")
		ip(t, "-n", name, "link", "set", "lo", "up")
		all = append(all, machine{address: address(id), command: []string{"ip", "netns", "exec", name}})
	}
	return all
}

// cut drops what node from sends to node to.
func cut(t *testing.T, from, to int) {
	t.Helper()
	ip(t, "-n", namespace(from), "route", "add", "blackhole", address(to)+"/32")
}

// join ends a cut.
func join(t *testing.T, from, to int) {
	t.Helper()
	ip(t, "-n", namespace(from), "route", "del", "blackhole", address(to)+"/32")
}

// cutFor cuts a node off from the others for a while, its clients not: out of what it sends, in what it is sent.
func (c *cluster) cutFor(id int, out, in bool, d time.Duration) {
	c.t.Helper()
	change := func(how func(*testing.T, int, int)) {
		for other := 1; other <= brokers; other++ {
			if other == id {
				continue
			}
			if out {
				how(c.t, id, other)
			}
			if in {
				how(c.t, other, id)
			}
		}
	}
	change(cut)
	wait(c.t, d)
	change(join)
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
