package server

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/threads"
)

const (
	// inputSize is what a connection keeps for input while it waits: whole small requests, or the start of a larger one. A client
	// that claims a large frame costs no more than this until it has sent as many bytes.
	inputSize = 512
	// lookAheadSize is how much more is read behind a parked request.
	lookAheadSize = 8 << 10
	// A frame's buffer starts with firstChunk and grows by these factors as its bytes come, below and above wholeChunk.
	firstChunk  = 8 << 10
	chunkGrowth = 16
	wholeChunk  = 1 << 20
	wholeGrowth = 4
	// A client that sends large frames ahead of their answers has several read at once, into a buffer of chunkSize. Smaller ones than firstChunk are then
	// copied out of it, so that they do not keep all of it.
	chunkSize = 256 << 10
	// stallPatience is for a client that stops sending in a large frame while others wait for memory.
	stallPatience = 30 * time.Second
)

var (
	errIdle     = errors.New("idle for longer than connections.max.idle.ms")
	errStalled  = errors.New("no bytes of a large request came while others wait for memory")
	errDrained  = errors.New("the broker stops")
	errRecalled = errors.New("reading was called back")
)

// frameReader reads frames from a connection. It belongs to the connection's reader.
type frameReader struct {
	nc       net.Conn
	pool     *bufferPool
	budget   *budget
	threads  *threads.Pool // that requests wait for; nil: no request is left unread
	queued   int           // queued.max.requests
	max      int32         // socket.request.max.bytes
	idle     time.Duration // connections.max.idle.ms; negative or 0: never
	busy     func() bool   // an answer is outstanding: the connection is not idle
	draining func() bool
	recall   atomic.Bool // reading is to stop for now with errRecalled; set from outside, with a read deadline in the past

	restAfter time.Duration // how long next waits for a frame's first byte before it returns errQuiet; 0: for ever
	between   bool          // it waits for that

	in     [inputSize]byte
	r, w   int          // in[r:w] is read from the socket and not yet taken; nothing as long as there is a chunk
	ahead  *buffer      // read while an earlier request was waited for; follows in. nil if there is none
	chunk  chunk        // what was read with the last large frame
	runs   bool         // large frames come in a row
	proven int          // capacity that an earlier whole frame filled, up to wholeChunk: trusted at once next time
	active time.Time    // of the last bytes
	used   atomic.Int64 // the same, in ns since 1970, for others to read
	stall  time.Time    // the read deadline, if it is one of readSocket's
}

// chunk is input behind a large frame, in the same buffer. The zero chunk is none.
type chunk struct {
	buffer *buffer
	left   []byte      // of it, not yet taken; not empty
	held   reservation // for buffer, less what the frames in it hold
}

// frame is one request's bytes b without the size, and what they hold of the budget.
type frame struct {
	b      []byte
	buffer *buffer // that b is in; others may be in it too
	reservation
}

// next reads the next frame into fr, which is empty. The caller gives it back through release, also after an error. After errQuiet no byte of a frame
// was read.
func (f *frameReader) next(ctx context.Context, fr *frame) error {
	if f.chunk.buffer != nil {
		if done, err := f.fromChunk(ctx, fr); done || err != nil {
			return midFrame(err)
		}
	}
	f.between = f.r == f.w && f.ahead == nil
	for f.w-f.r < 4 {
		err := f.fill()
		f.between = false
		if err != nil {
			return err
		}
	}
	size, err := protocol.FrameSize([4]byte(f.in[f.r:f.r+4]), f.max)
	if err != nil {
		return err
	}
	for f.w-f.r < min(4+size, inputSize) {
		if err := f.fill(); err != nil {
			return midFrame(err)
		}
	}
	f.r += 4
	have := min(size, f.w-f.r)
	if err := f.begin(ctx, fr, size, have); err != nil {
		return err
	}
	fr.b = append(fr.b, f.in[f.r:f.r+have]...)
	f.r += have
	if have == size {
		return nil
	}
	return midFrame(f.rest(ctx, fr, size))
}

// begin gives fr its first buffer, for a frame of which have bytes were read. It waits while too many requests wait for a thread.
func (f *frameReader) begin(ctx context.Context, fr *frame, size, have int) error {
	if f.threads != nil {
		if err := f.threads.AwaitRoom(ctx, f.queued); err != nil {
			return err
		}
	}
	want := size
	if have < size {
		want = max(have, min(size, max(firstChunk, f.proven)))
		// Reading ahead of one's turn is for when nobody waits, and pays where little of the last frame has to be copied.
		f.runs = f.runs && size <= chunkSize/2 && chunkSize <= f.budget.capacity/smallShare && !f.budget.contended()
		if f.runs && want == size {
			want = chunkSize
		}
	}
	return f.grow(ctx, fr, want)
}

// fromChunk takes the next frame from the chunk. If done is false, there is no chunk any more, and in has the start of the frame. io.EOF is that of a frame
// that was begun.
func (f *frameReader) fromChunk(ctx context.Context, fr *frame) (done bool, err error) {
	left := f.chunk.left
	size := inputSize
	if len(left) >= 4 {
		if size, err = protocol.FrameSize([4]byte(left), f.max); err != nil {
			return false, err
		}
	}
	switch {
	case len(left) >= 4+size && size >= firstChunk:
		fr.b, fr.buffer = left[4:4+size:4+size], f.chunk.buffer.share()
		f.budget.move(&f.chunk.held, &fr.reservation, min(f.chunk.held.held, int64(4+size)))
		f.consume(fr, 4+size)
		return true, nil
	case len(left) >= 4+size:
		f.budget.move(&f.chunk.held, &fr.reservation, min(f.chunk.held.held, int64(size)))
		err := f.grow(ctx, fr, size)
		if err == nil {
			fr.b = append(fr.b, left[4:4+size]...)
			f.consume(nil, 4+size)
		}
		return true, err
	case len(left) <= inputSize:
		f.r, f.w = 0, copy(f.in[:], left)
		f.consume(nil, len(left))
		return false, nil
	}
	f.budget.move(&f.chunk.held, &fr.reservation, f.chunk.held.held)
	if err := f.begin(ctx, fr, size, len(left)-4); err != nil {
		return true, err
	}
	fr.b = append(fr.b, left[4:]...)
	f.consume(nil, len(left))
	return true, f.rest(ctx, fr, size)
}

// consume takes n bytes off the chunk, which ends with its last: fr, if not nil, then holds what nobody else does for it.
func (f *frameReader) consume(fr *frame, n int) {
	if f.chunk.left = f.chunk.left[n:]; len(f.chunk.left) > 0 {
		return
	}
	if fr != nil {
		f.budget.move(&f.chunk.held, &fr.reservation, f.chunk.held.held)
	}
	f.dropChunk()
}

func (f *frameReader) dropChunk() {
	if f.chunk.buffer != nil {
		f.pool.put(f.chunk.buffer)
		f.budget.release(&f.chunk.held)
		f.chunk.buffer, f.chunk.left = nil, nil
	}
}

// ready reports whether the next frame is read already.
func (f *frameReader) ready() bool {
	b := f.in[f.r:f.w]
	if f.chunk.buffer != nil {
		b = f.chunk.left
	}
	if len(b) < 4 {
		return false
	}
	size, err := protocol.FrameSize([4]byte(b), f.max)
	return err == nil && len(b) >= 4+size
}

// rest reads what is missing of a frame, growing its buffer as the bytes come.
func (f *frameReader) rest(ctx context.Context, fr *frame, size int) error {
	for len(fr.b) < size {
		if len(fr.b) == cap(fr.b) {
			want := cap(fr.b) * wholeGrowth
			if cap(fr.b) < wholeChunk {
				want = min(cap(fr.b)*chunkGrowth, wholeChunk)
			}
			if err := f.grow(ctx, fr, min(size, want)); err != nil {
				return err
			}
		}
		// Room behind the frame takes the start of the next one, or more of them, which saves system calls.
		most := min(size+inputSize, cap(fr.b))
		if f.runs {
			most = cap(fr.b)
		}
		n, err := f.read(fr.b[len(fr.b):most], &fr.reservation)
		fr.b = fr.b[:len(fr.b)+n]
		if err != nil {
			return err
		}
	}
	behind := fr.b[size:]
	fr.b = fr.b[:size:size]
	f.runs = len(behind) > 0
	if len(behind) <= inputSize {
		f.r, f.w = 0, copy(f.in[:], behind)
	} else {
		f.chunk.buffer, f.chunk.left = fr.buffer.share(), behind
		f.budget.move(&fr.reservation, &f.chunk.held, fr.held-int64(size))
	}
	f.proven = max(f.proven, min(size, wholeChunk))
	return nil
}

// grow gives fr a buffer of at least n bytes that begins with what it holds, and charges the difference before it takes the buffer.
func (f *frameReader) grow(ctx context.Context, fr *frame, n int) error {
	size := bufferSize(n)
	if more := int64(size) - fr.held; more < 0 {
		f.budget.shrink(&fr.reservation, -more)
	} else if err := f.budget.grow(ctx, &fr.reservation, more); err != nil {
		return err
	}
	b := f.pool.get(n)
	fr.b = append(b.b[:0:size], fr.b...)
	if fr.buffer != nil {
		f.pool.put(fr.buffer)
	}
	fr.buffer = b
	return nil
}

// release gives the frame's buffer and all that it holds of the budget back. It may be called twice.
func (fr *frame) release(p *bufferPool, b *budget) {
	if fr.buffer != nil {
		p.put(fr.buffer)
		fr.b, fr.buffer = nil, nil
	}
	b.release(&fr.reservation)
}

// fill reads more bytes into in.
func (f *frameReader) fill() error {
	if f.r > 0 {
		f.w = copy(f.in[:], f.in[f.r:f.w])
		f.r = 0
	}
	n, err := f.read(f.in[f.w:], nil)
	f.w += n
	return err
}

// lookAhead reads whatever comes, until there is no more room for it or reading fails. It is how a connection whose request is parked notices
// that its client has gone.
func (f *frameReader) lookAhead() error {
	for f.w-f.r < len(f.in) && f.ahead == nil && f.chunk.buffer == nil {
		if err := f.fill(); err != nil {
			return err
		}
	}
	if f.ahead == nil {
		f.ahead = f.pool.get(lookAheadSize)
	}
	for b := f.ahead; len(b.b) < cap(b.b); {
		n, err := f.readSocket(b.b[len(b.b):cap(b.b)], nil)
		b.b = b.b[:len(b.b)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// read takes what was read ahead, or else reads the socket.
func (f *frameReader) read(p []byte, held *reservation) (int, error) {
	if f.ahead == nil {
		return f.readSocket(p, held)
	}
	n := copy(p, f.ahead.b)
	f.ahead.b = f.ahead.b[:copy(f.ahead.b, f.ahead.b[n:])]
	if len(f.ahead.b) == 0 {
		f.dropAhead()
	}
	if n == 0 {
		return f.readSocket(p, held)
	}
	return n, nil
}

// close gives back what was read ahead.
func (f *frameReader) close() {
	f.dropAhead()
	f.dropChunk()
}

func (f *frameReader) dropAhead() {
	if f.ahead != nil {
		f.pool.put(f.ahead)
		f.ahead = nil
	}
}

// readSocket is one Read of the socket. It returns n > 0 or an error, errIdle for a connection that was idle for too long.
// Read deadlines are moved when they pass, not at every read.
func (f *frameReader) readSocket(p []byte, held *reservation) (int, error) {
	impatient := held != nil && held.held > smallRequest
	if impatient {
		if now := time.Now(); f.stall.Sub(now) < stallPatience {
			f.stall = now.Add(2 * stallPatience)
			if err := f.nc.SetReadDeadline(f.stall); err != nil {
				return 0, err
			}
		}
	}
	for {
		// After the deadline was set, so that it cannot undo the one that whoever changed these has set.
		if err := f.stopped(); err != nil {
			return 0, err
		}
		n, err := f.nc.Read(p)
		if n > 0 {
			f.active = time.Now()
			f.used.Store(f.active.UnixNano())
			return n, nil
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if err := f.stopped(); err != nil {
			return 0, err
		}
		now := time.Now()
		if impatient && now.Sub(f.active) >= stallPatience && f.budget.contended() {
			return 0, errStalled
		}
		if f.busy() {
			f.active = now
		}
		quiet := now.Sub(f.active)
		switch {
		case f.idle > 0 && quiet >= f.idle:
			return 0, errIdle
		case f.restAfter > 0 && quiet < f.restAfter: // the deadline passed while it was in use
			f.restAfter = max(f.restAfter, min(2*f.restAfter, restRetry))
		case f.restAfter > 0 && f.between:
			return 0, errQuiet
		}
		if err := f.arm(now, impatient); err != nil {
			return 0, err
		}
	}
}

func (f *frameReader) stopped() error {
	switch {
	case f.draining():
		return errDrained
	case f.recall.Load():
		return errRecalled
	}
	return nil
}

// arm sets the read deadline to when the connection will have been idle for too long, or quiet for long enough to rest.
func (f *frameReader) arm(now time.Time, impatient bool) error {
	var at time.Time
	f.stall = at
	if f.idle > 0 {
		at = f.active.Add(f.idle)
	}
	if f.restAfter > 0 {
		p := f.active.Add(f.restAfter)
		if !p.After(now) || f.busy() { // it cannot rest now
			p = now.Add(restRetry)
		}
		if at.IsZero() || p.Before(at) {
			at = p
		}
	}
	if p := now.Add(stallPatience); impatient && (at.IsZero() || p.Before(at)) {
		at = p
	}
	return f.nc.SetReadDeadline(at)
}

// midFrame makes an end of input inside a frame an error of its own.
func midFrame(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
