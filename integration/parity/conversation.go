package parity

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// answerLimit bounds the wait for one answer.
	answerLimit = 30 * time.Second
	// untilLimit bounds the wait for what is to come about; on a busy machine nodes take their time to start or to be missed.
	untilLimit = 2 * time.Minute
)

// server is one of the two sides.
type server struct {
	name string
	addr string
	dirs []string // its log dirs, where a script names them
	trio *trio    // the cluster, for scripts that talk to its other nodes; addr is that of the first
}

// ports are what stands in texts for one side's ports, in the order of its nodes.
func (s server) ports() (all []string) {
	addrs := []string{s.addr}
	if s.trio != nil {
		addrs = slices.Concat(s.trio.addrs, s.trio.controllers)
	}
	for _, addr := range addrs {
		_, port, _ := net.SplitHostPort(addr)
		all = append(all, port)
	}
	return all
}

// step is one recorded fact of a conversation.
type step struct {
	label   string
	answer  kmsg.Response // nil where outcome says it all
	outcome string
	options []option
	at      time.Time // when the answer was there
}

// conversation is one run of a script against one server.
type conversation struct {
	server server
	now    time.Time     // the same on both sides
	quiet  time.Duration // how long nothing must come for a connection to be called silent
	steps  []step
	conns  []*client
	every  []option // of all steps
}

// abortLabel is the step that a script ends with when it cannot go on.
const abortLabel = "the script ended early"

// aborted is the panic that ends a script which cannot go on; the runner records it.
type aborted struct{ reason string }

func (c *conversation) abort(format string, args ...any) {
	panic(aborted{fmt.Sprintf(format, args...)})
}

// note records an outcome that is compared as text.
func (c *conversation) note(label, outcome string) {
	c.steps = append(c.steps, step{label: label, outcome: outcome, at: time.Now()})
}

// run runs script to its end and closes its connections.
func (c *conversation) run(script func(*conversation)) {
	defer func() {
		for _, conn := range c.conns {
			_ = conn.conn.Close()
		}
		switch r := recover().(type) {
		case nil:
		case aborted:
			c.note(abortLabel, r.reason)
		default:
			panic(r)
		}
	}()
	script(c)
}

// client is one connection of a conversation.
type client struct {
	*conversation
	conn net.Conn
	id   string // client id of its requests
	next int32  // correlation id
}

// dial opens a connection whose requests carry the client id.
func (c *conversation) dial(clientID string) *client { return c.dialTo(c.server.addr, clientID) }

// dialTo is dial to another node.
func (c *conversation) dialTo(addr, clientID string) *client {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		c.abort("dial: %v", err)
	}
	cl := &client{conversation: c, conn: conn, id: clientID, next: 1}
	c.conns = append(c.conns, cl)
	return cl
}

// pending is a request whose answer is still to come.
type pending struct {
	client      *client
	label       string
	req         kmsg.Request
	correlation int32
	options     []option
}

// frame encodes a request with its header and size.
func (cl *client) frame(req kmsg.Request) []byte {
	correlation := cl.next
	cl.next++
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(cl.id)).AppendRequest(nil, req, correlation)
}

// write sends bytes as they are; a peer that has closed is seen when the answer is read.
func (cl *client) write(b []byte) { _, _ = cl.conn.Write(b) }

// send sends a request and leaves the answer for wait.
func (cl *client) send(label string, req kmsg.Request, options ...option) *pending {
	p := &pending{client: cl, req: req, correlation: cl.next, options: options}
	p.label = fmt.Sprintf("%s v%d: %s", kmsg.NameForKey(req.Key()), req.GetVersion(), label)
	cl.write(cl.frame(req))
	return p
}

// wait reads the answer and records it; a connection that was closed is recorded too, and then the answer is nil.
func (p *pending) wait() kmsg.Response {
	resp, outcome := p.read()
	p.client.steps = append(p.client.steps, step{label: p.label, answer: resp, outcome: outcome, options: append(slices.Clone(p.options), p.client.every...), at: time.Now()})
	return resp
}

func (p *pending) read() (kmsg.Response, string) {
	body, err := p.client.readFrame(answerLimit)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, "no answer"
	case err != nil:
		return nil, "closed"
	case len(body) < 4:
		return nil, "an answer without a header"
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != p.correlation {
		return nil, fmt.Sprintf("correlation id %d where %d was due", got, p.correlation)
	}
	body = body[4:]
	if p.req.IsFlexible() && p.req.Key() != 18 {
		if len(body) == 0 || body[0] != 0 {
			return nil, "response header with tags"
		}
		body = body[1:]
	}
	resp := p.req.ResponseKind()
	resp.SetVersion(p.req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Sprintf("cannot be decoded: %v: %s", err, hex.EncodeToString(body))
	}
	if n := len(resp.AppendTo(nil)); n != len(body) {
		return resp, fmt.Sprintf("%d bytes more than its fields need", len(body)-n)
	}
	return resp, ""
}

// readFrame returns the next frame without its size.
func (cl *client) readFrame(limit time.Duration) ([]byte, error) {
	if err := cl.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(cl.conn, size[:]); err != nil {
		return nil, err
	}
	n := int32(binary.BigEndian.Uint32(size[:]))
	if n < 0 || n > 100<<20 {
		return nil, fmt.Errorf("frame of %d bytes", n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(cl.conn, body)
	return body, err
}

// ask sends a request, records the answer and returns it. A script whose connection was closed ends here.
func ask[R kmsg.Response](cl *client, label string, req kmsg.Request, options ...option) R {
	return await[R](cl.send(label, req, options...))
}

// await is wait with the type of the answer.
func await[R kmsg.Response](p *pending) R {
	resp, ok := p.wait().(R)
	if !ok {
		last := p.client.steps[len(p.client.steps)-1]
		p.client.abort("%s: %s", last.label, last.outcome)
	}
	return resp
}

// try is ask for requests that may close the connection: it uses one of its own.
func (c *conversation) try(label string, req kmsg.Request, options ...option) kmsg.Response {
	return c.dial("parity").send(label, req, options...).wait()
}

// raw sends bytes on a connection of its own and records every byte that comes back before it closes, or within quiet.
func (c *conversation) raw(label string, b []byte) {
	cl := c.dial("parity")
	cl.write(b)
	_, port, _ := net.SplitHostPort(c.server.addr)
	number, _ := strconv.Atoi(port)
	c.note(label, strings.ReplaceAll(cl.rest(), fmt.Sprintf("%08x", number), "<port>"))
}

// rest reads what is left on the connection: hex of whole frames, then how it ended.
func (cl *client) rest() string {
	out := ""
	for {
		body, err := cl.readFrame(cl.quiet)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return out + "silent"
		case err != nil:
			return out + "closed"
		}
		out += hex.EncodeToString(body) + " "
	}
}

const (
	// quiet is how long nothing must come for a connection to be called silent.
	quiet = 250 * time.Millisecond
	// longQuiet is the same where a busy machine may have been taken for silence.
	longQuiet = 2 * time.Second
)

// long is a time of a script that one of the servers may miss on a busy machine: four times as long where a difference is looked at once more.
func (c *conversation) long(d time.Duration) time.Duration {
	if c.quiet == longQuiet {
		return 4 * d
	}
	return d
}

// longMillis is long in milliseconds.
func (c *conversation) longMillis(ms int32) int32 {
	return int32(c.long(time.Duration(ms) * time.Millisecond).Milliseconds())
}

// parked records whether the connection stays silent for a moment.
func (cl *client) parked(label string) {
	_ = cl.conn.SetReadDeadline(time.Now().Add(cl.quiet))
	var b [1]byte
	n, err := cl.conn.Read(b[:])
	switch {
	case n > 0:
		cl.note(label, "answered")
		cl.abort("%s: it was answered", label)
	case errors.Is(err, os.ErrDeadlineExceeded):
		cl.note(label, "parked")
	default:
		cl.note(label, "closed")
	}
}

// until repeats a request until done accepts its answer; nothing is recorded but that it came.
func until[R kmsg.Response](cl *client, label string, req kmsg.Request, done func(R) bool) R {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var last any
	for end := time.Now().Add(untilLimit); time.Now().Before(end); <-tick.C {
		resp, outcome := cl.send(label, req).read()
		last = resp
		r, ok := resp.(R)
		if !ok {
			cl.abort("%s: %s", label, outcome)
		}
		if done(r) {
			return r
		}
	}
	cl.abort("%s: it did not come about; the last answer: %s", label, shown(last))
	panic("unreachable")
}
