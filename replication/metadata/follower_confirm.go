package metadata

import (
	"context"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConfirmOptions is what Confirm needs.
type ConfirmOptions struct {
	ClusterID string
	Log       *storage.Log // this node's, which its controller writes
	// Leads reports whether this node leads the quorum, and has all that was committed before.
	Leads  func() (epoch int32, ok bool)
	Source Source // the way to the other controllers
}

// confirmInterval is how often it is looked again.
const confirmInterval = 50 * time.Millisecond

// Confirm waits until the log of a node with a controller holds all that the quorum had committed when the leader was asked: until then it may be as old as the
// node's last stop, or empty if its disk was replaced, and must not come into force on the node's broker. It returns ctx's error if that ends first.
func Confirm(ctx context.Context, o ConfirmOptions) error {
	target, leaderEpoch := int64(-1), int32(-1)
	for {
		if _, ok := o.Leads(); ok {
			return nil
		}
		if target < 0 {
			target, leaderEpoch = o.ask(ctx, leaderEpoch)
		}
		if target >= 0 && o.Log.Offsets().HighWatermark >= target {
			return nil
		}
		if !pause(ctx, confirmInterval) {
			return ctx.Err()
		}
	}
}

// ask asks the leader for the end of its log; -1 if there is no answer of a leader.
func (o *ConfirmOptions) ask(ctx context.Context, leaderEpoch int32) (end int64, epoch int32) {
	limited, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	for range 2 { // the first answer may be what tells the leader's epoch
		p, err := o.fetch(limited, leaderEpoch)
		switch {
		case err != nil:
			o.Source.Switch()
			return -1, -1
		case p.ErrorCode == 0 && leaderEpoch >= 0:
			return p.HighWatermark, leaderEpoch
		case protocol.Code(p.ErrorCode) == protocol.NotLeaderOrFollower, p.CurrentLeader.LeaderID < 0:
			o.Source.Switch()
			return -1, p.CurrentLeader.LeaderEpoch
		}
		leaderEpoch = p.CurrentLeader.LeaderEpoch
	}
	return -1, leaderEpoch
}

// fetch asks for nothing but the marks of the log: as a consumer, which no controller takes for an observer.
func (o *ConfirmOptions) fetch(ctx context.Context, leaderEpoch int32) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(req.MaxVersion())
	req.ReplicaID, req.ReplicaState.ID = -1, -1
	if o.ClusterID != "" {
		req.ClusterID = &o.ClusterID
	}
	req.MaxBytes = 1
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = o.Log.Offsets().HighWatermark, 1, leaderEpoch
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = protocol.ClusterMetadataTopic, protocol.MetadataTopicID
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := o.Source.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	return fetched(answer)
}
