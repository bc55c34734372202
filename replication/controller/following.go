package controller

import (
	"sync"

	"github.com/ottla/ottla/replication/metadata"
)

// growth wakes those who wait for the metadata log to grow. Safe for concurrent use.
type growth struct {
	mu   sync.Mutex // guards next
	next chan struct{}
}

// wait returns a channel that is closed at the next call of wake.
func (g *growth) wait() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		g.next = make(chan struct{})
	}
	return g.next
}

func (g *growth) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next != nil {
		close(g.next)
		g.next = nil
	}
}

// Grown returns a channel that is closed when records have been appended to the log after this call.
func (c *Controller) Grown() <-chan struct{} { return c.growth.wait() }

// Leads returns the epoch in which this node leads, and whether it does: then its log holds all that was committed before.
func (c *Controller) Leads() (epoch int32, ok bool) {
	epoch = c.leads.Load() - 1
	return epoch, epoch >= 0
}

// ClusterID is the id of the cluster; "" while none is settled.
func (c *Controller) ClusterID() string { return c.quorum.ClusterID() }

// Checkpoints is where the snapshots of the metadata lie.
func (c *Controller) Checkpoints() metadata.Checkpoints {
	return metadata.Checkpoints{FS: c.o.FS, Dir: c.log.Dir()}
}
