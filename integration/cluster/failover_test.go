//go:build unix

package cluster

import (
	"testing"
	"time"
)

// slack is what a loaded machine may add to a bound: a process of a test beside it stands still for seconds, and a heartbeat that is late costs a session.
const slack = 10 * time.Second

// TestKillOfEachBroker kills the brokers with SIGKILL one after another.
func TestKillOfEachBroker(t *testing.T) {
	c := start(t)
	load := c.load()
	for id := 1; id <= brokers; id++ {
		wait(t, time.Second)
		c.node(id).Kill(t)
		wait(t, 2*sessionTimeout)
		c.node(id).Start(t)
		c.awaitInSync()
	}
	within(t, load.stop(), sessionTimeout+time.Second+slack)
}

// TestKillOfTheController kills whoever is the active controller, again and again.
func TestKillOfTheController(t *testing.T) {
	c := start(t)
	load := c.load()
	for range 3 {
		id := c.controller()
		c.node(id).Kill(t)
		wait(t, sessionTimeout)
		for end := time.Now().Add(limit); c.controller() == id; wait(t, 50*time.Millisecond) { // a broker may not have heard of the election yet
			if time.Now().After(end) {
				t.Fatalf("the controller is still %d", id)
			}
		}
		c.node(id).Start(t)
		c.awaitInSync()
	}
	within(t, load.stop(), sessionTimeout+time.Second+slack)
}

// TestKillOfLeaders kills the leader of a partition, and the next while the first is still away.
func TestKillOfLeaders(t *testing.T) {
	c := start(t)
	load := c.load()
	for p := range int32(3) {
		id := c.leader(p)
		c.node(id).Kill(t)
		wait(t, 200*time.Millisecond)
		c.node(id).Start(t)
		c.awaitInSync()
	}
	within(t, load.stop(), sessionTimeout+time.Second+slack)
}

// TestAllAtOnce kills all brokers.
func TestAllAtOnce(t *testing.T) {
	c := start(t)
	load := c.load()
	wait(t, time.Second)
	for _, n := range c.nodes {
		n.Kill(t)
	}
	for _, n := range c.nodes {
		n.Launch(t)
	}
	for _, n := range c.nodes {
		n.AwaitReady(t)
	}
	c.awaitInSync()
	load.stop()
}

// TestRollingRestart stops and starts each broker: leaders move before, and nobody waits.
func TestRollingRestart(t *testing.T) {
	c := start(t)
	load := c.load()
	for id := 1; id <= brokers; id++ {
		wait(t, time.Second)
		t.Logf("broker %d stopped in %v", id, c.node(id).Stop(t))
		c.node(id).Start(t)
		c.awaitInSync()
	}
	within(t, load.stop(), 200*time.Millisecond+slack)
}

// TestPause stops a process where it is for longer than its session, first a leader, then the controller.
func TestPause(t *testing.T) {
	c := start(t)
	load := c.load()
	for _, id := range []int{c.leader(0), c.controller()} {
		c.node(id).Pause(t)
		wait(t, pauseFor(t))
		c.node(id).Resume(t)
		c.awaitInSync()
	}
	// A client learns of it when its request to the paused broker ends.
	within(t, load.stop(), sessionTimeout+8*time.Second+slack)
}
