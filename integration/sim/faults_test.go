//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// fault is something that goes wrong and is put right again.
type fault struct {
	name  string
	begin func(c *cluster, n *node)
	end   func(c *cluster, n *node) // nil: the network is healed
	// needs says what must hold before: losing unsynced data twice may lose what was acknowledged, as it may on Apache Kafka.
	settled bool
}

var faults = []fault{
	{name: "kill", begin: func(c *cluster, n *node) { c.kill(n, false) }, end: (*cluster).restart},
	{name: "power loss", begin: func(c *cluster, n *node) { c.kill(n, true) }, end: (*cluster).restart, settled: true},
	{name: "all killed", begin: func(c *cluster, _ *node) { c.killAll() }, end: func(c *cluster, _ *node) { c.startAll() }},
	{name: "clean stop", begin: (*cluster).stop, end: (*cluster).restart},
	{name: "cut off", begin: func(c *cluster, n *node) { c.cut(n, true, true) }},
	{name: "sends nothing", begin: func(c *cluster, n *node) { c.cut(n, true, false) }},
	{name: "receives nothing", begin: func(c *cluster, n *node) { c.cut(n, false, true) }},
	{name: "cut from one", begin: func(c *cluster, n *node) { c.cutFrom(n, c.another(n), c.rng.IntN(2) == 0) }},
	{name: "paused", begin: (*cluster).pause},
	{name: "slow links", begin: (*cluster).slowLinks},
	{name: "breaking links", begin: (*cluster).breakingLinks},
	{name: "slow disk", begin: (*cluster).slowDisk, end: (*cluster).fastDisk},
}

// chaos lets faults come and go for a while, one or two at a time.
func (c *cluster) chaos(d time.Duration, kinds []fault) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Second + time.Duration(c.rng.Int64N(int64(5*time.Second))))
		f, n := kinds[c.rng.IntN(len(kinds))], c.nodes[c.rng.IntN(len(c.nodes))]
		if f.settled && !c.awaitInSync(30*time.Second) {
			continue
		}
		c.trace.addf("FAULT %s: %s", f.name, n.name)
		f.begin(c, n)
		time.Sleep(c.howLong())
		if c.rng.IntN(4) == 0 { // a second one before the first is over
			g, m := kinds[c.rng.IntN(len(kinds))], c.another(n)
			if m != nil && !g.settled && !f.settled {
				c.trace.addf("FAULT %s: %s, too", g.name, m.name)
				g.begin(c, m)
				time.Sleep(c.howLong())
				c.over(g, m)
			}
		}
		c.over(f, n)
	}
}

func (c *cluster) over(f fault, n *node) {
	c.trace.addf("OVER %s: %s", f.name, n.name)
	c.net.heal()
	if f.end != nil {
		f.end(c, n)
	}
}

// howLong is how long a fault lasts: mostly seconds, at times longer than any session.
func (c *cluster) howLong() time.Duration {
	if c.rng.IntN(8) == 0 {
		return 30*time.Second + time.Duration(c.rng.Int64N(int64(30*time.Second)))
	}
	return 100*time.Millisecond + time.Duration(c.rng.Int64N(int64(12*time.Second)))
}

// another returns a node other than n, nil if there is none.
func (c *cluster) another(n *node) *node {
	if len(c.nodes) == 1 {
		return nil
	}
	for {
		if m := c.nodes[c.rng.IntN(len(c.nodes))]; m != n {
			return m
		}
	}
}

// restart starts a node that was killed or stopped. It need not come up before a majority of the controllers is there: then the end of another fault starts it, or the repair.
func (c *cluster) restart(n *node) {
	if n.broker != nil {
		return
	}
	all, running := c.controllers(), 0
	for _, other := range all {
		if other.broker != nil || other == n {
			running++
		}
	}
	if running <= len(all)/2 {
		c.trace.addf("%s waits for others to start", n.name)
		return
	}
	err := c.boot(n)
	switch {
	case err == nil:
	case c.dynamic(): // after a voter has left, two of three may have to be there
		c.trace.addf("%s does not start before others: %v", n.name, err)
	default:
		c.h.violate("%s does not start again: %v", n.name, err)
	}
}

// killAll ends all processes at once, with nothing lost that was written.
func (c *cluster) killAll() {
	for _, n := range c.nodes {
		c.kill(n, false)
	}
}

func (c *cluster) startAll() {
	if err := c.bootAll(); err != nil {
		c.h.violate("%v", err)
	}
}

// cut separates n from the other nodes, and half the time from the clients.
func (c *cluster) cut(n *node, out, in bool) {
	clients := c.rng.IntN(2) == 0
	for _, name := range c.net.names() {
		if name == n.name || !clients && !c.isNode(name) {
			continue
		}
		if out {
			c.net.set(n.name, name, func(l *link) { l.cut = true })
		}
		if in {
			c.net.set(name, n.name, func(l *link) { l.cut = true })
		}
	}
}

func (c *cluster) isNode(name string) bool {
	for _, n := range c.nodes {
		if n.name == name {
			return true
		}
	}
	return false
}

// cutFrom separates n from one node, in one direction or both.
func (c *cluster) cutFrom(n, from *node, both bool) {
	if from == nil {
		return
	}
	c.net.set(n.name, from.name, func(l *link) { l.cut = true })
	if both {
		c.net.set(from.name, n.name, func(l *link) { l.cut = true })
	}
}

// pause keeps everybody from hearing from n and n from hearing anything. Its clock goes on, unlike that of a process that was sent SIGSTOP.
func (c *cluster) pause(n *node) {
	for _, name := range c.net.names() {
		if name != n.name {
			c.net.set(n.name, name, func(l *link) { l.cut = true })
			c.net.set(name, n.name, func(l *link) { l.cut = true })
		}
	}
	c.slowDisk(n)
}

func (c *cluster) slowLinks(n *node) {
	delay := time.Duration(1+c.rng.Int64N(400)) * time.Millisecond
	bandwidth := float64(int64(50_000) << c.rng.IntN(8))
	for _, name := range c.net.names() {
		c.net.set(n.name, name, func(l *link) { l.delay, l.bandwidth = delay, bandwidth })
		c.net.set(name, n.name, func(l *link) { l.delay, l.bandwidth = delay, bandwidth })
	}
}

func (c *cluster) breakingLinks(n *node) {
	loss := 0.001 * float64(int64(1)<<c.rng.IntN(7))
	for _, name := range c.net.names() {
		c.net.set(n.name, name, func(l *link) { l.loss = loss })
		c.net.set(name, n.name, func(l *link) { l.loss = loss })
	}
}

func (c *cluster) slowDisk(n *node) {
	if n.disk != nil {
		n.disk.stalls(time.Duration(1+c.rng.Int64N(500)) * time.Millisecond)
	}
}

func (c *cluster) fastDisk(n *node) {
	if n.disk != nil {
		n.disk.stalls(0)
	}
}

// repair ends every fault and starts what does not run.
func (c *cluster) repair() error {
	c.trace.addf("everything is put right")
	c.net.heal()
	for _, n := range c.nodes {
		c.fastDisk(n)
	}
	return c.bootAll()
}

// bootAll starts the nodes that do not run, side by side.
func (c *cluster) bootAll() error {
	failed := make(chan error, len(c.nodes))
	for _, n := range c.nodes {
		go func() {
			if n.broker != nil {
				failed <- nil
				return
			}
			failed <- c.boot(n)
		}()
	}
	var errs []error
	for range c.nodes {
		if err := <-failed; err != nil {
			errs = append(errs, fmt.Errorf("does not start again: %w", err))
		}
	}
	return errors.Join(errs...)
}

// awaitInSync waits until every replica is in sync and all brokers agree on it; false if that takes longer than limit.
func (c *cluster) awaitInSync(limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return c.agreed(ctx) == nil
}
