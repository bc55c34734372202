package parity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// commits is OffsetCommit and OffsetFetch.
func commits(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("commits", 3)
	cl.coordinated("commits")
	wanted := []kmsg.OffsetFetchRequestGroupTopic{{Topic: "commits", TopicID: id, Partitions: []int32{0, 1, 7}}}
	nowhere := []kmsg.OffsetFetchRequestGroupTopic{{Topic: "nowhere-to-commit", TopicID: [16]byte{1, 2}, Partitions: []int32{0}}}
	member, generation := cl.joined("commits-members", nil, "range")
	for _, v := range versions(2, 10) {
		group := fmt.Sprintf("commits-%d", v)
		ask[*kmsg.OffsetCommitResponse](cl, "simple", commit(v, group, -1, "", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "again", commit(v, group, -1, "", "commits", id, 3))
		ask[*kmsg.OffsetCommitResponse](cl, "empty group id", commit(v, "", -1, "", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "no such group, with a generation", commit(v, group+"-none", 1, "", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "no such group, with a member", commit(v, group+"-none", 1, "ghost", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "generation -1 with a member", commit(v, group+"-some", -1, "ghost", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "empty group, with a member", commit(v, group, 0, "ghost", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "empty group, with a generation", commit(v, group, 1, "", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "simple to a group with members", commit(v, "commits-members", -1, "", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "member", commit(v, "commits-members", generation, member, "commits", id, int64(v)))
		ask[*kmsg.OffsetCommitResponse](cl, "wrong generation", commit(v, "commits-members", generation+1, member, "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "unknown member", commit(v, "commits-members", generation, "ghost", "commits", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "unknown topic", commit(v, group, -1, "", "nowhere-to-commit", [16]byte{1, 2}, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "bad name, no id", commit(v, group, -1, "", "a b", [16]byte{}, 5))
		several := commit(v, group, -1, "", "commits", id, 9)
		for i, p := range []int32{1, 7, -1, 2} {
			one := kmsg.NewOffsetCommitRequestTopicPartition()
			one.Partition, one.Offset = p, int64(i)-1
			if p == 2 {
				one.Metadata = ptr(strings.Repeat("x", 4097))
			}
			several.Topics[0].Partitions = append(several.Topics[0].Partitions, one)
		}
		several.Topics = append(several.Topics, commit(v, "", 0, "", "nowhere-to-commit", [16]byte{1, 2}, 5).Topics[0])
		ask[*kmsg.OffsetCommitResponse](cl, "several", several, groupsSorted)
		none := commit(v, group, -1, "", "commits", id, 9)
		none.Topics = nil
		ask[*kmsg.OffsetCommitResponse](cl, "nothing", none)
		if v >= 7 {
			static := commit(v, "commits-members", generation, member, "commits", id, 5)
			static.InstanceID = ptr("nobody")
			ask[*kmsg.OffsetCommitResponse](cl, "unknown instance", static)
		}
	}
	for _, v := range versions(1, 10) {
		for _, group := range []string{"commits-2", "commits-5", "commits-6", "commits-10", "commits-members", "commits-nobody", ""} {
			ask[*kmsg.OffsetFetchResponse](cl, "named, "+group, offsetFetch(v, group, wanted))
			ask[*kmsg.OffsetFetchResponse](cl, "unknown topic, "+group, offsetFetch(v, group, nowhere))
			ask[*kmsg.OffsetFetchResponse](cl, "no topics, "+group, offsetFetch(v, group, []kmsg.OffsetFetchRequestGroupTopic{}))
			if v >= 2 {
				ask[*kmsg.OffsetFetchResponse](cl, "all, "+group, offsetFetch(v, group, nil), groupsSorted)
			}
			if v >= 7 {
				req := offsetFetch(v, group, wanted)
				req.RequireStable = true
				ask[*kmsg.OffsetFetchResponse](cl, "stable, "+group, req)
			}
		}
		if v >= 8 {
			req := offsetFetch(v, "commits-2", wanted)
			req.Groups = append(req.Groups, offsetFetch(v, "commits-nobody", wanted).Groups[0], offsetFetch(v, "commits-3", nil).Groups[0], offsetFetch(v, "commits-2", nowhere).Groups[0])
			ask[*kmsg.OffsetFetchResponse](cl, "several groups", req, groupsSorted)
			req.Groups = nil
			ask[*kmsg.OffsetFetchResponse](cl, "no groups", req)
		}
		if v >= 9 {
			for _, epoch := range []int32{-1, 0, 5} {
				req := offsetFetch(v, "commits-members", wanted)
				req.Groups[0].MemberID, req.Groups[0].MemberEpoch = &member, epoch
				ask[*kmsg.OffsetFetchResponse](cl, fmt.Sprintf("member epoch %d", epoch), req)
				req.Groups[0].MemberID = ptr("ghost")
				ask[*kmsg.OffsetFetchResponse](cl, fmt.Sprintf("unknown member, epoch %d", epoch), req)
			}
		}
	}
	ask[*kmsg.DeleteTopicsResponse](cl, "delete", deleteRequest(4, "commits"))
	until(cl, "it is gone", metadata(12, "commits"), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 3 })
	until(cl, "so are its offsets", offsetFetch(7, "commits-2", nil), func(r *kmsg.OffsetFetchResponse) bool { return len(r.Topics) == 0 })
	ask[*kmsg.OffsetFetchResponse](cl, "after the topic is deleted", offsetFetch(9, "commits-members", nil), groupsSorted)
}

// adminGroups leaves the groups of other areas out, whose members' sessions may end between the two answers.
func adminGroups(s server, answer kmsg.Response) {
	groupsSorted(s, answer)
	if r, ok := answer.(*kmsg.ListGroupsResponse); ok {
		r.Groups = slices.DeleteFunc(r.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !strings.HasPrefix(g.Group, "admin-") })
	}
}

// groupAdmin is what tools ask about groups.
func groupAdmin(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("admin", 2)
	cl.createTopic("admin-two", 1)
	cl.coordinated("admin")
	// A consumer that has subscribed to one topic.
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Topics = []string{"admin"}
	first := ask[*kmsg.JoinGroupResponse](cl, "first join", join(5, "admin-live", "", nil, "range")).MemberID
	req := join(5, "admin-live", first, nil, "range")
	req.Protocols[0].Metadata = subscription.AppendTo(nil)
	in := ask[*kmsg.JoinGroupResponse](cl, "join", req)
	ask[*kmsg.SyncGroupResponse](cl, "sync", syncRequest(5, "admin-live", in.Generation, first, nil, first))
	connect := join(3, "admin-connect", "", nil, "sessioned")
	connect.ProtocolType = "connect"
	worker := ask[*kmsg.JoinGroupResponse](cl, "a worker", connect)
	workerSync := syncRequest(3, "admin-connect", worker.Generation, worker.MemberID, nil, worker.MemberID)
	ask[*kmsg.SyncGroupResponse](cl, "a worker", workerSync)
	for _, group := range []string{"admin-simple", "admin-second", "admin-third", "admin-fourth"} {
		ask[*kmsg.OffsetCommitResponse](cl, "commit", commit(7, group, -1, "", "admin", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "commit", commit(7, group, -1, "", "admin-two", id, 5))
	}
	ask[*kmsg.OffsetCommitResponse](cl, "commit", commit(7, "admin-live", in.Generation, first, "admin", id, 5))
	ask[*kmsg.OffsetCommitResponse](cl, "commit", commit(7, "admin-live", in.Generation, first, "admin-two", id, 5))
	ask[*kmsg.OffsetCommitResponse](cl, "commit", commit(7, "admin-connect", worker.Generation, worker.MemberID, "admin-two", id, 5))
	for _, v := range versions(0, 6) {
		ask[*kmsg.DescribeGroupsResponse](cl, "several", describeGroups(v, "admin-live", "admin-connect", "admin-simple", "admin-nobody", ""), groupsSorted)
		ask[*kmsg.DescribeGroupsResponse](cl, "none", describeGroups(v), groupsSorted)
		ask[*kmsg.DescribeGroupsResponse](cl, "twice", describeGroups(v, "admin-simple", "admin-simple"), groupsSorted)
		operations := describeGroups(v, "admin-live", "admin-nobody")
		operations.IncludeAuthorizedOperations = true
		ask[*kmsg.DescribeGroupsResponse](cl, "operations", operations, groupsSorted)
	}
	for _, v := range versions(0, 5) {
		ask[*kmsg.ListGroupsResponse](cl, "all", listGroups(v, nil, nil), adminGroups)
		for _, states := range [][]string{{"Stable"}, {"stable"}, {"Empty", "STABLE"}, {"Nonsense"}, {""}, {"Dead"}} {
			ask[*kmsg.ListGroupsResponse](cl, strings.Join(states, ","), listGroups(v, states, nil), adminGroups)
		}
		for _, types := range [][]string{{"classic"}, {"Classic"}, {"consumer"}, {"nonsense"}, {""}, {"share", "classic"}} {
			ask[*kmsg.ListGroupsResponse](cl, "type "+strings.Join(types, ","), listGroups(v, nil, types), adminGroups)
		}
	}
	offsetDelete := func(group, topic string, partitions ...int32) {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = topic
		for _, p := range partitions {
			one := kmsg.NewOffsetDeleteRequestTopicPartition()
			one.Partition = p
			t.Partitions = append(t.Partitions, one)
		}
		req.Topics = append(req.Topics, t)
		ask[*kmsg.OffsetDeleteResponse](cl, group+" "+topic, req, groupsSorted)
		ask[*kmsg.OffsetFetchResponse](cl, "what is left of "+group, offsetFetch(7, group, nil), groupsSorted)
	}
	offsetDelete("admin-live", "admin", 0)
	offsetDelete("admin-live", "admin-two", 0)
	offsetDelete("admin-live", "nowhere", 0)
	offsetDelete("admin-connect", "admin-two", 0)
	offsetDelete("admin-nobody", "admin", 0)
	offsetDelete("", "admin", 0)
	offsetDelete("admin-fourth", "admin", 1, 0, 7)
	offsetDelete("admin-fourth", "admin")
	offsetDelete("admin-fourth", "nowhere")
	for i, v := range versions(0, 2) {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Version, req.Groups = v, []string{"admin-live", []string{"admin-simple", "admin-second", "admin-third"}[i], "admin-nobody", ""}
		ask[*kmsg.DeleteGroupsResponse](cl, "several", req, groupsSorted)
		ask[*kmsg.DeleteGroupsResponse](cl, "again", req, groupsSorted)
		req.Groups = nil
		ask[*kmsg.DeleteGroupsResponse](cl, "none", req, groupsSorted)
	}
	ask[*kmsg.OffsetFetchResponse](cl, "after the group is deleted", offsetFetch(7, "admin-simple", nil), groupsSorted)
	ask[*kmsg.ListGroupsResponse](cl, "in the end", listGroups(5, nil, nil), adminGroups)
}
