//go:build synctests

package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// network connects hosts by name. Faults are set for each direction of a pair of hosts. Safe for concurrent use.
type network struct {
	trace *trace

	mu        sync.Mutex // guards what follows, and all conns; nothing is waited for under it
	rng       *rand.Rand
	hosts     map[string]int // number of each host, which makes its address
	listeners map[string]*listener
	links     map[direction]*link
	conns     map[*conn]struct{} // both ends of each that is open
	port      int                // of the client that dialled last
	delay     time.Duration      // of a link that has no settings of its own
	jitter    time.Duration      // at most, added by the seed
}

// direction is the way from one host to another.
type direction struct{ from, to string }

// link is what goes wrong on a way.
type link struct {
	cut       bool
	delay     time.Duration // in place of the network's
	bandwidth float64       // bytes a second; 0: no limit
	loss      float64       // probability that a write breaks the connection
}

func newNetwork(seed uint64, t *trace) *network {
	return &network{
		trace: t, rng: rand.New(rand.NewPCG(seed, 0x6e6574)), hosts: map[string]int{}, listeners: map[string]*listener{},
		links: map[direction]*link{}, conns: map[*conn]struct{}{}, port: 30000, delay: 200 * time.Microsecond, jitter: 300 * time.Microsecond,
	}
}

// address is that of a host, 10.0.0.n. mu is held.
func (n *network) address(host string, port int) *net.TCPAddr {
	number, ok := n.hosts[host]
	if !ok {
		number = len(n.hosts) + 1
		n.hosts[host] = number
	}
	return &net.TCPAddr{IP: net.IPv4(10, 0, byte(number>>8), byte(number)), Port: port}
}

// host gives the calls of package net that a process on a machine of that name has.
func (n *network) host(name string) host { return host{n, name} }

type host struct {
	n    *network
	name string
}

// Listen is net.Listen on this host.
func (h host) Listen(_, address string) (net.Listener, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	key := h.name + ":" + text
	if h.n.listeners[key] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	l := &listener{n: h.n, key: key, addr: h.n.address(h.name, port), waiting: make(chan *conn, 1024), closed: make(chan struct{})}
	h.n.listeners[key] = l
	return l, nil
}

// Dial connects to name:port. Where a direction is cut it waits until ctx ends.
func (h host) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	name, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for {
		c, wait, err := h.connect(name, text)
		if c != nil || err != nil {
			return c, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: %w", address, ctx.Err())}
		}
	}
}

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// connect makes a connection, or says how long to wait before the next try.
func (h host) connect(name, port string) (net.Conn, time.Duration, error) {
	n := h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link(h.name, name).cut || n.link(name, h.name).cut {
		return nil, 100 * time.Millisecond, nil // a SYN is sent again
	}
	l := n.listeners[name+":"+port]
	if l == nil {
		if _, known := n.hosts[name]; !known {
			return nil, 0, fmt.Errorf("no such host: %s", name)
		}
		return nil, 0, errRefused
	}
	n.port++
	local, remote := n.address(h.name, n.port), l.addr
	near := &conn{n: n, from: h.name, to: name, local: local, remote: remote, wake: make(chan struct{})}
	far := &conn{n: n, from: name, to: h.name, local: remote, remote: local, wake: make(chan struct{})}
	near.peer, far.peer = far, near
	select {
	case l.waiting <- far:
	default:
		return nil, 0, errRefused
	}
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	return near, 0, nil
}

// names returns the hosts that there are.
func (n *network) names() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.hosts))
}

// link returns the settings of a way. mu is held.
func (n *network) link(from, to string) *link {
	d := direction{from, to}
	l := n.links[d]
	if l == nil {
		l = &link{}
		n.links[d] = l
	}
	return l
}

// set changes a way.
func (n *network) set(from, to string, change func(*link)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n.link(from, to))
	for c := range n.conns {
		if c.from == from && c.to == to {
			c.peer.signal()
			c.signal()
		}
	}
}

// heal ends all faults of the network. Of the connections that were cut, each breaks or goes on.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if n.link(c.from, c.to).cut && n.rng.IntN(2) == 0 {
			c.reset()
		}
	}
	clear(n.links)
	for c := range n.conns {
		c.signal()
	}
}

// down takes a host off the network: its listeners close and its connections break. If silently, the other ends do not learn of it
// until they are told by up.
func (n *network) down(name string, silently bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.listeners {
		if l.addr.IP.Equal(n.address(name, 0).IP) {
			l.close()
		}
	}
	for c := range n.conns {
		if c.from != name {
			continue
		}
		c.fail(net.ErrClosed)
		if !silently {
			c.peer.fail(syscall.ECONNRESET)
		}
	}
}

// up is called when a host comes back: what it does not know any more is reset.
func (n *network) up(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.to == name && c.peer.err != nil {
			c.fail(syscall.ECONNRESET)
		}
	}
}

// listener is a net.Listener of the network.
type listener struct {
	n       *network
	key     string
	addr    *net.TCPAddr
	waiting chan *conn
	closed  chan struct{}
	over    bool // guarded by n.mu
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: net.ErrClosed}
	}
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Close() error {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.over {
		return net.ErrClosed
	}
	l.close()
	return nil
}

// close ends the listener, and the connections that nobody has accepted. n.mu is held.
func (l *listener) close() {
	if l.over {
		return
	}
	l.over = true
	delete(l.n.listeners, l.key)
	close(l.closed)
	for {
		select {
		case c := <-l.waiting:
			c.reset()
		default:
			return
		}
	}
}
