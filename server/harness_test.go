package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

// pipeListener is a net.Listener whose connections are net.Pipes.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (l *pipeListener) dial(t testing.TB) *client {
	t.Helper()
	here, there := net.Pipe()
	select {
	case l.conns <- there:
	case <-l.done:
		t.Fatal("the listener is closed")
	}
	t.Cleanup(func() { _ = here.Close() })
	return &client{t: t, Conn: here}
}

// client speaks raw frames.
type client struct {
	t testing.TB
	net.Conn
	correlation int32
}

// frameOf is a request frame with its size; the client id is "test".
func frameOf(correlation int32, req kmsg.Request) []byte {
	body := req.AppendTo(nil)
	return rawFrame(req.Key(), req.GetVersion(), correlation, req.IsFlexible(), body)
}

func rawFrame(key, version int16, correlation int32, flexible bool, body []byte) []byte {
	b := make([]byte, 4)
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = append(b, 0, 4, 't', 'e', 's', 't')
	if flexible {
		b = append(b, 0)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// send writes a request and returns its correlation id.
func (c *client) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.correlation++
	c.write(frameOf(c.correlation, req))
	return c.correlation
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// frame reads one response frame without its size.
func (c *client) frame() []byte {
	c.t.Helper()
	b, err := c.readFrame()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return b
}

func (c *client) readFrame() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

// answer reads the response of req, which must be the next and have the given correlation id.
func (c *client) answer(req kmsg.Request, correlation int32) kmsg.Response {
	c.t.Helper()
	b := c.frame()
	if got := int32(binary.BigEndian.Uint32(b)); got != correlation {
		c.t.Fatalf("answer to %d, want %d", got, correlation)
	}
	b = b[4:]
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != keyAPIVersions {
		if b[0] != 0 {
			c.t.Fatalf("response header has tags: %x", b[0])
		}
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		c.t.Fatalf("response: %v", err)
	}
	return resp
}

func (c *client) ask(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	return c.answer(req, c.send(req))
}

// closed fails the test unless the server closes the connection without another byte.
func (c *client) closed() {
	c.t.Helper()
	b, err := io.ReadAll(c)
	if err != nil || len(b) > 0 {
		c.t.Fatalf("read %x, %v; want a closed connection", b, err)
	}
}

// fakeServer is a socketServer over given rows.
type fakeServer struct {
	*socketServer
	pipe *pipeListener
	logs *observer.ObservedLogs
	node *api.Node
}

// newFakeServer serves rows on a pipe listener until the test ends.
func newFakeServer(t testing.TB, static map[string]string, rows ...api.Route) *fakeServer {
	t.Helper()
	values, err := config.FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	image := metadata.Empty()
	node := &api.Node{
		NodeID: 1, ClusterID: "cluster", Config: func() config.Values { return values },
		Image: func() *metadata.Image { return image }, Routes: api.NewRoutes(rows), Logger: zap.New(core),
	}
	s := &fakeServer{socketServer: newSocketServer(node, zap.New(core)), pipe: newPipeListener(), logs: logs, node: node}
	s.serve("PLAINTEXT", s.pipe)
	t.Cleanup(s.stop)
	return s
}

// stop shuts down with no patience.
func (s *fakeServer) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.shutdown(ctx)
}

// row is the row of a kmsg request with all its versions.
func row(req kmsg.Request, handle api.Handler) api.Route {
	return api.Route{Key: req.Key(), Name: kmsg.NameForKey(req.Key()), Max: req.MaxVersion(), Handle: handle}
}

// echo answers with an empty response.
func echo(_ context.Context, _ *api.Node, r *api.Request) api.Result {
	return api.Result{Response: r.Body.ResponseKind()}
}

// parked answers when release is closed, or fails when its connection ends; ended, if not nil, is told that it waits (errParked) and then why
// it stopped.
func parked(release <-chan struct{}, ended chan<- error) api.Handler {
	return func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		body := r.Body
		return api.Result{Later: func(ctx context.Context) api.Result {
			var err error
			if ended != nil {
				ended <- errParked
			}
			select {
			case <-release:
			case <-ctx.Done():
				err = ctx.Err()
			}
			if ended != nil {
				ended <- err
			}
			return api.Result{Response: body.ResponseKind()}
		}}
	}
}

var errParked = errors.New("parked")

// patience is how long the slowest machine may take for what is a matter of milliseconds.
const patience = time.Minute

// within fails the test if what does not come soon.
func within[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}
