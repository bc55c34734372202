package metadata

import (
	"maps"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

// Records is the whole image as records, for a snapshot: in Kafka's order, metadata.version first. kraft.version is in none of them where control records
// tell it with the voters. The records share what they
// hold with the image and must not be changed.
func (i *Image) Records() []schema.MetadataRecord {
	var out []schema.MetadataRecord
	out = i.featureRecords(out)
	for _, b := range i.brokers {
		out = append(out, b.record())
	}
	for c := range i.Controllers() {
		out = append(out, c)
	}
	for t := range i.Topics() {
		out = append(out, &schema.TopicRecord{Name: t.Name, TopicID: t.ID})
		for _, p := range t.Partitions {
			out = append(out, p.record(t))
		}
	}
	out = i.configRecords(out)
	out = i.quotaRecords(out)
	if i.nextProducerID > 0 {
		out = append(out, &schema.ProducerIDsRecord{BrokerID: -1, BrokerEpoch: -1, NextProducerID: i.nextProducerID})
	}
	out = i.aclRecords(out)
	out = i.scramRecords(out)
	return i.tokenRecords(out)
}

// Controls is what a snapshot says about the quorum, in its header's batch: nothing with kraft.version 0.
func (i *Image) Controls() []schema.Control {
	if i.voters == nil {
		return nil
	}
	return []schema.Control{&schema.KRaftVersion{KRaftVersion: i.FeatureLevel(protocol.KRaftVersion)}, i.voters}
}

func (i *Image) featureRecords(out []schema.MetadataRecord) []schema.MetadataRecord {
	if level, ok := i.features[protocol.MetadataVersion]; ok {
		out = append(out, &schema.FeatureLevelRecord{Name: protocol.MetadataVersion, FeatureLevel: level})
	}
	for _, name := range slices.Sorted(maps.Keys(i.features)) {
		if name != protocol.MetadataVersion && (name != protocol.KRaftVersion || i.voters == nil) {
			out = append(out, &schema.FeatureLevelRecord{Name: name, FeatureLevel: i.features[name]})
		}
	}
	return out
}

// record is the broker's registration as it is now.
func (b *Broker) record() *schema.RegisterBrokerRecord {
	r := &schema.RegisterBrokerRecord{
		BrokerID: b.ID, IncarnationID: b.Incarnation, BrokerEpoch: b.Epoch, Features: b.Features, Rack: b.Rack,
		Fenced: b.Fenced, InControlledShutdown: b.InControlledShutdown,
		LogDirs: b.Directories, CordonedLogDirs: b.CordonedDirectories,
	}
	for _, e := range b.Endpoints {
		r.EndPoints = append(r.EndPoints, schema.BrokerEndpoint{Name: e.Listener, Host: e.Host, Port: e.Port, SecurityProtocol: e.SecurityProtocol})
	}
	return r
}

// record is the partition of t as it is now.
func (p *Partition) record(t *Topic) *schema.PartitionRecord {
	r := &schema.PartitionRecord{
		PartitionID: p.ID, TopicID: t.ID, Replicas: p.Replicas, ISR: p.ISR, Removing: p.Removing, Adding: p.Adding,
		Leader: p.Leader, LeaderRecoveryState: p.LeaderRecoveryState, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		Directories: p.Directories,
	}
	if len(p.ELR) > 0 {
		r.EligibleLeaderReplicas = p.ELR
	}
	if len(p.LastKnownELR) > 0 {
		r.LastKnownELR = p.LastKnownELR
	}
	return r
}

func (i *Image) configRecords(out []schema.MetadataRecord) []schema.MetadataRecord {
	for _, s := range slices.Sorted(maps.Keys(i.configs)) {
		for _, name := range i.ConfigResources(s) {
			values := i.Config(s, name)
			for _, key := range slices.Sorted(maps.Keys(values)) {
				value := values[key]
				out = append(out, &schema.ConfigRecord{ResourceType: int8(s), ResourceName: name, Name: key, Value: &value})
			}
		}
	}
	return out
}

func (i *Image) quotaRecords(out []schema.MetadataRecord) []schema.MetadataRecord {
	for q := range i.ClientQuotas() {
		for _, key := range slices.Sorted(maps.Keys(q.Values)) {
			out = append(out, &schema.ClientQuotaRecord{Entity: q.Entity, Key: key, Value: q.Values[key]})
		}
	}
	return out
}

func (i *Image) aclRecords(out []schema.MetadataRecord) []schema.MetadataRecord {
	for r := range i.ACLs() {
		out = append(out, r)
	}
	return out
}

func (i *Image) scramRecords(out []schema.MetadataRecord) []schema.MetadataRecord {
	for r := range i.ScramCredentials() {
		out = append(out, r)
	}
	return out
}

func (i *Image) tokenRecords(out []schema.MetadataRecord) []schema.MetadataRecord {
	for r := range i.DelegationTokens() {
		out = append(out, r)
	}
	return out
}
