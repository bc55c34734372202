package group

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// withTopics is the image with more topics in it.
func withTopics(t *testing.T, image *metadata.Image, topics map[string]protocol.UUID) *metadata.Image {
	t.Helper()
	var records []schema.MetadataRecord
	for name, id := range topics {
		records = append(records, &schema.TopicRecord{Name: name, TopicID: id}, &schema.PartitionRecord{
			TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []protocol.UUID{protocol.NewUUID()},
		})
	}
	next, _, err := image.With(image.Offset()+1, 1, records)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// commitTo commits without membership in partition 0 of a topic, by id if it is not zero.
func (h *harness) commitTo(topic string, id protocol.UUID, offset int64) {
	h.t.Helper()
	version := int16(9)
	if !id.IsZero() {
		version = 10
	}
	req := h.client().commitRequest(version, offset)
	req.Topics[0].Topic, req.Topics[0].TopicID = topic, id
	resp := runtimetest.Now(h.t, h.c.OffsetCommit(req))
	wantCode(h.t, "OffsetCommit", resp.Topics[0].Partitions[0].ErrorCode, protocol.None)
}

func (h *harness) wantOffsets(when string, want map[string]int64) {
	h.t.Helper()
	for topic, offset := range want {
		if got := h.fetchFrom(h.c, testGroup, topic); got != offset {
			h.t.Errorf("%s: %s has offset %d, want %d", when, topic, got, offset)
		}
	}
}

func TestOffsetsOfTopicsThatWereDeletedUnseen(t *testing.T) {
	run(t, nil, func(h *harness) {
		stays, again := protocol.NewUUID(), protocol.NewUUID()
		before := h.image
		h.commitTo("stays", protocol.UUID{}, 1)
		h.commitTo("stays by id", stays, 2)
		h.commitTo("gone", protocol.UUID{}, 3)
		h.commitTo("gone by id", protocol.NewUUID(), 4)
		h.commitTo("again", protocol.NewUUID(), 5) // an older topic of that name
		all := map[string]int64{"stays": 1, "stays by id": 2, "gone": 3, "gone by id": 4, "again": 5}

		// The broker starts again, with an image of its last life.
		h.c.runtime.Resign(0, 1)
		h.c.runtime.Elect(0, 2)
		pass(time.Hour)
		h.wantOffsets("before the registration", all)

		h.image = withTopics(t, before, map[string]protocol.UUID{"stays": protocol.NewUUID(), "stays by id": stays, "again": again})
		h.registered = h.image
		h.c.Apply(&metadata.Delta{Before: before, Image: h.image})
		pass(2 * vanishedDelay)
		left := map[string]int64{"stays": 1, "stays by id": 2, "gone": -1, "gone by id": -1, "again": -1}
		h.wantOffsets("after it", left)

		h.c.runtime.Resign(0, 3)
		h.c.runtime.Elect(0, 4)
		synctest.Wait()
		h.wantOffsets("the tombstones are in the log", left)

		h.commitTo("gone since", protocol.UUID{}, 6)
		h.c.runtime.Resign(0, 5)
		h.c.runtime.Elect(0, 6)
		pass(2 * vanishedDelay)
		h.wantOffsets("loaded by a registered broker", map[string]int64{"stays": 1, "gone since": -1})
	})
}

func TestALogThatTakesNoTombstonesIsNotLoadedWithoutPause(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.commitTo("gone", protocol.UUID{}, 1)
		h.registered = h.image
		h.log.FailAppends(errors.New("disk"))
		h.c.runtime.Resign(0, 1)
		h.c.runtime.Elect(0, 2)
		pass(5 * vanishedDelay)
		h.log.FailAppends(nil)
		pass(2 * vanishedDelay)
		h.wantOffsets("once the log is good", map[string]int64{"gone": -1})
	})
}

func TestTheOffsetsTopicIsCreatedAgainInOneStep(t *testing.T) {
	run(t, nil, func(h *harness) {
		var old *shard
		h.inspect(func(s *shard) { old = s })
		before := h.image
		h.image = offsetsTopic(t, 1) // another id, and an epoch that is not newer
		h.c.Apply(&metadata.Delta{Before: before, Image: h.image})
		synctest.Wait()
		h.inspect(func(s *shard) {
			if s == old {
				t.Error("the shard of the old topic serves the new one")
			}
		})
	})
}

// TestAnOffsetWithoutATopicIDKeepsNone: the one before it in the log has an id, and an id that is not the topic's would take the offset away.
func TestAnOffsetWithoutATopicIDKeepsNone(t *testing.T) {
	run(t, nil, func(h *harness) {
		id := protocol.NewUUID()
		h.image = withTopics(t, h.image, map[string]protocol.UUID{"by id": id, "by name": protocol.NewUUID()})
		h.registered = h.image
		h.commitTo("by id", id, 1)
		h.commitTo("by name", protocol.UUID{}, 2)
		h.c.runtime.Resign(0, 1)
		h.c.runtime.Elect(0, 2)
		pass(2 * vanishedDelay)
		h.wantOffsets("loaded", map[string]int64{"by id": 1, "by name": 2})
	})
}
