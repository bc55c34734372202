package replication

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Peers opens connections to the other brokers of the cluster. Safe for concurrent use; none of it blocks.
type Peers interface {
	// Open returns a connection of its own to a broker's inter-broker listener. It is dialled on first use, at the address that the
	// metadata has by then: a broker that is not known makes Do fail, not Open.
	Open(node int32) Peer
}

// Peer is one connection to another broker. Close may be called at any time, and ends a Do that is under way; the rest is for one caller at a time,
// unless the implementation says otherwise.
type Peer interface {
	// Do sends req and returns the answer, in the highest version not above req.GetVersion() that the other side serves, which req has afterwards. An error
	// (a connection that cannot be made or was lost, ctx's end, an answer that does not parse) closes the connection; the next Do dials anew.
	//
	// req is not kept. The Records of a FetchResponse, and its other bytes, may alias a buffer of the connection: they are valid until the next Do or Close. What other
	// responses hold is the caller's for good.
	Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	Close()
}
