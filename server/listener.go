package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/threads"
	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/server/meter"
)

const (
	minRequestMemory = 64 << 20
	maxRequestMemory = 1 << 30
	// requestMemoryShare is the part of the machine's memory for requests where queued.max.request.bytes is not set.
	requestMemoryShare = 8
	// assumedMemory is taken for the machine's where that is not known.
	assumedMemory = 4 << 30

	acceptBackoffMin = 5 * time.Millisecond
	acceptBackoffMax = time.Second

	// A broker that has handed over what it led serves until no request has come for lingerQuiet, at most for lingerLimit.
	lingerQuiet = 100 * time.Millisecond
	lingerLimit = 300 * time.Millisecond
)

// requestLogger is below the logger of connections.
const requestLogger = "request"

// socketServer owns the client listeners of one broker, or the controller listeners of one controller, their connections and what these share: the memory for requests, buffers, limits.
// Each listener has an accepting goroutine, each connection those of conn, all that rest have one together; shutdown stops them all and waits for them.
type socketServer struct {
	node     *api.Node
	logger   *zap.Logger
	logs     *logLimiter
	slowLogs *logLimiter // of slow requests
	// requestLog tells each request at DEBUG, which nobody gets who has not asked for it.
	requestLog *zap.Logger
	budget     *budget
	buffers    bufferPool
	answers    sync.Pool
	conns      sync.Pool

	quotas  *quotas       // nil: clients have none
	closing chan struct{} // closed by shutdown
	// interBroker is the brokers' listener, which the limits of the whole broker do not hold up while clients have another, see protected.
	interBroker string

	// handOver takes a connection that is not one of Kafka's protocol, by its first byte, with what was read of it; nil: there are none.
	handOver func(ctx context.Context, nc net.Conn, read []byte)

	sending sync.Map // name of a listener to its *threads.Pool, see senders
	queued  int      // queued.max.requests

	maxFrame               int32
	maxIdle                time.Duration
	sendBuffer, recvBuffer int // bytes; negative: the system's

	ctx     context.Context // of all connections
	cancel  context.CancelFunc
	running sync.WaitGroup

	connections, requests, refused, bytesOut atomic.Int64 // since the start
	born                                     time.Time
	counts                                   meter.Requests
	codes                                    answerCodes
	slow                                     time.Duration // requests that take so long are logged; 0: none

	mu          sync.Mutex // guards what follows
	room        sync.Cond  // signalled when a connection ended or the server stops
	stopping    bool
	listeners   []servedListener
	open        map[*conn]struct{} // those that do not rest
	count       int                // of open and resting connections
	perListener map[string]int     // of them
	perIP       map[netip.Addr]int
	resting     restArea // has a lock of its own
}

// servedListener is an open socket of a listener.
type servedListener struct {
	name   string
	socket net.Listener
}

// newSocketServer prepares a server for node; its node.Routes are set if they are not. serve starts it.
func newSocketServer(node *api.Node, logger *zap.Logger) *socketServer {
	if node.Routes == nil {
		node.Routes = api.NewRoutes(api.Table())
	}
	values := node.Config()
	if node.Threads == nil {
		node.Threads = threads.New(values.Int("num.io.threads"))
	}
	s := &socketServer{
		node: node, logger: logger, logs: &logLimiter{logger: logger}, slowLogs: &logLimiter{logger: logger.Named("slow")}, requestLog: logger.Named(requestLogger),
		budget:      newBudget(requestMemory(values)),
		maxFrame:    int32(values.Int("socket.request.max.bytes")),
		queued:      values.Int("queued.max.requests"),
		maxIdle:     values.Duration("connections.max.idle.ms"),
		sendBuffer:  values.Int("socket.send.buffer.bytes"),
		recvBuffer:  values.Int("socket.receive.buffer.bytes"),
		open:        map[*conn]struct{}{},
		perListener: map[string]int{},
		perIP:       map[netip.Addr]int{},
		closing:     make(chan struct{}),
		born:        time.Now(),
		slow:        max(0, values.Duration("ottla.log.slow.request.ms")),
	}
	s.room.L = &s.mu
	s.resting = restArea{server: s, most: restAfterMost, idle: s.maxIdle}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// requestMemory is queued.max.request.bytes, or a share of the machine's memory.
func requestMemory(v config.Values) int64 {
	if n := v.Int64("queued.max.request.bytes"); n > 0 {
		return n
	}
	memory := MachineMemory()
	if memory == 0 {
		memory = assumedMemory
	}
	return min(max(memory/requestMemoryShare, minRequestMemory), maxRequestMemory)
}

// serve accepts the connections of a listener by its name until withdraw or shutdown, which close it. It returns at once.
func (s *socketServer) serve(name string, l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		_ = l.Close()
		return
	}
	s.listeners = append(s.listeners, servedListener{name, l})
	s.resting.admit(name)
	s.running.Go(func() { s.accept(name, l) })
}

// withdraw stops serving a listener: no further connection comes about, answers that are under way leave, and then its connections end.
func (s *socketServer) withdraw(name string) {
	s.mu.Lock()
	for _, l := range s.listeners {
		if l.name == name {
			_ = l.socket.Close()
		}
	}
	s.listeners = slices.DeleteFunc(s.listeners, func(l servedListener) bool { return l.name == name })
	for c := range s.open {
		if c.listener == name {
			c.drain()
		}
	}
	s.room.Broadcast()
	s.mu.Unlock()
	s.resting.banish(name)
	s.sending.Delete(name)
}

// closed reports whether a listener is no longer to be served. mu is held.
func (s *socketServer) closed(name string) bool {
	return s.stopping || !slices.ContainsFunc(s.listeners, func(l servedListener) bool { return l.name == name })
}

func (s *socketServer) accept(name string, l net.Listener) {
	backoff := acceptBackoffMin
	for {
		nc, err := l.Accept()
		if err == nil {
			backoff = acceptBackoffMin
			if s.quotas == nil || s.pace(name, nc) {
				s.admit(name, nc)
			}
			continue
		}
		if s.isClosed(name) || errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of descriptors, most likely: it passes when connections end.
		s.logs.warn("cannot accept connections", zap.String("listener", name), zap.Error(err))
		select {
		case <-time.After(backoff):
		case <-s.ctx.Done():
			return
		}
		backoff = min(backoff*2, acceptBackoffMax)
	}
}

func (s *socketServer) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

func (s *socketServer) isClosed(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed(name)
}

// start runs a connection. mu is held.
func (s *socketServer) start(c *conn) {
	s.open[c] = struct{}{}
	s.running.Go(func() { s.run(c) })
}

// run serves a connection until it ends or rests; c is no more then.
func (s *socketServer) run(c *conn) {
	if rests := c.serve(); !rests {
		s.leave(c)
	}
}

// leave forgets a connection that ended.
func (s *socketServer) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	s.forget(c.listener, peerIP(c.nc))
	s.freeConn(c)
}

// tune sets the socket options of the configuration; the system may refuse one without harm.
func (s *socketServer) tune(nc net.Conn) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	if s.sendBuffer >= 0 {
		_ = tcp.SetWriteBuffer(s.sendBuffer)
	}
	if s.recvBuffer >= 0 {
		_ = tcp.SetReadBuffer(s.recvBuffer)
	}
}

// linger goes on serving after a hand-over for a moment: a client that is told who leads now goes there at once, one whose connection closes waits for its backoff.
func (s *socketServer) linger(ctx context.Context) {
	tick := time.NewTicker(lingerQuiet)
	defer tick.Stop()
	before := s.requests.Load()
	for range lingerLimit / lingerQuiet {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := s.requests.Load()
		if now == before {
			return
		}
		before = now
	}
}

// shutdown stops accepting, lets answers that are under way finish until ctx ends, then ends every connection. It returns when all of the
// server's goroutines have ended.
func (s *socketServer) shutdown(ctx context.Context) {
	s.mu.Lock()
	if !s.stopping {
		close(s.closing)
	}
	s.stopping = true
	for _, l := range s.listeners {
		_ = l.socket.Close()
	}
	for c := range s.open {
		c.drain()
	}
	s.room.Broadcast()
	s.mu.Unlock()
	s.resting.stop()

	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.open {
		_ = c.nc.Close()
	}
	s.mu.Unlock()
	<-done
}

// flexible reports whether a request has header v2; unknown keys and versions are refused, so the answer does not matter for them.
func (s *socketServer) flexible(key, version int16) bool {
	r := s.node.Routes.Get(key)
	return r != nil && r.Serves(version) && r.Flexible(version)
}

func (s *socketServer) newAnswer() *answer {
	if a, ok := s.answers.Get().(*answer); ok {
		return a
	}
	return new(answer)
}

func (s *socketServer) freeAnswer(a *answer) {
	*a = answer{}
	s.answers.Put(a)
}

// gone tells the parts that keep something for as long as a connection lasts that it is no more.
func (s *socketServer) gone(c *api.Conn) {
	if id := c.TelemetryID; !id.IsZero() {
		s.node.Telemetry.Disconnected(id)
	}
}

// peerIP is the address of the client, the zero Addr if it has none.
func peerIP(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// logLimiter lets one line a second through and counts the rest, for what a hostile or broken client can cause at will.
type logLimiter struct {
	logger *zap.Logger

	mu         sync.Mutex // guards what follows
	last       time.Time
	suppressed int
}

func (l *logLimiter) warn(message string, fields ...zap.Field) {
	now := time.Now()
	l.mu.Lock()
	if now.Sub(l.last) < time.Second {
		l.suppressed++
		l.mu.Unlock()
		return
	}
	n := l.suppressed
	l.last, l.suppressed = now, 0
	l.mu.Unlock()
	if n > 0 {
		fields = append(fields, zap.Int("similar lines left out", n))
	}
	l.logger.Warn(message, fields...)
}
