package servertest

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/ottla/ottla/server/servertest/port"
)

// network is the loopback between the nodes of a cluster: real sockets, of which those that one node opens to another pass through it. Clients are not affected. Safe for
// concurrent use.
type network struct {
	mu      sync.Mutex // guards what follows
	changed chan struct{}
	owner   map[string]int // which node listens at host:port
	held    []func()       // gives the ports back
	cut     map[way]bool
	dead    map[int]bool
	dialled map[*faultConn]struct{}
	taken   map[int]map[net.Conn]struct{} // connections that a node accepted and that may still be open
}

// way is the direction from one node to another.
type way struct{ from, to int }

func newNetwork() *network {
	return &network{
		changed: make(chan struct{}), owner: map[string]int{}, cut: map[way]bool{}, dead: map[int]bool{},
		dialled: map[*faultConn]struct{}{}, taken: map[int]map[net.Conn]struct{}{},
	}
}

// reserve gives a node a port of the loopback, which it has until close, be it up or down.
func (n *network) reserve(node int) (address string, err error) {
	p, release, err := port.Reserve()
	if err != nil {
		return "", err
	}
	address = net.JoinHostPort("127.0.0.1", strconv.Itoa(p))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owner[address] = node
	n.held = append(n.held, release)
	return address, nil
}

// close gives back what was reserved.
func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, release := range n.held {
		release()
	}
	n.held = nil
}

// listen is net.Listen for a node.
func (n *network) listen(node int) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		return &takingListener{l, n, node}, nil
	}
}

// takingListener remembers the connections that it accepted, which stay what they are.
type takingListener struct {
	net.Listener
	n    *network
	node int
}

// Accept implements net.Listener.
func (l *takingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.n.taken[l.node] == nil {
		l.n.taken[l.node] = map[net.Conn]struct{}{}
	}
	l.n.taken[l.node][nc] = struct{}{}
	return nc, nil
}

// dial is the dialler of a node. A way that is cut keeps it waiting; a dead node is refused.
func (n *network) dial(from int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		for {
			n.mu.Lock()
			to, known := n.owner[address]
			blocked := known && (n.cut[way{from, to}] || n.cut[way{to, from}])
			dead, changed := n.dead[from] || known && n.dead[to], n.changed
			n.mu.Unlock()
			if dead {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
			if blocked {
				select {
				case <-changed:
					continue
				case <-ctx.Done():
					return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
				}
			}
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil || !known {
				return nc, err
			}
			return n.track(nc, way{from, to}), nil
		}
	}
}

func (n *network) track(nc net.Conn, w way) net.Conn {
	c := &faultConn{Conn: nc, n: n, way: w, closed: make(chan struct{}), moved: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialled[c] = struct{}{}
	c.noteCuts()
	return c
}

// setCut cuts ways for what passes from now on.
func (n *network) setCut(ways ...way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range ways {
		n.cut[w] = true
	}
	for c := range n.dialled {
		c.noteCuts()
	}
}

// heal opens all ways again. Connections that lost something meanwhile end.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	for c := range n.dialled {
		if c.deaf || c.dumb {
			c.endLocked()
		}
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// setDead ends all connections of a node, as when its process is killed, or lets it dial again.
func (n *network) setDead(node int, dead bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead[node] = dead
	if !dead {
		return
	}
	for c := range n.dialled {
		if c.way.from == node || c.way.to == node {
			c.endLocked()
		}
	}
	for nc := range n.taken[node] {
		_ = nc.Close() // closed already, as often as not
	}
	delete(n.taken, node)
}

// faultConn is a connection from one node to another, at the side that opened it.
type faultConn struct {
	net.Conn
	n   *network
	way way

	// Guarded by the network's mutex.
	deaf, dumb bool          // what the other side sends is lost; what is sent to it is
	deadline   time.Time     // of reads
	moved      chan struct{} // closed when the deadline changes
	isClosed   bool
	closed     chan struct{}
}

// noteCuts makes the connection lose what the cut ways lose. The network's mutex is held.
func (c *faultConn) noteCuts() {
	c.dumb = c.dumb || c.n.cut[c.way]
	c.deaf = c.deaf || c.n.cut[way{c.way.to, c.way.from}]
}

// endLocked closes the connection and its socket. The network's mutex is held.
func (c *faultConn) endLocked() {
	if !c.isClosed {
		c.isClosed = true
		close(c.closed)
	}
	delete(c.n.dialled, c)
	_ = c.Conn.Close()
}

// Close implements net.Conn. Across a cut the other side does not learn of it.
func (c *faultConn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.dumb && !c.isClosed {
		c.isClosed = true
		close(c.closed)
		return c.Conn.SetReadDeadline(time.Unix(1, 0)) // heal, or the node's end, closes the socket
	}
	c.endLocked()
	return nil
}

func (c *faultConn) state() (deaf, dumb bool) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.deaf, c.dumb
}

// Read implements net.Conn: across a cut it waits.
func (c *faultConn) Read(p []byte) (int, error) {
	if deaf, _ := c.state(); !deaf {
		read, err := c.Conn.Read(p)
		if deaf, _ = c.state(); !deaf || errors.Is(err, os.ErrDeadlineExceeded) {
			return read, err
		}
	}
	for {
		c.n.mu.Lock()
		at, moved := c.deadline, c.moved
		c.n.mu.Unlock()
		var due <-chan time.Time
		timer := time.NewTimer(time.Until(at))
		if !at.IsZero() {
			due = timer.C
		}
		select {
		case <-c.closed:
			timer.Stop()
			return 0, net.ErrClosed
		case <-due:
			return 0, os.ErrDeadlineExceeded
		case <-moved:
			timer.Stop()
		}
	}
}

// Write implements net.Conn: across a cut it seems to succeed.
func (c *faultConn) Write(p []byte) (int, error) {
	if _, dumb := c.state(); dumb {
		select {
		case <-c.closed:
			return 0, net.ErrClosed
		default:
			return len(p), nil
		}
	}
	return c.Conn.Write(p)
}

// SetDeadline implements net.Conn.
func (c *faultConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *faultConn) SetReadDeadline(t time.Time) error {
	c.n.mu.Lock()
	c.deadline = t
	close(c.moved)
	c.moved = make(chan struct{})
	c.n.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}
