package server

import (
	"time"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/threads"
	"github.com/ottla/ottla/server/meter"
	"github.com/ottla/ottla/server/metrics"
)

// What Apache Kafka has pools of threads for is bounded here, where goroutines do it: requests that work on disks (num.io.threads), and answers that read segments
// while they are sent (num.network.threads, for each listener).

const networkThreads = "num.network.threads"

// takeThread waits until there is one of num.io.threads for a request, which is then waited for as in Kafka's request queue.
func (c *conn) takeThread(times *meter.Times) error {
	if c.server.node.Threads.TryAcquire() {
		return nil
	}
	if err := c.writePending(); err != nil {
		return err
	}
	began := c.server.clock()
	err := c.server.node.Threads.Acquire(c.ctx)
	times.Queue += c.server.clock() - began
	return err
}

// reading runs what reads a segment to be sent, when there is one of the listener's threads for it. It does not last until the client has taken all of it.
func (c *conn) reading(read func() error) error {
	if !c.sending.TryAcquire() {
		if err := c.sending.Acquire(c.ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	defer func() { c.sending.Release(time.Since(began)) }()
	return read()
}

// senders are num.network.threads of a listener.
func (s *socketServer) senders(listener string) *threads.Pool {
	if p, ok := s.sending.Load(listener); ok {
		return p.(*threads.Pool)
	}
	p, _ := s.sending.LoadOrStore(listener, threads.New(ofListener(s.node.Config(), listener, networkThreads)))
	return p.(*threads.Pool)
}

// shownThreads is what the metrics show of p.
func shownThreads(p *threads.Pool) metrics.Threads {
	return metrics.Threads{Size: p.Size(), Busy: p.Busy(), Waiting: p.Waiting(), Waited: p.Waited()}
}

// allSenders is what the metrics show of the senders of all listeners.
func (s *socketServer) allSenders() (all metrics.Threads) {
	s.sending.Range(func(_, p any) bool {
		one := shownThreads(p.(*threads.Pool))
		all.Size, all.Busy, all.Waiting, all.Waited = all.Size+one.Size, all.Busy+one.Busy, all.Waiting+one.Waiting, all.Waited+one.Waited
		return true
	})
	return all
}

// resize takes over the numbers of threads that were changed while the server runs.
func (s *socketServer) resize(v config.Values) {
	s.node.Threads.Resize(v.Int("num.io.threads"))
	s.sending.Range(func(listener, p any) bool {
		p.(*threads.Pool).Resize(ofListener(v, listener.(string), networkThreads))
		return true
	})
}

// reconfigure has the listeners of this node take over what was changed while it runs.
func (b *Broker) reconfigure(v config.Values) {
	for _, s := range []*socketServer{b.sockets, b.controlSockets} {
		if s != nil {
			s.resize(v)
			s.limitsChanged()
		}
	}
	if b.keeper != nil {
		b.keeper.changed(v)
	}
}
