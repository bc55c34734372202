//go:build linux

package server

import (
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/ottla/ottla/server/api"
)

// newTCPServer serves rows on a port of this machine, which is returned.
func newTCPServer(t testing.TB, static map[string]string, rows ...api.Route) (*fakeServer, string) {
	t.Helper()
	s := newFakeServer(t, static, rows...)
	s.resting.most = restAfter
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.serve("TCP", l)
	return s, l.Addr().String()
}

func dialTCP(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &client{t: t, Conn: nc}
}

// until fails the test if what does not become true soon.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !is(); <-ticker.C {
		if time.Now().After(end) {
			t.Fatalf("%s did not come", what)
		}
	}
}

// restingConns counts the connections that rest.
func (s *fakeServer) restingConns() int {
	a := &s.resting
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, r := range a.byFD {
		if r != nil {
			n++
		}
	}
	return n
}

func (s *fakeServer) conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// TestQuietConnectionsRest without a goroutine, and go on as if nothing had been.
func TestQuietConnectionsRest(t *testing.T) {
	states := make(chan api.Conn, 100)
	remotes := make(chan netip.AddrPort, 100)
	s, addr := newTCPServer(t, nil, row(metadataRequest(), func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		states <- *r.Conn
		remotes <- r.Remote
		r.Conn.SoftwareName = "tester"
		return api.Result{Response: r.Body.ResponseKind()}
	}))
	const n = 50
	before := runtime.NumGoroutine()
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = dialTCP(t, addr)
		clients[i].ask(metadataRequest())
		<-states
		<-remotes
	}
	for round := range 3 {
		until(t, "rest", func() bool { return s.restingConns() == n })
		until(t, "the end of the goroutines", func() bool { return runtime.NumGoroutine() <= before+1 })
		for _, c := range clients {
			c.ask(metadataRequest())
			if state := <-states; state.SoftwareName != "tester" {
				t.Fatalf("round %d: the connection forgot %+v", round, state)
			}
			if got := (<-remotes).String(); got != c.LocalAddr().String() {
				t.Fatalf("round %d: the client is %s, the request came from %s", round, c.LocalAddr(), got)
			}
		}
	}
}

// TestRestIsNotTakenInsideARequest: neither a half frame nor a parked request lets a connection rest.
func TestRestIsNotTakenInsideARequest(t *testing.T) {
	release := make(chan struct{})
	s, addr := newTCPServer(t, nil, row(metadataRequest(), echo), row(fetchRequest(), parked(release, nil)))
	half, waiting, quiet := dialTCP(t, addr), dialTCP(t, addr), dialTCP(t, addr)
	whole := frameOf(1, metadataRequest())
	half.write(whole[:7])
	correlation := waiting.send(fetchRequest())
	quiet.ask(metadataRequest())
	until(t, "the rest of the quiet one", func() bool { return s.restingConns() == 1 })
	half.write(whole[7:])
	half.answer(metadataRequest(), 1)
	close(release)
	waiting.answer(fetchRequest(), correlation)
	until(t, "the rest of all", func() bool { return s.restingConns() == 3 })
	waiting.ask(metadataRequest())
}

// TestRestingConnectionsAreWatched: the client's going, and idleness, end them.
func TestRestingConnectionsAreWatched(t *testing.T) {
	s, addr := newTCPServer(t, nil, row(metadataRequest(), echo))
	gone := dialTCP(t, addr)
	gone.ask(metadataRequest())
	until(t, "rest", func() bool { return s.restingConns() == 1 })
	_ = gone.Close()
	until(t, "the end of the closed one", func() bool { return s.conns() == 0 })

	s, addr = newTCPServer(t, map[string]string{"connections.max.idle.ms": "3000"}, row(metadataRequest(), echo))
	idle := dialTCP(t, addr)
	began := time.Now() // before its last request, as the server counts from there
	idle.ask(metadataRequest())
	until(t, "rest", func() bool { return s.restingConns() == 1 || s.conns() == 0 }) // the end already, if this test was not run for seconds
	idle.closed()
	if took := time.Since(began); took < 2500*time.Millisecond {
		t.Errorf("closed as idle after %v", took)
	}
	until(t, "the end of the idle one", func() bool { return s.conns() == 0 })
}

// TestRestingConnectionsCount against the limits.
func TestRestingConnectionsCount(t *testing.T) {
	s, addr := newTCPServer(t, map[string]string{"max.connections.per.ip": "1"}, row(metadataRequest(), echo))
	first := dialTCP(t, addr)
	first.ask(metadataRequest())
	until(t, "rest", func() bool { return s.restingConns() == 1 })
	if _, err := dialTCP(t, addr).Read(make([]byte, 1)); err == nil {
		t.Error("a second connection was served")
	}
	first.ask(metadataRequest())
	_ = first.Close()
	until(t, "the end", func() bool { return s.conns() == 0 })
	dialTCP(t, addr).ask(metadataRequest())
}

// TestStopEndsRestingConnections at once.
func TestStopEndsRestingConnections(t *testing.T) {
	s, addr := newTCPServer(t, nil, row(metadataRequest(), echo))
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = dialTCP(t, addr)
		clients[i].ask(metadataRequest())
	}
	until(t, "rest", func() bool { return s.restingConns() == len(clients) })
	s.shutdown(t.Context())
	for _, c := range clients {
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%v, want the end of the stream", err)
		}
	}
	if n := s.conns(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestIdleConnectionsAreSmall bounds what a resting connection and its client's end take of heap and stacks together.
func TestIdleConnectionsAreSmall(t *testing.T) {
	s, addr := newTCPServer(t, map[string]string{"connections.max.idle.ms": "600000"}, row(metadataRequest(), echo))
	const n = 1000
	before := heapInUse()
	for range n {
		dialTCP(t, addr).ask(metadataRequest())
	}
	until(t, "rest", func() bool { return s.restingConns() == n })
	s.logs.TakeAll() // what was logged of each request is not the connections'
	each := int64(0)
	until(t, "a size of at most 1500 bytes", func() bool { // pools give up what they have in the second collection only
		each = (heapInUse() - before) / n
		return each <= 1500
	})
	t.Logf("a connection takes %d bytes", each)
}
