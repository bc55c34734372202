package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/server/meter"
	"github.com/ottla/ottla/storage"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Request is one decoded request and where it came from. Byte fields and strings of Body may alias the frame, which lives until the
// response is written: whatever is kept longer must be copied.
type Request struct {
	Key, Version int16
	ClientID     *string // nil if the client sent null
	Principal    string  // the name of the user that the client is
	Body         kmsg.Request
	Listener     string // listener name
	Remote       netip.AddrPort
	Conn         *Conn
	Limits       Limits // of a Fetch whose client has a quota; else nil
}

// Limits are the quotas of a client that fetches.
type Limits interface {
	// MaxFetch is how many bytes may be fetched at once without being throttled.
	MaxFetch() int
	// Fetched counts bytes that are to be answered. If it returns more than 0 nothing of it is to be answered, but how long the client is throttled.
	Fetched(bytes int) time.Duration
}

// Conn is the state of one connection that handlers may read or set. Only the connection's reader (a Handler, not its Later) touches it.
type Conn struct {
	SoftwareName, SoftwareVersion string        // of the client, from ApiVersions v3 and later; empty if unknown
	TelemetryID                   protocol.UUID // the id by which the client pushes metrics; zero: it did not
	Reached                       string        // address of this node that the client dialled, where that is what it is to be told of it; else empty
}

// Handler serves one API. It runs in the connection's reader, in request order, and must not block: what waits goes into Result.Later.
// ctx ends with the connection.
type Handler func(ctx context.Context, n *Node, r *Request) Result

// Result is a handler's answer: exactly one of Response, Later, Gather, None and Err is set.
type Result struct {
	Response kmsg.Response
	// Later is run by the connection's writer when all earlier answers have left; ctx ends with the connection. It is called at most
	// once, and not at all if the connection ends first.
	Later  func(ctx context.Context) Result
	Gather Gather // Fetch: a body that is encoded already, with slices of log segments
	None   bool   // nothing is answered (Produce with acks=0)
	// Detached says that Later and Gather use neither Request.Body nor anything that aliases the frame: their memory is free while it waits.
	Detached bool
	Err      error // closes the connection, nothing is answered
}

// Gather is a response body as a list of parts. The connection does the writing, with sendfile where it can.
type Gather interface {
	// Size is the number of bytes of all parts.
	Size() int
	// Parts yields the parts in order: either b or s is set. b is valid until Release.
	Parts(yield func(b []byte, s storage.Slice) bool)
	// Codes adds the error codes in the answer to to. Not after Release.
	Codes(to *meter.Codes)
	// Release frees the slices and buffers; called exactly once.
	Release()
}

// hostOf is what the client is told of where a node listens: host, or of this node the address at which the client reached it.
func (r *Request) hostOf(n *Node, node int32, host string) string {
	if node == n.NodeID && r.Conn != nil && r.Conn.Reached != "" {
		return r.Conn.Reached
	}
	return host
}

// Caller is who the controller decides the request for.
func (r *Request) Caller() controller.Caller {
	who := controller.Caller{Principal: r.Principal, Host: r.Remote.Addr()}
	if r.ClientID != nil {
		who.ClientID = *r.ClientID
	}
	return who
}

// reply answers with a response.
func reply(resp kmsg.Response) Result { return Result{Response: resp} }

// fail closes the connection.
func fail(err error) Result { return Result{Err: err} }

// Serve answers a request that this process makes of itself, as the API's handler answers it. req must not be changed until then.
func (n *Node) Serve(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	row := n.Routes.Get(req.Key())
	if row == nil {
		return nil, protocol.UnsupportedVersion
	}
	r := row.Handle(ctx, n, &Request{Key: req.Key(), Version: req.GetVersion(), Body: req, Conn: &Conn{}})
	for r.Later != nil {
		r = r.Later(ctx)
	}
	if r.Err != nil {
		return nil, r.Err
	}
	return r.Response, nil
}
