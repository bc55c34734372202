package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

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
	// Replicas tells of the controllers: who votes, who follows without a vote, and whether the voters are those of the configuration (0) or can be
	// changed (1).
	Replicas() (voting, observing []QuorumReplica, kraftVersion int16)
	// ClusterID is the cluster's id, "" as long as none is settled. It is settled when the listener hears of the first batch.
	ClusterID() string
	// ChangeVoters changes the voters, one at a time, and waits until the change is committed. Only the leader can; the error carries the
	// code to answer with, or is ctx's.
	ChangeVoters(ctx context.Context, c VoterChange) error
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
	// Met says that a controller has made itself known to this one, which leads.
	Met(r controllerRegistration)
}

// Election is the beginning of a leadership.
type Election struct {
	Leadership uint64 // names the leadership; never the same twice
	Epoch      int32
	Image      *metadata.Image
	NextOffset int64 // of the first proposal
	// Former is the last leader before this node, if that was heard as such since this node led last; zero: none was.
	Former Sighting
}

// Sighting says that a node was alive at a time.
type Sighting struct {
	Node int32
	At   time.Time // zero: never
}

// QuorumState is where the quorum is.
type QuorumState struct {
	LeaderID      int32 // -1: none is known
	LeaderEpoch   int32
	LeaderHost    string // where the leader is reached, "" and 0 if that is not known
	LeaderPort    uint16
	HighWatermark int64 // of the metadata log: the offset after the last committed record
	LogEndOffset  int64
	Full          bool // the disk below the metadata has no room: what is not needed to make some should wait
}

// QuorumReplica is one controller of the quorum. What it has and when is only known where the leader is.
type QuorumReplica struct {
	ID           int32
	DirectoryID  protocol.UUID // zero: not known
	Endpoint     Endpoint      // zero: not known
	LogEndOffset int64         // of its metadata log; -1: not known
	LastFetch    time.Time     // when it was heard last; zero: never
	LastCaughtUp time.Time     // when it had all that the leader had; zero: never
}

// VoterChange is one change of the voters.
type VoterChange struct {
	Remove      bool // else add
	ID          int32
	DirectoryID protocol.UUID
	Endpoint    Endpoint // of a voter that is added
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
