package controller

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// A connection between controllers begins with RaftPreface, then a greeting, which is answered, both as JSON behind four bytes with its length.
// If the answer is no refusal, a connection that was opened for raft goes on with raft's own messages, and any other one ends.

// maxGreeting bounds a greeting and its answer.
const maxGreeting = 64 << 10

// greeting is how the controller that dials says who it is and what it wants.
type greeting struct {
	To         string      `json:"to,omitempty"` // the raft id that is called; "": whoever is there
	ID         string      `json:"id"`           // the raft id of who calls
	ClusterID  string      `json:"clusterId,omitempty"`
	Recoveries int         `json:"recoveries,omitempty"`
	Fresh      bool        `json:"fresh,omitempty"` // has no metadata yet
	Member     *membership `json:"member,omitempty"`
	// The directories of who calls and of who is called: those of static voters are in no id. "": not known, or an older release.
	DirectoryID string `json:"directoryId,omitempty"`
	ToDirectory string `json:"toDirectory,omitempty"`
}

// membership is what a controller wants its leader to know and do. A greeting without it opens a connection for raft.
type membership struct {
	Node        int32          `json:"node"`
	DirectoryID string         `json:"directoryId"`
	Listener    string         `json:"listener"`
	Address     string         `json:"address"`
	Incarnation string         `json:"incarnation"`
	Features    []featureRange `json:"features"`
	Vote        bool           `json:"vote,omitempty"` // wants to become a voter
}

// reply answers a greeting.
type reply struct {
	Refusal    string `json:"refusal,omitempty"` // why this will not do
	Foreign    bool   `json:"foreign,omitempty"` // and never will: the metadata are of another cluster, or of what a recovered quorum has left behind
	ClusterID  string `json:"clusterId,omitempty"`
	Recoveries int    `json:"recoveries,omitempty"`
	Leader     string `json:"leader,omitempty"` // the raft address of the leader, if that is somebody else
	// DirectoryID is that of who answers; "": an older release.
	DirectoryID string `json:"directoryId,omitempty"`
}

// refusal is a reply that says no.
type refusal struct{ reply }

// Error implements error.
func (r refusal) Error() string { return r.Refusal }

// raftNetwork is raft's stream layer over a Transport. It owns the connections of both directions: none outlives Close.
type raftNetwork struct {
	q         *raftQuorum
	transport Transport
	timeout   time.Duration
	logger    *zap.Logger
	accepted  chan net.Conn // greeted, for raft
	stop      chan struct{}
	closing   sync.Once
	running   sync.WaitGroup // the goroutine that accepts, and one for each connection that has not been greeted

	mu     sync.Mutex // guards open and closed
	open   map[*raftConn]struct{}
	closed bool
}

func newRaftNetwork(q *raftQuorum, timeout time.Duration) *raftNetwork {
	n := &raftNetwork{
		q: q, transport: q.transport, timeout: timeout, logger: q.logger,
		accepted: make(chan net.Conn), stop: make(chan struct{}), open: map[*raftConn]struct{}{},
	}
	n.running.Go(n.listen)
	return n
}

// raftConn is a connection that its network knows of.
type raftConn struct {
	net.Conn
	n *raftNetwork
}

// Close implements net.Conn.
func (c *raftConn) Close() error {
	c.n.mu.Lock()
	delete(c.n.open, c)
	c.n.mu.Unlock()
	return c.Conn.Close()
}

// keep makes conn one that is closed with n. It is closed at once if n is.
func (n *raftNetwork) keep(conn net.Conn) (*raftConn, error) {
	c := &raftConn{Conn: conn, n: n}
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.open[c] = struct{}{}
	}
	n.mu.Unlock()
	if closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	return c, nil
}

// listen accepts connections until the transport is closed.
func (n *raftNetwork) listen() {
	for {
		conn, err := n.transport.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				n.logger.Error("no connections of controllers are accepted any more", zap.Error(err))
			}
			return
		}
		c, err := n.keep(conn)
		if err != nil {
			return
		}
		n.running.Go(func() { n.welcome(c) })
	}
}

// welcome answers the greeting of c.
func (n *raftNetwork) welcome(c *raftConn) {
	raftOwns := false
	defer func() {
		if !raftOwns {
			_ = c.Close()
		}
	}()
	_ = c.SetDeadline(time.Now().Add(n.timeout))
	var preface [1]byte
	var g greeting
	if _, err := io.ReadFull(c, preface[:]); err != nil || preface[0] != RaftPreface {
		return
	}
	if err := readMessage(c, &g); err != nil {
		n.logger.Debug("a controller's connection ends before its greeting", zap.Error(err))
		return
	}
	answer := n.q.admit(g)
	if answer.Refusal == "" && g.Member != nil {
		_ = c.SetDeadline(time.Time{})
		answer = n.q.meet(g)
		_ = c.SetDeadline(time.Now().Add(n.timeout))
	}
	if err := writeMessage(c, nil, answer); err != nil || answer.Refusal != "" || g.Member != nil {
		return
	}
	_ = c.SetDeadline(time.Time{})
	select {
	case n.accepted <- c:
		raftOwns = true
	case <-n.stop:
	}
}

// call opens a connection to address and greets with g. The connection is the caller's to close.
func (n *raftNetwork) call(ctx context.Context, address string, g greeting) (*raftConn, reply, error) {
	var r reply
	conn, err := n.transport.Dial(ctx, address)
	if err != nil {
		return nil, r, err
	}
	c, err := n.keep(conn)
	if err != nil {
		return nil, r, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(n.timeout)
	}
	_ = c.SetDeadline(deadline)
	if err = writeMessage(c, []byte{RaftPreface}, g); err == nil {
		err = readMessage(c, &r)
	}
	if err == nil && r.Refusal != "" {
		err = refusal{r}
	}
	if err != nil {
		return nil, r, errors.Join(err, c.Close())
	}
	_ = c.SetDeadline(time.Time{})
	return c, r, nil
}

// Dial implements raft.StreamLayer.
func (n *raftNetwork) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(n.q.life, timeout)
	defer cancel()
	id, address := splitAddress(to)
	if address = n.q.whereIs(id, address); address == "" {
		return nil, fmt.Errorf("controller: it is not known where %s is", id)
	}
	g := n.q.greeting()
	g.To = string(id)
	if directory := n.q.voterDirectory(id); !directory.IsZero() && static(id) {
		g.ToDirectory = directory.String()
	}
	c, r, err := n.call(ctx, address, g)
	if err != nil {
		return nil, err
	}
	err = n.q.settle(r.ClusterID)
	if n.q.unaware(id, r.DirectoryID) {
		err = fmt.Errorf("controller: %s: %s", id, tooOld)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Accept implements net.Listener.
func (n *raftNetwork) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.stop:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (n *raftNetwork) Addr() net.Addr { return raftAddr(n.q.address) }

// raftAddr makes raft's local address that of the configuration.
type raftAddr raft.ServerAddress

// Network implements net.Addr.
func (raftAddr) Network() string { return "raft" }

// String implements net.Addr.
func (a raftAddr) String() string { return string(a) }

// Close implements net.Listener: it closes the transport and every connection.
func (n *raftNetwork) Close() error {
	var err error
	n.closing.Do(func() {
		close(n.stop)
		err = n.transport.Close()
		n.mu.Lock()
		n.closed = true
		open := n.open
		n.open = map[*raftConn]struct{}{}
		n.mu.Unlock()
		for c := range open {
			_ = c.Conn.Close()
		}
		n.running.Wait()
	})
	return err
}

func writeMessage(w io.Writer, prefix []byte, m any) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(prefix, uint32(len(text)))
	_, err = w.Write(append(b, text...))
	return err
}

func readMessage(r io.Reader, m any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxGreeting {
		return fmt.Errorf("controller: a greeting of %d bytes", size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return err
	}
	return json.Unmarshal(text, m)
}
