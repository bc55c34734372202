package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// TxnOffsetCommit answers when the offsets are durable. They count when the transaction is committed. guard is that of the group's partition's
// verification, 0 if there was none. Existence of topics is the caller's business.
func (c *Coordinator) TxnOffsetCommit(req *kmsg.TxnOffsetCommitRequest, guard uint64) *runtime.Future[*kmsg.TxnOffsetCommitResponse] {
	future := runtime.NewFuture[*kmsg.TxnOffsetCommitResponse]()
	copied := detach(req)
	fail := func(err error) { future.Complete(TxnOffsetCommitError(copied, runtime.CodeFor(err))) }
	c.runtime.Write(c.PartitionFor(copied.Group), func(s *shard, env runtime.Env) runtime.Result {
		resp, records, err := s.commitTxnOffsets(env, copied)
		if err != nil {
			fail(err)
			return runtime.Result{}
		}
		producer := &runtime.Producer{ID: copied.ProducerID, Epoch: copied.ProducerEpoch, Guard: guard}
		return runtime.Result{Records: records, Producer: producer, Then: func(_ runtime.Env, err error) {
			if err != nil {
				fail(err)
				return
			}
			future.Complete(resp)
		}}
	}, fail)
	return future
}

// TxnOffsetCommitError answers every partition of the request with one code.
func TxnOffsetCommitError(req *kmsg.TxnOffsetCommitRequest, code protocol.Code) *kmsg.TxnOffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	for i := range req.Topics {
		topic := kmsg.TxnOffsetCommitResponseTopic{Topic: req.Topics[i].Topic}
		for j := range req.Topics[i].Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{
				Partition: req.Topics[i].Partitions[j].Partition, ErrorCode: int16(code),
			})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// CompleteTransaction ends a producer's transaction in a partition of __consumer_offsets: its offsets count from now on, or are forgotten. done is called once, when
// the marker is committed or with the reason why it is not. NotLeaderOrFollower says that the partition is not led here, or not yet.
func (c *Coordinator) CompleteTransaction(partition int32, m runtime.Marker, done func(error)) {
	c.runtime.Complete(partition, m, func(err error) {
		switch protocol.CodeOf(err) { //nolint:exhaustive // the transaction coordinator does not know these three
		case protocol.CoordinatorNotAvailable, protocol.CoordinatorLoadInProgress, protocol.NotCoordinator:
			err = protocol.NotLeaderOrFollower
		}
		done(err)
	})
}

// commitTxnOffsets handles TxnOffsetCommit: one record for each partition, all in one transactional batch.
func (s *shard) commitTxnOffsets(env runtime.Env, req *kmsg.TxnOffsetCommitRequest) (*kmsg.TxnOffsetCommitResponse, []runtime.Record, error) {
	check, err := s.checkTxnCommit(req)
	if err != nil {
		return nil, nil, err
	}
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	var records []runtime.Record
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.TxnOffsetCommitResponseTopic{Topic: t.Topic}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			code := protocol.None
			if utf16Len(deref(p.Metadata)) > s.settings.offsetMetadataMax {
				code = protocol.OffsetMetadataTooLarge
			} else {
				if err := check.allows(env, t.Topic, p.Partition); err != nil {
					return nil, nil, err
				}
				records = append(records, offsetRecord(offsetKey{req.Group, t.Topic, p.Partition}, offsetValue{
					offset: p.Offset, leaderEpoch: p.LeaderEpoch, metadata: deref(p.Metadata),
					commitTimestamp: env.Now.UnixMilli(), expireTimestamp: noTimestamp,
				}))
			}
			topic.Partitions = append(topic.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, records, nil
}

// checkTxnCommit decides whether the request may commit offsets of its group. A member whose epoch is stale is told so by IllegalGeneration, which producers
// know. A group that does not exist is made by the records, for consumers without membership.
func (s *shard) checkTxnCommit(req *kmsg.TxnOffsetCommitRequest) (partitionCheck, error) {
	g, ok := s.groups[req.Group]
	if !ok {
		if req.Generation < 0 {
			return nil, nil
		}
		return nil, protocol.IllegalGeneration
	}
	check, err := g.checkCommit(committer{
		memberID: req.MemberID, instanceID: req.InstanceID, epoch: req.Generation, transactional: true, version: req.Version,
	})
	return check, staleIsIllegal(err)
}

// allows is the check of one partition of a transactional commit, which names topics only.
func (c partitionCheck) allows(env runtime.Env, topic string, partition int32) error {
	if c == nil {
		return nil
	}
	known := env.Image.Topic(topic)
	if known == nil {
		return protocol.IllegalGeneration
	}
	return staleIsIllegal(c(topic, known.ID, partition))
}

func staleIsIllegal(err error) error {
	if protocol.CodeOf(err) == protocol.StaleMemberEpoch {
		return protocol.IllegalGeneration
	}
	return err
}
