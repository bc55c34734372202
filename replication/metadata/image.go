package metadata

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
)

// Image is the cluster's metadata at one offset of the metadata log: immutable, persistent maps. What its methods return is
// shared and must not be changed. Look-ups do not allocate.
type Image struct {
	offset         int64
	epoch          int32
	topics         *iradix.Tree[*Topic] // by name
	topicsByID     *iradix.Tree[*Topic] // by the 16 bytes of the id
	brokers        []*Broker            // by id
	controllers    map[int32]*schema.RegisterControllerRecord
	configs        map[config.Scope]*iradix.Tree[map[string]string] // by resource name
	features       map[string]int16
	nextProducerID int64
	acls           *iradix.Tree[*schema.AccessControlEntryRecord]  // by the 16 bytes of the id
	scram          *iradix.Tree[*schema.UserScramCredentialRecord] // by mechanism byte and user
	quotas         *iradix.Tree[*ClientQuota]                      // by quotaKey
	tokens         *iradix.Tree[*schema.DelegationTokenRecord]     // by token id
	voters         *schema.KRaftVoters                             // nil: no control record names them
}

// Empty returns the image before the first record, at offset -1.
func Empty() *Image {
	return &Image{
		offset: -1, epoch: -1,
		topics: iradix.New[*Topic](), topicsByID: iradix.New[*Topic](),
		acls:   iradix.New[*schema.AccessControlEntryRecord](),
		scram:  iradix.New[*schema.UserScramCredentialRecord](),
		quotas: iradix.New[*ClientQuota](),
		tokens: iradix.New[*schema.DelegationTokenRecord](),
	}
}

// With applies records (the batch that ends at offset, epoch) and returns the next image and what changed. The records are kept
// and must not be changed afterwards. The marks of metadata transactions are passed over: a Loader resolves them. An error
// says that the records do not fit the image; i is as it was in any case.
func (i *Image) With(offset int64, epoch int32, records []schema.MetadataRecord) (*Image, *Delta, error) {
	b := newBuilder(i)
	for _, r := range records {
		if err := b.apply(r); err != nil {
			return nil, nil, err
		}
	}
	return b.finish(offset, epoch)
}

// WithControls is With for a batch of control records. Those that say nothing about the quorum change only the offset.
func (i *Image) WithControls(offset int64, epoch int32, controls []schema.Control) (*Image, *Delta, error) {
	b := newBuilder(i)
	for _, c := range controls {
		if err := b.control(c); err != nil {
			return nil, nil, err
		}
	}
	return b.finish(offset, epoch)
}

// Offset is the offset of the last record applied; -1 for Empty.
func (i *Image) Offset() int64 { return i.offset }

// Epoch is the epoch of the controller that wrote the last record applied; -1 for Empty.
func (i *Image) Epoch() int32 { return i.epoch }

// Topic returns a topic, or nil if there is none of that name.
func (i *Image) Topic(name string) *Topic {
	t, _ := i.topics.Get([]byte(name))
	return t
}

// TopicByID returns a topic, or nil if there is none with that id.
func (i *Image) TopicByID(id protocol.UUID) *Topic {
	t, _ := i.topicsByID.Get(id[:])
	return t
}

// Topics yields all topics by name.
func (i *Image) Topics() iter.Seq[*Topic] { return all(i.topics) }

// TopicsFrom yields the topics whose names are at least name, by name.
func (i *Image) TopicsFrom(name string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		it := i.topics.Root().Iterator()
		it.SeekLowerBound([]byte(name))
		for _, t, ok := it.Next(); ok; _, t, ok = it.Next() {
			if !yield(t) {
				return
			}
		}
	}
}

// TopicCount is the number of topics.
func (i *Image) TopicCount() int { return i.topics.Len() }

// Partition returns a partition, or nil if there is no such topic or partition.
func (i *Image) Partition(topic string, p int32) *Partition {
	return i.Topic(topic).Partition(p)
}

// Partition returns a partition of t, or nil if t is nil or has no such partition.
func (t *Topic) Partition(p int32) *Partition {
	if t == nil || p < 0 || int(p) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[p]
}

// Broker returns a registered broker, fenced or not, or nil.
func (i *Image) Broker(id int32) *Broker {
	at, ok := i.brokerIndex(id)
	if !ok {
		return nil
	}
	return i.brokers[at]
}

func (i *Image) brokerIndex(id int32) (int, bool) {
	return slices.BinarySearchFunc(i.brokers, id, func(b *Broker, id int32) int { return cmp.Compare(b.ID, id) })
}

// Brokers yields the registered brokers, fenced or not, by id.
func (i *Image) Brokers() iter.Seq[*Broker] { return slices.Values(i.brokers) }

// controllersRegister is the metadata.version from which on controllers register, 3.7-IV0.
const controllersRegister = 15

// ControllersRegister reports whether the nodes know the records of controllers, as far as metadata.version tells (MetadataVersion.isControllerRegistrationSupported).
func (i *Image) ControllersRegister() bool {
	return i.FeatureLevel(protocol.MetadataVersion) >= controllersRegister
}

// Controllers yields the registered controllers by id.
func (i *Image) Controllers() iter.Seq[*schema.RegisterControllerRecord] {
	return func(yield func(*schema.RegisterControllerRecord) bool) {
		for _, id := range slices.Sorted(maps.Keys(i.controllers)) {
			if !yield(i.controllers[id]) {
				return
			}
		}
	}
}

// Config returns the explicit overrides of a resource (shared: do not change); nil if none. Broker name "" is the
// cluster-wide default.
func (i *Image) Config(s config.Scope, name string) map[string]string {
	tree := i.configs[s]
	if tree == nil {
		return nil
	}
	c, _ := tree.Get([]byte(name))
	return c
}

// ConfigResources returns the names of the resources of a scope that have overrides, sorted.
func (i *Image) ConfigResources(s config.Scope) []string {
	tree := i.configs[s]
	if tree == nil {
		return nil
	}
	names := make([]string, 0, tree.Len())
	tree.Root().Walk(func(k []byte, _ map[string]string) bool {
		names = append(names, string(k))
		return false
	})
	return names
}

// Features returns the finalized features and their levels, metadata.version among them (shared: do not change).
func (i *Image) Features() map[string]int16 { return i.features }

// FeatureLevel is the finalized level of a feature, by one of protocol's names; 0 if it is not finalized.
func (i *Image) FeatureLevel(name string) int16 { return i.features[name] }

// Voters are the voters of the controllers' quorum as the last control record names them (shared: do not change); nil where none does, as with
// kraft.version 0.
func (i *Image) Voters() *schema.KRaftVoters { return i.voters }

// NextProducerID is the first producer id that no block holds yet.
func (i *Image) NextProducerID() int64 { return i.nextProducerID }

// ACLs yields the access control entries, by id.
func (i *Image) ACLs() iter.Seq[*schema.AccessControlEntryRecord] { return all(i.acls) }

// ACL returns one access control entry, or nil.
func (i *Image) ACL(id protocol.UUID) *schema.AccessControlEntryRecord {
	r, _ := i.acls.Get(id[:])
	return r
}

// ScramCredentials yields the SCRAM credentials, by mechanism and user.
func (i *Image) ScramCredentials() iter.Seq[*schema.UserScramCredentialRecord] { return all(i.scram) }

// ScramCredential returns a user's credential of one mechanism (1 SCRAM-SHA-256, 2 SCRAM-SHA-512), or nil.
func (i *Image) ScramCredential(mechanism int8, user string) *schema.UserScramCredentialRecord {
	r, _ := i.scram.Get(scramKey(mechanism, user))
	return r
}

// ClientQuota returns the quotas of an entity, which is sorted by type, or nil if it has none.
func (i *Image) ClientQuota(entity []schema.QuotaEntity) *ClientQuota {
	q, _ := i.quotas.Get(quotaKey(entity))
	return q
}

// ClientQuotas yields the entities that have quotas.
func (i *Image) ClientQuotas() iter.Seq[*ClientQuota] { return all(i.quotas) }

// DelegationTokens yields the delegation tokens, by token id.
func (i *Image) DelegationTokens() iter.Seq[*schema.DelegationTokenRecord] { return all(i.tokens) }

// DelegationToken returns one delegation token, or nil.
func (i *Image) DelegationToken(id string) *schema.DelegationTokenRecord {
	r, _ := i.tokens.Get([]byte(id))
	return r
}

// all yields the values of a tree in the order of its keys.
func all[T any](tree *iradix.Tree[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		tree.Root().Walk(func(_ []byte, v T) bool { return !yield(v) })
	}
}

func scramKey(mechanism int8, user string) []byte {
	return append([]byte{byte(mechanism)}, user...)
}
