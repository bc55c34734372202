package metadata

import (
	"cmp"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
)

// Topic is one topic; immutable.
type Topic struct {
	Name       string
	ID         protocol.UUID
	Partitions []*Partition // index = partition id
}

// Partition is the state of one partition that the controller decides; immutable.
type Partition struct {
	ID                              int32
	Replicas, ISR, Removing, Adding []int32
	Leader                          int32 // -1 none
	LeaderRecoveryState             int8  // 0 recovered, 1 recovering from an unclean election
	LeaderEpoch, PartitionEpoch     int32
	Directories                     []protocol.UUID // by index of Replicas
	ELR, LastKnownELR               []int32         // KIP-966; nil: none
}

// Endpoint is one listener of a broker, as it is advertised.
type Endpoint struct {
	Listener, Host   string
	Port             uint16
	SecurityProtocol int16 // 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

// Broker is one registered broker; immutable.
type Broker struct {
	ID                           int32
	Epoch                        int64 // offset of its registration's record
	Incarnation                  protocol.UUID
	Rack                         *string
	Endpoints                    []Endpoint
	Features                     []schema.BrokerFeature // by name
	Fenced, InControlledShutdown bool
	Directories                  []protocol.UUID
	CordonedDirectories          []protocol.UUID // nil: not given
}

// Endpoint returns the endpoint of a listener, or nil if the broker has none of that name.
func (b *Broker) Endpoint(listener string) *Endpoint {
	for i := range b.Endpoints {
		if b.Endpoints[i].Listener == listener {
			return &b.Endpoints[i]
		}
	}
	return nil
}

// The directory ids that Kafka reserves (DirectoryId): of a replica placed before directories had ids, of one that has none yet, and
// of one whose directory is gone.
var (
	DirectoryMigrating  = protocol.UUID{}
	DirectoryUnassigned = protocol.UUID{15: 1}
	DirectoryLost       = protocol.UUID{15: 2}
)

// ConfigResource names one resource that has configs.
type ConfigResource struct {
	Scope config.Scope
	Name  string
}

// What quotas are for, as the types of a ClientQuota's entity (ClientQuotaEntity).
const (
	QuotaUser     = "user"
	QuotaClientID = "client-id"
	QuotaIP       = "ip"
)

// ClientQuota holds the quotas of one entity; immutable.
type ClientQuota struct {
	Entity []schema.QuotaEntity // sorted by type
	Values map[string]float64   // by quota key
}

// partitionOf makes the partition that a PartitionRecord describes.
func partitionOf(r *schema.PartitionRecord) *Partition {
	return &Partition{
		ID: r.PartitionID, Replicas: r.Replicas, ISR: r.ISR, Removing: r.Removing, Adding: r.Adding,
		Leader: r.Leader, LeaderRecoveryState: r.LeaderRecoveryState,
		LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch,
		Directories: directories(r.Replicas, nil, nil, r.Directories),
		ELR:         orNil(r.EligibleLeaderReplicas), LastKnownELR: orNil(r.LastKnownELR),
	}
}

// Merge is the partition after a change (Kafka's PartitionRegistration.merge).
func (p *Partition) Merge(r *schema.PartitionChangeRecord) *Partition {
	next := *p
	next.PartitionEpoch++
	next.Replicas = changed(p.Replicas, r.Replicas)
	if r.Replicas != nil || r.Directories != nil {
		next.Directories = directories(next.Replicas, p.Replicas, p.Directories, r.Directories)
	}
	next.ISR = changed(p.ISR, r.ISR)
	next.Removing, next.Adding = changed(p.Removing, r.Removing), changed(p.Adding, r.Adding)
	next.ELR, next.LastKnownELR = changed(p.ELR, r.EligibleLeaderReplicas), changed(p.LastKnownELR, r.LastKnownELR)
	if r.Leader != schema.NoLeaderChange {
		next.Leader = r.Leader
		next.LeaderEpoch++
	}
	if r.LeaderRecoveryState != schema.NoLeaderRecoveryStateChange {
		next.LeaderRecoveryState = r.LeaderRecoveryState
	}
	return &next
}

// changed is a list after a change, in which nil leaves it as it was. An empty list is nil, so that equal partitions are equal values.
func changed(before, change []int32) []int32 {
	if change == nil {
		return before
	}
	return orNil(change)
}

func orNil(list []int32) []int32 {
	if len(list) == 0 {
		return nil
	}
	return list
}

// directories gives each replica its directory: the given ones if they are as many, else those that it had. Kafka's zero id
// (DirectoryId.MIGRATING) stands for a replica that was placed before directories had ids.
func directories(replicas, before []int32, had, given []protocol.UUID) []protocol.UUID {
	if len(given) == len(replicas) {
		return given
	}
	out := make([]protocol.UUID, len(replicas))
	for i, id := range replicas {
		if at := slices.Index(before, id); at >= 0 && at < len(had) {
			out[i] = had[at]
		}
	}
	return out
}

// brokerOf makes the broker that a RegisterBrokerRecord describes.
func brokerOf(r *schema.RegisterBrokerRecord) *Broker {
	b := &Broker{
		ID: r.BrokerID, Epoch: r.BrokerEpoch, Incarnation: r.IncarnationID, Rack: r.Rack, Features: slices.Clone(r.Features),
		Fenced: r.Fenced, InControlledShutdown: r.InControlledShutdown,
		Directories: r.LogDirs, CordonedDirectories: r.CordonedLogDirs,
	}
	// Kafka keeps them in a map: their order says nothing.
	slices.SortFunc(b.Features, func(x, y schema.BrokerFeature) int { return cmp.Compare(x.Name, y.Name) })
	for _, e := range r.EndPoints {
		b.Endpoints = append(b.Endpoints, Endpoint{Listener: e.Name, Host: e.Host, Port: e.Port, SecurityProtocol: e.SecurityProtocol})
	}
	return b
}

// HasOnlineDirectory reports whether the broker says that a replica's directory works. Kafka's reserved ids are a directory not yet
// known or assigned, which counts as working, and one that was lost; a broker that registered no directories is believed.
func (b *Broker) HasOnlineDirectory(id protocol.UUID) bool {
	switch id {
	case DirectoryMigrating, DirectoryUnassigned:
		return true
	case DirectoryLost:
		return false
	}
	return len(b.Directories) == 0 || slices.Contains(b.Directories, id)
}
