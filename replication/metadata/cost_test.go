package metadata

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
)

func largeImage(tb testing.TB, topics int) (image *Image, name string, id protocol.UUID) {
	var records []schema.MetadataRecord
	for i := range topics {
		id = protocol.UUID{byte(i), byte(i >> 8), 7, byte(i >> 16)}
		name = fmt.Sprintf("a-topic-with-quite-a-long-name-as-they-often-have-%06d", i)
		records = append(records, topicRecords(name, id, 2)...)
		records = append(records, &schema.ConfigRecord{ResourceType: 2, ResourceName: name, Name: "retention.ms", Value: ptr("1")})
	}
	image, _ = with(tb, Empty(), records...)
	return image, name, id
}

func TestLookUpsDoNotAllocate(t *testing.T) {
	image, name, id := largeImage(t, 2000)
	name = strings.Clone(name)
	if n := testing.AllocsPerRun(100, func() {
		if image.Topic(name) == nil || image.TopicByID(id) == nil || image.Partition(name, 1) == nil || image.Broker(1) != nil ||
			image.Config(config.Topic, name) == nil {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A change costs what changed, not what is there.
func TestChangesDoNotCopyTheImage(t *testing.T) {
	cost := func(topics int) float64 {
		image, _, id := largeImage(t, topics)
		change := schema.NewPartitionChangeRecord(id, 1)
		change.ISR = []int32{1}
		return testing.AllocsPerRun(20, func() { with(t, image, change) })
	}
	small, large := cost(100), cost(5000)
	if large > 2*small+20 {
		t.Errorf("%v allocations among 100 topics, %v among 5000", small, large)
	}
}

func BenchmarkTopicLookUp(b *testing.B) {
	image, name, _ := largeImage(b, 10000)
	b.ReportAllocs()
	for b.Loop() {
		_ = image.Partition(name, 1)
	}
}

func BenchmarkTopicByID(b *testing.B) {
	image, _, id := largeImage(b, 10000)
	b.ReportAllocs()
	for b.Loop() {
		_ = image.TopicByID(id)
	}
}

func BenchmarkPartitionChange(b *testing.B) {
	image, _, id := largeImage(b, 10000)
	change := schema.NewPartitionChangeRecord(id, 1)
	change.ISR = []int32{1}
	b.ReportAllocs()
	for b.Loop() {
		with(b, image, change)
	}
}
