package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol/config"
)

func TestMaxConnectionsPerIP(t *testing.T) {
	for name, c := range map[string]struct {
		static map[string]string
		most   int
	}{
		"limit":              {map[string]string{"max.connections.per.ip": "2"}, 2},
		"override":           {map[string]string{"max.connections.per.ip": "0", "max.connections.per.ip.overrides": "127.0.0.1:3"}, 3},
		"override of others": {map[string]string{"max.connections.per.ip": "1", "max.connections.per.ip.overrides": "10.0.0.1:7,10.0.0.2:8"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t, c.static, row(metadataRequest(), echo))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s.serve("TCP", l)
			dial := func() *client {
				nc, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = nc.Close() })
				return &client{t: t, Conn: nc}
			}
			for range c.most {
				dial().ask(metadataRequest())
			}
			if b, err := dial().readFrame(); err == nil {
				t.Errorf("one more was answered %x", b)
			}
		})
	}
}

func TestIPLimitOfIPv6(t *testing.T) {
	values, err := config.FromStatic(map[string]string{"max.connections.per.ip.overrides": "[::1]:5, fe80::1:6,broken"})
	if err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]int{"::1": 5, "fe80::1": 6, "::2": 1<<31 - 1} {
		if got := ipLimit(values, netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %d, want %d", ip, got, want)
		}
	}
}

func TestRequestMemory(t *testing.T) {
	values, err := config.FromStatic(map[string]string{"queued.max.request.bytes": "200000000"})
	if err != nil {
		t.Fatal(err)
	}
	if got := requestMemory(values); got != 200_000_000 {
		t.Errorf("%d", got)
	}
	if got := requestMemory(config.Defaults()); got < minRequestMemory || got > maxRequestMemory {
		t.Errorf("%d by default", got)
	}
}

// limitedServer has two listeners, INSIDE for brokers and OUTSIDE, and values that change while it runs.
type limitedServer struct {
	*fakeServer
	t         *testing.T
	values    atomic.Pointer[config.Values]
	addresses map[string]string
}

func newLimitedServer(t *testing.T, dynamic map[string]string) *limitedServer {
	s := &limitedServer{fakeServer: newFakeServer(t, nil, row(metadataRequest(), echo)), t: t, addresses: map[string]string{}}
	s.interBroker = "INSIDE"
	s.node.Config = func() config.Values { return *s.values.Load() }
	s.set(dynamic)
	for _, name := range []string{"INSIDE", "OUTSIDE"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.addresses[name] = l.Addr().String()
		s.serve(name, l)
	}
	return s
}

// set has these be the dynamic configs of all brokers.
func (s *limitedServer) set(dynamic map[string]string) {
	v := config.Defaults().WithDynamic(dynamic, nil)
	s.values.Store(&v)
	s.limitsChanged()
}

// dial connects, and asks; whether it is answered depends.
func (s *limitedServer) dial(listener string) *client {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.addresses[listener])
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	c := &client{t: s.t, Conn: nc}
	c.send(metadataRequest())
	return c
}

// served dials n times, each when the last was answered.
func (s *limitedServer) served(listener string, n int) []*client {
	s.t.Helper()
	all := make([]*client, n)
	for i := range all {
		all[i] = s.dial(listener)
		all[i].answer(metadataRequest(), 1)
	}
	return all
}

// has waits until there are so many connections of a listener.
func (s *limitedServer) has(listener string, want int) {
	s.t.Helper()
	now := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.perListener[listener]
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); now() != want; <-tick.C {
		if time.Now().After(end) {
			s.t.Fatalf("%d connections of %s, want %d", now(), listener, want)
		}
	}
}

// gone fails the test unless the server closes c without another byte.
func (s *limitedServer) gone(c *client) {
	s.t.Helper()
	if b, err := c.readFrame(); err == nil {
		s.t.Fatalf("answered %x, want a closed connection", b)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Fatal("the connection is open")
	}
}

// A listener has as many connections as its own limit says, and takes no other when that is changed.
func TestMaxConnectionsOfAListener(t *testing.T) {
	const key = "listener.name.outside.max.connections"
	s := newLimitedServer(t, map[string]string{key: "2"})
	outside := s.served("OUTSIDE", 2)
	third, fourth := s.dial("OUTSIDE"), s.dial("OUTSIDE")
	s.served("INSIDE", 3) // which has no limit
	s.has("OUTSIDE", 2)
	_ = outside[0].Close()
	third.answer(metadataRequest(), 1)
	s.set(map[string]string{key: "3"})
	fourth.answer(metadataRequest(), 1)
	s.has("OUTSIDE", 3)
	s.set(map[string]string{key: "1"}) // nobody is closed for that
	for _, c := range []*client{outside[1], third, fourth} {
		c.ask(metadataRequest())
	}
	s.set(map[string]string{maxConnections: "4", key: "50"}) // one listener's limit is none of the broker's
	fifth := s.dial("OUTSIDE")
	s.gone(outside[1]) // there were six
	s.gone(third)
	fourth.ask(metadataRequest())
	s.has("OUTSIDE", 1)
	_ = fourth.Close()
	fifth.answer(metadataRequest(), 1)
}

// For a connection of the brokers' listener one of the clients' is closed, the one that was unused for longest; the brokers' own number is limited like any listener's.
func TestBrokersTakeThePlacesOfClients(t *testing.T) {
	s := newLimitedServer(t, map[string]string{maxConnections: "3"})
	outside := s.served("OUTSIDE", 3)
	outside[0].ask(metadataRequest())
	inside := s.served("INSIDE", 1)
	s.gone(outside[1])
	s.has("OUTSIDE", 2)
	outside[2].ask(metadataRequest())
	inside = append(inside, s.served("INSIDE", 2)...)
	s.gone(outside[0])
	s.gone(outside[2])
	fourth := s.dial("INSIDE")
	for _, c := range inside {
		c.ask(metadataRequest())
	}
	s.has("INSIDE", 3)
	_ = inside[1].Close()
	fourth.answer(metadataRequest(), 1)
}

// When max.connections is lowered the connections that are unused for longest are closed until the rest is within it, whether they rest or not.
func TestMaxConnectionsLowered(t *testing.T) {
	s := newLimitedServer(t, nil)
	outside := s.served("OUTSIDE", 5)
	for i := len(outside) - 1; i >= 0; i-- {
		outside[i].ask(metadataRequest())
	}
	s.set(map[string]string{maxConnections: "2"})
	for _, c := range outside[2:] {
		s.gone(c)
	}
	for _, c := range outside[:2] {
		c.ask(metadataRequest())
	}
	s.has("OUTSIDE", 2)
}
