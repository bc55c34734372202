package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// ListGroups lists the groups of all shards here. A shard that is still being loaded makes the whole answer an error; one that was just lost is left out.
func (c *Coordinator) ListGroups(req *kmsg.ListGroupsRequest) *runtime.Future[*kmsg.ListGroupsResponse] {
	future := runtime.NewFuture[*kmsg.ListGroupsResponse]()
	copied := detach(req)
	type part struct {
		groups []kmsg.ListGroupsResponseGroup
		code   protocol.Code
	}
	partitions := c.runtime.Partitions()
	all := runtime.Gather(len(partitions), func(parts []part) {
		resp := copied.ResponseKind().(*kmsg.ListGroupsResponse)
		for _, p := range parts {
			resp.Groups = append(resp.Groups, p.groups...)
			if p.code != protocol.None {
				resp.ErrorCode = int16(p.code)
			}
		}
		if resp.ErrorCode != 0 {
			resp.Groups = nil
		}
		future.Complete(resp)
	})
	for i, partition := range partitions {
		c.runtime.Read(partition, func(s *shard, _ runtime.Env) {
			all.Set(i, part{groups: s.listGroups(copied.StatesFilter, copied.TypesFilter)})
		}, func(err error) {
			code := runtime.CodeFor(err)
			if code == protocol.NotCoordinator {
				code = protocol.None
			}
			all.Set(i, part{code: code})
		})
	}
	return future
}

// DescribeGroups describes groups in the order of the request. An empty id is a group like others, as in Kafka.
func (c *Coordinator) DescribeGroups(req *kmsg.DescribeGroupsRequest) *runtime.Future[*kmsg.DescribeGroupsResponse] {
	future := runtime.NewFuture[*kmsg.DescribeGroupsResponse]()
	copied := detach(req)
	all := runtime.Gather(len(copied.Groups), func(groups []kmsg.DescribeGroupsResponseGroup) {
		resp := copied.ResponseKind().(*kmsg.DescribeGroupsResponse)
		resp.Groups = groups
		future.Complete(resp)
	})
	for i, id := range copied.Groups {
		fail := func(err error) {
			resp := kmsg.NewDescribeGroupsResponseGroup()
			resp.Group = id
			resp.ErrorCode = int16(runtime.CodeFor(err))
			all.Set(i, resp)
		}
		c.runtime.Read(c.PartitionFor(id), func(s *shard, _ runtime.Env) {
			all.Set(i, s.describeGroup(id, copied.Version))
		}, fail)
	}
	return future
}

// DeleteGroups deletes empty groups with their offsets, in the order of the request; a group that is named twice is deleted and answered once.
func (c *Coordinator) DeleteGroups(req *kmsg.DeleteGroupsRequest) *runtime.Future[*kmsg.DeleteGroupsResponse] {
	future := runtime.NewFuture[*kmsg.DeleteGroupsResponse]()
	copied := detach(req)
	var ids []string
	for _, id := range copied.Groups {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	all := runtime.Gather(len(ids), func(groups []kmsg.DeleteGroupsResponseGroup) {
		resp := copied.ResponseKind().(*kmsg.DeleteGroupsResponse)
		resp.Groups = groups
		future.Complete(resp)
	})
	for i, id := range ids {
		fail := func(err error) {
			resp := kmsg.NewDeleteGroupsResponseGroup()
			resp.Group = id
			resp.ErrorCode = int16(runtime.CodeFor(err))
			all.Set(i, resp)
		}
		c.runtime.Write(c.PartitionFor(id), func(s *shard, _ runtime.Env) runtime.Result {
			resp, records := s.deleteGroup(id)
			return runtime.Result{Records: records, Then: func(_ runtime.Env, err error) {
				if err != nil {
					fail(err)
					return
				}
				all.Set(i, resp)
			}}
		}, fail)
	}
	return future
}
