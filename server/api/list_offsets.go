package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/storage"
)

// ListOffsets (2) finds offsets by time.
//
//	v0     a list of offsets, newest first: the end and the starts of segments
//	v1     one offset and its timestamp (KIP-79)
//	v2     isolation level, throttle time
//	v4     leader epochs (KIP-320)
//	v5     clients know OFFSET_NOT_AVAILABLE
//	v6     flexible
//	v7     timestamp -3, the record with the highest timestamp (KIP-734)
//	v8     timestamp -4, the earliest local offset (KIP-405)
//	v9     timestamp -5, the latest tiered offset (KIP-1005)
//	v10    timeout, for lookups in remote storage
//	v11    timestamp -6, the earliest offset not yet in remote storage (KIP-1023)

// Special timestamps.
const (
	latestTimestamp          int64 = -1
	earliestTimestamp        int64 = -2
	maxTimestamp             int64 = -3
	earliestLocalTimestamp   int64 = -4
	latestTieredTimestamp    int64 = -5
	earliestPendingTimestamp int64 = -6
)

// specialTimestampSince is the version that each special timestamp came with, by its negation.
func specialTimestampSince(timestamp int64) (version int16, known bool) {
	switch timestamp {
	case latestTimestamp, earliestTimestamp:
		return 0, true
	case maxTimestamp:
		return 7, true
	case earliestLocalTimestamp:
		return 8, true
	case latestTieredTimestamp:
		return 9, true
	case earliestPendingTimestamp:
		return 11, true
	}
	return 0, false
}

const (
	consumerReplica  int32 = -1
	debuggingReplica int32 = -2
)

func handleListOffsets(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ListOffsetsRequest)
	// A search by time reads the disk: not in the connection's reader.
	return Result{Later: func(context.Context) Result {
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		times := countPartitions(req)
		resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
		for i := range req.Topics {
			in, out := &req.Topics[i], &resp.Topics[i]
			out.Topic = in.Topic
			out.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, 0, len(in.Partitions))
			for j := range in.Partitions {
				p := &in.Partitions[j]
				answer := kmsg.NewListOffsetsResponseTopicPartition()
				answer.Partition = p.Partition
				tp := protocol.TopicPartition{Topic: in.Topic, Partition: p.Partition}
				var err error
				switch count := times[tp]; {
				case count == refusedAlready:
					continue
				case count > 1:
					err, times[tp] = protocol.InvalidRequest, refusedAlready
				default:
					err = listOffset(n, req, in.Topic, p, &answer)
				}
				answer.ErrorCode = int16(listOffsetsCode(err, req.Version))
				out.Partitions = append(out.Partitions, answer)
			}
		}
		return reply(resp)
	}}
}

// listOffsetsCode is the code of err as version knows it.
func listOffsetsCode(err error, version int16) protocol.Code {
	code := protocol.CodeOf(err)
	if code == protocol.OffsetNotAvailable && version < 5 {
		return protocol.LeaderNotAvailable
	}
	return code
}

// refusedAlready is the count of a partition whose refusal is in the answer: it stands there once.
const refusedAlready = -1

// countPartitions says how often a request of v1 and later names each partition: one that it names more than once is refused.
func countPartitions(req *kmsg.ListOffsetsRequest) map[protocol.TopicPartition]int {
	if req.Version < 1 {
		return nil
	}
	times := map[protocol.TopicPartition]int{}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			times[protocol.TopicPartition{Topic: req.Topics[i].Topic, Partition: req.Topics[i].Partitions[j].Partition}]++
		}
	}
	return times
}

// listOffset answers one partition.
func listOffset(n *Node, req *kmsg.ListOffsetsRequest, topic string, in *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) error {
	if since, known := specialTimestampSince(in.Timestamp); in.Timestamp < 0 && (!known || req.Version < since) {
		return protocol.UnsupportedVersion
	}
	p, err := n.Replicas.Partition(topic, in.Partition)
	if err != nil {
		return err
	}
	if err := checkReadable(p, in.CurrentLeaderEpoch, req.ReplicaID == debuggingReplica); err != nil {
		return err
	}
	if req.Version == 0 {
		return p.WithLog(func(log *storage.Log) (err error) {
			out.OldStyleOffsets, err = legacyOffsets(log, req.ReplicaID, in.Timestamp, int(in.MaxNumOffsets))
			return err
		})
	}
	at := p.Log().Offsets()
	upper := at.LogEnd
	if req.ReplicaID == consumerReplica {
		upper = at.HighWatermark
		if req.IsolationLevel == 1 {
			upper = at.LastStable
		}
	}
	found, err := lookup(p, in.Timestamp, at, upper, req.ReplicaID == consumerReplica)
	if err != nil {
		return err
	}
	out.Offset, out.Timestamp, out.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
	return nil
}

// checkReadable checks the client's leader epoch and, but for the debugging replica, that this broker leads.
func checkReadable(p *replication.Partition, epoch int32, anyReplica bool) error {
	err := checkCurrentEpoch(p, epoch)
	if anyReplica && protocol.CodeOf(err) == protocol.NotLeaderOrFollower {
		return nil
	}
	return err
}

// checkCurrentEpoch is Partition.CheckEpoch for requests in which only -1 leaves the epoch open (RequestUtils.getLeaderEpoch).
func checkCurrentEpoch(p *replication.Partition, epoch int32) error {
	if epoch < -1 {
		return protocol.FencedLeaderEpoch
	}
	return p.CheckEpoch(epoch)
}

// lookup finds a timestamp, special or real, below upper; offset -1 if there is none. A consumer is not told what could be less than it has seen before: that there are no
// more records than those below the high watermark, while this has not reached the start of the leader's epoch (KIP-207).
func lookup(p *replication.Partition, timestamp int64, at storage.Offsets, upper int64, consumer bool) (storage.TimestampOffset, error) {
	none := storage.TimestampOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
	log := p.Log()
	_, epoch := p.Leader()
	lags := consumer && p.EpochStart() > at.HighWatermark
	switch timestamp {
	case earliestTimestamp, earliestLocalTimestamp:
		return storage.TimestampOffset{Offset: at.LogStart, Timestamp: -1, LeaderEpoch: log.EpochOf(at.LogStart)}, nil
	case latestTieredTimestamp, earliestPendingTimestamp: // nothing is tiered
		return none, nil
	case latestTimestamp:
		if lags {
			return none, protocol.OffsetNotAvailable
		}
		return storage.TimestampOffset{Offset: upper, Timestamp: -1, LeaderEpoch: epoch}, nil
	}
	var found storage.TimestampOffset
	var ok bool
	err := p.WithLog(func(log *storage.Log) (err error) {
		if timestamp == maxTimestamp { // one that cannot be read yet hides those before it, as in Kafka
			found, ok, err = log.MaxTimestamp(at.LogEnd)
			ok = ok && found.Offset < upper
		} else {
			found, ok, err = log.OffsetAtTime(timestamp, upper)
		}
		return err
	})
	switch {
	case err != nil:
		return none, err
	case ok:
		return found, nil
	case lags:
		return none, protocol.OffsetNotAvailable
	}
	return none, nil
}
