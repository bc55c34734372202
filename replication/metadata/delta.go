package metadata

import (
	"maps"
	"reflect"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
)

// Delta is what one batch, or several, changed. Image is the image after it; Before the one before.
type Delta struct {
	Image, Before *Image
	Topics        map[protocol.UUID]*TopicDelta // changed or created
	Deleted       map[protocol.UUID]*Topic      // as they were in Before
	Brokers       map[int32]struct{}            // registered, changed or gone
	Configs       []ConfigResource              // each once, in order of the first change

	FeaturesChanged, ACLsChanged, ScramChanged, QuotasChanged, TokensChanged bool

	// Replaced says that Image did not come of Before: the log was begun anew, as after a recovery of the cluster from a copy. What is gone was not removed.
	Replaced bool
}

// TopicDelta is what changed in one topic.
type TopicDelta struct {
	Topic      *Topic
	Created    bool
	Partitions []int32 // changed or new, ascending
}

// Difference is the delta from one image to another that did not grow out of it, record by record: what a node that fell
// behind a snapshot has to do.
func Difference(from, to *Image) *Delta {
	d := &Delta{
		Image: to, Before: from,
		Topics: map[protocol.UUID]*TopicDelta{}, Deleted: map[protocol.UUID]*Topic{}, Brokers: map[int32]struct{}{},
		FeaturesChanged: !maps.Equal(from.features, to.features),
	}
	for t := range from.Topics() {
		if to.TopicByID(t.ID) == nil {
			d.Deleted[t.ID] = t
		}
	}
	for t := range to.Topics() {
		before := from.TopicByID(t.ID)
		td := &TopicDelta{Topic: t, Created: before == nil}
		for id, p := range t.Partitions {
			if old := before.Partition(int32(id)); old == nil || (old != p && !reflect.DeepEqual(old, p)) {
				td.Partitions = append(td.Partitions, int32(id))
			}
		}
		if td.Created || len(td.Partitions) > 0 {
			d.Topics[t.ID] = td
		}
	}
	for _, b := range from.brokers {
		if to.Broker(b.ID) == nil {
			d.Brokers[b.ID] = struct{}{}
		}
	}
	for _, b := range to.brokers {
		if !reflect.DeepEqual(from.Broker(b.ID), b) {
			d.Brokers[b.ID] = struct{}{}
		}
	}
	for _, s := range []config.Scope{config.Topic, config.Broker, config.ClientMetrics, config.Group} {
		for _, name := range from.ConfigResources(s) {
			if to.Config(s, name) == nil {
				d.Configs = append(d.Configs, ConfigResource{s, name})
			}
		}
		for _, name := range to.ConfigResources(s) {
			if !maps.Equal(from.Config(s, name), to.Config(s, name)) {
				d.Configs = append(d.Configs, ConfigResource{s, name})
			}
		}
	}
	d.ACLsChanged = differ(from.aclRecords(nil), to.aclRecords(nil))
	d.ScramChanged = differ(from.scramRecords(nil), to.scramRecords(nil))
	d.QuotasChanged = differ(from.quotaRecords(nil), to.quotaRecords(nil))
	d.TokensChanged = differ(from.tokenRecords(nil), to.tokenRecords(nil))
	return d
}

func differ(a, b []schema.MetadataRecord) bool { return !reflect.DeepEqual(a, b) }
