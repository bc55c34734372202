package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/server/api"
)

// apiVersions is the row of ApiVersions, without which nobody talks to a server.
func apiVersions() api.Route { return *api.NewRoutes(api.Table()).Get(keyAPIVersions) }

// dialingTo is how connections to a fake server are made; dials counts them.
func dialingTo(s *fakeServer, dials *atomic.Int32) dialing {
	return dialing{config: config.Defaults, clientID: "test", dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case s.pipe.conns <- there:
			dials.Add(1)
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

func somewhere() (string, error) { return "there:1", nil }

func newTestPeer(t *testing.T, s *fakeServer) (*peerConn, *atomic.Int32) {
	dials := &atomic.Int32{}
	c := newPeerConn(dialingTo(s, dials), somewhere)
	t.Cleanup(func() { c.Close(); c.drop() })
	return c, dials
}

func TestPeerConnNegotiatesVersions(t *testing.T) {
	epochs, markers := row(kmsg.NewPtrOffsetForLeaderEpochRequest(), echo), row(kmsg.NewPtrWriteTxnMarkersRequest(), echo)
	epochs.Max, markers.Min = 2, 1
	c, dials := newTestPeer(t, newFakeServer(t, nil, apiVersions(), epochs, markers))
	for asked, want := range map[int16]int16{4: 2, 2: 2, 1: 1} {
		req := &kmsg.OffsetForLeaderEpochRequest{Version: asked}
		resp, err := c.Do(t.Context(), req)
		if err != nil || resp.GetVersion() != want || req.Version != want {
			t.Errorf("v%d: %+v %v, want v%d", asked, resp, err, want)
		}
	}
	for _, req := range []kmsg.Request{&kmsg.WriteTxnMarkersRequest{Version: 0}, kmsg.NewPtrMetadataRequest()} {
		if _, err := c.Do(t.Context(), req); !errors.Is(err, protocol.UnsupportedVersion) {
			t.Errorf("key %d: %v", req.Key(), err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// lastByteConn calls arrived before it hands over what it has read.
type lastByteConn struct {
	net.Conn
	arrived func()
}

func (c lastByteConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.arrived()
	return n, err
}

func (c lastByteConn) SetDeadline(time.Time) error { return nil }

// TestPeerConnWhoseTimeEndsWithTheVersions: the answer is there, and the connection is not to be used any more.
func TestPeerConnWhoseTimeEndsWithTheVersions(t *testing.T) {
	s := newFakeServer(t, nil, apiVersions())
	ctx, cancel := context.WithCancel(t.Context())
	d := dialingTo(s, &atomic.Int32{})
	dial := d.dial
	d.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		return lastByteConn{nc, cancel}, err
	}
	c := newPeerConn(d, somewhere)
	t.Cleanup(func() { c.Close(); c.drop() })
	if _, err := c.Do(ctx, kmsg.NewPtrApiVersionsRequest()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

func TestPeerConnReadsFetchIntoItsBuffer(t *testing.T) {
	records := []byte("records of a batch")
	fetch := row(kmsg.NewPtrFetchRequest(), func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		resp := r.Body.ResponseKind().(*kmsg.FetchResponse)
		resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{{RecordBatches: records}}}}
		return api.Result{Response: resp}
	})
	snapshot := row(kmsg.NewPtrFetchSnapshotRequest(), func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		resp := r.Body.ResponseKind().(*kmsg.FetchSnapshotResponse)
		resp.Topics = []kmsg.FetchSnapshotResponseTopic{{Partitions: []kmsg.FetchSnapshotResponseTopicPartition{{Bytes: records}}}}
		return api.Result{Response: resp}
	})
	c, _ := newTestPeer(t, newFakeServer(t, nil, apiVersions(), fetch, snapshot))
	do := func(req kmsg.Request) kmsg.Response {
		t.Helper()
		req.SetVersion(req.MaxVersion())
		resp, err := c.Do(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	batches := func() []byte {
		return do(kmsg.NewPtrFetchRequest()).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
	}
	first := batches()
	if string(first) != string(records) {
		t.Fatalf("%q", first)
	}
	kept := do(kmsg.NewPtrFetchSnapshotRequest()).(*kmsg.FetchSnapshotResponse).Topics[0].Partitions[0].Bytes
	records = []byte("RECORDS OF ANOTHER")
	if second := batches(); string(second) != string(records) || unsafe.SliceData(second) != unsafe.SliceData(first) {
		t.Errorf("%q: not in the buffer of the connection", second)
	}
	if string(kept) != "records of a batch" {
		t.Errorf("what another answer held has changed: %q", kept)
	}
}

func TestPeerConnGivesUpWithItsContext(t *testing.T) {
	release, waits := make(chan struct{}), make(chan error, 4)
	c, dials := newTestPeer(t, newFakeServer(t, nil, apiVersions(), row(kmsg.NewPtrMetadataRequest(), parked(release, waits))))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // once the request is there
		<-waits
		cancel()
	}()
	if _, err := c.Do(ctx, kmsg.NewPtrMetadataRequest()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
	if _, err := c.Do(t.Context(), kmsg.NewPtrMetadataRequest()); err != nil {
		t.Errorf("the next request: %v", err)
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestPeerConnCloseEndsRequests(t *testing.T) {
	waits := make(chan error, 2)
	c, _ := newTestPeer(t, newFakeServer(t, nil, apiVersions(), row(kmsg.NewPtrMetadataRequest(), parked(nil, waits))))
	done := make(chan error, 1)
	go func() {
		_, err := c.Do(context.WithoutCancel(t.Context()), kmsg.NewPtrMetadataRequest())
		done <- err
	}()
	within(t, "the request", waits)
	c.Close()
	if err := within(t, "the end", done); !errors.Is(err, errPeerClosed) {
		t.Errorf("%v", err)
	}
	if _, err := c.Do(t.Context(), kmsg.NewPtrMetadataRequest()); !errors.Is(err, errPeerClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestPeerConnSpacesAttemptsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin := time.Now()
		refused := errors.New("refused")
		c := newPeerConn(dialing{config: config.Defaults, dial: func(context.Context, string, string) (net.Conn, error) {
			at = append(at, time.Since(begin))
			return nil, refused
		}}, somewhere)
		defer c.Close()
		for range 8 {
			if _, err := c.Do(t.Context(), kmsg.NewPtrMetadataRequest()); !errors.Is(err, refused) {
				t.Fatal(err)
			}
		}
		if at[0] != 0 {
			t.Errorf("the first attempt waited %v", at[0])
		}
		for i, want := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
			if gap := at[i+1] - at[i]; gap < want*800*time.Microsecond || gap > want*1200*time.Microsecond {
				t.Errorf("attempt %d came after %v, want about %d ms", i+2, gap, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := c.Do(ctx, kmsg.NewPtrMetadataRequest()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that cannot wait: %v", err)
		}
	})
}

func TestPeerConnLimitsTheSetup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPeerConn(dialing{config: config.Defaults, dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, somewhere)
		defer c.Close()
		begin := time.Now()
		if _, err := c.Do(t.Context(), kmsg.NewPtrMetadataRequest()); err == nil || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestPeerConnRefusesWhatIsNoAnswer(t *testing.T) {
	for name, answer := range map[string][]byte{
		"another correlation id": {0, 0, 0, 6, 0, 0, 0, 99, 0, 0},
		"a negative size":        {255, 255, 255, 255, 0, 0, 0, 1},
		"a size below a header":  {0, 0, 0, 3, 0, 0, 0, 1},
		"a body that ends early": {0, 0, 0, 5, 0, 0, 0, 1, 0},
		"the end in a frame":     {0, 0, 1, 0, 0, 0, 0, 1, 0},
	} {
		here, there := net.Pipe()
		go func() {
			var size [4]byte
			_, _ = io.ReadFull(there, size[:])
			_, _ = io.CopyN(io.Discard, there, int64(binary.BigEndian.Uint32(size[:])))
			_, _ = there.Write(answer)
			_ = there.Close()
		}()
		c := newPeerConn(dialing{config: config.Defaults, dial: func(context.Context, string, string) (net.Conn, error) { return here, nil }}, somewhere)
		if _, err := c.Do(t.Context(), kmsg.NewPtrMetadataRequest()); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
}

func TestConnPoolBoundsAndReuses(t *testing.T) {
	release, waits := make(chan struct{}), make(chan error, 10)
	s := newFakeServer(t, nil, apiVersions(), row(kmsg.NewPtrMetadataRequest(), parked(release, waits)))
	dials := &atomic.Int32{}
	pool := newConnPool(2, func() *peerConn { return newPeerConn(dialingTo(s, dials), somewhere) })
	defer pool.Close()
	done := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := pool.Do(t.Context(), kmsg.NewPtrMetadataRequest())
			done <- err
		}()
	}
	within(t, "the first request", waits)
	within(t, "the second request", waits)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := pool.Do(ctx, kmsg.NewPtrMetadataRequest()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request without room: %v", err)
	}
	close(release)
	for range 3 {
		if err := within(t, "an answer", done); err != nil {
			t.Error(err)
		}
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections for two requests at once", n)
	}
	pool.Close()
	if _, err := pool.Do(t.Context(), kmsg.NewPtrMetadataRequest()); !errors.Is(err, errPeerClosed) {
		t.Errorf("after the end: %v", err)
	}
}
