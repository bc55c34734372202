package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/server/api"
)

const (
	// restAfter is how long a new connection waits for a request before it is put to rest. One that woke up from a short rest waits for
	// restAfterMost, which is longer than the members of a group are silent: resting saves memory, but is some ten system calls.
	restAfter     = 20 * time.Millisecond
	restAfterMost = 10 * time.Second
	// restRetry is when a connection that was in use when it was to rest is looked at again.
	restRetry = 2 * time.Second
	// shortRest is a rest that was not worth it.
	shortRest = 10 * time.Second
	// expiryPrecision divides connections.max.idle.ms: so much later than due an idle connection may be closed.
	expiryPrecision = 256
)

// errQuiet ends the reading of a connection that is to be put to rest.
var errQuiet = errors.New("no request came for a while")

// restingConn is what is kept of a connection that waits for its next request: no goroutine, no buffers, and not the some hundred bytes that the
// runtime takes for a net.Conn.
type restingConn struct {
	fd       int32 // the socket, and its only descriptor
	listener string
	ip       netip.Addr
	state    api.Conn
	since    time.Time     // it rests
	after    time.Duration // how long it had waited before
}

// used is when its last bytes came.
func (r *restingConn) used() time.Time { return r.since.Add(-r.after) }

// restArea holds the resting connections of a socketServer. Its goroutine, started by the first of them, wakes those that have something to read, and
// closes those that are idle for too long.
type restArea struct {
	server *socketServer
	most   time.Duration // restAfterMost; tests wait for less
	idle   time.Duration // connections.max.idle.ms; negative or 0: never

	// entering is held by who turns a connection into a resting one or back. That is some system calls, which many at once would make the runtime start
	// threads for. Taken before mu.
	entering sync.Mutex

	mu       sync.Mutex // guards what follows
	stopped  bool
	banished map[string]bool // listeners whose connections are not taken
	poller   *poller         // nil until first used
	byFD     []*restingConn  // by descriptor
	sweeping bool            // the poller has a deadline, at which expired ones are looked for
}

// add takes a connection over; false if it cannot.
func (a *restArea) add(r *restingConn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped || a.banished[r.listener] {
		return false
	}
	if a.poller == nil {
		p, err := newPoller()
		if err != nil {
			return false
		}
		a.poller = p
		a.server.running.Go(func() { a.run(p) })
	}
	if n := int(r.fd) + 1; n > len(a.byFD) {
		a.byFD = append(a.byFD, make([]*restingConn, n-len(a.byFD))...)
	}
	a.byFD[r.fd] = r // before it can become readable
	if err := a.poller.add(r.fd); err != nil {
		a.byFD[r.fd] = nil
		return false
	}
	if a.idle > 0 && !a.sweeping {
		a.sweeping = a.poller.setDeadline(a.expiry(r)) == nil
	}
	return true
}

// run waits for the poller until it is closed.
func (a *restArea) run(p *poller) {
	var ready [64]int32
	for {
		n, err := p.wait(ready[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			a.sweep(time.Now())
		case err != nil:
			return
		}
		for _, fd := range ready[:n] {
			if r := a.take(fd); r != nil {
				a.server.wakeUp(r)
			}
		}
	}
}

// take removes the connection of a descriptor, nil if it does not rest.
func (a *restArea) take(fd int32) *restingConn {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped || int(fd) >= len(a.byFD) || a.byFD[fd] == nil {
		return nil
	}
	r := a.byFD[fd]
	a.byFD[fd] = nil
	a.poller.remove(fd)
	return r
}

// list returns the connections that rest now.
func (a *restArea) list() []*restingConn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.byFD), func(r *restingConn) bool { return r == nil })
}

// remove takes r away; false if it rests no more.
func (a *restArea) remove(r *restingConn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped || int(r.fd) >= len(a.byFD) || a.byFD[r.fd] != r {
		return false
	}
	a.byFD[r.fd] = nil
	a.poller.remove(r.fd)
	return true
}

// sweep closes the connections that have been idle for too long, and sets the time of the next sweep.
func (a *restArea) sweep(now time.Time) {
	var expired []*restingConn
	next := time.Time{}
	a.mu.Lock()
	for fd, r := range a.byFD {
		if r == nil {
			continue
		}
		at := a.expiry(r)
		if !at.After(now) {
			expired = append(expired, r)
			a.byFD[fd] = nil
			a.poller.remove(r.fd)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if soonest := now.Add(a.idle / expiryPrecision); !next.IsZero() && next.Before(soonest) {
		next = soonest
	}
	a.sweeping = a.poller.setDeadline(next) == nil && !next.IsZero()
	a.mu.Unlock()
	a.closeAll(expired)
}

// stop closes all resting connections, and takes no more.
func (a *restArea) stop() {
	a.mu.Lock()
	a.stopped = true
	all := a.byFD
	a.byFD = nil
	if a.poller != nil {
		a.poller.close()
	}
	a.mu.Unlock()
	a.closeAll(all)
}

// banish closes the resting connections of a listener, and takes no more of them until admit.
func (a *restArea) banish(listener string) {
	var all []*restingConn
	a.mu.Lock()
	if a.banished == nil {
		a.banished = map[string]bool{}
	}
	a.banished[listener] = true
	for fd, r := range a.byFD {
		if r != nil && r.listener == listener {
			all = append(all, r)
			a.byFD[fd] = nil
			a.poller.remove(r.fd)
		}
	}
	a.mu.Unlock()
	a.closeAll(all)
}

// admit takes connections of a listener again.
func (a *restArea) admit(listener string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.banished, listener)
}

// closeAll ends connections that were taken out, and forgets them.
func (a *restArea) closeAll(list []*restingConn) {
	list = slices.DeleteFunc(list, func(r *restingConn) bool { return r == nil })
	a.end(list)
	a.server.mu.Lock()
	defer a.server.mu.Unlock()
	for _, r := range list {
		a.server.forget(r.listener, r.ip)
	}
}

// end ends connections that were taken out.
func (a *restArea) end(list []*restingConn) {
	for _, r := range list {
		closeSocket(r.fd)
		a.server.gone(&r.state)
	}
}

// expiry is when r will have been idle for too long.
func (a *restArea) expiry(r *restingConn) time.Time { return r.used().Add(a.idle) }

// rest puts c to rest if it can: then c is no more, and its goroutine has to end. Only c's reader calls it, when nothing is outstanding.
func (s *socketServer) rest(c *conn) bool {
	tcp, ok := c.nc.(*net.TCPConn)
	if !ok || !s.resting.enter(tcp, c) {
		return false
	}
	c.stopWriter()
	c.cancel()
	s.mu.Lock()
	delete(s.open, c)
	evicted := s.evict() // it may have been told to end meanwhile
	s.mu.Unlock()
	s.resting.end(evicted)
	s.freeConn(c)
	return true
}

// enter moves the socket of c from tcp, which is closed, to the area. After false nothing has changed.
func (a *restArea) enter(tcp *net.TCPConn, c *conn) bool {
	a.entering.Lock()
	defer a.entering.Unlock()
	fd, err := duplicate(tcp)
	if err != nil {
		return false
	}
	now := time.Now()
	r := &restingConn{fd: fd, listener: c.listener, ip: peerIP(tcp), state: c.state, since: now, after: now.Sub(c.input.active)}
	if !a.add(r) { // from here on it may wake up at any time
		closeSocket(fd)
		return false
	}
	_ = tcp.Close() // the socket lives on
	return true
}

// wakeUp goes on with a connection that rested.
func (s *socketServer) wakeUp(r *restingConn) {
	s.running.Go(func() {
		nc, err := s.adopt(r.fd)
		if err != nil {
			s.gone(&r.state)
			s.mu.Lock()
			s.forget(r.listener, r.ip)
			s.mu.Unlock()
			return
		}
		c := newConn(s, r.listener, nc)
		c.state = r.state
		if time.Since(r.since) < shortRest {
			c.input.restAfter = s.resting.most
		}
		s.mu.Lock()
		s.open[c] = struct{}{}
		if s.closed(r.listener) {
			c.drain()
		}
		evicted := s.evict()
		s.mu.Unlock()
		s.resting.end(evicted)
		s.run(c)
	})
}

// adopt makes a net.Conn of a socket again, which for a moment takes another descriptor: while there is none, the connection waits. After an error the
// socket is closed.
func (s *socketServer) adopt(fd int32) (net.Conn, error) {
	socket := os.NewFile(uintptr(fd), "socket")
	defer func() { _ = socket.Close() }()
	for backoff := acceptBackoffMin; ; backoff = min(backoff*2, acceptBackoffMax) {
		s.resting.entering.Lock()
		nc, err := net.FileConn(socket)
		s.resting.entering.Unlock()
		if err == nil || s.isStopping() || !noDescriptor(err) {
			return nc, err
		}
		s.logs.warn("cannot go on with a connection", zap.Error(err))
		select {
		case <-time.After(backoff):
		case <-s.ctx.Done():
		}
	}
}

// canRest says how long a connection may be quiet before it rests; 0: for ever.
func canRest(nc net.Conn) time.Duration {
	if _, tcp := nc.(*net.TCPConn); tcp && pollerSupported {
		return restAfter
	}
	return 0
}
