package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
)

const (
	// maxPeerFrame is the largest answer that is read from another node, in bytes.
	maxPeerFrame = 1 << 30
	// peerChunk is how much of an answer's buffer is made before its bytes have come.
	peerChunk = 256 << 10
	// keptBuffer is the size in bytes up to which a buffer for answers to Fetch is kept whatever comes; a larger one goes after wastefulAnswers answers in a row
	// that fill less than an eighth of it.
	keptBuffer      = 1 << 20
	wastefulAnswers = 32
	// The waits between attempts to connect that fail in a row double from the first to the last (reconnect.backoff.ms and .max.ms of Kafka's clients).
	reconnectFirst = 50 * time.Millisecond
	reconnectLast  = time.Second
	// deadlinePast makes reads and writes end at once.
	deadlinePast = int64(1)
)

var (
	errPeerClosed      = errors.New("the connection was closed by this side")
	errForeignAnswer   = errors.New("an answer to another request")
	errMalformedAnswer = errors.New("malformed answer")
)

// dialing is how connections to other nodes are made.
type dialing struct {
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	config   func() config.Values
	clientID string
}

// peerConn is a connection to another node, made when it is first used and again after it was lost. It sends one request at a time. Do is for one caller at a
// time, Close for anybody.
type peerConn struct {
	dialing
	address       func() (string, error) // host:port as of now
	receiveBuffer string                 // the key of its size; "", or one that is not set: the system's

	life context.Context // ends with Close
	end  context.CancelFunc

	// What follows belongs to who calls Do.
	nc          net.Conn        // nil: not connected
	detach      func() bool     // ends the tie of nc to life
	versions    map[int16]int16 // highest version that the other side serves, by key, as of this connection
	lowest      map[int16]int16
	formatter   *kmsg.RequestFormatter
	correlation int32
	out         []byte
	in          []byte // the answers to Fetch
	wasteful    int    // answers in a row that were small for in
	failures    int    // attempts to connect in a row that failed
	retryAt     time.Time
}

func newPeerConn(d dialing, address func() (string, error)) *peerConn {
	c := &peerConn{dialing: d, address: address, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID(d.clientID))}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Close ends the connection, and a Do that is under way. Nothing can be asked afterwards.
func (c *peerConn) Close() { c.end() }

// Do sends req in the highest version up to its own that the other side serves, and returns the answer. An answer to Fetch aliases a buffer that the next Do
// uses again; any other is the caller's. While the other side cannot be reached, attempts are spaced out, and Do waits for its turn. A ctx without a
// deadline is given request.timeout.ms. After an error the connection is closed; the next Do makes another.
func (c *peerConn) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, c.config().Duration("request.timeout.ms"))
		defer cancel()
		ctx = limited
	}
	if c.nc == nil {
		if err := c.connect(ctx); err != nil {
			return nil, c.failure(ctx, err)
		}
	}
	highest, ok := c.versions[req.Key()]
	if version := min(req.GetVersion(), highest); !ok || version < c.lowest[req.Key()] {
		return nil, protocol.UnsupportedVersion
	} else if version != req.GetVersion() {
		req.SetVersion(version)
	}
	resp, err := c.roundTrip(ctx, req)
	if err != nil {
		c.drop()
		return nil, c.failure(ctx, err)
	}
	return resp, nil
}

// failure makes err say why a request failed: a ctx or connection that ended shows as a deadline of the socket.
func (c *peerConn) failure(ctx context.Context, err error) error {
	switch {
	case c.life.Err() != nil:
		return errPeerClosed
	case ctx.Err() != nil:
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// connect makes the connection and asks for the versions of the other side.
func (c *peerConn) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	if wait := time.Until(c.retryAt); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := c.tryConnect(ctx)
	if err == nil {
		c.failures = 0
		return nil
	}
	backoff := min(reconnectFirst<<min(c.failures, 10), reconnectLast)
	c.failures++
	c.retryAt = time.Now().Add(jitter(backoff))
	return err
}

// jitter varies d by a fifth up and down.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func (c *peerConn) tryConnect(ctx context.Context) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	v := c.config()
	first, last := v.Duration("socket.connection.setup.timeout.ms"), v.Duration("socket.connection.setup.timeout.max.ms")
	setup, cancel := context.WithTimeout(ctx, max(first, min(first<<min(c.failures, 10), last)))
	defer cancel()
	nc, err := c.dial(setup, "tcp", address)
	if err != nil {
		return err
	}
	if tcp, ok := nc.(*net.TCPConn); ok && c.receiveBuffer != "" && v.IsSet(c.receiveBuffer) && v.Int(c.receiveBuffer) >= 0 {
		_ = tcp.SetReadBuffer(v.Int(c.receiveBuffer)) // the system may refuse it without harm
	}
	c.nc = nc
	c.detach = context.AfterFunc(c.life, func() { _ = nc.Close() })
	if err := c.negotiate(setup); err != nil {
		c.drop()
		return err
	}
	if c.nc == nil { // the time ran out with the last byte of the answer
		return context.Cause(setup)
	}
	return nil
}

// negotiate learns which versions the other side serves, in the version of ApiVersions that everybody does.
func (c *peerConn) negotiate(ctx context.Context) error {
	c.versions, c.lowest = nil, nil
	answer, err := c.roundTrip(ctx, kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		return err
	}
	resp, ok := answer.(*kmsg.ApiVersionsResponse)
	if !ok || resp.ErrorCode != 0 {
		return fmt.Errorf("versions refused: %w", errMalformedAnswer)
	}
	c.versions, c.lowest = make(map[int16]int16, len(resp.ApiKeys)), make(map[int16]int16, len(resp.ApiKeys))
	for _, k := range resp.ApiKeys {
		c.versions[k.ApiKey], c.lowest[k.ApiKey] = k.MaxVersion, k.MinVersion
	}
	return nil
}

// drop closes the connection.
func (c *peerConn) drop() {
	if c.nc != nil {
		c.detach()
		_ = c.nc.Close() // whoever drops it knows better what is wrong
		c.nc = nil
	}
}

// roundTrip sends req and reads its answer.
func (c *peerConn) roundTrip(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	nc := c.nc
	deadline, _ := ctx.Deadline()
	if err := nc.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(deadlinePast, 0)) })
	resp, err := c.exchange(req)
	if !stop() { // the deadline may be set at any time from now on, also in the next request's
		c.drop()
	}
	return resp, err
}

// exchange sends req and reads its answer, within the deadline of the socket.
func (c *peerConn) exchange(req kmsg.Request) (kmsg.Response, error) {
	c.correlation++
	c.out = c.formatter.AppendRequest(c.out[:0], req, c.correlation)
	if _, err := c.nc.Write(c.out); err != nil {
		return nil, err
	}
	if cap(c.out) > keptBuffer {
		c.out = nil
	}
	body, err := c.readAnswer(req)
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp, readAnswerBody(resp, body)
}

// readAnswerBody decodes body, which resp may alias.
func readAnswerBody(resp kmsg.Response, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil { // kmsg is not written for what is no answer at all
			err = fmt.Errorf("%w: %v", errMalformedAnswer, p)
		}
	}()
	if err := resp.ReadFrom(body); err != nil {
		return fmt.Errorf("%w: %w", errMalformedAnswer, err)
	}
	return nil
}

// readAnswer reads the answer to the last request, without its header.
func (c *peerConn) readAnswer(req kmsg.Request) ([]byte, error) {
	var prefix [8]byte
	if _, err := io.ReadFull(c.nc, prefix[:]); err != nil {
		return nil, err
	}
	size, err := protocol.FrameSize([4]byte(prefix[:4]), maxPeerFrame)
	if err != nil {
		return nil, err
	}
	if size < 4 || int32(binary.BigEndian.Uint32(prefix[4:])) != c.correlation {
		return nil, errForeignAnswer
	}
	var buffer []byte
	fetch := req.Key() == keyFetch
	if fetch {
		buffer = c.fetchBuffer(size - 4)
	}
	body, err := readBytes(c.nc, buffer, size-4)
	if err != nil {
		return nil, err
	}
	if fetch {
		c.in = body
	}
	if req.IsFlexible() && req.Key() != keyAPIVersions {
		return protocol.SkipTags(body)
	}
	return body, nil
}

// fetchBuffer is the empty buffer for an answer to Fetch of a size.
func (c *peerConn) fetchBuffer(size int) []byte {
	if cap(c.in) > keptBuffer && size < cap(c.in)/8 {
		c.wasteful++
	} else {
		c.wasteful = 0
	}
	if c.wasteful > wastefulAnswers {
		c.in, c.wasteful = nil, 0
	}
	return c.in[:0]
}

// readBytes reads n bytes into b, which grows as they come: a size is a claim.
func readBytes(r io.Reader, b []byte, n int) ([]byte, error) {
	for len(b) < n {
		if len(b) == cap(b) {
			b = slices.Grow(b, min(n-len(b), max(peerChunk, 3*len(b))))
		}
		read, err := r.Read(b[len(b):min(n, cap(b))])
		b = b[:len(b)+read]
		if err != nil && len(b) < n {
			return b, midFrame(err)
		}
	}
	return b, nil
}

// connPool shares connections to one address among callers: each request has one of its own, of which there are at most so many at once. Safe for
// concurrent use.
type connPool struct {
	open func() *peerConn
	room chan struct{} // a token for each request under way

	mu     sync.Mutex // guards what follows
	idle   []*peerConn
	all    map[*peerConn]struct{}
	closed bool
}

func newConnPool(most int, open func() *peerConn) *connPool {
	return &connPool{open: open, room: make(chan struct{}, most), all: map[*peerConn]struct{}{}}
}

// Do sends a request on a connection that nobody uses. What the answer holds is the caller's, unless it is one to Fetch, which does not belong here.
func (p *connPool) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.room }()
	c := p.take()
	if c == nil {
		return nil, errPeerClosed
	}
	defer p.put(c)
	return c.Do(ctx, req)
}

// take returns the connection that was used last, as it is the likeliest to be there still.
func (p *connPool) take() *peerConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return c
	}
	c := p.open()
	p.all[c] = struct{}{}
	return c
}

func (p *connPool) put(c *peerConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.idle = append(p.idle, c)
	}
}

// Close closes all connections; requests under way fail.
func (p *connPool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.all {
		c.Close()
	}
	p.all, p.idle = map[*peerConn]struct{}{}, nil
}
