package metadata

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
)

// builder is the next image in the making. It copies a part of the image when the first record changes it.
type builder struct {
	base *Image
	next Image

	topics     table[*Topic]
	topicsByID table[*Topic]
	acls       table[*schema.AccessControlEntryRecord]
	scram      table[*schema.UserScramCredentialRecord]
	quotas     table[*ClientQuota]
	tokens     table[*schema.DelegationTokenRecord]
	configs    map[config.Scope]*table[map[string]string]

	edits   map[protocol.UUID]*topicEdit
	deleted map[protocol.UUID]*Topic
	brokers map[int32]struct{} // changed; not nil: next.brokers is a copy
	changed map[ConfigResource]struct{}
	order   []ConfigResource

	controllersCopied, featuresCopied bool
}

// table is one tree of the image in the making.
type table[T any] struct {
	tree *iradix.Tree[T]
	txn  *iradix.Txn[T] // nil until the first change
}

func (t *table[T]) get(key []byte) (T, bool) {
	if t.txn != nil {
		return t.txn.Get(key)
	}
	return t.tree.Get(key)
}

// put keeps key.
func (t *table[T]) put(key []byte, v T) {
	if t.txn == nil {
		t.txn = t.tree.Txn()
	}
	t.txn.Insert(key, v)
}

func (t *table[T]) remove(key []byte) {
	if t.txn == nil {
		t.txn = t.tree.Txn()
	}
	t.txn.Delete(key)
}

func (t *table[T]) commit() *iradix.Tree[T] {
	if t.txn == nil {
		return t.tree
	}
	return t.txn.CommitOnly()
}

func newBuilder(base *Image) *builder {
	b := &builder{base: base, next: *base}
	b.topics.tree, b.topicsByID.tree = base.topics, base.topicsByID
	b.acls.tree, b.scram.tree, b.quotas.tree, b.tokens.tree = base.acls, base.scram, base.quotas, base.tokens
	return b
}

// apply applies one record.
func (b *builder) apply(record schema.MetadataRecord) error {
	switch r := record.(type) {
	case *schema.TopicRecord:
		return b.createTopic(r)
	case *schema.PartitionRecord:
		return b.putPartition(r)
	case *schema.PartitionChangeRecord:
		return b.changePartition(r)
	case *schema.RemoveTopicRecord:
		return b.removeTopic(r)
	case *schema.ClearELRRecord:
		return b.clearELR(r)
	case *schema.ConfigRecord:
		b.setConfig(r)
	case *schema.RegisterBrokerRecord, *schema.UnregisterBrokerRecord, *schema.BrokerRegistrationChangeRecord,
		*schema.FenceBrokerRecord, *schema.UnfenceBrokerRecord:
		return b.applyBroker(record)
	case *schema.RegisterControllerRecord:
		b.setController(r.ControllerID, r)
	case *schema.UnregisterControllerRecord:
		b.setController(r.ControllerID, nil)
	case *schema.FeatureLevelRecord:
		return b.setFeature(r)
	case *schema.ProducerIDsRecord:
		b.next.nextProducerID = r.NextProducerID
	case *schema.NoOpRecord, *schema.ZkMigrationStateRecord,
		*schema.BeginTransactionRecord, *schema.EndTransactionRecord, *schema.AbortTransactionRecord:
	default:
		return b.applyAccess(record)
	}
	return nil
}

// applyAccess applies the records of ACLs, credentials, quotas and tokens.
func (b *builder) applyAccess(record schema.MetadataRecord) error {
	switch r := record.(type) {
	case *schema.AccessControlEntryRecord:
		b.acls.put(slices.Clone(r.ID[:]), r)
	case *schema.RemoveAccessControlEntryRecord:
		if _, ok := b.acls.get(r.ID[:]); !ok {
			return fmt.Errorf("metadata: removal of unknown ACL %s", r.ID)
		}
		b.acls.remove(r.ID[:])
	case *schema.UserScramCredentialRecord:
		b.scram.put(scramKey(r.Mechanism, r.Name), r)
	case *schema.RemoveUserScramCredentialRecord:
		b.scram.remove(scramKey(r.Mechanism, r.Name))
	case *schema.ClientQuotaRecord:
		b.setQuota(r)
	case *schema.DelegationTokenRecord:
		b.tokens.put([]byte(r.TokenID), r)
	case *schema.RemoveDelegationTokenRecord:
		b.tokens.remove([]byte(r.TokenID))
	default:
		return fmt.Errorf("metadata: record type %d has no place in an image", record.APIKey())
	}
	return nil
}

func (b *builder) applyBroker(record schema.MetadataRecord) error {
	switch r := record.(type) {
	case *schema.RegisterBrokerRecord:
		b.putBroker(brokerOf(r))
		return nil
	case *schema.UnregisterBrokerRecord:
		return b.changeBroker(r.BrokerID, r.BrokerEpoch, nil)
	case *schema.FenceBrokerRecord:
		return b.changeBroker(r.ID, r.Epoch, func(x *Broker) { x.Fenced = true })
	case *schema.UnfenceBrokerRecord:
		return b.changeBroker(r.ID, r.Epoch, func(x *Broker) { x.Fenced = false })
	case *schema.BrokerRegistrationChangeRecord:
		return b.changeBroker(r.BrokerID, r.BrokerEpoch, func(x *Broker) {
			switch r.Fenced {
			case schema.FenceFence:
				x.Fenced = true
			case schema.FenceUnfence:
				x.Fenced = false
			}
			if r.InControlledShutdown == schema.ControlledShutdownStarted {
				x.InControlledShutdown = true
			}
			if len(r.LogDirs) > 0 {
				x.Directories = r.LogDirs
			}
			if r.CordonedLogDirs != nil {
				x.CordonedDirectories = r.CordonedLogDirs
			}
		})
	}
	return nil
}

// touchBroker notes a change and makes next.brokers the builder's own.
func (b *builder) touchBroker(id int32) {
	if b.brokers == nil {
		b.brokers = map[int32]struct{}{}
		b.next.brokers = slices.Clone(b.next.brokers)
	}
	b.brokers[id] = struct{}{}
}

func (b *builder) putBroker(x *Broker) {
	b.touchBroker(x.ID)
	at, ok := b.next.brokerIndex(x.ID)
	if ok {
		b.next.brokers[at] = x
	} else {
		b.next.brokers = slices.Insert(b.next.brokers, at, x)
	}
}

// changeBroker changes a registration, or removes it if change is nil. The record must be about this epoch of the broker.
func (b *builder) changeBroker(id int32, epoch int64, change func(*Broker)) error {
	at, ok := b.next.brokerIndex(id)
	if !ok {
		return fmt.Errorf("metadata: change of broker %d, which is not registered", id)
	}
	x := *b.next.brokers[at]
	if x.Epoch != epoch {
		return fmt.Errorf("metadata: change of broker %d at epoch %d, but it is registered at %d", id, epoch, x.Epoch)
	}
	b.touchBroker(id)
	if change == nil {
		b.next.brokers = slices.Delete(b.next.brokers, at, at+1)
		return nil
	}
	change(&x)
	b.next.brokers[at] = &x
	return nil
}

func (b *builder) setController(id int32, r *schema.RegisterControllerRecord) {
	if !b.controllersCopied {
		b.controllersCopied = true
		b.next.controllers = maps.Clone(b.next.controllers)
	}
	if r == nil {
		delete(b.next.controllers, id)
		return
	}
	if b.next.controllers == nil {
		b.next.controllers = map[int32]*schema.RegisterControllerRecord{}
	}
	b.next.controllers[id] = r
}

// setFeature fails where this release does not know the level: it might take the records that follow for something else.
func (b *builder) setFeature(r *schema.FeatureLevelRecord) error {
	if f, ok := protocol.LookupFeature(r.Name); r.FeatureLevel != 0 && (!ok || r.FeatureLevel < f.Min || r.FeatureLevel > f.Max) {
		return protocol.Errorf(protocol.UnsupportedVersion, "the cluster has finalized level %d of %s, and this release supports levels %d to %d of it",
			r.FeatureLevel, r.Name, f.Min, f.Max)
	}
	if !b.featuresCopied {
		b.featuresCopied = true
		b.next.features = maps.Clone(b.next.features)
	}
	if r.FeatureLevel == 0 {
		delete(b.next.features, r.Name)
		return nil
	}
	if b.next.features == nil {
		b.next.features = map[string]int16{}
	}
	b.next.features[r.Name] = r.FeatureLevel
	return nil
}

// control applies one control record of a Raft log: the quorum's version and voters are part of the image, as brokers show the one and snapshots have
// both.
func (b *builder) control(record schema.Control) error {
	switch r := record.(type) {
	case *schema.KRaftVersion:
		return b.setFeature(&schema.FeatureLevelRecord{Name: protocol.KRaftVersion, FeatureLevel: r.KRaftVersion})
	case *schema.KRaftVoters:
		b.next.voters = r
	}
	return nil
}

// configTable returns the tree of a scope in the making, and notes that resource changed.
func (b *builder) configTable(resource ConfigResource) *table[map[string]string] {
	if _, ok := b.changed[resource]; !ok {
		if b.changed == nil {
			b.changed = map[ConfigResource]struct{}{}
		}
		b.changed[resource] = struct{}{}
		b.order = append(b.order, resource)
	}
	t := b.configs[resource.Scope]
	if t == nil {
		t = &table[map[string]string]{tree: b.base.configs[resource.Scope]}
		if t.tree == nil {
			t.tree = iradix.New[map[string]string]()
		}
		if b.configs == nil {
			b.configs = map[config.Scope]*table[map[string]string]{}
		}
		b.configs[resource.Scope] = t
	}
	return t
}

func (b *builder) setConfig(r *schema.ConfigRecord) {
	t := b.configTable(ConfigResource{config.Scope(r.ResourceType), r.ResourceName})
	key := []byte(r.ResourceName)
	before, _ := t.get(key)
	values := make(map[string]string, len(before)+1)
	maps.Copy(values, before)
	if r.Value == nil {
		delete(values, r.Name)
	} else {
		values[r.Name] = *r.Value
	}
	if len(values) == 0 {
		t.remove(key)
	} else {
		t.put(key, values)
	}
}

func (b *builder) setQuota(r *schema.ClientQuotaRecord) {
	entity := slices.SortedFunc(slices.Values(r.Entity), func(x, y schema.QuotaEntity) int { return cmp.Compare(x.Type, y.Type) })
	key := quotaKey(entity)
	next := &ClientQuota{Entity: entity, Values: map[string]float64{}}
	if before, ok := b.quotas.get(key); ok {
		maps.Copy(next.Values, before.Values)
	}
	if r.Remove {
		delete(next.Values, r.Key)
	} else {
		next.Values[r.Key] = r.Value
	}
	if len(next.Values) == 0 {
		b.quotas.remove(key)
	} else {
		b.quotas.put(key, next)
	}
}

// quotaKey is one entity's key: the parts with their lengths, so that no two entities share one.
func quotaKey(entity []schema.QuotaEntity) []byte {
	var key []byte
	for _, e := range entity {
		key = append(binary.AppendUvarint(key, uint64(len(e.Type))), e.Type...)
		if e.Name == nil {
			key = append(key, 0)
			continue
		}
		key = append(binary.AppendUvarint(key, uint64(len(*e.Name))+1), *e.Name...)
	}
	return key
}

// finish returns the image and what changed. The builder must not be used afterwards.
func (b *builder) finish(offset int64, epoch int32) (*Image, *Delta, error) {
	d := &Delta{
		Before: b.base, Topics: make(map[protocol.UUID]*TopicDelta, len(b.edits)), Deleted: b.deleted, Brokers: b.brokers, Configs: b.order,
		FeaturesChanged: b.featuresCopied,
		ACLsChanged:     b.acls.txn != nil,
		ScramChanged:    b.scram.txn != nil,
		QuotasChanged:   b.quotas.txn != nil,
		TokensChanged:   b.tokens.txn != nil,
	}
	if d.Brokers == nil {
		d.Brokers = map[int32]struct{}{}
	}
	if d.Deleted == nil {
		d.Deleted = map[protocol.UUID]*Topic{}
	}
	if err := b.finishTopics(d); err != nil {
		return nil, nil, err
	}
	next := b.next
	next.offset, next.epoch = offset, epoch
	next.topics, next.topicsByID = b.topics.commit(), b.topicsByID.commit()
	next.acls, next.scram, next.quotas, next.tokens = b.acls.commit(), b.scram.commit(), b.quotas.commit(), b.tokens.commit()
	if len(b.configs) > 0 {
		next.configs = maps.Clone(next.configs)
		if next.configs == nil {
			next.configs = map[config.Scope]*iradix.Tree[map[string]string]{}
		}
		for s, t := range b.configs {
			next.configs[s] = t.commit()
		}
	}
	d.Image = &next
	return &next, d, nil
}
