package server

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/storage"
)

const (
	// coalesce is how many bytes of small answers are gathered before they are written together.
	coalesce = 64 << 10
	// copyBelow is the size in bytes up to which a slice is copied between the bytes around it instead of being sent by itself.
	copyBelow = 16 << 10
	// copyChunk is how much of a slice is copied at a time where sendfile cannot be used.
	copyChunk = 256 << 10
)

var errEmptyResult = errors.New("a handler gave an empty result")

// writeLoop is the writer: it sends the answers of queue in order until the reader closes it. After an error, or when the connection has
// ended before an answer was ready, it only gives back what the rest holds.
func (c *conn) writeLoop(queue <-chan *answer) {
	defer close(c.writerDone)
	var out *buffer // encoded, not yet written
	var failed error
	for a := range queue {
		if failed == nil {
			out, failed = c.writeQueued(a, out, len(queue) == 0)
		}
		if failed != nil {
			c.cancel()
			_ = c.nc.SetReadDeadline(time.Unix(1, 0))
			_ = c.nc.Close()
		}
		c.finish(a)
		c.outstanding.Add(-1)
		c.lookAgain()
	}
	if out != nil {
		c.server.buffers.put(out)
	}
}

// writeQueued sends one answer, or only encodes it to out if it is small and more follow.
func (c *conn) writeQueued(a *answer, out *buffer, last bool) (*buffer, error) {
	if a.result.Later != nil {
		if err := c.flush(out); err != nil {
			return out, err
		}
		if err := c.later(a); err != nil {
			return out, err
		}
	}
	c.throttled(a)
	if resp := a.result.Response; resp != nil {
		if out == nil {
			out = c.server.buffers.get(0)
		}
		out.b = encode(out.b, a, resp)
		if !last && len(out.b) < coalesce {
			return out, nil
		}
		err := c.flush(out)
		if cap(out.b) > coalesce {
			c.server.buffers.put(out)
			out = nil
		}
		return out, err
	}
	if err := c.flush(out); err != nil {
		return out, err
	}
	return out, c.write(a)
}

// later waits for a's result.
func (c *conn) later(a *answer) (err error) {
	defer c.catch(a, &err)
	ctx := c.ctx
	if a.forwarded {
		ctx = controller.WithCaller(ctx, a.request.Caller())
	}
	for later := a.result.Later; later != nil && c.ctx.Err() == nil; later = a.result.Later {
		a.result = later(ctx)
	}
	a.times.Remote = c.server.clock() - a.begin - a.times.Queue - a.times.Local
	return c.ctx.Err()
}

// writeNow sends an answer that waits for nothing, from the reader while the writer is idle; or only encodes it, if it is small and the next request
// has come with this one.
func (c *conn) writeNow(a *answer) (err error) {
	defer c.catch(a, &err)
	resp := a.result.Response
	if a.result.Err != nil || resp == nil || !c.input.ready() && c.pending == nil {
		if err := c.writePending(); err != nil {
			return err
		}
		return c.write(a)
	}
	if c.pending == nil {
		c.pending = c.server.buffers.get(0)
	}
	c.pending.b = encode(c.pending.b, a, resp)
	if len(c.pending.b) < coalesce && c.input.ready() {
		return nil
	}
	return c.writePending()
}

// writePending sends what writeNow only encoded.
func (c *conn) writePending() error {
	if c.pending == nil {
		return nil
	}
	err := c.flush(c.pending)
	c.server.buffers.put(c.pending)
	c.pending = nil
	return err
}

// write sends one complete answer.
func (c *conn) write(a *answer) error {
	if s := a.quotas.request; s != nil {
		defer func(began time.Time) {
			now := time.Now()
			s.note(a.quotas.quotas.request.window, percent(now.Sub(began)), now)
		}(time.Now())
	}
	switch {
	case a.result.Err != nil:
		return errUnanswered
	case a.result.None:
		return nil
	case a.result.Gather != nil:
		return c.writeGather(a, a.result.Gather)
	case a.result.Response == nil:
		return errEmptyResult
	}
	out := c.server.buffers.get(0)
	defer c.server.buffers.put(out)
	out.b = encode(out.b, a, a.result.Response)
	return c.flush(out)
}

// appendHeader appends the size and the response header of a body of the given size.
func appendHeader(dst []byte, a *answer, size int) []byte {
	header := 4
	if a.flexible {
		header++
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(header+size))
	dst = binary.BigEndian.AppendUint32(dst, uint32(a.correlation))
	if a.flexible {
		dst = append(dst, 0)
	}
	return dst
}

// encode appends the frame of a response.
func encode(dst []byte, a *answer, resp kmsg.Response) []byte {
	start := len(dst)
	dst = appendHeader(dst, a, 0)
	dst = resp.AppendTo(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// flush writes out and empties it. A nil out is empty.
func (c *conn) flush(out *buffer) error {
	if out == nil || len(out.b) == 0 {
		return nil
	}
	err := c.send(out.b)
	out.b = out.b[:0]
	return err
}

// send writes p whole.
func (c *conn) send(p []byte) error {
	if err := c.armWrite(); err != nil {
		return err
	}
	_, err := c.nc.Write(p)
	c.server.bytesOut.Add(int64(len(p)))
	return err
}

// armWrite keeps the write deadline between half of and the whole idle time ahead: a client that reads nothing for so long is gone.
func (c *conn) armWrite() error {
	idle := c.server.maxIdle
	if idle <= 0 {
		return nil
	}
	now := time.Now()
	if c.writeDeadline.Sub(now) > idle/2 {
		return nil
	}
	c.writeDeadline = now.Add(idle)
	return c.nc.SetWriteDeadline(c.writeDeadline)
}

// writeGather sends a body of parts. Short slices are copied between the bytes around them; long ones go by sendfile, or in chunks through a
// buffer. The frame's size is promised before, so a slice that cannot be sent whole ends the connection.
func (c *conn) writeGather(a *answer, g api.Gather) error {
	out := c.server.buffers.get(copyBelow)
	defer func() { c.server.buffers.put(out) }()
	out.b = appendHeader(out.b, a, g.Size())
	var err error
	g.Parts(func(b []byte, s storage.Slice) bool {
		switch {
		case b != nil:
			out.b = append(out.b, b...)
			if len(out.b) >= coalesce {
				err = c.flush(out)
			}
		case s.Len() <= copyBelow:
			err = c.reading(func() (err error) {
				out.b, err = appendSlice(out.b, s)
				return err
			})
		default:
			if err = c.flush(out); err == nil {
				err = c.sendSlice(s)
			}
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	return c.flush(out)
}

// appendSlice copies s behind dst.
func appendSlice(dst []byte, s storage.Slice) ([]byte, error) {
	n := len(dst)
	dst = append(dst, make([]byte, s.Len())...)
	if _, err := s.ReadAt(dst[n:], 0); err != nil {
		return dst, err
	}
	return dst, s.Valid()
}

// sendSlice sends a long slice.
func (c *conn) sendSlice(s storage.Slice) error {
	if err := c.armWrite(); err != nil {
		return err
	}
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		if done, err := sendfile(c, tcp, s); done || err != nil {
			c.server.bytesOut.Add(int64(s.Len()))
			return err
		}
	}
	buf := c.server.buffers.get(min(copyChunk, s.Len()))
	defer c.server.buffers.put(buf)
	chunk := buf.b[:min(copyChunk, s.Len(), cap(buf.b))]
	for at := 0; at < s.Len(); at += len(chunk) {
		chunk = chunk[:min(len(chunk), s.Len()-at)]
		if err := c.reading(func() error {
			_, err := s.ReadAt(chunk, int64(at))
			return err
		}); err != nil {
			return err
		}
		if err := s.Valid(); err != nil {
			return err
		}
		if err := c.send(chunk); err != nil {
			return err
		}
	}
	return nil
}
