package parity

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerRefusals are the rows of what ConsumerGroupHeartbeat refuses.
func consumerRefusals(c *conversation) {
	cl := c.dial("consumer")
	cl.coordinated("consumer-refusals")
	cl.createTopic("refused", 3)
	cl.assignable("refused")
	classic, _ := cl.joined("consumer-refusals-classic", nil, "range")
	for _, v := range versions(0, 1) {
		refused := func(label string, change func(*kmsg.ConsumerGroupHeartbeatRequest)) {
			req := joining(v, fmt.Sprintf("consumer-refusals-%d", v), "m1", "refused")
			change(req)
			cl.beats(label, req)
		}
		for _, blank := range []string{"", " ", "\t\x00"} {
			refused("member id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID, r.MemberEpoch = blank, 5 })
			refused("member id leaves", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID, r.MemberEpoch = blank, -1 })
			refused("member id leaves for a while", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID, r.MemberEpoch = blank, -2 })
			refused("group id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = blank })
			refused("instance id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = &blank })
			refused("rack", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = &blank })
			refused("assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = &blank })
		}
		refused("no timeout", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 })
		refused("no partitions", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil })
		refused("partitions", func(r *kmsg.ConsumerGroupHeartbeatRequest) { owning(r, partitionsOf([16]byte{1}, 0)) })
		refused("no subscription", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil })
		refused("unknown assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = ptr("best") })
		refused("epoch -3", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 })
		refused("leaves for a while without instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 })
		refused("leaves no group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
		refused("leaves no group for a while", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch, r.InstanceID = -2, ptr("i") })
		refused("no such group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 1 })
		if v > 0 {
			for _, regex := range []string{"(", "[a", "a**", `\q`, "(?<n>x", "x{2,1}", "*"} {
				refused("regular expression "+regex, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = &regex })
			}
		}
		cl.beats("to a classic group", beat(v, "consumer-refusals-classic", classic, 1))
		cl.beats("leaves a classic group", beat(v, "consumer-refusals-classic", classic, -1))
	}
	cl.describes("none was made", "consumer-refusals-0", "consumer-refusals-1", "consumer-refusals-classic", "")
}

// consumerLife takes members through joins, rebalances and leaves; every epoch is compared.
func consumerLife(c *conversation) {
	cl := c.dial("consumer")
	cl.coordinated("consumer-life")
	three, five := cl.createTopic("life3", 3), cl.createTopic("life5", 5)
	cl.assignable("life3", "life5")
	g := "consumer-life"
	one := cl.beats("m1 joins", joining(1, g, "m1", "life3"))
	cl.describes("one member", g)
	cl.beats("m1", beat(1, g, "m1", one.MemberEpoch))
	cl.beats("m1 joins again", joining(1, g, "m1", "life3"))
	cl.beats("m1 tells all", owning(func() *kmsg.ConsumerGroupHeartbeatRequest {
		r := joining(1, g, "m1", "life3")
		r.MemberEpoch = one.MemberEpoch
		return r
	}(), owned(one)...))
	for _, epoch := range []int32{one.MemberEpoch + 1, one.MemberEpoch - 1, 1 << 30} {
		cl.beats(fmt.Sprintf("m1 with epoch %d", epoch), beat(1, g, "m1", epoch))
		cl.beats(fmt.Sprintf("m1 with epoch %d and nothing", epoch), owning(beat(1, g, "m1", epoch)))
		cl.beats(fmt.Sprintf("m1 with epoch %d and all", epoch), owning(beat(1, g, "m1", epoch), owned(one)...))
		cl.beats(fmt.Sprintf("m1 with epoch %d and more", epoch), owning(beat(1, g, "m1", epoch), partitionsOf(three, 0, 1, 2, 3)))
		cl.beats(fmt.Sprintf("m1 with epoch %d and other topics", epoch), owning(beat(1, g, "m1", epoch), partitionsOf(five, 0)))
	}
	cl.beats("nobody", beat(1, g, "ghost", 1))
	cl.beats("nobody leaves", beat(1, g, "ghost", -1))

	two := cl.beats("m2 joins", joining(1, g, "m2", "life3"))
	cl.describes("m2 waits", g)
	cl.beats("m2 waits", owning(beat(1, g, "m2", two.MemberEpoch)))
	revoke := cl.beats("m1 is to give up", owning(beat(1, g, "m1", one.MemberEpoch), owned(one)...))
	cl.describes("m1 is to give up", g)
	cl.beats("m2 waits still", beat(1, g, "m2", two.MemberEpoch))
	cl.beats("m1 has not yet", owning(beat(1, g, "m1", revoke.MemberEpoch), owned(one)...))
	cl.beats("m1 says nothing of it", beat(1, g, "m1", revoke.MemberEpoch))
	released := cl.beats("m1 gave up", owning(beat(1, g, "m1", revoke.MemberEpoch), owned(revoke)...))
	cl.describes("m1 gave up", g)
	got := cl.beats("m2 gets it", beat(1, g, "m2", two.MemberEpoch))
	cl.describes("stable", g)
	cl.beats("m1 missed the answer", owning(beat(1, g, "m1", revoke.MemberEpoch), owned(revoke)...))
	cl.beats("m1 missed the answer, and has more", owning(beat(1, g, "m1", revoke.MemberEpoch), owned(one)...))

	more := beat(1, g, "m1", released.MemberEpoch)
	more.SubscribedTopicNames = []string{"life5", "life3", "life3", "not there"}
	wider := cl.beats("m1 subscribes to more", more)
	cl.describes("m1 subscribes to more", g)
	fewer := beat(1, g, "m1", wider.MemberEpoch)
	fewer.SubscribedTopicNames = []string{"life5"}
	narrow := cl.beats("m1 subscribes to other", fewer)
	cl.describes("m1 subscribes to other", g)
	narrow = cl.beats("m1 gave up life3", owning(beat(1, g, "m1", narrow.MemberEpoch), owned(narrow)...))
	cl.beats("m2 gets life3", owning(beat(1, g, "m2", got.MemberEpoch), owned(got)...))
	none := beat(1, g, "m1", narrow.MemberEpoch)
	none.SubscribedTopicNames = []string{}
	cl.beats("m1 subscribes to nothing", none)
	cl.describes("m1 subscribes to nothing", g)

	ask[*kmsg.DeleteGroupsResponse](cl, "with members", deleteGroups(2, g))
	cl.beats("m1 leaves", beat(1, g, "m1", -1))
	cl.beats("m1 leaves again", beat(1, g, "m1", -1))
	cl.describes("m1 left", g)
	cl.beats("m2 leaves", beat(0, g, "m2", -1))
	cl.describes("empty", g)
	cl.beats("empty", beat(1, g, "m2", 3))
	cl.beats("m3 joins the empty group", joining(0, g, "m3", "life5"))
	cl.beats("m3 leaves", beat(0, g, "m3", -1))
	ask[*kmsg.DeleteGroupsResponse](cl, "empty", deleteGroups(2, g))
	cl.describes("deleted", g)
	first := cl.beats("without an id", joining(0, g, "", "life5"))
	cl.beats("with the id it got", beat(0, g, *first.MemberID, first.MemberEpoch))
}

// consumerAssignors takes three members through each assignor and through votes about it.
func consumerAssignors(c *conversation) {
	cl := c.dial("consumer")
	cl.coordinated("consumer-assignors")
	cl.createTopic("assign4", 4)
	cl.createTopic("assign7", 7)
	cl.assignable("assign4", "assign7")
	// How uniform shares several topics depends on their ids, which are random.
	for _, a := range []struct {
		name   string
		topics []string
	}{{"range", []string{"assign4", "assign7"}}, {"uniform", []string{"assign7"}}} {
		g := "assignors-" + a.name
		epochs := map[string]int32{}
		for _, m := range []string{"m1", "m2", "m3"} {
			req := joining(1, g, m, a.topics...)
			req.ServerAssignor = &a.name
			epochs[m] = cl.beats(m+" joins", req).MemberEpoch
			cl.describes(m+" joined", g)
		}
		for range 3 {
			for _, m := range []string{"m1", "m2", "m3"} {
				r := cl.beats(m+" goes on", beat(1, g, m, epochs[m]))
				epochs[m] = r.MemberEpoch
				if r.Assignment != nil {
					epochs[m] = cl.beats(m+" has that", owning(beat(1, g, m, epochs[m]), owned(r)...)).MemberEpoch
				}
			}
		}
		cl.describes("in the end", g)
		other := beat(1, g, "m1", epochs["m1"])
		other.ServerAssignor = ptr("uniform")
		cl.beats("m1 votes for uniform", other)
		cl.describes("m1 votes for uniform", g)
	}
}

// consumerStatic takes static members through leaves, returns and conflicts.
func consumerStatic(c *conversation) {
	cl := c.dial("consumer")
	cl.coordinated("consumer-static")
	cl.createTopic("static4", 4)
	cl.assignable("static4")
	g := "consumer-static"
	one := cl.beats("joins", static(joining(1, g, "m1", "static4"), "i1"))
	cl.beats("goes on", static(beat(1, g, "m1", one.MemberEpoch), "i1"))
	cl.beats("goes on without instance", beat(1, g, "m1", one.MemberEpoch))
	cl.beats("instance in use", static(joining(1, g, "m2", "static4"), "i1"))
	cl.beats("fenced", static(beat(1, g, "m2", one.MemberEpoch), "i1"))
	cl.beats("unknown instance", static(beat(1, g, "m1", one.MemberEpoch), "i2"))
	cl.beats("unknown instance leaves", static(beat(1, g, "m1", -1), "i2"))
	cl.beats("another leaves", static(beat(1, g, "m2", -2), "i1"))
	cl.beats("leaves for a while", static(beat(1, g, "m1", -2), "i1"))
	cl.describes("away", g)
	cl.beats("away, but goes on", static(beat(1, g, "m1", one.MemberEpoch), "i1"))
	two := cl.beats("another joins meanwhile", joining(1, g, "m9", "static4"))
	back := cl.beats("is back", static(joining(1, g, "m2", "static4"), "i1"))
	cl.describes("is back", g)
	cl.beats("old id", static(beat(1, g, "m1", one.MemberEpoch), "i1"))
	back = cl.beats("goes on", static(owning(beat(1, g, "m2", back.MemberEpoch), owned(back)...), "i1"))
	cl.beats("the other gets its part", beat(1, g, "m9", two.MemberEpoch))
	cl.beats("leaves for good", static(beat(1, g, "m2", -1), "i1"))
	cl.describes("left", g)
	cl.beats("leaves again", static(beat(1, g, "m2", -1), "i1"))
	cl.beats("joins with the id that it had", static(joining(1, g, "m2", "static4"), "i1"))
	cl.beats("leaves for a while", static(beat(1, g, "m2", -2), "i1"))
	cl.beats("is back under the same id", static(joining(1, g, "m2", "static4"), "i1"))
	cl.describes("under the same id", g)
	_ = back
}

// consumerTimes waits for sessions and rebalance timeouts, with intervals that the group sets for itself.
func consumerTimes(c *conversation) {
	cl := c.dial("consumer")
	cl.coordinated("consumer-times")
	cl.createTopic("times4", 4)
	cl.assignable("times4")
	g := "consumer-times"
	ask[*kmsg.IncrementalAlterConfigsResponse](cl, "short times", incremental(1, kmsg.ConfigResourceTypeGroupConfig, g,
		set("consumer.session.timeout.ms", fmt.Sprint(c.longMillis(1500))), set("consumer.heartbeat.interval.ms", "300")))
	until(cl, "the interval is the group's", joining(1, g, "m1", "times4"), func(r *kmsg.ConsumerGroupHeartbeatResponse) bool { return r.HeartbeatIntervalMillis == 300 })
	one := cl.beats("m1 joins", joining(1, g, "m1", "times4"))
	slow := joining(1, g, "m2", "times4")
	slow.RebalanceTimeoutMillis = c.longMillis(700)
	cl.beats("m2 joins", slow)
	time.Sleep(c.long(1800 * time.Millisecond))
	cl.describes("both sessions ended", g)
	cl.beats("m1 is gone", beat(1, g, "m1", one.MemberEpoch))

	short := joining(1, g, "m3", "times4")
	short.RebalanceTimeoutMillis = c.longMillis(600)
	three := cl.beats("m3 joins", short)
	cl.beats("m4 joins", joining(1, g, "m4", "times4"))
	cl.beats("m3 is to give up", owning(beat(1, g, "m3", three.MemberEpoch), owned(three)...))
	time.Sleep(c.long(300 * time.Millisecond))
	cl.beats("m3 has not yet", owning(beat(1, g, "m3", three.MemberEpoch), owned(three)...))
	time.Sleep(c.long(600 * time.Millisecond))
	cl.beats("m3 was fenced", owning(beat(1, g, "m3", three.MemberEpoch), owned(three)...))
	cl.describes("m3 was fenced", g)

	later, interval := "consumer-interval", fmt.Sprint(c.longMillis(2000))
	ask[*kmsg.IncrementalAlterConfigsResponse](cl, "rare assignments", incremental(1, kmsg.ConfigResourceTypeGroupConfig, later, set("consumer.assignment.interval.ms", interval)))
	until(cl, "the config is there", describe(4, kmsg.ConfigResourceTypeGroupConfig, later, []string{"consumer.assignment.interval.ms"}), func(r *kmsg.DescribeConfigsResponse) bool {
		return len(r.Resources) == 1 && len(r.Resources[0].Configs) == 1 && *r.Resources[0].Configs[0].Value == interval
	})
	time.Sleep(c.long(100 * time.Millisecond))
	first := cl.beats("m1 joins", joining(1, later, "m1", "times4"))
	second := cl.beats("m2 joins", joining(1, later, "m2", "times4"))
	cl.describes("m2 waits for an assignment", later)
	cl.beats("m1 goes on", beat(1, later, "m1", first.MemberEpoch))
	time.Sleep(c.long(2200 * time.Millisecond))
	cl.beats("m2 is assigned", beat(1, later, "m2", second.MemberEpoch))
	cl.describes("m2 is assigned", later)
}

// consumerTopics has topics appear, grow and go under a group.
func consumerTopics(c *conversation) {
	cl := c.dial("consumer")
	cl.coordinated("consumer-topics")
	g := "consumer-topics"
	one := cl.beats("joins without a topic", joining(1, g, "m1", "topics2", "topics5"))
	cl.describes("without a topic", g)
	appeared := func(label string) {
		r := until(cl, label, beat(1, g, "m1", one.MemberEpoch), func(r *kmsg.ConsumerGroupHeartbeatResponse) bool {
			return r.ErrorCode != 0 || r.MemberEpoch > one.MemberEpoch
		})
		one = r
		cl.describes(label, g)
	}
	cl.createTopic("topics2", 2)
	appeared("a topic appeared")
	cl.createTopic("topics5", 5)
	appeared("another appeared")
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Version, grow.TimeoutMillis = 3, 10000
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "topics2", Count: 4}}
	ask[*kmsg.CreatePartitionsResponse](cl, "grow", grow)
	appeared("a topic grew")
	ask[*kmsg.DeleteTopicsResponse](cl, "delete", deleteRequest(6, "topics5"))
	until(cl, "a topic is gone", metadata(12, "topics5"), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 3 })
	gone := until(cl, "a topic is gone", beat(1, g, "m1", one.MemberEpoch), func(r *kmsg.ConsumerGroupHeartbeatResponse) bool { return r.Assignment != nil })
	c.note("a topic is gone", fmt.Sprintf("%d epochs later, partitions of %d topics", gone.MemberEpoch-one.MemberEpoch, len(gone.Assignment.Topics)))
	cl.describes("a topic is gone", g)
	cl.beats("nothing is left", owning(beat(1, g, "m1", one.MemberEpoch)))
	cl.describes("nothing is left", g)
}

// consumerOffsets commits and fetches as members of a group.
func consumerOffsets(c *conversation) {
	cl := c.dial("consumer")
	cl.coordinated("consumer-offsets")
	id := cl.createTopic("offsets2", 2)
	cl.createTopic("offsets-other", 1)
	cl.assignable("offsets2", "offsets-other")
	g := "consumer-offsets"
	one := cl.beats("m1 joins", joining(1, g, "m1", "offsets2"))
	two := cl.beats("m2 joins", joining(1, g, "m2", "offsets2"))
	revoked := cl.beats("m1 is to give up", owning(beat(1, g, "m1", one.MemberEpoch), owned(one)...))
	released := cl.beats("m1 gave up", owning(beat(1, g, "m1", revoked.MemberEpoch), owned(revoked)...))
	two = cl.beats("m2 gets it", beat(1, g, "m2", two.MemberEpoch))
	for _, v := range versions(2, 10) {
		for _, epoch := range []int32{-1, 0, one.MemberEpoch, released.MemberEpoch, released.MemberEpoch + 1} {
			for _, member := range []string{"m1", "ghost", ""} {
				for p := range int32(2) {
					req := commit(v, g, epoch, member, "offsets2", id, 10+int64(epoch))
					req.Topics[0].Partitions[0].Partition = p
					ask[*kmsg.OffsetCommitResponse](cl, fmt.Sprintf("%s of partition %d with epoch %d", member, p, epoch-one.MemberEpoch), req)
				}
			}
		}
	}
	for _, v := range versions(9, 10) {
		for _, epoch := range []int32{-1, 0, one.MemberEpoch, released.MemberEpoch, released.MemberEpoch + 1} {
			for _, member := range []*string{nil, ptr("m1"), ptr("ghost"), ptr("")} {
				req := offsetFetch(v, g, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "offsets2", TopicID: id, Partitions: []int32{0, 1}}})
				req.Groups[0].MemberID, req.Groups[0].MemberEpoch = member, epoch
				for _, stable := range []bool{false, true} {
					req.RequireStable = stable
					ask[*kmsg.OffsetFetchResponse](cl, fmt.Sprintf("epoch %d", epoch-one.MemberEpoch), req, groupsSorted)
				}
			}
		}
	}
	for _, group := range []string{"consumer-no-such-group", ""} {
		for _, member := range []*string{nil, ptr("m1")} {
			req := offsetFetch(9, group, nil)
			req.Groups[0].MemberID, req.Groups[0].MemberEpoch = member, 3
			ask[*kmsg.OffsetFetchResponse](cl, "no such group", req)
		}
	}
	remove := kmsg.NewPtrOffsetDeleteRequest()
	remove.Group = g
	for _, topic := range []string{"offsets2", "offsets-other"} {
		remove.Topics = append(remove.Topics, kmsg.OffsetDeleteRequestTopic{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}})
	}
	ask[*kmsg.OffsetDeleteResponse](cl, "subscribed", remove, groupsSorted)
	cl.beats("m1 leaves", beat(1, g, "m1", -1))
	cl.beats("m2 leaves", beat(1, g, "m2", -1))
	for _, epoch := range []int32{-1, 0, two.MemberEpoch} {
		ask[*kmsg.OffsetCommitResponse](cl, "empty group", commit(9, g, epoch, "", "offsets2", id, 77))
	}
	ask[*kmsg.OffsetDeleteResponse](cl, "empty group", remove, groupsSorted)
	ask[*kmsg.OffsetFetchResponse](cl, "all", offsetFetch(9, g, nil), groupsSorted)
	for _, filter := range [][2][]string{
		{{"empty"}, nil}, {nil, {"consumer"}}, {{"Stable", "EMPTY"}, {"Consumer", "classic"}}, {{"nonsense"}, nil}, {nil, {"classic"}}, {nil, {"nonsense"}}, {{"assigning", "reconciling"}, nil},
	} {
		ask[*kmsg.ListGroupsResponse](cl, fmt.Sprint("filter ", filter), listGroups(5, filter[0], filter[1]), groupsSorted, onlyGroups(g))
	}
}

// consumerConversions has empty groups change their kind.
func consumerConversions(c *conversation) {
	cl := c.dial("consumer")
	cl.coordinated("consumer-conversions")
	id := cl.createTopic("convert2", 2)
	cl.assignable("convert2")
	ask[*kmsg.OffsetCommitResponse](cl, "a simple commit", commit(9, "conversion-simple", -1, "", "convert2", id, 5))
	cl.describes("simple", "conversion-simple")
	cl.beats("joins a simple group", joining(1, "conversion-simple", "m1", "convert2"))
	cl.describes("was simple", "conversion-simple")
	ask[*kmsg.OffsetFetchResponse](cl, "the offset is there", offsetFetch(8, "conversion-simple", nil), groupsSorted)

	member, _ := cl.joined("conversion-classic", nil, "range")
	ask[*kmsg.LeaveGroupResponse](cl, "leave", leave(5, "conversion-classic", member, nil))
	cl.beats("joins an empty classic group", joining(1, "conversion-classic", "m1", "convert2"))
	cl.describes("was classic", "conversion-classic")
	cl.beats("leaves", beat(1, "conversion-classic", "m1", -1))
	cl.joined("conversion-classic", nil, "range")
	cl.describes("is classic again", "conversion-classic")
}
