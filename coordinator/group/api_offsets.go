package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// OffsetCommit answers when the offsets are durable. Topics are taken by name in every version; those of version 10
// must carry both name and id. An empty group id is a group like others, as in Kafka. It keeps req, and its
// strings in the state of the group: they must not alias a buffer that is used again.
func (c *Coordinator) OffsetCommit(req *kmsg.OffsetCommitRequest) *runtime.Future[*kmsg.OffsetCommitResponse] {
	future := runtime.NewFuture[*kmsg.OffsetCommitResponse]()
	if req.Version < 1 {
		req.Generation, req.MemberID = -1, ""
	}
	fail := func(err error) { future.Complete(commitError(req, runtime.CodeFor(err))) }
	c.runtime.WriteHere(c.PartitionFor(req.Group), func(s *shard, env runtime.Env) runtime.Result {
		resp, records, err := s.commitOffsets(env, req)
		if err != nil {
			fail(err)
			return runtime.Result{}
		}
		return runtime.Result{Records: records, Then: func(_ runtime.Env, err error) {
			if err != nil {
				fail(err)
				return
			}
			s.countCommits(req.Group, len(records))
			future.Complete(resp)
		}}
	}, fail)
	return future
}

// commitError answers every partition of the request with one code.
func commitError(req *kmsg.OffsetCommitRequest, code protocol.Code) *kmsg.OffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for j := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitResponseTopicPartition{
				Partition: t.Partitions[j].Partition, ErrorCode: int16(code),
			})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// OffsetFetch answers with what is durable; with RequireStable it waits for what is on its way, and tells which offsets an open transaction holds
// back. Topics are taken by name in every version. In the answer to version 10, topics that were not in the request have no id.
func (c *Coordinator) OffsetFetch(req *kmsg.OffsetFetchRequest) *runtime.Future[*kmsg.OffsetFetchResponse] {
	future := runtime.NewFuture[*kmsg.OffsetFetchResponse]()
	groups := detachFetch(req)
	stable, version := req.RequireStable, req.Version
	all := runtime.Gather(len(groups), func(responses []kmsg.OffsetFetchResponseGroup) {
		future.Complete(fetchResponse(version, responses))
	})
	for i := range groups {
		g := &groups[i]
		answer := func(resp kmsg.OffsetFetchResponseGroup) { all.Set(i, resp) }
		fail := func(err error) { answer(fetchError(g, version, fetchCode(err))) }
		partition := c.PartitionFor(g.Group)
		if !stable {
			c.runtime.ReadHere(partition, func(s *shard, _ runtime.Env) { answer(s.fetchOffsets(g, false)) }, fail)
			continue
		}
		c.runtime.WriteHere(partition, func(s *shard, _ runtime.Env) runtime.Result {
			resp := s.fetchOffsets(g, true)
			return runtime.Result{Then: func(_ runtime.Env, err error) {
				if err != nil {
					fail(err)
					return
				}
				answer(resp)
			}}
		}, fail)
	}
	return future
}

// fetchCode maps an error for OffsetFetch, whose older clients retry on NotCoordinator but not on CoordinatorNotAvailable.
func fetchCode(err error) protocol.Code {
	code := runtime.CodeFor(err)
	if code == protocol.CoordinatorNotAvailable {
		return protocol.NotCoordinator
	}
	return code
}

// fetchError answers a whole group with one code; versions without an error for the group have it on each partition.
func fetchError(g *kmsg.OffsetFetchRequestGroup, version int16, code protocol.Code) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group, resp.ErrorCode = g.Group, int16(code)
	if version >= 2 {
		return resp
	}
	for i := range g.Topics {
		topic := kmsg.OffsetFetchResponseGroupTopic{Topic: g.Topics[i].Topic}
		for _, p := range g.Topics[i].Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
				Partition: p, Offset: noOffset, LeaderEpoch: -1, Metadata: new(string), ErrorCode: int16(code),
			})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// fetchResponse puts groups into the form of a version: versions before 8 have one group, at the top.
func fetchResponse(version int16, groups []kmsg.OffsetFetchResponseGroup) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Version = version
	if version >= 8 {
		resp.Groups = groups
		return resp
	}
	resp.ErrorCode = groups[0].ErrorCode
	for _, t := range groups[0].Topics {
		topic := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// OffsetDelete answers when the offsets are gone for good.
func (c *Coordinator) OffsetDelete(req *kmsg.OffsetDeleteRequest) *runtime.Future[*kmsg.OffsetDeleteResponse] {
	future := runtime.NewFuture[*kmsg.OffsetDeleteResponse]()
	copied := detach(req)
	fail := func(err error) {
		resp := copied.ResponseKind().(*kmsg.OffsetDeleteResponse)
		resp.ErrorCode = int16(runtime.CodeFor(err))
		future.Complete(resp)
	}
	if copied.Group == "" {
		fail(protocol.InvalidGroupID)
		return future
	}
	c.runtime.WriteHere(c.PartitionFor(copied.Group), func(s *shard, _ runtime.Env) runtime.Result {
		resp, records, err := s.deleteOffsets(copied)
		if err != nil {
			fail(err)
			return runtime.Result{}
		}
		return runtime.Result{Records: records, Then: func(_ runtime.Env, err error) {
			if err != nil {
				fail(err)
				return
			}
			s.counters.deletions.Add(int64(len(records)))
			future.Complete(resp)
		}}
	}, fail)
	return future
}
