package group

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

func TestTopicsAppearGrowAndGo(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		a := h.modern("x", "y").join()
		epoch := h.describeConsumer().Epoch
		step := func(what string, change func(), x, y int) {
			t.Helper()
			change()
			h.converge(a)
			count := func(topic string) int {
				if h.image.Topic(topic) == nil {
					return 0
				}
				return len(a.partitions(topic))
			}
			if count("x") != x || count("y") != y {
				t.Errorf("%s: %d partitions of x and %d of y, want %d and %d", what, count("x"), count("y"), x, y)
			}
			if got := h.describeConsumer().Epoch; got != epoch+1 {
				t.Errorf("%s: epoch %d, want %d", what, got, epoch+1)
			}
			epoch++
		}
		step("x appears", func() { h.addTopic("x", 2) }, 2, 0)
		step("y appears", func() { h.addTopic("y", 3) }, 2, 3)
		step("x grows", func() { h.addTopic("x", 5) }, 5, 3)
		step("y goes", func() { h.removeTopic("y") }, 5, 0)
		step("y appears again", func() { h.addTopic("y", 1) }, 5, 1)
		h.addTopic("z", 1)
		h.converge(a)
		if got := h.describeConsumer().Epoch; got != epoch {
			t.Errorf("a topic of nobody: epoch %d, want %d", got, epoch)
		}
	})
}

func TestAChangeOfATopicConcernsItsGroupsOnly(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("x", 1)
		h.addTopic("y", 1)
		a, b := h.modern("x"), h.modern("y")
		b.group = "other"
		a.join().join()
		b.join().join()
		concerned := func() (all []string) {
			h.inspect(func(s *shard) {
				for id, g := range s.groups {
					if g.(*consumerGroup).refreshAt.Before(time.Now()) {
						all = append(all, id)
					}
				}
			})
			slices.Sort(all)
			return all
		}
		if got := concerned(); len(got) != 0 {
			t.Fatalf("concerned before: %v", got)
		}
		h.addTopic("y", 2)
		if got := concerned(); !slices.Equal(got, []string{"other"}) {
			t.Errorf("concerned: %v", got)
		}
		h.inspect(func(s *shard) {
			if _, ok := s.topics.hashes["y"]; ok {
				t.Error("the hash of a changed topic is kept")
			}
			if _, ok := s.topics.hashes["x"]; !ok {
				t.Error("the hash of a topic that did not change is lost")
			}
		})
		wantCode(t, "leave", int16(a.leave()), protocol.None)
		wantCode(t, "leave", int16(b.leave()), protocol.None)
		h.inspect(func(s *shard) {
			if len(s.topics.groups) != 0 || len(s.topics.hashes) != 0 {
				t.Errorf("the index keeps %v %v", s.topics.groups, s.topics.hashes)
			}
		})
	})
}

func TestOtherReplicasAndRacksMakeANewEpoch(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		broker := func(id int32, rack string) {
			h.change(&schema.RegisterBrokerRecord{BrokerID: id, BrokerEpoch: h.image.Offset(), Rack: &rack})
		}
		broker(1, "a")
		broker(2, "b")
		id := h.addTopic("x", 1)
		a := h.modern("x").join()
		a.join()
		epoch := h.describeConsumer().Epoch
		step := func(what string, by int32, change func()) {
			t.Helper()
			change()
			h.converge(a)
			if got := h.describeConsumer().Epoch; got != epoch+by {
				t.Errorf("%s: epoch %d after %d", what, got, epoch)
			}
			epoch += by
		}
		step("another leader", 0, func() {
			r := schema.NewPartitionChangeRecord(id, 0)
			r.ISR = []int32{1}
			h.change(r)
		})
		step("another rack", 1, func() { broker(1, "c") })
		step("the same rack", 0, func() { broker(1, "c") })
		step("another replica", 1, func() {
			r := schema.NewPartitionChangeRecord(id, 0)
			r.Replicas, r.Directories = []int32{1, 2}, []protocol.UUID{protocol.NewUUID(), protocol.NewUUID()}
			h.change(r)
		})
	})
}

// TestHashesAreKafkas compares with the hash that Apache Kafka 4.3.1 wrote for a group in the sample of protocol/schema, and with one that
// its library gives for a topic with racks.
func TestHashesAreKafkas(t *testing.T) {
	image := func(records ...schema.MetadataRecord) *metadata.Image {
		t.Helper()
		i, _, err := metadata.Empty().With(0, 1, records)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	id := protocol.UUID{0xb4, 0xa8, 0x78, 0x93, 0x6e, 0x9a, 0x41, 0xa6, 0xb4, 0x0d, 0x29, 0x4b, 0x84, 0x32, 0x4d, 0x9c}
	records := []schema.MetadataRecord{&schema.TopicRecord{Name: "ta", TopicID: id}}
	for p := range int32(4) {
		records = append(records, &schema.PartitionRecord{PartitionID: p, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: make([]protocol.UUID, 1)})
	}
	i := image(records...)
	var group []byte
	group = binary.LittleEndian.AppendUint64(group, uint64(topicHash(i, i.Topic("ta"))))
	if got := xxh3(group); got != 0x2c2dd532a11524c9 {
		t.Errorf("hash of the sample's group: %x", got)
	}

	var other protocol.UUID
	binary.BigEndian.PutUint64(other[:8], 0x0102030405060708)
	binary.BigEndian.PutUint64(other[8:], 0x1112131415161718)
	rack := func(broker int32, name string) *schema.RegisterBrokerRecord {
		return &schema.RegisterBrokerRecord{BrokerID: broker, Rack: &name}
	}
	partition := func(p int32, replicas ...int32) *schema.PartitionRecord {
		return &schema.PartitionRecord{PartitionID: p, TopicID: other, Replicas: replicas, ISR: replicas, Leader: replicas[0], Directories: make([]protocol.UUID, len(replicas))}
	}
	i = image(rack(1, "b"), rack(2, "a"), rack(3, "rack-ä"), &schema.RegisterBrokerRecord{BrokerID: 4},
		&schema.TopicRecord{Name: "tøpic", TopicID: other}, partition(0, 1, 2), partition(1, 3), partition(2, 4, 5))
	if got := topicHash(i, i.Topic("tøpic")); got != -1664523911715761840 {
		t.Errorf("hash of a topic with racks: %d", got)
	}
}
