package controller

import (
	"fmt"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

// Quorum puts batches of metadata records into one durable total order: hashicorp/raft in life, a list in tests.
type Quorum interface {
	// Start begins to take part; l hears of everything from then on, in order. Called once.
	Start(l Listener) error
	// Propose offers b, built for the offset after all earlier proposals of this leadership, as the next batch. It does not wait for the
	// outcome: the listener hears Committed in the order of the proposals, or Deposed, after which any number of the last
	// proposals may or may not come to be committed. b is kept. A proposal of a leadership that has ended is dropped.
	Propose(leadership uint64, b record.Batch)
	// Image is the committed image.
	Image() *metadata.Image
	// Describe tells the state of the quorum.
	Describe() QuorumState
	// Close stops taking part. No call of the listener comes after it. Proposals must have stopped before.
	Close() error
}

// Listener is told by a Quorum what happens. Its methods are called one at a time and must not block.
type Listener interface {
	// Elected says that this node leads from here on: image is committed and no batch follows it that this node does not propose.
	Elected(e Election)
	// Committed says that one batch is committed, whoever proposed it.
	Committed(c Commit)
	// Deposed says that a leadership has ended.
	Deposed(leadership uint64)
}

// Election is the beginning of a leadership.
type Election struct {
	Leadership uint64 // names the leadership; never the same twice
	Epoch      int32
	Image      *metadata.Image
	NextOffset int64 // of the first proposal
}

// QuorumState is what DescribeQuorum shows.
type QuorumState struct {
	LeaderID      int32 // -1: none is known
	LeaderEpoch   int32
	LeaderHost    string // where the leader is reached, "" and 0 if that is not known
	LeaderPort    uint16
	HighWatermark int64 // of the metadata log: the offset after the last committed record
	LogEndOffset  int64
	Voters        []int32
	Full          bool // the disk below the metadata has no room: what is not needed to make some should wait
}

// Voter is one controller of a quorum as it is configured: a part of controller.quorum.voters, or an initial controller.
type Voter struct {
	ID          int32
	DirectoryID protocol.UUID // zero in controller.quorum.voters, which does not name directories
	Host        string
	Port        uint16
}

// Endpoint is where the other controllers and the brokers reach a controller: its first controller listener, as advertised.
type Endpoint struct {
	Listener string // its name, as CONTROLLER
	Host     string
	Port     uint16
}

// Address is host:port, with an IPv6 address in brackets; "" for the zero Endpoint.
func (e Endpoint) Address() string { return joinAddress(e.Host, e.Port) }

func joinAddress(host string, port uint16) string {
	switch {
	case host == "" && port == 0:
		return ""
	case strings.Contains(host, ":"):
		return fmt.Sprintf("[%s]:%d", host, port)
	}
	return fmt.Sprintf("%s:%d", host, port)
}
