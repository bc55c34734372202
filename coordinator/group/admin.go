package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// describeNotFoundVersion is the first DescribeGroups version in which a missing group is an error (KIP-1043).
const describeNotFoundVersion = 6

// listGroups lists the shard's groups that the filters let through, by id. Filters ignore case; an empty one lets all through.
func (s *shard) listGroups(states, types []string) []kmsg.ListGroupsResponseGroup {
	var list []kmsg.ListGroupsResponseGroup
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[id]
		if !admits(states, g.stateName()) || !admits(types, string(g.kind())) {
			continue
		}
		list = append(list, kmsg.ListGroupsResponseGroup{
			Group: id, ProtocolType: g.protocolTypeName(), GroupState: g.stateName(), GroupType: string(g.kind()),
		})
	}
	return list
}

func admits(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(strings.TrimSpace(f), value) })
}

// describeGroup shows one group. What members sent is shown only while the group is stable.
func (s *shard) describeGroup(id string, version int16) kmsg.DescribeGroupsResponseGroup {
	resp := kmsg.NewDescribeGroupsResponseGroup()
	resp.Group = id
	g, ok := s.classic(id)
	if !ok {
		resp.State = dead.String()
		if version >= describeNotFoundVersion {
			resp.ErrorCode = int16(protocol.GroupIDNotFound)
			resp.ErrorMessage = kmsg.StringPtr("Group " + id + " not found.")
			if _, other := s.groups[id]; other {
				resp.ErrorMessage = kmsg.StringPtr("Group " + id + " is not a classic group.")
			}
		}
		return resp
	}
	resp.State, resp.ProtocolType = g.state.String(), g.protocolType
	if g.state == stable {
		resp.Protocol = deref(g.protocolName)
	}
	for _, m := range g.members {
		d := kmsg.DescribeGroupsResponseGroupMember{
			MemberID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost, MemberAssignment: m.assignment,
		}
		if g.state == stable {
			d.ProtocolMetadata = m.metadata(resp.Protocol)
		}
		resp.Members = append(resp.Members, d)
	}
	return resp
}

// deleteGroup handles DeleteGroups for one group: an empty group goes with its offsets.
func (s *shard) deleteGroup(id string) (kmsg.DeleteGroupsResponseGroup, []runtime.Record) {
	resp := kmsg.NewDeleteGroupsResponseGroup()
	resp.Group = id
	g, ok := s.groups[id]
	err := error(protocol.Errorf(protocol.GroupIDNotFound, "Group %s not found.", id))
	if ok {
		err = g.checkDelete()
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp, nil
	}
	return resp, g.tombstones(s.deleteAllOffsets(nil, id))
}
