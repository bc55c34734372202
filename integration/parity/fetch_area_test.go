package parity

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchArea asks for good and bad places at every version.
func fetchArea(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("fetch", 2)
	now := c.now.UnixMilli()
	for i := range 5 {
		cl.put("fetch", of(now+int64(i), "a", "b"))
	}
	nowhere := [16]byte{1, 2, 3}
	for _, v := range versions(4, 18) {
		for _, isolation := range []int8{0, 1} {
			for _, offset := range []int64{0, 1, 3, 9, 10, 11, 1000, -1, -5} {
				req := fetch(v, "fetch", id, offset)
				req.IsolationLevel = isolation
				ask[*kmsg.FetchResponse](cl, fmt.Sprintf("offset %d, isolation %d", offset, isolation), req)
			}
		}
		ask[*kmsg.FetchResponse](cl, "unknown topic", fetch(v, "nowhere-to-fetch", nowhere, 0))
		ask[*kmsg.FetchResponse](cl, "bad name, no id", fetch(v, "a b", [16]byte{}, 0))
		for _, partition := range []int32{7, -1} {
			req := fetch(v, "fetch", id, 0)
			req.Topics[0].Partitions[0].Partition = partition
			ask[*kmsg.FetchResponse](cl, fmt.Sprintf("partition %d", partition), req)
		}
		for _, epoch := range []int32{-1, 0, 1, 5, -2} {
			req := fetch(v, "fetch", id, 0)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
			ask[*kmsg.FetchResponse](cl, fmt.Sprintf("leader epoch %d", epoch), req)
			req = fetch(v, "fetch", id, 4)
			req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
			ask[*kmsg.FetchResponse](cl, fmt.Sprintf("last fetched epoch %d", epoch), req)
			req = fetch(v, "fetch", id, 400)
			req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
			ask[*kmsg.FetchResponse](cl, fmt.Sprintf("last fetched epoch %d beyond the end", epoch), req)
		}
		both := fetch(v, "fetch", id, 0)
		both.Topics[0].Partitions = append(both.Topics[0].Partitions, fetchPartition(1, 0), fetchPartition(7, 0))
		ask[*kmsg.FetchResponse](cl, "good, empty and unknown partitions", both)
		none := fetch(v, "fetch", id, 0)
		none.Topics = nil
		ask[*kmsg.FetchResponse](cl, "nothing", none)
		rack := fetch(v, "fetch", id, 0)
		rack.Rack = "somewhere"
		ask[*kmsg.FetchResponse](cl, "rack", rack)
	}
}

func fetchLimits(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("limits", 3)
	now := c.now.UnixMilli()
	for i := range 6 {
		for p := range int32(3) {
			ask[*kmsg.ProduceResponse](cl, "put", produce(9, -1, "limits", id, p, of(now, strings.Repeat(string(rune('a'+i)), 1000)).bytes()))
		}
	}
	for _, v := range []int16{4, 7, 12, 18} {
		for _, partitionBytes := range []int32{-1, 0, 1, 1000, 1069, 1070, 1071, 2200, 1 << 20} {
			for _, maxBytes := range []int32{-1, 0, 1, 1500, 3000, 50 << 20} {
				req := fetch(v, "limits", id, 0)
				req.MaxBytes, req.MinBytes = maxBytes, 1
				req.Topics[0].Partitions = nil
				for p := range int32(3) {
					one := fetchPartition(p, int64(p))
					one.PartitionMaxBytes = partitionBytes
					req.Topics[0].Partitions = append(req.Topics[0].Partitions, one)
				}
				ask[*kmsg.FetchResponse](cl, fmt.Sprintf("%d bytes of a partition, %d in all", partitionBytes, maxBytes), req, wholeBatches)
			}
		}
	}
}

// wholeBatches cuts off a batch that the limits left incomplete: Kafka sends such a rest, which clients throw away, and Ottla does not.
func wholeBatches(_ server, answer kmsg.Response) {
	for _, t := range answer.(*kmsg.FetchResponse).Topics {
		for i := range t.Partitions {
			all, whole := t.Partitions[i].RecordBatches, 0
			for len(all) >= whole+12 {
				size := 12 + int(binary.BigEndian.Uint32(all[whole+8:]))
				if len(all) < whole+size {
					break
				}
				whole += size
			}
			t.Partitions[i].RecordBatches = all[:whole]
		}
	}
}

// fetchSessions goes through the table of fetch sessions, at versions that name topics and at those that give ids.
func fetchSessions(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("session", 4)
	now := c.now.UnixMilli()
	request := func(v int16, session, epoch int32, partitions ...kmsg.FetchRequestTopicPartition) *kmsg.FetchRequest {
		req := fetch(v, "session", id, 0)
		req.SessionID, req.SessionEpoch, req.Topics = session, epoch, nil
		if len(partitions) > 0 {
			req.Topics = []kmsg.FetchRequestTopic{fetchTopic("session", id, partitions...)}
		}
		return req
	}
	forget := func(req *kmsg.FetchRequest, partitions ...int32) *kmsg.FetchRequest {
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.TopicID, f.Partitions = "session", id, partitions
		req.ForgottenTopics = append(req.ForgottenTopics, f)
		return req
	}
	put := func(p int32, text string) {
		ask[*kmsg.ProduceResponse](cl, "put", produce(9, -1, "session", id, p, of(now, text).bytes()))
	}
	end := map[int32]int64{}
	for _, v := range []int16{7, 12, 13, 18} {
		step := func(label string, req *kmsg.FetchRequest) int32 {
			session := int32(0)
			ask[*kmsg.FetchResponse](cl, label, req)
			if r := cl.steps[len(cl.steps)-1].answer.(*kmsg.FetchResponse); r != nil {
				session = r.SessionID
			}
			return session
		}
		at := func(p int32) kmsg.FetchRequestTopicPartition { return fetchPartition(p, end[p]) }
		step("sessionless", request(v, 0, -1, at(0), at(1)))
		s := step("create", request(v, 0, 0, at(0), at(1), at(2)))
		step("nothing new", request(v, s, 1))
		put(1, "one")
		step("one has data", request(v, s, 2))
		step("it still has", request(v, s, 3))
		end[1]++
		step("moved on", request(v, s, 4, at(1)))
		step("add a partition", request(v, s, 5, at(3)))
		put(3, "three")
		put(0, "zero")
		step("two have data", request(v, s, 6))
		step("forget one", forget(request(v, s, 7), 3))
		step("add it again", request(v, s, 8, at(3)))
		end[0], end[3] = end[0]+1, end[3]+1
		step("out of range", request(v, s, 9, fetchPartition(0, 1000)))
		step("still out of range", request(v, s, 10))
		step("back", request(v, s, 11, at(0), at(3)))
		step("nothing new again", request(v, s, 12))
		step("unknown partition", request(v, s, 13, fetchPartition(9, 0)))
		step("still unknown", request(v, s, 14))
		step("forget it", forget(request(v, s, 15), 9))
		ask[*kmsg.DeleteRecordsResponse](cl, "delete", deleteRecords(2, "session", 0, -1))
		step("the log start moved", request(v, s, 16))
		step("the epoch once more", request(v, s, 16))
		step("an epoch left out", request(v, s, 18))
		step("the right one", request(v, s, 17))
		step("unknown session", request(v, s+1, 1))
		step("session 0 with an epoch", request(v, 0, 1, at(0)))
		renewed := step("renew", request(v, s, 0, at(0)))
		c.note("another id", fmt.Sprint(renewed != s && renewed != 0))
		step("the old one", request(v, s, 18))
		step("all forgotten", forget(request(v, renewed, 1), 0))
		step("after that", request(v, renewed, 2))
		closed := step("create to close", request(v, 0, 0, at(0)))
		step("close", request(v, closed, -1, at(0)))
		step("closed", request(v, closed, 1))
		step("create of nothing", request(v, 0, 0))
		negative := step("negative epoch", request(v, 0, 0, at(1)))
		step("epoch -2", request(v, negative, -2, at(1)))
	}
	other := cl.createTopic("session-two", 1)
	// By names, then by ids.
	first := request(12, 0, 0, fetchPartition(0, 0))
	ask[*kmsg.FetchResponse](cl, "by name", first)
	session := cl.steps[len(cl.steps)-1].answer.(*kmsg.FetchResponse).SessionID
	ask[*kmsg.FetchResponse](cl, "then by id", request(13, session, 1))
	second := request(13, 0, 0, fetchPartition(1, 0))
	second.Topics = append(second.Topics, fetchTopic("", other, fetchPartition(0, 0)), fetchTopic("", [16]byte{9, 9}, fetchPartition(0, 0)))
	ask[*kmsg.FetchResponse](cl, "by id, one unknown", second)
	session = cl.steps[len(cl.steps)-1].answer.(*kmsg.FetchResponse).SessionID
	ask[*kmsg.FetchResponse](cl, "unknown ones are named again", request(13, session, 1))
	ask[*kmsg.DeleteTopicsResponse](cl, "delete", deleteRequest(4, "session-two"))
	until(cl, "it is gone", metadata(12, "session-two"), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 3 })
	ask[*kmsg.FetchResponse](cl, "a topic was deleted", request(13, session, 2))
	ask[*kmsg.FetchResponse](cl, "then by name", request(12, session, 3))
}

// fetchWaits measures, coarsely, when an answer comes.
func fetchWaits(c *conversation) {
	cl, writer := c.dial("parity"), c.dial("parity")
	id := cl.createTopic("waits", 2)
	now := c.now.UnixMilli()
	timed := func(label string, req *kmsg.FetchRequest, wake func()) {
		begin := time.Now()
		p := cl.send(label, req)
		if wake != nil {
			cl.parked(label)
			wake()
		}
		await[*kmsg.FetchResponse](p)
		took := time.Since(begin)
		c.note(label+" took", map[bool]string{true: "its time", false: "no time"}[took >= time.Duration(req.MaxWaitMillis)*time.Millisecond*9/10])
	}
	for _, v := range []int16{4, 12, 18} {
		request := func(minBytes, wait int32, offset int64) *kmsg.FetchRequest {
			req := fetch(v, "waits", id, offset)
			req.MinBytes, req.MaxWaitMillis = minBytes, c.longMillis(wait)
			return req
		}
		ask[*kmsg.ProduceResponse](cl, "put", produce(9, -1, "waits", id, 0, of(now, "a").bytes()))
		end := cl.steps[len(cl.steps)-1].answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0].BaseOffset + 1
		timed("at the end", request(1, 600, end), nil)
		timed("min bytes 0", request(0, 600, end), nil)
		timed("enough", request(1, 600, end-1), nil)
		timed("too little", request(100000, 600, end-1), nil)
		timed("out of range", request(1, 600, end+100), nil)
		timed("wait 0", request(1, 0, end), nil)
		negative := request(1, 0, end)
		negative.MaxWaitMillis = -1
		timed("wait -1", negative, nil)
		nothing := request(1, 600, end)
		nothing.Topics = nil
		timed("no partitions", nothing, nil)
		mixed := request(1, 600, end)
		mixed.Topics[0].Partitions = append(mixed.Topics[0].Partitions, fetchPartition(7, 0))
		timed("a bad partition beside", mixed, nil)
		timed("woken", request(1, 5000, end), func() {
			ask[*kmsg.ProduceResponse](writer, "wake", produce(9, -1, "waits", id, 0, of(now, "w").bytes()))
		})
		timed("not woken by too little", request(10000, 900, end+1), func() {
			ask[*kmsg.ProduceResponse](writer, "too little", produce(9, -1, "waits", id, 0, of(now, "w").bytes()))
		})
	}
}
