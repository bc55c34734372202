package parity

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func coordinators(c *conversation) {
	cl := c.dial("parity")
	cl.coordinated("coordinators")
	for _, v := range versions(0, 6) {
		ask[*kmsg.FindCoordinatorResponse](cl, "a group", findCoordinator(v, 0, "coordinators"))
		ask[*kmsg.FindCoordinatorResponse](cl, "empty", findCoordinator(v, 0, ""))
		if v > 0 {
			for _, kind := range []int8{3, -1, 100} {
				ask[*kmsg.FindCoordinatorResponse](cl, fmt.Sprintf("type %d", kind), findCoordinator(v, kind, "x"))
			}
		}
		if v > 0 && v < 6 {
			ask[*kmsg.FindCoordinatorResponse](cl, "type 2 before version 6", findCoordinator(v, 2, "x"))
		}
		if v >= 4 {
			ask[*kmsg.FindCoordinatorResponse](cl, "several", findCoordinator(v, 0, "b", "a", "b", "ä"))
			ask[*kmsg.FindCoordinatorResponse](cl, "none", findCoordinator(v, 0))
		}
	}
}

// joined makes member join as the only one and sync; the member id and generation come back.
func (cl *client) joined(group string, instance *string, names ...string) (string, int32) {
	member := ""
	if instance == nil {
		first := ask[*kmsg.JoinGroupResponse](cl, "first join", join(5, group, "", nil, names...))
		member = first.MemberID
	}
	in := ask[*kmsg.JoinGroupResponse](cl, "join", join(7, group, member, instance, names...))
	ask[*kmsg.SyncGroupResponse](cl, "sync", syncRequest(5, group, in.Generation, in.MemberID, instance, in.MemberID))
	return in.MemberID, in.Generation
}

// groupVersions takes one member through its life at every version.
func groupVersions(c *conversation) {
	cl := c.dial("member")
	cl.coordinated("versions")
	for _, v := range versions(0, 9) {
		for _, instance := range []*string{nil, ptr("static")} {
			if instance != nil && v < 5 {
				continue
			}
			group := fmt.Sprintf("versions-%d-%t", v, instance != nil)
			member := ""
			if v >= 4 && instance == nil {
				member = ask[*kmsg.JoinGroupResponse](cl, "without id", join(v, group, "", nil, "range", "roundrobin")).MemberID
				// Kafka gives the id before the group is on disk, and describes what is on disk.
				until(cl, "the group is there", describeGroups(5, group), func(r *kmsg.DescribeGroupsResponse) bool { return r.Groups[0].State == "Empty" })
				ask[*kmsg.DescribeGroupsResponse](cl, "while it is pending", describeGroups(5, group))
			}
			in := ask[*kmsg.JoinGroupResponse](cl, "join", join(v, group, member, instance, "range", "roundrobin"))
			member = in.MemberID
			sv, hv, lv := min(v, 5), min(v, 4), min(v, 5)
			var hi *string
			if instance != nil {
				hi = instance
			}
			ask[*kmsg.DescribeGroupsResponse](cl, "completing", describeGroups(min(v, 6), group))
			ask[*kmsg.HeartbeatResponse](cl, "completing", heartbeat(hv, group, in.Generation, member, hi))
			ask[*kmsg.OffsetCommitResponse](cl, "completing", commit(7, group, in.Generation, member, "times", [16]byte{}, 1))
			ask[*kmsg.SyncGroupResponse](cl, "as leader", syncRequest(sv, group, in.Generation, member, hi, member, "ghost"))
			ask[*kmsg.SyncGroupResponse](cl, "again", syncRequest(sv, group, in.Generation, member, hi))
			ask[*kmsg.HeartbeatResponse](cl, "stable", heartbeat(hv, group, in.Generation, member, hi))
			ask[*kmsg.DescribeGroupsResponse](cl, "stable", describeGroups(min(v, 6), group))
			ask[*kmsg.HeartbeatResponse](cl, "wrong generation", heartbeat(hv, group, in.Generation+1, member, hi))
			ask[*kmsg.HeartbeatResponse](cl, "unknown member", heartbeat(hv, group, in.Generation, "ghost", hi))
			ask[*kmsg.HeartbeatResponse](cl, "negative generation", heartbeat(hv, group, -1, member, hi))
			again := ask[*kmsg.JoinGroupResponse](cl, "leader rejoins", join(v, group, member, instance, "range", "roundrobin"))
			ask[*kmsg.SyncGroupResponse](cl, "leader of the next generation", syncRequest(sv, group, again.Generation, member, hi, member))
			ask[*kmsg.LeaveGroupResponse](cl, "unknown member", leave(lv, group, "ghost", nil))
			ask[*kmsg.LeaveGroupResponse](cl, "leave", leave(lv, group, member, hi))
			ask[*kmsg.LeaveGroupResponse](cl, "leave again", leave(lv, group, member, hi))
			ask[*kmsg.DescribeGroupsResponse](cl, "empty", describeGroups(min(v, 6), group))
			ask[*kmsg.HeartbeatResponse](cl, "empty", heartbeat(hv, group, again.Generation, member, hi))
			ask[*kmsg.SyncGroupResponse](cl, "empty", syncRequest(sv, group, again.Generation, member, hi))
			ask[*kmsg.LeaveGroupResponse](cl, "no such group", leave(lv, group+"-none", member, hi))
			ask[*kmsg.HeartbeatResponse](cl, "no such group", heartbeat(hv, group+"-none", 0, member, hi))
			ask[*kmsg.SyncGroupResponse](cl, "no such group", syncRequest(sv, group+"-none", 0, member, hi))
		}
	}
}

// groupRefusals are the rows of what JoinGroup and the others refuse.
func groupRefusals(c *conversation) {
	cl := c.dial("member")
	cl.coordinated("refusals")
	for _, v := range versions(0, 9) {
		refused := func(label string, change func(*kmsg.JoinGroupRequest)) {
			req := join(v, "refusals", "", nil, "range")
			change(req)
			ask[*kmsg.JoinGroupResponse](cl, label, req)
		}
		refused("empty group", func(r *kmsg.JoinGroupRequest) { r.Group = "" })
		refused("session too short", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 499 })
		refused("session too long", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1800001 })
		refused("unknown member", func(r *kmsg.JoinGroupRequest) { r.MemberID = "ghost" })
		refused("no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
		refused("no protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
		refused("nothing is right", func(r *kmsg.JoinGroupRequest) { r.Group, r.Protocols, r.SessionTimeoutMillis = "", nil, 1 })
		if v >= 5 {
			for _, instance := range []string{"", ".", "a b", strings.Repeat("x", 250)} {
				refused("instance "+instance, func(r *kmsg.JoinGroupRequest) {
					r.Group, r.InstanceID = fmt.Sprintf("refusals-%d-%d-%s", v, len(instance), instance), &instance
				})
			}
			refused("unknown instance and member", func(r *kmsg.JoinGroupRequest) { r.InstanceID, r.MemberID = ptr("nobody"), "ghost" })
		}
	}
	member, generation := cl.joined("refusals-stable", nil, "range")
	static, staticGeneration := cl.joined("refusals-static", ptr("one"), "range")
	for _, v := range versions(0, 9) {
		for _, req := range []*kmsg.JoinGroupRequest{join(v, "refusals-stable", "", nil, "other"), join(v, "refusals-stable", "ghost", nil, "range")} {
			ask[*kmsg.JoinGroupResponse](cl, "to a stable group", req)
		}
		connect := join(v, "refusals-stable", "", nil, "range")
		connect.ProtocolType = "connect"
		ask[*kmsg.JoinGroupResponse](cl, "other protocol type", connect)
		if v >= 5 {
			ask[*kmsg.JoinGroupResponse](cl, "fenced", join(v, "refusals-static", "ghost", ptr("one"), "range"))
			ask[*kmsg.JoinGroupResponse](cl, "unknown instance", join(v, "refusals-static", static, ptr("two"), "range"))
		}
	}
	for _, v := range versions(0, 5) {
		ask[*kmsg.SyncGroupResponse](cl, "empty group", syncRequest(v, "", 1, "x", nil))
		ask[*kmsg.SyncGroupResponse](cl, "wrong generation", syncRequest(v, "refusals-stable", generation+1, member, nil))
		ask[*kmsg.SyncGroupResponse](cl, "unknown member", syncRequest(v, "refusals-stable", generation, "ghost", nil))
		for _, change := range []func(*kmsg.SyncGroupRequest){
			func(r *kmsg.SyncGroupRequest) { r.Protocol = nil }, func(r *kmsg.SyncGroupRequest) { r.ProtocolType = nil },
			func(r *kmsg.SyncGroupRequest) { r.Protocol = ptr("other") }, func(r *kmsg.SyncGroupRequest) { r.ProtocolType = ptr("connect") },
		} {
			req := syncRequest(v, "refusals-stable", generation, member, nil)
			change(req)
			ask[*kmsg.SyncGroupResponse](cl, "protocol", req)
		}
		if v >= 3 {
			ask[*kmsg.SyncGroupResponse](cl, "fenced", syncRequest(v, "refusals-static", staticGeneration, "ghost", ptr("one")))
			ask[*kmsg.SyncGroupResponse](cl, "unknown instance", syncRequest(v, "refusals-static", staticGeneration, static, ptr("two")))
		}
	}
	for _, v := range versions(0, 4) {
		ask[*kmsg.HeartbeatResponse](cl, "empty group", heartbeat(v, "", 1, "x", nil))
		if v >= 3 {
			ask[*kmsg.HeartbeatResponse](cl, "fenced", heartbeat(v, "refusals-static", staticGeneration, "ghost", ptr("one")))
			ask[*kmsg.HeartbeatResponse](cl, "unknown instance", heartbeat(v, "refusals-static", staticGeneration, static, ptr("two")))
		}
	}
	for _, v := range versions(0, 5) {
		ask[*kmsg.LeaveGroupResponse](cl, "empty group", leave(v, "", "x", nil))
		ask[*kmsg.LeaveGroupResponse](cl, "unknown", leave(v, "refusals-stable", "ghost", nil))
		if v >= 3 {
			ask[*kmsg.LeaveGroupResponse](cl, "fenced", leave(v, "refusals-static", "ghost", ptr("one")))
			ask[*kmsg.LeaveGroupResponse](cl, "unknown instance", leave(v, "refusals-static", "", ptr("two")))
			several := leave(v, "refusals-static", "", ptr("two"))
			several.Members = append(several.Members, leave(v, "", "ghost", nil).Members[0], leave(v, "", "", nil).Members[0])
			ask[*kmsg.LeaveGroupResponse](cl, "several", several)
			several.Members = nil
			ask[*kmsg.LeaveGroupResponse](cl, "nobody", several)
		}
	}
	ask[*kmsg.LeaveGroupResponse](cl, "a static member by its instance", leave(5, "refusals-static", "", ptr("one")))
	ask[*kmsg.DescribeGroupsResponse](cl, "afterwards", describeGroups(5, "refusals-static", "refusals-stable"), groupsSorted)
}

// groupRebalance is two members, and every request in every state.
func groupRebalance(c *conversation) {
	first, second, other := c.dial("first"), c.dial("second"), c.dial("other")
	first.coordinated("rebalance")
	for round, v := range []int16{0, 3, 5, 9} {
		group := fmt.Sprintf("rebalance-%d", v)
		sv, hv := min(v, 5), min(v, 4)
		enter := func(cl *client) string {
			if v < 4 {
				return ""
			}
			return ask[*kmsg.JoinGroupResponse](cl, "without id", join(v, group, "", nil, "range", "roundrobin")).MemberID
		}
		one := ask[*kmsg.JoinGroupResponse](first, "first", join(v, group, enter(first), nil, "range", "roundrobin"))
		ask[*kmsg.SyncGroupResponse](first, "first", syncRequest(sv, group, one.Generation, one.MemberID, nil, one.MemberID))
		joining := second.send("second", join(v, group, enter(second), nil, "roundrobin", "range"), groupsSorted)
		second.parked("the second waits for the first")
		ask[*kmsg.DescribeGroupsResponse](other, "preparing", describeGroups(5, group), groupsSorted)
		ask[*kmsg.HeartbeatResponse](first, "preparing", heartbeat(hv, group, one.Generation, one.MemberID, nil))
		ask[*kmsg.SyncGroupResponse](first, "preparing", syncRequest(sv, group, one.Generation, one.MemberID, nil))
		ask[*kmsg.OffsetCommitResponse](first, "preparing", commit(7, group, one.Generation, one.MemberID, "times", [16]byte{}, 1))
		ask[*kmsg.ListGroupsResponse](other, "preparing", listGroups(4, []string{"PreparingRebalance"}, nil), groupsSorted)
		again := ask[*kmsg.JoinGroupResponse](first, "rejoin", join(v, group, one.MemberID, nil, "range", "roundrobin"), groupsSorted)
		two := await[*kmsg.JoinGroupResponse](joining)
		following := second.send("follower", syncRequest(sv, group, two.Generation, two.MemberID, nil))
		second.parked("the follower waits for the leader")
		ask[*kmsg.HeartbeatResponse](first, "completing", heartbeat(hv, group, again.Generation, one.MemberID, nil))
		ask[*kmsg.HeartbeatResponse](first, "completing, old generation", heartbeat(hv, group, one.Generation, one.MemberID, nil))
		ask[*kmsg.OffsetCommitResponse](first, "completing", commit(7, group, again.Generation, one.MemberID, "times", [16]byte{}, 1))
		ask[*kmsg.DescribeGroupsResponse](other, "completing", describeGroups(5, group), groupsSorted)
		ask[*kmsg.SyncGroupResponse](first, "leader", syncRequest(sv, group, again.Generation, one.MemberID, nil, one.MemberID, two.MemberID))
		await[*kmsg.SyncGroupResponse](following)
		ask[*kmsg.OffsetCommitResponse](first, "stable", commit(7, group, again.Generation, one.MemberID, "times", [16]byte{}, 2))
		ask[*kmsg.DescribeGroupsResponse](other, "stable", describeGroups(5, group), groupsSorted)
		ask[*kmsg.JoinGroupResponse](second, "follower rejoins unchanged", join(v, group, two.MemberID, nil, "roundrobin", "range"), groupsSorted)
		ask[*kmsg.JoinGroupResponse](second, "no protocol in common", join(v, group, two.MemberID, nil, "third"), groupsSorted)
		changed := second.send("follower rejoins changed", join(v, group, two.MemberID, nil, "roundrobin"), groupsSorted)
		second.parked("a rebalance")
		if round%2 == 0 {
			ask[*kmsg.LeaveGroupResponse](first, "the leader leaves", leave(sv, group, one.MemberID, nil))
		} else {
			ask[*kmsg.JoinGroupResponse](first, "the leader joins", join(v, group, one.MemberID, nil, "range", "roundrobin"), groupsSorted)
		}
		await[*kmsg.JoinGroupResponse](changed)
		ask[*kmsg.DescribeGroupsResponse](other, "in the end", describeGroups(5, group), groupsSorted)
	}
}

// groupStatic is static members that come back.
func groupStatic(c *conversation) {
	first, second, other := c.dial("first"), c.dial("second"), c.dial("other")
	first.coordinated("static")
	for _, v := range versions(5, 9) {
		group := fmt.Sprintf("static-%d", v)
		sv, hv := min(v, 5), min(v, 4)
		one := ask[*kmsg.JoinGroupResponse](first, "first", join(v, group, "", ptr("one"), "range", "roundrobin"))
		ask[*kmsg.SyncGroupResponse](first, "first", syncRequest(sv, group, one.Generation, one.MemberID, ptr("one"), one.MemberID))
		joining := second.send("second", join(v, group, "", ptr("two"), "range"))
		second.parked("waits")
		again := ask[*kmsg.JoinGroupResponse](first, "rejoin", join(v, group, one.MemberID, ptr("one"), "range", "roundrobin"), groupsSorted)
		two := await[*kmsg.JoinGroupResponse](joining)
		following := second.send("follower", syncRequest(sv, group, two.Generation, two.MemberID, ptr("two")))
		ask[*kmsg.SyncGroupResponse](first, "leader", syncRequest(sv, group, again.Generation, one.MemberID, ptr("one"), one.MemberID, two.MemberID))
		await[*kmsg.SyncGroupResponse](following)
		back := ask[*kmsg.JoinGroupResponse](second, "the follower comes back", join(v, group, "", ptr("two"), "range"), groupsSorted)
		ask[*kmsg.SyncGroupResponse](second, "its assignment", syncRequest(sv, group, back.Generation, back.MemberID, ptr("two")))
		ask[*kmsg.HeartbeatResponse](second, "with the old id", heartbeat(hv, group, back.Generation, two.MemberID, ptr("two")))
		ask[*kmsg.OffsetCommitResponse](second, "with the old id", commit(5, group, back.Generation, two.MemberID, "times", [16]byte{}, 2))
		fenced := commit(8, group, back.Generation, two.MemberID, "times", [16]byte{}, 2)
		fenced.InstanceID = ptr("two")
		ask[*kmsg.OffsetCommitResponse](second, "fenced", fenced)
		leader := ask[*kmsg.JoinGroupResponse](first, "the leader comes back", join(v, group, "", ptr("one"), "range", "roundrobin"), groupsSorted)
		ask[*kmsg.SyncGroupResponse](first, "its assignment", syncRequest(sv, group, leader.Generation, leader.MemberID, ptr("one")))
		ask[*kmsg.DescribeGroupsResponse](other, "stable", describeGroups(5, group), groupsSorted)
		ask[*kmsg.HeartbeatResponse](first, "stable", heartbeat(hv, group, leader.Generation, leader.MemberID, ptr("one")))
		changed := second.send("the follower comes back with another protocol", join(v, group, "", ptr("two"), "range", "roundrobin"), groupsSorted)
		await[*kmsg.JoinGroupResponse](changed)
		parked := second.send("another that changes the choice", join(v, group, "", ptr("two"), "roundrobin"), groupsSorted)
		second.parked("a rebalance")
		replaced := other.send("the same while it waits", join(v, group, "", ptr("two"), "roundrobin"), groupsSorted)
		await[*kmsg.JoinGroupResponse](parked)
		ask[*kmsg.JoinGroupResponse](first, "the leader joins", join(v, group, leader.MemberID, ptr("one"), "range", "roundrobin"), groupsSorted)
		await[*kmsg.JoinGroupResponse](replaced)
		ask[*kmsg.LeaveGroupResponse](first, "both leave", func() *kmsg.LeaveGroupRequest {
			req := leave(5, group, "", ptr("one"))
			req.Members = append(req.Members, leave(5, group, "", ptr("two")).Members[0])
			return req
		}())
		ask[*kmsg.DescribeGroupsResponse](other, "in the end", describeGroups(5, group), groupsSorted)
	}
}

// groupTimes is what happens when a member says nothing.
func groupTimes(c *conversation) {
	cl, other := c.dial("member"), c.dial("other")
	cl.coordinated("silent")
	req := join(4, "silent", "", nil, "range")
	member := ask[*kmsg.JoinGroupResponse](cl, "without id", req).MemberID
	req = join(4, "silent", member, nil, "range")
	session := c.long(700 * time.Millisecond)
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = c.longMillis(700), c.longMillis(700)
	begin := time.Now()
	in := ask[*kmsg.JoinGroupResponse](cl, "join", req)
	c.note("the initial delay", fmt.Sprint(time.Since(begin) > 190*time.Millisecond, time.Since(begin) < 2*time.Second))
	ask[*kmsg.SyncGroupResponse](cl, "sync", syncRequest(4, "silent", in.Generation, in.MemberID, nil, in.MemberID))
	begin = time.Now()
	until(other, "the session ends", describeGroups(5, "silent"), func(r *kmsg.DescribeGroupsResponse) bool { return r.Groups[0].State == "Empty" })
	c.note("the session", fmt.Sprint(time.Since(begin) > session-100*time.Millisecond, time.Since(begin) < session+5*time.Second))
	ask[*kmsg.HeartbeatResponse](cl, "afterwards", heartbeat(4, "silent", in.Generation, in.MemberID, nil))
	// A member that joins and does not sync is removed.
	req = join(3, "unsynced", "", nil, "range")
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30000, 600
	ask[*kmsg.JoinGroupResponse](cl, "join", req)
	until(other, "it is removed", describeGroups(5, "unsynced"), func(r *kmsg.DescribeGroupsResponse) bool { return r.Groups[0].State == "Empty" })
}
