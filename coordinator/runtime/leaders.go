package runtime

import (
	"sync"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// leaders is what the runtime was last told of the leaders of its topic.
type leaders struct {
	mu      sync.Mutex      // guards the rest, and orders elections
	topicID protocol.UUID   // zero: there is no such topic
	led     map[int32]int32 // partition to the leader epoch that this broker was elected for
}

// Follow elects and resigns as image says of the leaders of Options.Topic. Replication must have applied image before.
func (r *Runtime[S]) Follow(image *metadata.Image) {
	l := &r.leaders
	l.mu.Lock()
	defer l.mu.Unlock()
	var partitions []*metadata.Partition
	var topicID protocol.UUID
	if topic := image.Topic(r.o.Topic); topic != nil {
		partitions, topicID = topic.Partitions, topic.ID
	}
	if topicID != l.topicID { // it was deleted, and perhaps created again: epochs begin anew
		for id, epoch := range l.led {
			r.Resign(id, epoch+1)
		}
		clear(l.led)
		l.topicID = topicID
	}
	for _, p := range partitions {
		if p == nil {
			continue
		}
		epoch, led := l.led[p.ID]
		switch {
		case p.Leader == r.o.NodeID && (!led || p.LeaderEpoch > epoch):
			l.led[p.ID] = p.LeaderEpoch
			r.Elect(p.ID, p.LeaderEpoch)
		case p.Leader != r.o.NodeID && led:
			delete(l.led, p.ID)
			r.Resign(p.ID, max(p.LeaderEpoch, epoch+1))
		}
	}
}

// PartitionFor is the partition of Options.Topic that holds key: by its number of partitions, or by configured while it does not exist.
func (r *Runtime[S]) PartitionFor(key string, configured int32) int32 {
	if topic := r.o.Image().Topic(r.o.Topic); topic != nil {
		configured = int32(len(topic.Partitions))
	}
	return protocol.CoordinatorPartition(key, configured)
}
