package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/threads"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/server/meter"
)

const (
	keyProduce     int16 = 0
	keyFetch       int16 = 1
	keyJoinGroup   int16 = 11
	keySyncGroup   int16 = 14
	keyAPIVersions int16 = 18

	keyWriteTxnMarkers int16 = 27

	// maxPipeline is how many Produce requests of one connection may wait for their answers at once.
	maxPipeline = 64
	// slowTurn is how long a request waits for earlier answers before the connection watches for its client to go away.
	slowTurn = 50 * time.Millisecond
	// lastWords is how long answers that are ready may take to leave after the client closed its side.
	lastWords = time.Second
)

// conn serves one connection. Its reader goroutine reads requests, runs their handlers in order and, where nothing waits before it,
// writes the answer itself. Answers that come later, and those behind them, go through its writer goroutine, which is started by the first of them:
// a waiting connection is one goroutine and inputSize bytes, and after a while it rests: then it is neither (resting.go).
//
// As in Kafka a request is handled when all earlier ones of the connection are answered, so it sees their effects. Only Produce follows Produce
// without waiting: their appends happen in order, their waits for the high watermark overlap.
//
// The reader owns the connection: it alone sends to answers, closes it, and closes the socket at the end. Others end it by closing the socket or by
// cancelling ctx.
type conn struct {
	server   *socketServer
	listener string
	nc       net.Conn
	remote   netip.AddrPort
	state    api.Conn
	counts   *meter.Shard
	sending  *threads.Pool // num.network.threads of the listener
	input    frameReader

	ctx    context.Context
	cancel context.CancelFunc

	evicted     bool          // it is told to end, as there are too many; guarded by the server's mutex
	handed      atomic.Bool   // its socket was given away
	draining    atomic.Bool   // no further request is read
	outstanding atomic.Int32  // answers that are with the writer
	parked      atomic.Bool   // they wait for what others do, for as long as that takes: a stop does not wait for them
	producing   bool          // the outstanding answers are all of Produce; the reader's
	drained     chan struct{} // has the reader look again at what it waits for
	answers     chan *answer  // nil until the writer is started; the reader's
	writerDone  chan struct{}

	pending  *buffer // answers of requests that were read together, not yet written; nil if there are none; the reader's
	clientID *string // of the last request

	quotas     connQuotas   // the reader's
	mutedUntil atomic.Int64 // ns since 1970: no further request is handled before; 0: it is not muted

	writeDeadline time.Time // as set on the socket; belongs to who writes
}

// answer is one request on its way to its response. It belongs to the reader, then to the writer.
type answer struct {
	frame
	request     api.Request
	correlation int32
	flexible    bool // response header v1
	forwarded   bool // the controller decides
	quotas      requestQuotas
	result      api.Result

	size  int           // of the request's frame, in bytes
	begin time.Duration // when it was whole, by socketServer.clock
	times meter.Times   // so far
	codes meter.Codes   // of its answer
	// waiting: it is counted as one that waits for others
	waiting bool
	ran     bool // a handler has seen it
}

func newConn(s *socketServer, listener string, nc net.Conn) *conn {
	c, ok := s.conns.Get().(*conn)
	if !ok {
		c = &conn{drained: make(chan struct{}, 1)}
	}
	c.server, c.listener, c.nc, c.counts, c.sending = s, listener, nc, s.counts.Shard(), s.senders(listener)
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort()
	}
	if slices.Contains(s.node.Reached, listener) {
		c.state.Reached = reached(nc)
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.input = frameReader{
		nc: nc, pool: &s.buffers, budget: s.budget, threads: s.node.Threads, queued: s.queued, max: s.maxFrame, idle: s.maxIdle, active: time.Now(),
		busy: func() bool { return c.outstanding.Load() > 0 }, draining: c.draining.Load, restAfter: canRest(nc),
	}
	c.input.used.Store(c.input.active.UnixNano())
	return c
}

// reached is the address of this machine at which nc came in; "" where it has none that a client could dial: those of one link need a zone, which is the
// machine's own.
func reached(nc net.Conn) string {
	a, ok := nc.LocalAddr().(*net.TCPAddr)
	if !ok || a.IP.IsLinkLocalUnicast() {
		return ""
	}
	return a.AddrPort().Addr().Unmap().WithZone("").String()
}

// freeConn takes a connection that ended or rests back for another.
func (s *socketServer) freeConn(c *conn) {
	*c = conn{drained: c.drained} // what may be in it only makes the reader look once more
	s.conns.Put(c)
}

// serve runs the connection to its end, or until it rests.
func (c *conn) serve() (rests bool) {
	err := c.input.arm(time.Now(), false)
	if err == nil && c.server.handOver != nil {
		var handed bool
		if handed, err = c.passOn(); handed {
			return false
		}
	}
	for err == nil {
		if c.mutedUntil.Load() != 0 {
			if err = c.sitOut(); err != nil {
				break
			}
		}
		if !c.input.ready() {
			if err = c.writePending(); err != nil {
				break
			}
		}
		a := c.server.newAnswer()
		if err = c.input.next(c.ctx, &a.frame); err == nil {
			err = c.handle(a)
		}
		if err != nil {
			c.finish(a)
		}
		if errors.Is(err, errQuiet) {
			if c.server.rest(c) {
				return true
			}
			c.input.restAfter = 0
			err = c.input.arm(time.Now(), false)
		}
	}
	c.end(err)
	return false
}

// passOn waits for the first byte, and gives a connection of the quorum away: c no longer owns its socket then.
func (c *conn) passOn() (handed bool, err error) {
	for c.input.r == c.input.w {
		if err := c.input.fill(); err != nil {
			return false, err
		}
	}
	read := c.input.in[c.input.r:c.input.w]
	if read[0] != controller.RaftPreface {
		return false, nil
	}
	c.cancel()
	if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
		return false, err
	}
	c.handed.Store(true)
	c.server.handOver(c.server.ctx, c.nc, read)
	return true, nil
}

// drain ends the connection once its outstanding answers have left; at once if these only wait for new data or other group members.
func (c *conn) drain() {
	c.draining.Store(true)
	if c.parked.Load() {
		c.cancel()
	}
	c.lookAgain()
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; a socket that fails here wakes it too
}

// lookAgain wakes the reader if it waits for its turn or is muted.
func (c *conn) lookAgain() {
	select {
	case c.drained <- struct{}{}:
	default: // it has not looked since the last
	}
}

// end tears the connection down after the reader's last error.
func (c *conn) end(err error) {
	if !errors.Is(err, errDrained) {
		c.cancel() // the client is gone, or is to go: nobody waits for what is not ready
	}
	c.logEnd(err)
	if c.pending != nil {
		_ = c.nc.SetWriteDeadline(time.Now().Add(lastWords))
		_ = c.writePending()
	}
	if c.answers != nil && !errors.Is(err, errDrained) {
		_ = c.nc.SetWriteDeadline(time.Now().Add(lastWords))
	}
	c.stopWriter()
	c.cancel()
	_ = c.nc.Close()
	c.input.close()
	c.server.gone(&c.state)
}

// stopWriter ends the writer when it has written what is outstanding. The next answer that has to wait starts it again.
func (c *conn) stopWriter() {
	if c.answers != nil {
		close(c.answers)
		<-c.writerDone
		c.answers = nil
	}
}

// logEnd says why the broker closes the connection, where that is not the client's or the broker's ordinary going.
func (c *conn) logEnd(err error) {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		c.server.refused.Add(1)
		c.server.logs.warn("request refused, connection closed", append(refused.fields(), c.where()...)...)
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, errDrained), errors.Is(err, errIdle),
		errors.Is(err, context.Canceled), errors.Is(err, io.ErrClosedPipe), isNetwork(err):
	case errors.Is(err, errUnanswered): // acks=0: the closed connection is the client's signal (4.4), its own log line was written
	default:
		c.server.refused.Add(1)
		c.server.logs.warn("bad input, connection closed", append([]zap.Field{zap.Error(err)}, c.where()...)...)
	}
}

func (c *conn) where() []zap.Field {
	return []zap.Field{zap.String("listener", c.listener), zap.Stringer("remote", c.nc.RemoteAddr())}
}

// refusal is a request that closes its connection.
type refusal struct {
	header protocol.RequestHeader
	err    error
}

func (r *refusal) Error() string {
	return fmt.Sprintf("api key %d version %d: %v", r.header.Key, r.header.Version, r.err)
}

func (r *refusal) Unwrap() error { return r.err }

func (r *refusal) fields() []zap.Field {
	f := []zap.Field{zap.Int16("key", r.header.Key), zap.Int16("version", r.header.Version), zap.Error(r.err)}
	if r.header.ClientID != nil {
		f = append(f, zap.String("client", *r.header.ClientID))
	}
	return f
}

var (
	errUnknownKey         = errors.New("unknown api key")
	errUnsupportedVersion = errors.New("unsupported version")
	errTooMuchToDecode    = errors.New("the request would decode to more than the memory for requests")
	errUnanswered         = errors.New("the handler closed the connection")
)

// handle runs one request. An error ends the connection; a stays the caller's then, else it is on its way.
func (c *conn) handle(a *answer) error {
	c.server.requests.Add(1)
	header, body, err := protocol.ParseRequestHeader(a.b, c.server.flexible, c.clientID)
	if err != nil {
		return err
	}
	c.clientID = header.ClientID
	a.size, a.begin = len(a.b), c.server.clock()
	if err := c.turn(header.Key, &a.times); err != nil {
		return err
	}
	if c.mutedUntil.Load() != 0 { // by an answer that has left meanwhile
		if err := c.sitOut(); err != nil {
			return err
		}
	}
	route := c.server.node.Routes.Get(header.Key)
	a.request = api.Request{
		Key: header.Key, Version: header.Version, ClientID: header.ClientID, Principal: c.user(), Listener: c.listener, Remote: c.remote, Conn: &c.state,
	}
	a.correlation = header.CorrelationID
	switch {
	case route == nil:
		return &refusal{header, errUnknownKey}
	case header.Key == keyAPIVersions:
		a.flexible = false // in every version, so that clients can read the answer before they know the version
	default:
		a.flexible = route.Flexible(header.Version)
	}
	a.forwarded = route.Forward
	c.limit(a)
	if route.Serves(header.Version) {
		if err := c.decode(a, body); c.ctx.Err() != nil {
			return c.ctx.Err()
		} else if err != nil {
			return &refusal{header, err}
		}
	} else if header.Key != keyAPIVersions {
		return &refusal{header, errUnsupportedVersion}
	}
	if route.Disk {
		if err := c.takeThread(&a.times); err != nil {
			return err
		}
	}
	err = c.run(route.Handle, a)
	if route.Disk {
		c.server.node.Threads.Release(a.times.Local)
	}
	if err != nil {
		return &refusal{header, err}
	}
	if a.result.Err != nil {
		return errUnanswered
	}
	if a.quotas.on {
		c.charge(a)
	}
	return c.answer(a)
}

// decode checks body, charges the budget with what it can decode to, and decodes it.
func (c *conn) decode(a *answer, body []byte) error {
	estimate, err := protocol.CheckBody(a.request.Key, a.request.Version, body)
	if err != nil {
		return fmt.Errorf("malformed request: %w", err)
	}
	if estimate > c.server.budget.capacity {
		return errTooMuchToDecode
	}
	if c.pending != nil && c.server.budget.contended() {
		if err := c.writePending(); err != nil { // which must not wait for memory
			return err
		}
	}
	if err := c.server.budget.grow(c.ctx, &a.reservation, estimate); err != nil {
		return err
	}
	req := kmsg.RequestForKey(a.request.Key)
	req.SetVersion(a.request.Version)
	a.request.Body = req
	return readBody(req, body)
}

// readBody decodes body into req, whose strings are copies: the group coordinator keeps those of an OffsetCommit. kmsg is not written for hostile input, so its
// panics become errors here.
func readBody(req kmsg.Request, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed request: %v", p)
		}
	}()
	if err := req.ReadFrom(body); err != nil {
		return fmt.Errorf("malformed request: %w", err)
	}
	return nil
}

// run calls the handler. This and the writer's later are the doors at which panics end: the connection is closed, the broker goes on.
func (c *conn) run(handle api.Handler, a *answer) (err error) {
	defer c.catch(a, &err)
	a.result = handle(c.ctx, c.server.node, &a.request)
	a.ran, a.times.Local = true, c.server.clock()-a.begin-a.times.Queue
	return nil
}

func (c *conn) catch(a *answer, err *error) {
	if p := recover(); p != nil {
		c.server.logger.Error("panic in a request handler", append(c.where(), zap.Int16("key", a.request.Key),
			zap.Int16("version", a.request.Version), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))...)
		*err = fmt.Errorf("panic: %v", p)
	}
}

// answer passes a's result on: written at once if nothing is before it, else through the writer. Afterwards a is no longer the reader's,
// unless it returns an error.
func (c *conn) answer(a *answer) error {
	if a.result.Detached {
		a.request.Body = nil
		a.release(&c.server.buffers, c.server.budget)
	} else if a.result.Later != nil && a.held <= smallRequest {
		// Parked requests that are small are bounded by the number of connections. Charged, they could keep all others out.
		c.server.budget.release(&a.reservation)
	}
	if c.outstanding.Load() == 0 && a.result.Later == nil {
		c.throttled(a)
		if err := c.writeNow(a); err != nil {
			return err
		}
		c.finish(a)
		return nil
	}
	if err := c.writePending(); err != nil {
		return err
	}
	if c.answers == nil {
		c.answers = make(chan *answer, maxPipeline)
		c.writerDone = make(chan struct{})
		go c.writeLoop(c.answers)
	}
	key := a.request.Key
	c.producing = key == keyProduce
	c.parked.Store(key == keyFetch || key == keyJoinGroup || key == keySyncGroup)
	if c.draining.Load() && c.parked.Load() {
		c.cancel() // the stop came before it could see this one
	}
	if a.result.Later != nil {
		a.waiting = true
		c.counts.Waiting(key, 1)
	}
	c.outstanding.Add(1)
	c.answers <- a // never blocks: turn keeps outstanding below the channel's capacity
	return nil
}

// turn waits until a request of key may be handled: all earlier answers have left, or they and it are of Produce.
func (c *conn) turn(key int16, times *meter.Times) error {
	mayRun := func() bool {
		n := c.outstanding.Load()
		return n == 0 || (key == keyProduce && c.producing && n < maxPipeline)
	}
	if mayRun() {
		return nil
	}
	begin := c.server.clock()
	defer func() { times.Queue = c.server.clock() - begin }()
	slow := time.NewTimer(slowTurn)
	defer slow.Stop()
	for !mayRun() {
		select {
		case <-c.drained:
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-slow.C:
			if err := c.watch(mayRun); err != nil {
				return err
			}
		}
	}
	return nil
}

// watch waits like turn, while it reads on, so that a client that went away is noticed although one of its requests is parked.
// It looks no further than lookAheadSize: past that, the failing answer tells.
func (c *conn) watch(mayRun func() bool) error {
	gone := make(chan error, 1)
	var looking sync.WaitGroup
	looking.Go(func() {
		if err := c.input.lookAhead(); err != nil {
			gone <- err
		}
	})
	var err error
	for err == nil && !mayRun() {
		select {
		case <-c.drained:
		case <-c.ctx.Done():
			err = c.ctx.Err()
		case err = <-gone:
		}
	}
	c.input.recall.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	looking.Wait()
	c.input.recall.Store(false)
	if err == nil {
		err = c.input.arm(time.Now(), false)
	}
	return err
}

// finish counts an answer, and gives back what it holds.
func (c *conn) finish(a *answer) {
	if a.waiting {
		c.counts.Waiting(a.request.Key, -1)
	}
	if a.ran {
		c.measured(a)
	}
	if g := a.result.Gather; g != nil {
		g.Release()
	}
	a.release(&c.server.buffers, c.server.budget)
	c.server.freeAnswer(a)
}

// isNetwork reports whether err came from the socket: the client went away, or never read what it asked for.
func isNetwork(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) // which sendfile returns bare
}
