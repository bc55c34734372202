package controller

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
)

// A controller's raft id is "node:directory", so that one that comes back with an empty folder is somebody else and cannot vote twice. In a
// quorum of controller.quorum.voters, which does not name directories, it is "node:".
//
// Its raft address is "id@host:port": unique even where two controllers were at the same place one after the other, which matters as votes
// are remembered by address; and the connection that is opened to it says whom it is for. A controller without Transport has only the id.

// serverID is the raft id of a controller.
func serverID(node int32, directory protocol.UUID) raft.ServerID {
	if directory == (protocol.UUID{}) {
		return raft.ServerID(strconv.Itoa(int(node)) + ":")
	}
	return raft.ServerID(strconv.Itoa(int(node)) + ":" + directory.String())
}

// nodeOf is the node id in a server's id, -1 for none.
func nodeOf(id raft.ServerID) int32 {
	node, _, _ := strings.Cut(string(id), ":")
	n, err := strconv.ParseInt(node, 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}

// directoryOf is the directory in a server's id, zero if it names none.
func directoryOf(id raft.ServerID) protocol.UUID {
	_, text, _ := strings.Cut(string(id), ":")
	directory, err := protocol.ParseUUID(text)
	if err != nil {
		return protocol.UUID{}
	}
	return directory
}

// static reports whether id is that of a voter of controller.quorum.voters.
func static(id raft.ServerID) bool { return strings.HasSuffix(string(id), ":") }

// serverAddress is the raft address of the controller id at address (host:port, "" if it has none).
func serverAddress(id raft.ServerID, address string) raft.ServerAddress {
	if address == "" {
		return raft.ServerAddress(id)
	}
	return raft.ServerAddress(string(id) + "@" + address)
}

// splitAddress is the inverse of serverAddress.
func splitAddress(a raft.ServerAddress) (id raft.ServerID, address string) {
	name, address, _ := strings.Cut(string(a), "@")
	return raft.ServerID(name), address
}

// endpointOf reads host:port, which may be "".
func endpointOf(listener, address string) Endpoint {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return Endpoint{}
	}
	port, err := strconv.ParseUint(address[i+1:], 10, 16)
	if err != nil {
		return Endpoint{}
	}
	return Endpoint{Listener: listener, Host: strings.Trim(address[:i], "[]"), Port: uint16(port)}
}

// identify settles the ids of cluster, directory and server, and writes the first entry of a new quorum, its configuration, unless this node
// waits to be added to one.
func (q *raftQuorum) identify() error {
	stored := q.state.stored()
	if stored.ClusterID != "" && q.clusterID != "" && stored.ClusterID != q.clusterID {
		return fmt.Errorf("controller: %s belongs to cluster %s, not to %s", q.dir, stored.ClusterID, q.clusterID)
	}
	fresh, err := q.fresh()
	if err != nil {
		return err
	}
	if o := q.machine.log.Offsets(); fresh && o.LogEnd > 0 {
		return fmt.Errorf("controller: %s has a metadata log of %d records but no raft log beside it", q.dir, o.LogEnd)
	}
	if stored.ClusterID == "" {
		stored.ClusterID = q.clusterID
	}
	var first raft.Configuration
	if _, snapshotted := q.snapshots.newest(); !snapshotted { // the cluster may have nothing recorded yet
		if q.formatted, err = q.readFormatting(fresh); err != nil {
			if q.formatted = (formatting{}); fresh {
				return err
			}
		}
	}
	if fresh {
		if len(q.formatted.voters) > 0 {
			q.initial = q.formatted.voters
		}
		if first, err = q.firstConfiguration(&stored); err != nil {
			return err
		}
	}
	if stored.DirectoryID == "" && !q.directoryID.IsZero() {
		stored.DirectoryID = q.directoryID.String()
	}
	if stored.DirectoryID == "" {
		stored.DirectoryID = protocol.NewUUID().String()
	}
	if alone := q.transport == nil || fresh && (len(first.Servers) == 1 || q.begins()); alone && stored.ClusterID == "" {
		stored.ClusterID = protocol.NewUUID().String() // nobody else has a say in it
	}
	directory, err := protocol.ParseUUID(stored.DirectoryID)
	if err != nil {
		return fmt.Errorf("controller: %s: the directory id %q is damaged", q.dir, stored.DirectoryID)
	}
	q.directory = directory
	if q.id = serverID(q.nodeID, directory); stored.Static {
		q.id = serverID(q.nodeID, protocol.UUID{})
	}
	q.address = serverAddress(q.id, q.endpoint.Address())
	if fresh && len(first.Servers) == 0 && q.begins() {
		first.Servers = []raft.Server{{Suffrage: raft.Voter, ID: q.id, Address: q.address}}
	}
	if len(first.Servers) > 0 {
		stored.CurrentTerm = max(stored.CurrentTerm, 1) // of the entry below
	}
	if err := q.state.adopt(stored); err != nil {
		return err
	}
	if len(first.Servers) == 0 {
		return nil
	}
	q.founding = len(first.Servers) > 1
	return q.entries.begin(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(first), AppendedAt: time.Now()})
}

// fresh reports whether there is neither a raft log nor a snapshot.
func (q *raftQuorum) fresh() (bool, error) {
	last, err := q.entries.LastIndex()
	if err != nil {
		return false, err
	}
	_, snapshotted := q.snapshots.newest()
	return last == 0 && !snapshotted, nil
}

// begins reports whether a node without data begins a quorum of its own. One whose folder was formatted without voters waits to be added to one, as with
// Apache Kafka.
func (q *raftQuorum) begins() bool {
	return q.transport == nil || q.bootstrap && len(q.initial) == 0 && !q.formatted.done
}

// firstConfiguration is what the voters that are configured begin with, the same on each of them. It settles in own what that says of this
// node. It has no servers if there are no such voters.
func (q *raftQuorum) firstConfiguration(own *quorumStateData) (raft.Configuration, error) {
	var c raft.Configuration
	if q.transport == nil || len(q.initial) == 0 {
		return c, nil
	}
	self := false
	for _, v := range q.initial {
		id := serverID(v.ID, v.DirectoryID)
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: id, Address: serverAddress(id, v.address())})
		if v.ID != q.nodeID || !static(id) && own.DirectoryID == "" && !q.directoryID.IsZero() && q.directoryID != v.DirectoryID {
			continue // with another directory it is somebody else
		}
		self = true
		if own.Static = static(id); own.Static {
			continue
		}
		directory := v.DirectoryID.String()
		if own.DirectoryID != "" && own.DirectoryID != directory {
			return c, fmt.Errorf("controller: %s has the directory id %s, and not %s, which the initial controllers name", q.dir, own.DirectoryID, directory)
		}
		own.DirectoryID = directory
	}
	if !self {
		return raft.Configuration{}, nil // it is added later
	}
	slices.SortFunc(c.Servers, func(a, b raft.Server) int { return int(nodeOf(a.ID)) - int(nodeOf(b.ID)) })
	return c, nil
}

// ClusterID implements Quorum.
func (q *raftQuorum) ClusterID() string { return q.state.stored().ClusterID }

// settle adopts the cluster's id where none is known, and reports an error where it is another one.
func (q *raftQuorum) settle(cluster string) error {
	switch own := q.ClusterID(); {
	case cluster == "" || own == cluster:
		return nil
	case own != "":
		return foreign(q.dir, own, cluster)
	}
	return q.state.change(func(d *quorumStateData) {
		if d.ClusterID == "" {
			d.ClusterID = cluster
		}
	})
}

// errForeign says that two controllers are not of the same cluster.
var errForeign = errors.New("controllers of different clusters")

func foreign(dir, own, other string) error {
	return fmt.Errorf("controller: %w: %s belongs to cluster %s, the quorum to cluster %s", errForeign, dir, own, other)
}

func (v Voter) address() string { return joinAddress(v.Host, v.Port) }
