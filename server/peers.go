package server

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

// sharedRequests is how many requests of one API may be under way to one broker at once, except where the caller has a connection of its own.
const sharedRequests = 8

// peers reaches the brokers of the cluster: this one by its handlers, others by their inter-broker listeners. Safe for concurrent use.
type peers struct {
	dialing
	self     int32
	listener string // name of the inter-broker listener, the same on all brokers
	image    func() *metadata.Image
	node     *api.Node // set before anything is asked

	mu     sync.Mutex // guards what follows
	closed bool
	open   map[*ownPeer]struct{}
	shared map[sharedKey]*connPool
}

// sharedKey names connections that are shared: those of one API, so that none waits behind requests of another kind.
type sharedKey struct {
	node int32
	api  int16
}

var (
	_ txn.Markers       = (*peers)(nil)
	_ replication.Peers = (*peers)(nil)
)

// newPeers makes the way to the brokers that image knows, over listener.
func newPeers(self int32, listener string, image func() *metadata.Image, d dialing) *peers {
	return &peers{dialing: d, self: self, listener: listener, image: image, open: map[*ownPeer]struct{}{}, shared: map[sharedKey]*connPool{}}
}

// ownPeer is a connection of one user to a broker.
type ownPeer struct {
	*peerConn
	peers *peers
}

// Close implements replication.Peer.
func (o *ownPeer) Close() {
	o.peerConn.Close()
	o.peers.mu.Lock()
	defer o.peers.mu.Unlock()
	delete(o.peers.open, o)
}

// Open implements replication.Peers.
func (p *peers) Open(node int32) replication.Peer {
	o := &ownPeer{p.connect(node), p}
	o.receiveBuffer = "replica.socket.receive.buffer.bytes"
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		o.peerConn.Close()
	} else {
		p.open[o] = struct{}{}
	}
	return o
}

func (p *peers) connect(node int32) *peerConn {
	return newPeerConn(p.dialing, func() (string, error) { return p.addressOf(node) })
}

// addressOf is where the metadata has a broker's inter-broker listener.
func (p *peers) addressOf(node int32) (string, error) {
	b := p.image().Broker(node)
	if b == nil {
		return "", fmt.Errorf("broker %d is not registered: %w", node, protocol.BrokerNotAvailable)
	}
	e := b.Endpoint(p.listener)
	if e == nil {
		return "", fmt.Errorf("broker %d has no listener %s: %w", node, p.listener, protocol.BrokerNotAvailable)
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))), nil
}

// WriteTxnMarkers implements txn.Markers.
func (p *peers) WriteTxnMarkers(ctx context.Context, node int32, req *kmsg.WriteTxnMarkersRequest) (*kmsg.WriteTxnMarkersResponse, error) {
	answer, err := p.ask(ctx, node, req)
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.WriteTxnMarkersResponse)
	if !ok {
		return nil, fmt.Errorf("a wrong answer to WriteTxnMarkers: key %d", answer.Key())
	}
	return resp, nil
}

// ask sends any request but Fetch, over a connection that is shared. It fails when the broker is fenced, or is so already: others have taken its place, and are to
// be asked at once rather than when it turns out that it does not answer.
func (p *peers) ask(ctx context.Context, node int32, req kmsg.Request) (kmsg.Response, error) {
	if node == p.self {
		return p.node.Serve(ctx, req)
	}
	pool, err := p.pool(sharedKey{node, req.Key()})
	if err != nil {
		return nil, err
	}
	return pool.Do(ctx, req)
}

// pool is the connections that are shared, of which there are none to a fenced broker.
func (p *peers) pool(key sharedKey) (*connPool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, errPeerClosed
	case !serves(p.image(), key.node):
		return nil, fmt.Errorf("broker %d is fenced, or not registered: %w", key.node, protocol.BrokerNotAvailable)
	}
	pool := p.shared[key]
	if pool == nil {
		pool = newConnPool(sharedRequests, func() *peerConn { return p.connect(key.node) })
		p.shared[key] = pool
	}
	return pool, nil
}

func serves(image *metadata.Image, node int32) bool {
	b := image.Broker(node)
	return b != nil && !b.Fenced
}

// imageChanged ends the shared connections to brokers that are fenced by an image that is in force, with what is under way.
func (p *peers) imageChanged(image *metadata.Image) {
	p.mu.Lock()
	var gone []*connPool
	for key, pool := range p.shared {
		if !serves(image, key.node) {
			delete(p.shared, key)
			gone = append(gone, pool)
		}
	}
	p.mu.Unlock()
	for _, pool := range gone {
		pool.Close()
	}
}

// close ends all connections; what is under way fails, and nothing can be asked any more.
func (p *peers) close() {
	p.mu.Lock()
	p.closed = true
	open, shared := p.open, p.shared
	p.open, p.shared = nil, nil
	p.mu.Unlock()
	for o := range open {
		o.peerConn.Close()
	}
	for _, pool := range shared {
		pool.Close()
	}
}
