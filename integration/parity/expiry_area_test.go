package parity

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestExpiry lets offsets expire on both servers, whose retention is the shortest there is: a minute.
func TestExpiry(t *testing.T) {
	short := append(slices.Clone(settings), "offsets.retention.minutes=1", "offsets.retention.check.interval.ms=1000")
	compareServers(t, "4.3.1", nil, short, []area{{"Expiry", expiry}})
}

// expiry looks at what is left once the retention is over: of groups without members, with members, and of those that got members or lost
// them meanwhile.
func expiry(c *conversation) {
	cl, beats := c.dial("parity"), c.dial("beats")
	id := cl.createTopic("times", 1) // to which members subscribe
	other := cl.createTopic("other", 1)
	cl.coordinated("expiry")
	both := func(group, member string, generation int32) {
		ask[*kmsg.OffsetCommitResponse](cl, "commit", commit(7, group, generation, member, "times", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "commit", commit(7, group, generation, member, "other", other, 6))
	}
	both("expiry-simple", "", -1)
	kept := commit(4, "expiry-kept", -1, "", "times", id, 5)
	kept.RetentionTimeMillis = 600_000
	ask[*kmsg.OffsetCommitResponse](cl, "with a retention of its own", kept)
	brief := commit(4, "expiry-brief", -1, "", "times", id, 5)
	brief.RetentionTimeMillis = 1
	ask[*kmsg.OffsetCommitResponse](cl, "with a short retention of its own", brief)

	type alive struct {
		member     string
		generation int32
	}
	live := map[string]alive{}
	for _, group := range []string{"expiry-live", "expiry-left", "expiry-late"} {
		member, generation := cl.joined(group, nil, "range")
		live[group] = alive{member, generation}
		both(group, member, generation)
	}
	connect := join(3, "expiry-connect", "", nil, "sessioned")
	connect.ProtocolType = "connect"
	worker := ask[*kmsg.JoinGroupResponse](cl, "a worker", connect)
	ask[*kmsg.SyncGroupResponse](cl, "a worker", syncRequest(3, "expiry-connect", worker.Generation, worker.MemberID, nil, worker.MemberID))
	live["expiry-connect"] = alive{worker.MemberID, worker.Generation}
	both("expiry-connect", worker.MemberID, worker.Generation)
	leaves := func(group string) {
		ask[*kmsg.LeaveGroupResponse](cl, group, leave(5, group, live[group].member, nil))
		delete(live, group)
	}
	leaves("expiry-left")

	groups := []string{"expiry-simple", "expiry-kept", "expiry-brief", "expiry-live", "expiry-left", "expiry-late", "expiry-connect"}
	look := func(when string) {
		for _, group := range groups {
			ask[*kmsg.OffsetFetchResponse](cl, when+" "+group, offsetFetch(7, group, nil), groupsSorted)
		}
		ask[*kmsg.ListGroupsResponse](cl, when, listGroups(5, nil, nil), groupsSorted)
	}
	began := time.Now()
	pass := func(until time.Duration) {
		for end := began.Add(until); time.Now().Before(end); {
			for group, a := range live {
				beats.send("", heartbeat(3, group, a.generation, a.member, nil)).read()
			}
			beats.unanswered(time.Second)
		}
	}
	pass(5 * time.Second)
	look("after 5 s")
	pass(40 * time.Second)
	both("expiry-again", "", -1)
	groups = append(groups, "expiry-again")
	leaves("expiry-late") // its retention begins now
	look("after 40 s")
	pass(75 * time.Second)
	look("after 75 s")
}
