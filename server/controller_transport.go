package server

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"

	"github.com/ottla/ottla/replication/controller"
)

// raftTransport carries the quorum's connections over the controller listeners: those that came in are handed over by the socket server, which looks at the first byte of
// each. Safe for concurrent use.
type raftTransport struct {
	address net.Addr
	dial    func(ctx context.Context, network, address string) (net.Conn, error)

	came   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var _ controller.Transport = (*raftTransport)(nil)

func newRaftTransport(address net.Addr, dial func(ctx context.Context, network, address string) (net.Conn, error)) *raftTransport {
	return &raftTransport{address: address, dial: dial, came: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements controller.Transport.
func (t *raftTransport) Accept() (net.Conn, error) {
	select {
	case nc := <-t.came:
		return nc, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

// Close implements controller.Transport.
func (t *raftTransport) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

// Addr implements controller.Transport.
func (t *raftTransport) Addr() net.Addr { return t.address }

// Dial implements controller.Transport.
func (t *raftTransport) Dial(ctx context.Context, address string) (net.Conn, error) {
	return t.dial(ctx, "tcp", address)
}

// take gives the quorum a connection of which the bytes of read were read already. It waits for Accept, or until ctx or the transport ends, and closes the connection then.
func (t *raftTransport) take(ctx context.Context, nc net.Conn, read []byte) {
	conn := &unreadConn{Conn: nc, from: io.MultiReader(bytes.NewReader(bytes.Clone(read)), nc)}
	select {
	case t.came <- conn:
		return
	case <-t.closed:
	case <-ctx.Done():
	}
	_ = nc.Close()
}

// unreadConn is a connection of which some bytes were read too early.
type unreadConn struct {
	net.Conn
	from io.Reader
}

// Read implements net.Conn.
func (c *unreadConn) Read(p []byte) (int, error) { return c.from.Read(p) }
