//go:build synctests

package sim

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// window is how many bytes may be under way on a connection until a write waits.
const window = 256 << 10

// conn is one end of a connection. Everything is guarded by network.mu, but for what never changes.
type conn struct {
	n             *network
	from, to      string // from is the host of this end
	peer          *conn
	local, remote *net.TCPAddr

	incoming    []packet // to this end
	unread      int      // bytes of incoming
	ended       bool     // the peer has closed; what is in incoming can be read
	err         error    // this end is no more
	wake        chan struct{}
	last        time.Time // when the packet that was sent last from this end arrives
	busy        time.Time // until when the link is taken by what this end has sent
	readBy      time.Time
	writeBy     time.Time
	closedLocal bool
}

// packet is what was written at once.
type packet struct {
	at   time.Time // when it arrives, if the link is not cut
	data []byte
}

// signal wakes everyone who waits at this end. n.mu is held.
func (c *conn) signal() {
	close(c.wake)
	c.wake = make(chan struct{})
}

// fail ends this end. n.mu is held.
func (c *conn) fail(err error) {
	if c.err == nil {
		c.err = err
		c.signal()
		if c.peer.err != nil {
			delete(c.n.conns, c)
			delete(c.n.conns, c.peer)
		}
	}
}

// reset breaks both ends. n.mu is held.
func (c *conn) reset() {
	c.fail(syscall.ECONNRESET)
	c.peer.fail(syscall.ECONNRESET)
}

// wait waits for a signal, until due (if not zero) or by (a deadline, if not zero). n.mu is held, and let go meanwhile.
func (c *conn) wait(due, by time.Time) {
	wake := c.wake
	c.n.mu.Unlock()
	defer c.n.mu.Lock()
	if due.IsZero() || !by.IsZero() && by.Before(due) {
		due = by
	}
	if due.IsZero() {
		<-wake
		return
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	}
}

func expired(by, now time.Time) bool { return !by.IsZero() && !now.Before(by) }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for {
		now := time.Now()
		if c.err != nil {
			return 0, c.failure("read")
		}
		if expired(c.readBy, now) {
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
		}
		cut := c.n.link(c.to, c.from).cut
		var due time.Time
		switch {
		case cut:
		case len(c.incoming) > 0 && !now.Before(c.incoming[0].at):
			k := copy(p, c.incoming[0].data)
			if c.incoming[0].data = c.incoming[0].data[k:]; len(c.incoming[0].data) == 0 {
				c.incoming = c.incoming[1:]
			}
			c.unread -= k
			c.peer.signal() // there is room
			return k, nil
		case len(c.incoming) > 0:
			due = c.incoming[0].at
		case c.ended:
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		c.wait(due, c.readBy)
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	sent := 0
	for {
		now := time.Now()
		if c.err != nil {
			return sent, c.failure("write")
		}
		if expired(c.writeBy, now) {
			return sent, &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}
		}
		if sent == len(p) {
			return sent, nil
		}
		if c.peer.closedLocal {
			c.fail(syscall.EPIPE)
			continue
		}
		l := c.n.link(c.from, c.to)
		if l.loss > 0 && c.n.rng.Float64() < l.loss {
			c.n.trace.addf("connection of %s to %s breaks", c.from, c.to)
			c.reset()
			continue
		}
		room := window - c.peer.unread
		if room <= 0 {
			c.wait(time.Time{}, c.writeBy)
			continue
		}
		k := min(room, len(p)-sent)
		c.send(l, now, append([]byte(nil), p[sent:sent+k]...))
		sent += k
	}
}

// send puts data on its way. n.mu is held.
func (c *conn) send(l *link, now time.Time, data []byte) {
	delay := c.n.delay
	if l.delay > 0 {
		delay = l.delay
	}
	if c.n.jitter > 0 {
		delay += time.Duration(c.n.rng.Int64N(int64(c.n.jitter)))
	}
	if c.from == c.to {
		delay = 10 * time.Microsecond
	}
	if l.bandwidth > 0 {
		if c.busy.Before(now) {
			c.busy = now
		}
		c.busy = c.busy.Add(time.Duration(float64(len(data)) / l.bandwidth * float64(time.Second)))
		now = c.busy
	}
	at := now.Add(delay)
	if at.Before(c.last) {
		at = c.last
	}
	c.last = at
	c.peer.incoming = append(c.peer.incoming, packet{at, data})
	c.peer.unread += len(data)
	c.peer.signal()
}

func (c *conn) failure(op string) error {
	if c.closedLocal {
		return &net.OpError{Op: op, Net: "tcp", Err: net.ErrClosed}
	}
	return &net.OpError{Op: op, Net: "tcp", Err: c.err}
}

// Close implements net.Conn. The peer reads what was sent before, then EOF.
func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closedLocal {
		return net.ErrClosed
	}
	c.closedLocal = true
	c.peer.ended = true
	if c.n.link(c.from, c.to).cut { // what has not got through is given up: it does not come out of the grave
		c.peer.incoming, c.peer.unread = nil, 0
	}
	c.peer.signal()
	c.fail(net.ErrClosed)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return c.deadlines(func() { c.readBy, c.writeBy = t, t })
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.deadlines(func() { c.readBy = t }) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.deadlines(func() { c.writeBy = t }) }

func (c *conn) deadlines(set func()) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.err != nil {
		return c.failure("set")
	}
	set()
	c.signal()
	return nil
}
