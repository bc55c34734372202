package controller

import (
	"context"
	"net"
)

// RaftPreface is the first byte of every connection between controllers. No Kafka frame begins with it, as sizes are below 0x80000000: so raft
// and Kafka's protocol share the controller listener. The side that dials writes it, after TLS and SASL; who accepts looks at it and
// gives the connection to the transport with the byte still unread.
const RaftPreface byte = 0xF7

// Transport carries the quorum's connections: sockets in life, memory in tests. Safe for concurrent use.
type Transport interface {
	// Accept waits for a connection from another controller, whose first byte, still to be read, is RaftPreface. It returns net.ErrClosed after Close.
	Accept() (net.Conn, error)
	// Close ends Accept. Connections that it returned live on. The controller calls it when it closes.
	Close() error
	// Addr is where this controller accepts; for logs only.
	Addr() net.Addr
	// Dial opens a connection to the controller listener at address (host:port). Nothing is written to it yet: the quorum writes RaftPreface first.
	Dial(ctx context.Context, address string) (net.Conn, error)
}
