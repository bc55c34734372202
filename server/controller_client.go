package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/server/api"
)

const (
	// controllerRetry is how long a request to the controllers waits before it is tried again.
	controllerRetry = 50 * time.Millisecond
	// locateTimeout is how long one controller may take to say who leads.
	locateTimeout = time.Second
	// forwardedRequests is how many requests of clients may be under way to the active controller at once.
	forwardedRequests = 16
	// sessionShare divides broker.session.timeout.ms: so long one attempt of a request of the broker itself may take, so that a controller that was cut off does not cost the
	// session.
	sessionShare = 4
)

var (
	errNoLeader     = fmt.Errorf("no active controller is known: %w", protocol.NotController)
	errWrongAnswer  = errors.New("a controller gave a wrong answer")
	errNoController = errors.New("no controller can be reached")
)

// clientRequests is the key of the connections for requests of clients, which travel in envelopes.
const clientRequests int16 = -1

// controllers reaches the active controller: the one of this process while that leads, else over the wire. Safe for concurrent use.
type controllers struct {
	dialing
	nodeID int32
	local  *controller.Controller // nil on a node that is a broker only
	seeds  []string               // host:port of controllers, as configured
	logger *zap.Logger

	mu     sync.Mutex // guards what follows
	closed bool
	leader controllerAt
	known  []string // host:port of the controllers that the last of them told of
	next   int      // which of the addresses is asked next who leads
	pools  map[int16]*connPool
}

// controllerAt is a controller and where it is. The zero value is none.
type controllerAt struct {
	id      int32
	address string
}

var _ api.Controller = (*controllers)(nil)

func newControllers(nodeID int32, local *controller.Controller, seeds []string, d dialing, l *zap.Logger) *controllers {
	return &controllers{dialing: d, nodeID: nodeID, local: local, seeds: seeds, logger: l, pools: map[int16]*connPool{}}
}

// ActiveID implements api.Controller.
func (c *controllers) ActiveID() int32 {
	if c.local != nil {
		return c.local.ActiveID()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader.address == "" {
		return -1
	}
	return c.leader.id
}

// Handle implements api.Controller: it looks for the active controller until ctx ends. Requests that only brokers send go as they are; those of clients in an envelope.
func (c *controllers) Handle(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	for {
		resp, err := c.try(ctx, req)
		if err == nil || ctx.Err() != nil || errors.Is(err, protocol.UnsupportedVersion) || c.isClosed() {
			return resp, err
		}
		timer := time.NewTimer(controllerRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
	}
}

// try makes one attempt.
func (c *controllers) try(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	if c.local != nil {
		if _, leads := c.local.Leads(); leads || c.alone() {
			return c.local.Handle(ctx, req, controller.CallerOf(ctx))
		}
	}
	at, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	if at.id == c.nodeID && c.local != nil {
		return c.local.Handle(ctx, req, controller.CallerOf(ctx))
	}
	var resp kmsg.Response
	if brokersOwn(req) {
		limited, cancel := context.WithTimeout(ctx, c.config().Duration("broker.session.timeout.ms")/sessionShare)
		defer cancel()
		resp, err = c.pool(at, req.Key()).Do(limited, req)
	} else {
		limited, cancel := context.WithTimeout(ctx, c.config().Duration("controller.socket.timeout.ms"))
		defer cancel()
		resp, err = c.forward(limited, at, req)
	}
	if err == nil && errorCode(resp) == protocol.NotController {
		err = protocol.NotController
	}
	if err != nil && !errors.Is(err, protocol.UnsupportedVersion) {
		c.forget(at)
	}
	return resp, err
}

func (c *controllers) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// alone reports whether there can be no other controller.
func (c *controllers) alone() bool { return len(c.seeds) == 0 }

// brokersOwn reports whether req is one that a broker sends for itself.
func brokersOwn(req kmsg.Request) bool {
	switch req.(type) {
	case *kmsg.BrokerRegistrationRequest, *kmsg.BrokerHeartbeatRequest, *kmsg.AlterPartitionRequest, *kmsg.AllocateProducerIDsRequest,
		*kmsg.AssignReplicasToDirsRequest, *kmsg.ControllerRegistrationRequest:
		return true
	}
	return false
}

// errorCode is the code of an answer to a request of the broker itself.
func errorCode(resp kmsg.Response) protocol.Code {
	switch r := resp.(type) {
	case *kmsg.BrokerRegistrationResponse:
		return protocol.Code(r.ErrorCode)
	case *kmsg.BrokerHeartbeatResponse:
		return protocol.Code(r.ErrorCode)
	case *kmsg.AlterPartitionResponse:
		return protocol.Code(r.ErrorCode)
	case *kmsg.AllocateProducerIDsResponse:
		return protocol.Code(r.ErrorCode)
	case *kmsg.AssignReplicasToDirsResponse:
		return protocol.Code(r.ErrorCode)
	case *kmsg.ControllerRegistrationResponse:
		return protocol.Code(r.ErrorCode)
	}
	return protocol.None
}

// forward sends a client's request in an envelope.
func (c *controllers) forward(ctx context.Context, at controllerAt, req kmsg.Request) (kmsg.Response, error) {
	envelope := kmsg.NewPtrEnvelopeRequest()
	who := controller.CallerOf(ctx)
	if who.Principal == "" { // the broker itself asks
		who.Principal, who.ClientID = api.Anonymous, c.clientID
	}
	if !who.Host.IsValid() { // a connection in memory
		who.Host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	envelope.RequestPrincipal, envelope.ClientHostAddress = api.PrincipalData(who.Principal), who.Host.Unmap().AsSlice()
	envelope.RequestData = kmsg.NewRequestFormatter(kmsg.FormatterClientID(who.ClientID)).AppendRequest(nil, req, 0)[4:] // without the size
	answer, err := c.pool(at, clientRequests).Do(ctx, envelope)
	if err != nil {
		return nil, err
	}
	outer, ok := answer.(*kmsg.EnvelopeResponse)
	switch {
	case !ok:
		return nil, errWrongAnswer
	case outer.ErrorCode != 0:
		return nil, protocol.Code(outer.ErrorCode)
	case len(outer.ResponseData) < 4:
		return nil, errWrongAnswer
	}
	body := outer.ResponseData[4:]
	if req.IsFlexible() {
		if body, err = protocol.SkipTags(body); err != nil {
			return nil, err
		}
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp, readAnswerBody(resp, body)
}

// pool is the connections to the leader for requests of one kind. One that leads no more has none: they fail at once.
func (c *controllers) pool(at controllerAt, key int16) *connPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pools[key]; p != nil && c.leader == at {
		return p
	}
	most := 1
	if key == clientRequests {
		most = forwardedRequests
	}
	p := newConnPool(most, func() *peerConn {
		return newPeerConn(c.dialing, func() (string, error) { return at.address, nil })
	})
	if c.closed || c.leader != at {
		p.Close()
	} else {
		c.pools[key] = p
	}
	return p
}

// find says who leads: as this node's controller sees it, or as one that is asked says.
func (c *controllers) find(ctx context.Context) (controllerAt, error) {
	if c.local != nil {
		id, _, host, port := c.local.Leader()
		if id < 0 || (host == "" && id != c.nodeID) {
			return controllerAt{}, errNoLeader
		}
		at := controllerAt{id, net.JoinHostPort(host, strconv.Itoa(int(port)))}
		c.follow(at)
		return at, nil
	}
	c.mu.Lock()
	at := c.leader
	c.mu.Unlock()
	if at.address != "" {
		return at, nil
	}
	_, at, err := c.locate(ctx)
	if err == nil && at.address == "" {
		err = errNoLeader
	}
	return at, err
}

// follow takes at for the active controller; what is under way to another one fails.
func (c *controllers) follow(at controllerAt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader == at {
		return
	}
	c.leader = at
	for _, p := range c.pools {
		p.Close()
	}
	clear(c.pools)
}

// forget notes that at did not answer as the active controller.
func (c *controllers) forget(at controllerAt) {
	c.mu.Lock()
	known := c.leader == at
	c.mu.Unlock()
	if known && c.local == nil {
		c.follow(controllerAt{})
	}
}

// addresses are those of the controllers: as configured, and as they told of each other.
func (c *controllers) addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Concat(c.seeds, c.known)
	slices.Sort(all)
	return slices.Compact(all)
}

// locate asks the controllers, one after the other, who leads. What the first answers counts: at is empty if it knows of no leader.
func (c *controllers) locate(ctx context.Context) (clusterID string, at controllerAt, err error) {
	addresses := c.addresses()
	err = errNoController
	for range addresses {
		c.mu.Lock()
		address := addresses[c.next%len(addresses)]
		c.next++
		c.mu.Unlock()
		var resp *kmsg.DescribeClusterResponse
		if resp, err = c.describe(ctx, address); err != nil {
			if ctx.Err() != nil {
				return "", at, err
			}
			c.logger.Debug("a controller could not be asked who leads", zap.String("address", address), zap.Error(err))
			continue
		}
		at = c.learn(resp)
		if at.address != "" {
			return resp.ClusterID, at, nil
		}
		clusterID = resp.ClusterID
	}
	return clusterID, at, err
}

// describe asks one controller about the others.
func (c *controllers) describe(ctx context.Context, address string) (*kmsg.DescribeClusterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, locateTimeout)
	defer cancel()
	conn := newPeerConn(c.dialing, func() (string, error) { return address, nil })
	defer conn.Close()
	req := kmsg.NewPtrDescribeClusterRequest()
	req.Version, req.EndpointType = 1, 2 // controllers
	answer, err := conn.Do(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("controller %s: %w", address, err)
	}
	resp, ok := answer.(*kmsg.DescribeClusterResponse)
	switch {
	case !ok:
		return nil, errWrongAnswer
	case resp.ErrorCode != 0:
		return nil, fmt.Errorf("controller %s: %w", address, protocol.Code(resp.ErrorCode))
	}
	return resp, nil
}

// learn takes over who leads, and the addresses of all.
func (c *controllers) learn(resp *kmsg.DescribeClusterResponse) controllerAt {
	var at controllerAt
	var known []string
	for _, b := range resp.Brokers {
		address := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		known = append(known, address)
		if b.NodeID == resp.ControllerID {
			at = controllerAt{b.NodeID, address}
		}
	}
	c.mu.Lock()
	if len(known) > 0 {
		c.known = known
	}
	c.mu.Unlock()
	if at.address != "" {
		c.follow(at)
	}
	return at
}

// clusterID asks the controllers for the id of the cluster until one knows it.
func (c *controllers) clusterID(ctx context.Context) (string, error) {
	told := time.Time{}
	for {
		id, _, err := c.locate(ctx)
		if id != "" {
			return id, nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if now := time.Now(); now.Sub(told) > 5*time.Second {
			c.logger.Warn("waiting for a controller", zap.Strings("controllers", c.addresses()), zap.Error(err))
			told = now
		}
		timer := time.NewTimer(2 * controllerRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return "", context.Cause(ctx)
		}
	}
}

// close ends all connections; what is under way fails.
func (c *controllers) close() {
	c.follow(controllerAt{})
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
}

// metadataSource is the way of a broker's metadata follower to the controllers: the leader while it is known, else one after the other. It has one caller.
type metadataSource struct {
	controllers *controllers
	conn        *peerConn
	at          string // of conn, or of the last one
	next        int    // which of the addresses is next if the leader is of no use
}

// Do implements metadata.Source.
func (s *metadataSource) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	if s.conn == nil {
		at, err := s.choose(ctx)
		if err != nil {
			return nil, err
		}
		s.at, s.conn = at, newPeerConn(s.controllers.dialing, func() (string, error) { return at, nil })
	}
	return s.conn.Do(ctx, req)
}

// choose picks the controller to ask: the leader, unless it was the one that is of no use.
func (s *metadataSource) choose(ctx context.Context) (string, error) {
	s.controllers.mu.Lock()
	leader := s.controllers.leader.address
	s.controllers.mu.Unlock()
	if leader == "" {
		if _, at, err := s.controllers.locate(ctx); err == nil {
			leader = at.address
		}
	}
	if leader != "" && leader != s.at {
		return leader, nil
	}
	all := s.controllers.addresses()
	if len(all) == 0 {
		return "", errNoController
	}
	s.next++
	return all[s.next%len(all)], nil
}

// Switch implements metadata.Source.
func (s *metadataSource) Switch() { s.close() }

// close ends the connection.
func (s *metadataSource) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn.drop()
		s.conn = nil
	}
}
