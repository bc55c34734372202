package server

import (
	"slices"
	"sync/atomic"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/telemetry"
	"github.com/ottla/ottla/storage"
)

// publisher hands each metadata change to the parts of the broker, in this order: the broker's own config, quotas, replication,
// the connections to other brokers, coordinators, the life cycle. Replication goes before the coordinators, because a shard opens the partition that it was
// elected for; the life cycle goes last, because its heartbeat tells the controller that the change is in force here.
// The observer's goroutine is its only caller.
type publisher struct {
	node         int32
	static       config.Values
	values       *atomic.Pointer[config.Values] // read by everybody, written here
	store        *storage.Store
	reconfigured func(config.Values) // tells the sockets
	replicas     *replication.Manager
	peers        *peers
	groups       *group.Coordinator
	transactions *txn.Coordinator
	quotas       *quotas
	lifecycle    *lifecycle
	assignments  *assignments
	internals    *internalTopics
	telemetry    *telemetry.Receiver
	begun        bool // the parts follow the metadata
}

// publish makes one change take effect.
func (p *publisher) publish(d *metadata.Delta) {
	p.overlayConfig(d)
	if d.QuotasChanged {
		p.quotas.publish(d.Image)
	}
	if p.replicas == nil { // a controller only
		return
	}
	if !p.begun {
		if !p.mayBegin(d.Image) {
			return
		}
		p.begun = true
		d = metadata.Difference(metadata.Empty(), d.Image)
	}
	p.replicas.Apply(d)
	if len(d.Brokers) > 0 {
		p.peers.imageChanged(d.Image)
	}
	p.groups.Apply(d)
	p.transactions.Apply(d)
	p.assignments.applied(d)
	p.internals.applied(d)
	if slices.ContainsFunc(d.Configs, func(r metadata.ConfigResource) bool { return r.Scope == config.ClientMetrics }) {
		p.telemetry.Apply(d.Image)
	}
	p.lifecycle.applied(d)
}

// mayBegin reports whether the parts may take up what image gives them. Among other brokers they wait for the registration of this start, as Apache Kafka's do: until then this
// broker may still be the leader that it was before a crash, of logs whose ends were lost since. What a coordinator wrote to such a log would have the offsets and the epoch
// of records that the other replicas have, and nobody could tell them apart.
func (p *publisher) mayBegin(image *metadata.Image) bool {
	if self := image.Broker(p.node); self != nil && self.Incarnation == p.lifecycle.o.register.IncarnationID {
		return true
	}
	return !p.among(image)
}

// among reports whether there are other brokers.
func (p *publisher) among(image *metadata.Image) bool {
	for b := range image.Brokers() {
		if b.ID != p.node {
			return true
		}
	}
	return false
}

// overlayConfig puts the dynamic broker configs over what the start gave.
func (p *publisher) overlayConfig(d *metadata.Delta) {
	for _, r := range d.Configs {
		if r.Scope == config.Broker {
			values := p.static.WithDynamic(
				d.Image.Config(config.Broker, ""), d.Image.Config(config.Broker, brokerName(p.node)))
			p.values.Store(&values)
			p.store.Reconfigure(values)
			p.reconfigured(values)
			return
		}
	}
}
