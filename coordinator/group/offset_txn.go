package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// TxnOffsetCommit answers when the offsets are durable. They count when the transaction is committed. guard is that of the group's partition's
// verification, 0 if there was none. Topics are taken by name in every version; those of version 6 must carry both name and id. Existence of
// topics is the caller's business.
func (c *Coordinator) TxnOffsetCommit(req *kmsg.TxnOffsetCommitRequest, guard uint64) *runtime.Future[*kmsg.TxnOffsetCommitResponse] {
	future := runtime.NewFuture[*kmsg.TxnOffsetCommitResponse]()
	copied := detachTxnCommit(req)
	fail := func(err error) { future.Complete(TxnOffsetCommitError(copied, runtime.CodeFor(err))) }
	c.runtime.WriteHere(c.PartitionFor(copied.Group), func(s *shard, env runtime.Env) runtime.Result {
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
			s.countCommits(copied.Group, len(records))
			future.Complete(resp)
		}}
	}, fail)
	return future
}

// TxnOffsetCommitError answers every partition of the request with one code.
func TxnOffsetCommitError(req *kmsg.TxnOffsetCommitRequest, code protocol.Code) *kmsg.TxnOffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	for i := range req.Topics {
		topic := kmsg.TxnOffsetCommitResponseTopic{Topic: req.Topics[i].Topic, TopicID: req.Topics[i].TopicID}
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
		topic := kmsg.TxnOffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			code := protocol.None
			if utf16Len(deref(p.Metadata)) > s.settings.offsetMetadataMax {
				code = protocol.OffsetMetadataTooLarge
			} else {
				if err := check.allows(env, req.Version, t, p.Partition); err != nil {
					return nil, nil, err
				}
				records = append(records, offsetRecord(offsetKey{req.Group, t.Topic, p.Partition}, offsetValue{
					offset: p.Offset, leaderEpoch: p.LeaderEpoch, metadata: deref(p.Metadata),
					commitTimestamp: env.Now.UnixMilli(), expireTimestamp: noTimestamp, topicID: t.TopicID,
				}))
			}
			topic.Partitions = append(topic.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, records, nil
}

// txnCommitByIDVersion is the first version with topic ids. Its clients know GroupIDNotFound and StaleMemberEpoch; older ones are told of both by
// IllegalGeneration (KIP-1319).
const txnCommitByIDVersion = 6

// checkTxnCommit decides whether the request may commit offsets of its group. A group that does not exist is made by the records, for consumers without
// membership.
func (s *shard) checkTxnCommit(req *kmsg.TxnOffsetCommitRequest) (check partitionCheck, err error) {
	g, ok := s.groups[req.Group]
	switch {
	case ok:
		check, err = g.checkCommit(committer{
			memberID: req.MemberID, instanceID: req.InstanceID, epoch: req.Generation, transactional: true, version: req.Version,
		})
	case req.Generation >= 0:
		err = protocol.Errorf(protocol.GroupIDNotFound, "Group %s not found.", req.Group)
	}
	return check, inVersion(err, req.Version)
}

// allows is the check of one partition.
func (c partitionCheck) allows(env runtime.Env, version int16, t *kmsg.TxnOffsetCommitRequestTopic, partition int32) error {
	if c == nil {
		return nil
	}
	id := protocol.UUID(t.TopicID)
	if version < txnCommitByIDVersion {
		known := env.Image.Topic(t.Topic)
		if known == nil {
			return protocol.IllegalGeneration
		}
		id = known.ID
	}
	return inVersion(c(t.Topic, id, partition), version)
}

// inVersion is err as clients of a version of TxnOffsetCommit know it.
func inVersion(err error, version int16) error {
	if code := protocol.CodeOf(err); version < txnCommitByIDVersion && (code == protocol.StaleMemberEpoch || code == protocol.GroupIDNotFound) {
		return protocol.IllegalGeneration
	}
	return err
}
