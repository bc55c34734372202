package controller

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// memNet connects controllers in memory. Each direction between two can be cut: what is sent is swallowed then, and the connection is
// of no use any more.
type memNet struct {
	mu    sync.Mutex // guards the rest
	hosts map[string]*memHost
	cuts  map[[2]string]bool // from, to
	conns map[*memConn]struct{}
}

func newMemNet() *memNet {
	return &memNet{hosts: map[string]*memHost{}, cuts: map[[2]string]bool{}, conns: map[*memConn]struct{}{}}
}

// memHost is a Transport.
type memHost struct {
	net      *memNet
	address  string
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (n *memNet) host(address string) *memHost {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &memHost{net: n, address: address, incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.hosts[address] = h
	return h
}

func (h *memHost) Accept() (net.Conn, error) {
	select {
	case c := <-h.incoming:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *memHost) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *memHost) Addr() net.Addr { return raftAddr(h.address) }

func (h *memHost) Dial(ctx context.Context, address string) (net.Conn, error) {
	h.net.mu.Lock()
	to := h.net.hosts[address]
	silent := h.net.cuts[[2]string{h.address, address}] || h.net.cuts[[2]string{address, h.address}]
	h.net.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if to == nil {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	a, b := &memConn{Conn: near, net: h.net, from: h.address, to: address}, &memConn{Conn: far, net: h.net, from: address, to: h.address}
	h.net.mu.Lock()
	h.net.conns[a], h.net.conns[b] = struct{}{}, struct{}{}
	h.net.mu.Unlock()
	select {
	case to.incoming <- b:
		return a, nil
	case <-to.closed:
		return nil, errors.Join(errors.New("connection refused"), a.Close(), b.Close())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), a.Close(), b.Close())
	}
}

// cut swallows what goes from one to the other; heal lets new connections through again.
func (n *memNet) cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]string{from, to}] = true
}

func (n *memNet) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// memConn is one end of a connection.
type memConn struct {
	net.Conn
	net      *memNet
	from, to string
	lost     bool // something was swallowed; guarded by net.mu
}

func (c *memConn) Write(b []byte) (int, error) {
	c.net.mu.Lock()
	c.lost = c.lost || c.net.cuts[[2]string{c.from, c.to}]
	lost := c.lost
	c.net.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *memConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}

// quorum is some controllers on a memNet, each with a disk in memory. Tests run it in a bubble.
type quorum struct {
	t       *testing.T
	net     *memNet
	members map[int32]*member
	static  map[string]string
	voters  []Voter
	logger  *zap.Logger // nil: nothing is logged
}

type member struct {
	*Controller
	running   atomic.Pointer[Controller] // nil while it is down
	q         *quorum
	id        int32
	fs        *vfs.Mem
	codecs    *record.Codecs
	up        bool
	bootstrap bool
	lone      bool // without Transport
	failed    chan error
	clusterID string

	directoryID protocol.UUID
}

func address(id int32) string { return fmt.Sprintf("c%d:9093", id) }

// newQuorum makes n controllers that are one another's static voters; none is started.
func newQuorum(t *testing.T, n int, static map[string]string) *quorum {
	q := &quorum{t: t, net: newMemNet(), members: map[int32]*member{}, static: static}
	for id := range int32(n) {
		q.voters = append(q.voters, Voter{ID: id + 1, Host: fmt.Sprintf("c%d", id+1), Port: 9093})
	}
	for id := range int32(n) {
		q.add(id + 1)
	}
	return q
}

func (q *quorum) add(id int32) *member {
	m := &member{q: q, id: id, fs: vfs.NewMem()}
	q.members[id] = m
	return m
}

func (q *quorum) startAll() {
	for _, m := range q.members {
		m.start()
	}
}

// start starts a controller that is down.
func (m *member) start() {
	m.q.t.Helper()
	values, err := config.FromStatic(m.q.static)
	if err != nil {
		m.q.t.Fatal(err)
	}
	m.codecs, m.failed = record.NewCodecs(), make(chan error, 8)
	o := Options{
		NodeID: m.id, ClusterID: m.clusterID, DirectoryID: m.directoryID, FS: m.fs, Dir: "/data", Config: values, Codecs: m.codecs, Logger: cmp.Or(m.q.logger, zap.NewNop()),
		Transport: m.q.net.host(address(m.id)), Endpoint: Endpoint{Listener: "CONTROLLER", Host: fmt.Sprintf("c%d", m.id), Port: 9093},
		Voters: m.q.voters, Bootstrap: m.bootstrap,
		OnFailure: func(err error) { m.failed <- err },
	}
	if m.lone {
		o.Transport, o.Endpoint = nil, Endpoint{}
	}
	m.Controller, err = Start(o)
	if err != nil {
		m.codecs.Close()
		m.q.t.Fatalf("controller %d: %v", m.id, err)
	}
	m.up = true
	m.running.Store(m.Controller)
}

// stop stops a controller as a clean shutdown does.
func (m *member) stop() {
	m.q.t.Helper()
	if !m.up {
		return
	}
	m.up = false
	m.running.Store(nil)
	err := m.Close()
	if len(m.failed) == 0 && err != nil {
		m.q.t.Errorf("controller %d: close: %v", m.id, err)
	}
	m.codecs.Close()
}

// kill stops a controller without a word to the others; of its disk, only what was synced stays for sure.
func (m *member) kill(seed int64) {
	if !m.up {
		return
	}
	m.isolate()
	crashed := m.fs.Crash(seed)
	m.stop()
	m.fs = crashed
	m.q.net.heal()
}

// isolate cuts a controller off, both ways.
func (m *member) isolate() {
	for id := range m.q.members {
		m.q.net.cut(address(m.id), address(id))
		m.q.net.cut(address(id), address(m.id))
	}
}

func (q *quorum) stopAll() {
	for _, m := range q.members {
		m.stop()
	}
}

func (q *quorum) up() []*member {
	var up []*member
	for _, m := range q.members {
		if m.up {
			up = append(up, m)
		}
	}
	slices.SortFunc(up, func(a, b *member) int { return int(a.id - b.id) })
	return up
}

// await waits in the bubble's time until ok, and fails the test after limit.
func (q *quorum) await(what string, limit time.Duration, ok func() bool) {
	q.t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(limit); !ok(); <-look.C {
		if time.Now().After(end) {
			for _, m := range q.up() {
				s := m.quorum.Describe()
				voting, observing, _ := m.quorum.Replicas()
				q.t.Logf("controller %d: %+v voting %+v observing %+v", m.id, s, voting, observing)
			}
			q.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// leader waits for a controller that decides, other than not.
func (q *quorum) leader(limit time.Duration, not ...*member) *member {
	q.t.Helper()
	var found *member
	q.await("a leader", limit, func() bool {
		for _, m := range q.up() {
			if slices.Contains(not, m) {
				continue
			}
			if _, leads := m.Leads(); leads {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

const counterKey = "n"

// count raises a counter in the metadata by one, and returns what it is then.
func (m *member) count(ctx context.Context) (n int, err error) {
	_, err = m.do(ctx, func(v *View) (Decision, error) {
		n = 1
		if old := v.Image.Config(config.Broker, "")[counterKey]; old != "" {
			last, err := strconv.Atoi(old)
			if err != nil {
				return Decision{}, err
			}
			n = last + 1
		}
		text := strconv.Itoa(n)
		return Decision{Records: []schema.MetadataRecord{&schema.ConfigRecord{ResourceType: int8(config.Broker), Name: counterKey, Value: &text}}}, nil
	})
	return n, err
}

// must counts at m, which leads.
func (m *member) must() int {
	m.q.t.Helper()
	ctx, cancel := context.WithTimeout(m.q.t.Context(), 10*time.Second)
	defer cancel()
	n, err := m.count(ctx)
	if err != nil {
		m.q.t.Fatalf("controller %d: %v", m.id, err)
	}
	return n
}

// counter is the committed counter as m knows it.
func (m *member) counter() int {
	n, _ := strconv.Atoi(m.Image().Config(config.Broker, "")[counterKey])
	return n
}

// settled waits until all that are up have applied the same, and compares their logs byte by byte.
func (q *quorum) settled(limit time.Duration) {
	q.t.Helper()
	q.leader(limit)
	q.await("all have the same", limit, func() bool {
		up := q.up()
		for _, m := range up {
			if m.Image().Offset() != up[0].Image().Offset() || m.Log().Offsets().LogEnd != up[0].Log().Offsets().LogEnd {
				return false
			}
		}
		return true
	})
	up := q.up()
	start := int64(0)
	for _, m := range up {
		start = max(start, m.Log().Offsets().LogStart)
	}
	want := up[0].content(start)
	for _, m := range up[1:] {
		if got := m.content(start); !bytes.Equal(got, want) {
			q.t.Errorf("the logs of controllers %d and %d differ: %d and %d bytes from offset %d", up[0].id, m.id, len(want), len(got), start)
		}
		if got, want := encodeImage(m.Image().Records()), encodeImage(up[0].Image().Records()); !bytes.Equal(got, want) {
			q.t.Errorf("the images of controllers %d and %d differ", up[0].id, m.id)
		}
	}
}

// content is the metadata log from offset start on. The batch that contains start is passed over unless it begins there.
func (m *member) content(start int64) []byte {
	m.q.t.Helper()
	o := m.Log().Offsets()
	var all []byte
	for at := start; at < o.LogEnd; {
		data, err := readLog(m.Log(), at, o.LogEnd, 1<<20)
		if err != nil {
			m.q.t.Fatal(err)
		}
		for len(data) > 0 {
			b, rest, err := record.Split(data)
			if err != nil {
				m.q.t.Fatal(err)
			}
			if data, at = rest, b.NextOffset(); b.BaseOffset() >= start {
				all = append(all, b...)
			}
		}
	}
	return all
}

// counts are the values that the log gave the counter, in order.
func (m *member) counts() []int {
	m.q.t.Helper()
	var all []int
	for data := m.content(m.Log().Offsets().LogStart); len(data) > 0; {
		b, rest, err := record.Split(data)
		if err != nil {
			m.q.t.Fatal(err)
		}
		data = rest
		if b.IsControl() {
			continue
		}
		records, err := decodeRecords(m.codecs, b, nil)
		if err != nil {
			m.q.t.Fatal(err)
		}
		for _, r := range records {
			if c, ok := r.(*schema.ConfigRecord); ok && c.Name == counterKey {
				n, err := strconv.Atoi(*c.Value)
				if err != nil {
					m.q.t.Fatal(err)
				}
				all = append(all, n)
			}
		}
	}
	return all
}
