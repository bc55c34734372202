package controller

import (
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// checkBrokerEpoch is StaleBrokerEpoch unless the broker is registered with that epoch.
func (v *View) checkBrokerEpoch(id int32, epoch int64) error {
	b := v.Image.Broker(id)
	if b == nil {
		return protocol.Errorf(protocol.StaleBrokerEpoch, "No broker registration found for broker id %d", id)
	}
	if b.Epoch != epoch {
		return protocol.Errorf(protocol.StaleBrokerEpoch, "Expected broker epoch %d, but got broker epoch %d", b.Epoch, epoch)
	}
	return nil
}

// registerBroker registers a broker, or renews the registration of the same incarnation without a new epoch
// (ClusterControlManager.registerBroker). A new incarnation begins fenced.
func registerBroker(v *View, req *kmsg.BrokerRegistrationRequest, resp *kmsg.BrokerRegistrationResponse) (Decision, error) {
	if err := checkRegistration(v, req); err != nil {
		return Decision{}, err
	}
	r := &schema.RegisterBrokerRecord{
		BrokerID: req.BrokerID, IncarnationID: req.IncarnationID, BrokerEpoch: v.NextOffset, Fenced: true,
		LogDirs: uuids(req.LogDirs),
	}
	if req.Rack != nil {
		rack := strings.Clone(*req.Rack)
		r.Rack = &rack
	}
	for _, l := range req.Listeners {
		r.EndPoints = append(r.EndPoints, schema.BrokerEndpoint{
			Name: strings.Clone(l.Name), Host: strings.Clone(l.Host), Port: l.Port, SecurityProtocol: l.SecurityProtocol,
		})
	}
	for _, f := range req.Features {
		r.Features = append(r.Features, schema.BrokerFeature{
			Name: strings.Clone(f.Name), MinSupportedVersion: f.MinSupportedVersion, MaxSupportedVersion: f.MaxSupportedVersion,
		})
	}
	old := v.Image.Broker(req.BrokerID)
	same := old != nil && old.Incarnation == r.IncarnationID
	d := Decision{Split: true}
	switch {
	case same:
		r.BrokerEpoch, r.Fenced, r.InControlledShutdown = old.Epoch, old.Fenced, old.InControlledShutdown
	case old != nil:
		clean := req.Version >= 3 && req.PreviousBrokerEpoch == old.Epoch
		d.Records = broughtDown(v, req.BrokerID, clean)
		if req.Version >= 3 && req.PreviousBrokerEpoch >= 0 && !clean {
			d.Records = append(d.Records, rolledBack(v, old, v.index.held(req.BrokerID, inISR|inELR))...)
		}
	}
	d.Records = append(d.Records, r)
	v.Sessions.register(req.BrokerID, v.Now, same, v.NextOffset+int64(len(d.Records))-1)
	resp.BrokerEpoch = r.BrokerEpoch
	return d, nil
}

// broughtDown changes what the last incarnation of a broker led and replicated (ReplicationControlManager.handleBrokerShutdown). One that
// did not stop cleanly may have lost what it had not synced: with eligible leader replicas it is no longer trusted to have what is committed.
func broughtDown(v *View, id int32, clean bool) []schema.MetadataRecord {
	if v.elrEnabled() && !clean {
		return reelect(v, shift{remove: noBroker, add: noBroker, unclean: id}, v.index.held(id, inISR|inELR), nil)
	}
	return reelect(v, removed(id), v.index.held(id, inISR), nil)
}

// checkRegistration refuses a registration that does not belong here.
func checkRegistration(v *View, req *kmsg.BrokerRegistrationRequest) error {
	if req.ClusterID != v.ClusterID {
		return protocol.Errorf(protocol.InconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", v.ClusterID, req.ClusterID)
	}
	if old := v.Image.Broker(req.BrokerID); old != nil && old.Incarnation != protocol.UUID(req.IncarnationID) && alive(v, old) {
		return protocol.Errorf(protocol.DuplicateBrokerRegistration, "Another broker is registered with that broker id.")
	}
	if req.IsMigratingZkBroker {
		return protocol.Errorf(protocol.BrokerIDNotRegistered, "Controller does not support registering ZK brokers.")
	}
	if err := checkDirectories(v, req); err != nil {
		return err
	}
	return checkFeatures(v, req)
}

// alive reports whether the registered incarnation of a broker may still run. The broker of this very node cannot, unless this leader
// has heard it: it would be in this process.
func alive(v *View, b *metadata.Broker) bool {
	if !v.Sessions.valid(b, v.Now) {
		return false
	}
	return b.ID != v.NodeID || v.Sessions.brokers[b.ID].heard
}

func checkDirectories(v *View, req *kmsg.BrokerRegistrationRequest) error {
	invalid := func(format string, args ...any) error {
		return protocol.Errorf(protocol.InvalidRegistration, format, args...)
	}
	if len(req.LogDirs) == 0 {
		return invalid("No directories specified in request")
	}
	dirs := uuids(req.LogDirs)
	seen := map[protocol.UUID]bool{}
	for _, d := range dirs {
		if reserved(d) {
			return invalid("Reserved directory ID in request")
		}
		if seen[d] {
			return invalid("Duplicate directory ID in request")
		}
		seen[d] = true
	}
	for b := range v.Image.Brokers() {
		for _, d := range b.Directories {
			if b.ID != req.BrokerID && seen[d] {
				return invalid("Broker %d is already registered with directory %s", b.ID, d)
			}
		}
	}
	return nil
}

// reserved reports whether id is one of the first hundred, which name no directory (DirectoryId.reserved).
func reserved(id protocol.UUID) bool {
	return id[15] < 100 && [15]byte(id[:15]) == [15]byte{}
}

// checkFeatures requires that the broker supports every finalized level.
func checkFeatures(v *View, req *kmsg.BrokerRegistrationRequest) error {
	ranges := map[string]kmsg.BrokerRegistrationRequestFeature{}
	for _, f := range req.Features {
		ranges[f.Name] = f
	}
	if _, ok := ranges[protocol.MetadataVersion]; !ok {
		return protocol.Errorf(protocol.InvalidRegistration, "Request features do not contain '%s'", protocol.MetadataVersion)
	}
	finalized := v.Image.Features()
	for _, name := range slices.Sorted(maps.Keys(finalized)) {
		level, f := finalized[name], ranges[name]
		if level < f.MinSupportedVersion || level > f.MaxSupportedVersion {
			return protocol.Errorf(protocol.UnsupportedVersion, "Unable to register because the broker does not support finalized version %d of %s. "+
				"The broker wants a version between %d and %d, inclusive.", level, name, f.MinSupportedVersion, f.MaxSupportedVersion)
		}
	}
	return nil
}

// brokerState is where a broker is in its life (Kafka's BrokerControlState).
type brokerState int

const (
	brokerFenced brokerState = iota
	brokerUnfenced
	brokerControlledShutdown
	brokerShutdownNow
)

// heartbeat notes that a broker is alive and moves it through its life (ReplicationControlManager.processBrokerHeartbeat).
func heartbeat(v *View, req *kmsg.BrokerHeartbeatRequest, resp *kmsg.BrokerHeartbeatResponse) (Decision, error) {
	if err := v.checkBrokerEpoch(req.BrokerID, req.BrokerEpoch); err != nil {
		return Decision{}, err
	}
	b := v.Image.Broker(req.BrokerID)
	current, next := nextState(v, b, req)
	var records []schema.MetadataRecord
	if current != next {
		switch next {
		case brokerFenced, brokerShutdownNow:
			records = fence(v, b.ID, nil)
		case brokerUnfenced:
			records = unfence(v, b, nil)
		case brokerControlledShutdown:
			records = beginShutdown(v, b, nil)
		}
	}
	records = directoriesOffline(v, b, uuids(req.OfflineLogDirs), records)
	if req.CordonedLogDirs != nil && v.Image.FeatureLevel(protocol.MetadataVersion) >= cordonedDirs {
		records = directoriesCordoned(b, uuids(req.CordonedLogDirs), records)
	}
	s := v.Sessions.touch(b.ID, v.Now, req.CurrentMetadataOffset)
	switch {
	case next == brokerFenced || next == brokerShutdownNow:
		s.shutdownOffset = -1
	case next == brokerControlledShutdown && s.shutdownOffset < 0:
		s.shutdownOffset = v.NextOffset + int64(len(records)) - 1
	}
	resp.IsCaughtUp = req.CurrentMetadataOffset >= v.Sessions.registeredAt(b)
	resp.IsFenced = next == brokerFenced || next == brokerShutdownNow
	resp.ShouldShutdown = next == brokerShutdownNow
	// A broker that goes on as before must not be kept waiting by a slow disk: its next heartbeat would be late.
	return Decision{Records: records, Split: true, Soft: true}, nil
}

// nextState is BrokerHeartbeatManager.calculateNextBrokerState.
func nextState(v *View, b *metadata.Broker, req *kmsg.BrokerHeartbeatRequest) (current, next brokerState) {
	switch {
	case b.InControlledShutdown && !b.Fenced:
		s := v.Sessions.brokers[b.ID]
		lowest, any := v.Sessions.lowestApplied(v.Image)
		if v.leads(b.ID) || (any && s != nil && s.shutdownOffset > lowest) {
			return brokerControlledShutdown, brokerControlledShutdown
		}
		return brokerControlledShutdown, brokerShutdownNow
	case b.Fenced:
		if req.WantShutdown {
			return brokerFenced, brokerShutdownNow
		}
		if !req.WantFence && req.CurrentMetadataOffset >= v.Sessions.registeredAt(b) {
			return brokerFenced, brokerUnfenced
		}
		return brokerFenced, brokerFenced
	case req.WantFence && req.WantShutdown:
		return brokerUnfenced, brokerShutdownNow
	case req.WantFence:
		return brokerUnfenced, brokerFenced
	case req.WantShutdown && v.leads(b.ID):
		return brokerUnfenced, brokerControlledShutdown
	case req.WantShutdown:
		return brokerUnfenced, brokerShutdownNow
	}
	return brokerUnfenced, brokerUnfenced
}

// fence takes a broker out of every ISR and leadership, and marks it fenced.
func fence(v *View, id int32, records []schema.MetadataRecord) []schema.MetadataRecord {
	b := v.Image.Broker(id)
	if b == nil {
		return records
	}
	records = reelect(v, removed(id), v.index.held(id, inISR), records)
	if b.Fenced {
		return records
	}
	return append(records, &schema.BrokerRegistrationChangeRecord{BrokerID: id, BrokerEpoch: b.Epoch, Fenced: schema.FenceFence})
}

// unfence marks a broker as alive and lets it lead what nobody leads.
func unfence(v *View, b *metadata.Broker, records []schema.MetadataRecord) []schema.MetadataRecord {
	records = append(records, &schema.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, Fenced: schema.FenceUnfence})
	return reelect(v, shift{remove: noBroker, add: b.ID, unclean: noBroker}, v.index.leaderless.all(), records)
}

// beginShutdown marks a broker as shutting down and moves what it leads elsewhere.
func beginShutdown(v *View, b *metadata.Broker, records []schema.MetadataRecord) []schema.MetadataRecord {
	records = append(records, &schema.BrokerRegistrationChangeRecord{
		BrokerID: b.ID, BrokerEpoch: b.Epoch, InControlledShutdown: schema.ControlledShutdownStarted,
	})
	return reelect(v, removed(b.ID), v.index.held(b.ID, inISR), records)
}

// unregisterBroker removes a registration.
func unregisterBroker(v *View, req *kmsg.UnregisterBrokerRequest) (Decision, error) {
	b := v.Image.Broker(req.BrokerID)
	if b == nil {
		return Decision{}, protocol.Errorf(protocol.BrokerIDNotRegistered, "Broker ID %d is not currently registered", req.BrokerID)
	}
	records := reelect(v, removed(b.ID), v.index.held(b.ID, inISR|inELR), nil)
	v.Sessions.remove(b.ID)
	return Decision{Records: append(records, &schema.UnregisterBrokerRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch}), Split: true}, nil
}

func uuids(ids [][16]byte) []protocol.UUID {
	out := make([]protocol.UUID, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}
