package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/server/api"
)

// fakeControllers are controllers 1, 2, ... at addresses c1:9093, c2:9093, ..., of which leader is active and down cannot be reached.
type fakeControllers struct {
	servers      []*fakeServer
	leader, down atomic.Int32
	heartbeats   []atomic.Int32 // answered, by controller
	forwarded    atomic.Pointer[kmsg.EnvelopeRequest]
}

func newFakeControllers(t *testing.T, n int) *fakeControllers {
	f := &fakeControllers{heartbeats: make([]atomic.Int32, n+1)}
	f.leader.Store(1)
	for id := int32(1); id <= int32(n); id++ {
		f.servers = append(f.servers, newFakeServer(t, nil, apiVersions(),
			row(kmsg.NewPtrDescribeClusterRequest(), f.describe),
			row(kmsg.NewPtrBrokerHeartbeatRequest(), f.heartbeat(id)), row(kmsg.NewPtrEnvelopeRequest(), f.envelope(id))))
	}
	return f
}

func (f *fakeControllers) describe(_ context.Context, _ *api.Node, r *api.Request) api.Result {
	resp := r.Body.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.ControllerID, resp.ClusterID = f.leader.Load(), "cluster"
	for i := range f.servers {
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: int32(i + 1), Host: fmt.Sprint("c", i+1), Port: 9093})
	}
	return api.Result{Response: resp}
}

func (f *fakeControllers) heartbeat(id int32) api.Handler {
	return func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		resp := r.Body.ResponseKind().(*kmsg.BrokerHeartbeatResponse)
		if f.leader.Load() != id {
			resp.ErrorCode = int16(protocol.NotController)
		}
		f.heartbeats[id].Add(1)
		return api.Result{Response: resp}
	}
}

// envelope answers UnregisterBroker with a code that a client is to see.
func (f *fakeControllers) envelope(id int32) api.Handler {
	return func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		f.forwarded.Store(r.Body.(*kmsg.EnvelopeRequest))
		resp := r.Body.ResponseKind().(*kmsg.EnvelopeResponse)
		if f.leader.Load() != id {
			resp.ErrorCode = int16(protocol.NotController)
			return api.Result{Response: resp}
		}
		inner := kmsg.NewPtrUnregisterBrokerResponse()
		inner.ErrorCode = int16(protocol.BrokerIDNotRegistered)
		resp.ResponseData = inner.AppendTo([]byte{0, 0, 0, 0, 0})
		return api.Result{Response: resp}
	}
}

func (f *fakeControllers) dialing() dialing {
	return dialing{config: config.Defaults, clientID: "test", dial: func(ctx context.Context, _, address string) (net.Conn, error) {
		var id int
		if _, err := fmt.Sscanf(address, "c%d:9093", &id); err != nil || int32(id) == f.down.Load() {
			return nil, errors.New("refused")
		}
		here, there := net.Pipe()
		select {
		case f.servers[id-1].pipe.conns <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

func (f *fakeControllers) client(t *testing.T, seeds ...string) *controllers {
	c := newControllers(9, nil, seeds, f.dialing(), zap.NewNop())
	t.Cleanup(c.close)
	return c
}

func beat(t *testing.T, c *controllers) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := c.Handle(ctx, kmsg.NewPtrBrokerHeartbeatRequest())
	if err != nil || resp.(*kmsg.BrokerHeartbeatResponse).ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
}

func TestControllersFindTheActiveOne(t *testing.T) {
	f := newFakeControllers(t, 3)
	c := f.client(t, "c3:9093") // the others are learned of
	if c.ActiveID() != -1 {
		t.Errorf("active %d before anybody was asked", c.ActiveID())
	}
	beat(t, c)
	if c.ActiveID() != 1 || f.heartbeats[1].Load() != 1 {
		t.Errorf("active %d", c.ActiveID())
	}
	f.leader.Store(2) // which controller 1 says
	beat(t, c)
	if c.ActiveID() != 2 || f.heartbeats[2].Load() != 1 {
		t.Errorf("active %d", c.ActiveID())
	}
	f.down.Store(2) // which nobody says
	f.servers[1].stop()
	f.leader.Store(3)
	beat(t, c)
	if c.ActiveID() != 3 {
		t.Errorf("active %d", c.ActiveID())
	}
	if id, err := c.clusterID(t.Context()); id != "cluster" || err != nil {
		t.Errorf("cluster %q %v", id, err)
	}
}

func TestControllersForwardInEnvelopes(t *testing.T) {
	f := newFakeControllers(t, 2)
	c := f.client(t, "c1:9093", "c2:9093")
	beat(t, c)
	f.leader.Store(2)
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = 5
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx = controller.WithCaller(ctx, controller.Caller{ClientID: "app", Principal: "alice", Host: netip.MustParseAddr("10.0.0.7")})
	resp, err := c.Handle(ctx, req)
	if err != nil || protocol.Code(resp.(*kmsg.UnregisterBrokerResponse).ErrorCode) != protocol.BrokerIDNotRegistered {
		t.Fatalf("%+v %v", resp, err)
	}
	e := f.forwarded.Load()
	header := kmsg.NewRequestFormatter(kmsg.FormatterClientID("app")).AppendRequest(nil, req, 0)[4:]
	if string(e.ClientHostAddress) != string([]byte{10, 0, 0, 7}) || string(e.RequestPrincipal) != string(api.PrincipalData("alice")) || string(e.RequestData) != string(header) {
		t.Errorf("%+v", e)
	}
}

func TestControllersGiveUpWithTheContext(t *testing.T) {
	f := newFakeControllers(t, 1)
	f.leader.Store(-1)
	c := f.client(t, "c1:9093", "nowhere:1")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Handle(ctx, kmsg.NewPtrBrokerHeartbeatRequest()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	c.close()
	if _, err := c.Handle(t.Context(), kmsg.NewPtrBrokerHeartbeatRequest()); err == nil {
		t.Error("an answer after the end")
	}
}

func TestMetadataSourceSwitches(t *testing.T) {
	f := newFakeControllers(t, 3)
	s := &metadataSource{controllers: f.client(t, "c1:9093")}
	defer s.close()
	do := func() {
		t.Helper()
		if _, err := s.Do(t.Context(), kmsg.NewPtrDescribeClusterRequest()); err != nil {
			t.Fatal(err)
		}
	}
	do()
	if s.at != "c1:9093" {
		t.Errorf("asked %s, not the leader", s.at)
	}
	asked := map[string]bool{}
	for range 6 {
		s.Switch()
		do()
		asked[s.at] = true
	}
	if len(asked) != 3 {
		t.Errorf("asked %v only", asked)
	}
}

func TestControllerListenerHandsRaftOver(t *testing.T) {
	s := newFakeServer(t, nil, apiVersions())
	dialled := make(chan string, 1)
	transport := newRaftTransport(s.pipe.Addr(), func(_ context.Context, _, address string) (net.Conn, error) {
		dialled <- address
		return nil, errors.New("refused")
	})
	second := newPipeListener()
	s.mu.Lock()
	s.handOver = transport.take // before the first connection
	s.mu.Unlock()
	s.serve("CONTROLLER", second)

	raft := second.dial(t)
	go func() { _, _ = raft.Write([]byte{controller.RaftPreface, 'h', 'e', 'l', 'l', 'o'}) }()
	nc, err := transport.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "\xf7hello" {
		t.Errorf("%q %v", got, err)
	}
	go func() { _, _ = nc.Write([]byte("back")) }()
	if _, err := io.ReadFull(raft, got[:4]); err != nil || string(got[:4]) != "back" {
		t.Errorf("%q %v", got[:4], err)
	}
	_ = nc.Close()
	kafka := second.dial(t)
	if resp := kafka.ask(kmsg.NewPtrApiVersionsRequest()).(*kmsg.ApiVersionsResponse); len(resp.ApiKeys) != 1 {
		t.Errorf("%+v", resp)
	}
	if _, err := transport.Dial(t.Context(), "c2:9093"); err == nil || <-dialled != "c2:9093" {
		t.Errorf("%v", err)
	}
	if err := transport.Close(); err != nil {
		t.Fatal(err)
	}
	late := second.dial(t)
	go func() { _, _ = late.Write([]byte{controller.RaftPreface}) }()
	late.closed()
	if _, err := transport.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}
