package group

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

func (h *harness) members() map[string]kmsg.DescribeGroupsResponseGroupMember {
	h.t.Helper()
	members := map[string]kmsg.DescribeGroupsResponseGroupMember{}
	for _, m := range h.describe(testGroup).Members {
		members[m.MemberID] = m
	}
	return members
}

func (h *harness) deleteGroup(ids ...string) kmsg.DeleteGroupsResponseGroup {
	h.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = 3, ids
	return runtimetest.Now(h.t, h.c.DeleteGroups(req)).Groups[0]
}

func (h *harness) deleteOffsets(group string, topics ...string) *kmsg.OffsetDeleteResponse {
	h.t.Helper()
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	for _, topic := range topics {
		req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{
			Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}},
		})
	}
	return runtimetest.Now(h.t, h.c.OffsetDelete(req))
}

func (h *harness) list(states, types []string) []string {
	h.t.Helper()
	req := kmsg.NewPtrListGroupsRequest()
	req.Version, req.StatesFilter, req.TypesFilter = 5, states, types
	resp := runtimetest.Now(h.t, h.c.ListGroups(req))
	wantCode(h.t, "ListGroups", resp.ErrorCode, protocol.None)
	var ids []string
	for _, g := range resp.Groups {
		ids = append(ids, g.Group+" "+g.ProtocolType+" "+g.GroupState+" "+g.GroupType)
	}
	return ids
}

func TestDescribeGroups(t *testing.T) {
	run(t, nil, func(h *harness) {
		a, b := h.client(), h.static("i")
		h.stable(a, b)
		g := h.describe(testGroup)
		if g.State != "Stable" || g.ProtocolType != "consumer" || g.Protocol != "range" || len(g.Members) != 2 {
			t.Fatalf("described as %+v", g)
		}
		m := h.members()[b.memberID]
		if m.ClientID != "client" || m.ClientHost != "/127.0.0.1" || string(m.MemberAssignment) != "a1" ||
			!slices.Equal(m.ProtocolMetadata, subscriptionTo("topic")) || m.InstanceID == nil || *m.InstanceID != "i" {
			t.Errorf("the member is %+v", m)
		}
		a.join() // while not stable, nothing is shown of what members sent
		g = h.describe(testGroup)
		if g.State != "PreparingRebalance" || g.Protocol != "" || g.ProtocolType != "consumer" || len(g.Members[0].ProtocolMetadata) != 0 {
			t.Errorf("described as %+v", g)
		}
	})
}

func TestDescribeMissingGroups(t *testing.T) {
	run(t, nil, func(h *harness) {
		for version := int16(0); version <= 6; version++ {
			req := kmsg.NewPtrDescribeGroupsRequest()
			req.Version, req.Groups = version, []string{"missing", ""}
			resp := runtimetest.Now(t, h.c.DescribeGroups(req))
			if resp.Version != version || len(resp.Groups) != 2 {
				t.Fatalf("version %d: %+v", version, resp)
			}
			g := resp.Groups[0]
			if g.Group != "missing" || g.State != "Dead" || g.ProtocolType != "" || g.Protocol != "" || len(g.Members) != 0 {
				t.Errorf("version %d: %+v", version, g)
			}
			if version < 6 {
				wantCode(t, "before version 6", g.ErrorCode, protocol.None)
				continue
			}
			wantCode(t, "version 6", g.ErrorCode, protocol.GroupIDNotFound)
			if g.ErrorMessage == nil || *g.ErrorMessage != "Group missing not found." {
				t.Errorf("message %v", g.ErrorMessage)
			}
		}
	})
}

func TestListGroups(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.stable(h.client())
		simple := h.client()
		simple.group = "simple"
		simple.commit(1)
		stable, empty := "g consumer Stable classic", "simple  Empty classic"
		tests := []struct {
			states, types []string
			want          []string
		}{
			{nil, nil, []string{stable, empty}},
			{[]string{"sTaBlE "}, nil, []string{stable}},
			{[]string{"Empty", "Stable"}, []string{"CLASSIC"}, []string{stable, empty}},
			{[]string{"bogus"}, nil, nil},
			{nil, []string{"consumer"}, nil},
		}
		for _, test := range tests {
			if got := h.list(test.states, test.types); !slices.Equal(got, test.want) {
				t.Errorf("states %v, types %v: %q, want %q", test.states, test.types, got, test.want)
			}
		}
	})
}

func TestListGroupsWhileLoading(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.c.runtime.Resign(0, 1)
		release := h.log.BlockLoads()
		h.c.runtime.Elect(0, 2)
		resp := runtimetest.Now(t, h.c.ListGroups(kmsg.NewPtrListGroupsRequest()))
		wantCode(t, "ListGroups", resp.ErrorCode, protocol.CoordinatorLoadInProgress)
		c := h.client()
		c.memberID = "m"
		wantCode(t, "Heartbeat", int16(c.heartbeat()), protocol.None)
		wantCode(t, "OffsetCommit", int16(c.commit(1)), protocol.CoordinatorLoadInProgress)
		wantCode(t, "JoinGroup", runtimetest.Now(t, c.sendJoin()).ErrorCode, protocol.CoordinatorLoadInProgress)
		release()
	})
}

func TestDeleteGroups(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		c.commit(5)
		h.empty(c)
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Version, req.Groups = 3, []string{"missing", testGroup, testGroup}
		resp := runtimetest.Now(t, h.c.DeleteGroups(req))
		if len(resp.Groups) != 2 || resp.Groups[0].Group != "missing" || resp.Groups[1].Group != testGroup {
			t.Fatalf("answered %+v", resp.Groups)
		}
		wantCode(t, "missing", resp.Groups[0].ErrorCode, protocol.GroupIDNotFound)
		wantCode(t, "empty", resp.Groups[1].ErrorCode, protocol.None)
		if got := h.fetch(testGroup); got != -1 {
			t.Errorf("offset %d outlived its group", got)
		}
		if got := h.list(nil, nil); len(got) != 0 {
			t.Errorf("still listed: %v", got)
		}
		h.stable(h.client()) // the id is free again
	})
}

func TestOffsetDelete(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		h.stable(c)
		c.commit(5)
		other := c.commitRequest(9, 6)
		other.Topics[0].Topic = "other"
		runtimetest.Now(t, h.c.OffsetCommit(other))
		resp := h.deleteOffsets(testGroup, "topic", "other", "never")
		wantCode(t, "OffsetDelete", resp.ErrorCode, protocol.None)
		wantCode(t, "subscribed", resp.Topics[0].Partitions[0].ErrorCode, protocol.GroupSubscribedToTopic)
		wantCode(t, "other", resp.Topics[1].Partitions[0].ErrorCode, protocol.None)
		wantCode(t, "never committed", resp.Topics[2].Partitions[0].ErrorCode, protocol.None)
		if a, b := h.fetch(testGroup), h.fetchFrom(h.c, testGroup, "other"); a != 5 || b != -1 {
			t.Errorf("topic has %d, other has %d", a, b)
		}
		wantCode(t, "no group id", h.deleteOffsets("").ErrorCode, protocol.InvalidGroupID)
	})
}

func TestOffsetDeleteInAGroupOfAnotherType(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		c.kind = "connect"
		h.stable(c)
		wantCode(t, "OffsetDelete", h.deleteOffsets(testGroup, "topic").ErrorCode, protocol.NonEmptyGroup)
	})
}
