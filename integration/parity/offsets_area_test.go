package parity

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func listOffsetsArea(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("times", 2)
	base := c.now.UnixMilli() - 100000
	times := []int64{2, 4, 6, 8, 5, 1, 9, 3}
	one := of(base, make([]string, len(times))...)
	for i, at := range times {
		one.records[i].delta = at
	}
	cl.put("times", of(base+2, "a"), of(base+4, "b"), of(base+6, "c"), of(base+8, "d"), one, one.with(1), of(-1, "no time"), of(base+7, "late"))
	for _, v := range versions(1, 11) {
		for _, isolation := range []int8{0, 1} {
			for _, at := range []int64{-1, -2, -3, -4, -5, -6, -7, -100, 0, base, base + 1, base + 2, base + 3, base + 5, base + 8, base + 9, base + 10, base + 1000000} {
				ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("base+%d, isolation %d", at-base, isolation), listOffsets(v, isolation, "times", 0, at))
			}
		}
		for _, at := range []int64{-1, -2, -3, -4, -5, -6, 5} {
			ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("empty, %d", at), listOffsets(v, 0, "times", 1, at))
		}
		ask[*kmsg.ListOffsetsResponse](cl, "unknown topic", listOffsets(v, 0, "nowhere-to-list", 0, -1))
		ask[*kmsg.ListOffsetsResponse](cl, "bad name", listOffsets(v, 0, "a b", 0, -1))
		ask[*kmsg.ListOffsetsResponse](cl, "unknown partition", listOffsets(v, 0, "times", 7, -1))
		ask[*kmsg.ListOffsetsResponse](cl, "negative partition", listOffsets(v, 0, "times", -1, -1))
		for _, epoch := range []int32{0, 1, 7, -2} {
			req := listOffsets(v, 0, "times", 0, -1)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
			ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("leader epoch %d", epoch), req)
		}
		twice := listOffsets(v, 0, "times", 0, -1)
		twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, listOffsets(v, 0, "times", 0, -2).Topics[0].Partitions[0], listOffsets(v, 0, "times", 1, -2).Topics[0].Partitions[0])
		ask[*kmsg.ListOffsetsResponse](cl, "a partition twice", twice, listedSorted)
		several := listOffsets(v, 0, "times", 1, -1)
		several.Topics[0].Partitions = append(several.Topics[0].Partitions, listOffsets(v, 0, "times", 0, -1).Topics[0].Partitions[0])
		several.Topics = append(several.Topics, listOffsets(v, 0, "nowhere-to-list", 0, -1).Topics...)
		ask[*kmsg.ListOffsetsResponse](cl, "several", several, listedSorted)
		for _, replica := range []int32{-2, 1, 7, -5} {
			req := listOffsets(v, 0, "times", 0, -1)
			req.ReplicaID = replica
			ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("replica %d", replica), req)
		}
		none := listOffsets(v, 0, "times", 0, -1)
		none.Topics = nil
		ask[*kmsg.ListOffsetsResponse](cl, "nothing", none)
	}
}

func listedSorted(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.ListOffsetsResponse)
	slices.SortStableFunc(r.Topics, func(a, b kmsg.ListOffsetsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	for _, t := range r.Topics {
		slices.SortStableFunc(t.Partitions, func(a, b kmsg.ListOffsetsResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	}
}

func epochs(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("epoch", 2)
	cl.put("epoch", of(c.now.UnixMilli(), "a", "b"), of(c.now.UnixMilli(), "c"))
	for _, v := range versions(2, 4) {
		for _, topic := range []string{"epoch", "nowhere-of-epochs", "a b"} {
			for _, partition := range []int32{0, 1, 7, -1} {
				for _, current := range []int32{-2, -1, 0, 1} {
					for _, asked := range []int32{-2, -1, 0, 1, 7} {
						req := kmsg.NewPtrOffsetForLeaderEpochRequest()
						req.Version, req.ReplicaID = v, -1
						t := kmsg.NewOffsetForLeaderEpochRequestTopic()
						p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
						p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, asked
						t.Topic, t.Partitions = topic, []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}
						req.Topics = append(req.Topics, t)
						ask[*kmsg.OffsetForLeaderEpochResponse](cl, fmt.Sprintf("%s-%d current %d asked %d", topic, partition, current, asked), req)
					}
				}
			}
		}
	}
}

func deleteRecordsArea(c *conversation) {
	cl := c.dial("parity")
	now := c.now.UnixMilli()
	cl.createTopic("cut", 2)
	cl.createTopic("cut-compact", 1, "cleanup.policy=compact")
	cl.createTopic("cut-both", 1, "cleanup.policy=compact,delete")
	for range 4 {
		cl.put("cut", of(now, "a", "b", "c"))
	}
	keyed := of(now, "a")
	keyed.records[0].key = []byte("k")
	cl.put("cut-compact", keyed)
	cl.put("cut-both", keyed)
	for _, v := range versions(0, 2) {
		for _, offset := range []int64{-2, 100, 0, int64(v) + 1, int64(v), 3*int64(v) + 2} {
			ask[*kmsg.DeleteRecordsResponse](cl, fmt.Sprintf("to %d", offset), deleteRecords(v, "cut", 0, offset))
			ask[*kmsg.FetchResponse](cl, "the start", fetch(12, "cut", [16]byte{}, 12))
			ask[*kmsg.FetchResponse](cl, "from 0", fetch(12, "cut", [16]byte{}, 0))
			ask[*kmsg.ListOffsetsResponse](cl, "earliest", listOffsets(7, 0, "cut", 0, -2))
			ask[*kmsg.ListOffsetsResponse](cl, "of max timestamp", listOffsets(7, 0, "cut", 0, -3))
			ask[*kmsg.ListOffsetsResponse](cl, "by time", listOffsets(7, 0, "cut", 0, 5))
		}
		ask[*kmsg.DeleteRecordsResponse](cl, "empty partition", deleteRecords(v, "cut", 1, -1))
		ask[*kmsg.DeleteRecordsResponse](cl, "unknown partition", deleteRecords(v, "cut", 7, -1))
		ask[*kmsg.DeleteRecordsResponse](cl, "unknown topic", deleteRecords(v, "nowhere-to-cut", 0, -1))
		ask[*kmsg.DeleteRecordsResponse](cl, "bad name", deleteRecords(v, "a b", 0, -1))
		ask[*kmsg.DeleteRecordsResponse](cl, "compacted", deleteRecords(v, "cut-compact", 0, -1))
		ask[*kmsg.DeleteRecordsResponse](cl, "compacted and deleted", deleteRecords(v, "cut-both", 0, 0))
		ask[*kmsg.DeleteRecordsResponse](cl, "internal", deleteRecords(v, "__consumer_offsets", 0, 0))
	}
	ask[*kmsg.DeleteRecordsResponse](cl, "all", deleteRecords(2, "cut", 0, -1))
	for _, at := range []int64{-1, -2, -3, -4, 5, now} {
		ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("afterwards %d", at), listOffsets(9, 0, "cut", 0, at))
	}
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = 4, -1
	t := kmsg.NewOffsetForLeaderEpochRequestTopic()
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.LeaderEpoch, p.CurrentLeaderEpoch = 0, -1
	t.Topic, t.Partitions = "cut", []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}
	req.Topics = append(req.Topics, t)
	ask[*kmsg.OffsetForLeaderEpochResponse](cl, "afterwards", req)
}

func logDirs(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("dirs", 3)
	sorted := func(_ server, answer kmsg.Response) {
		r := answer.(*kmsg.DescribeLogDirsResponse)
		for _, d := range r.Dirs {
			slices.SortFunc(d.Topics, func(a, b kmsg.DescribeLogDirsResponseDirTopic) int { return cmp.Compare(a.Topic, b.Topic) })
			for _, t := range d.Topics {
				slices.SortFunc(t.Partitions, func(a, b kmsg.DescribeLogDirsResponseDirTopicPartition) int {
					return cmp.Compare(a.Partition, b.Partition)
				})
			}
		}
	}
	for _, v := range versions(1, 5) {
		for _, row := range []struct {
			topic      string
			partitions []int32
		}{{"dirs", []int32{0, 2}}, {"dirs", []int32{7, 0}}, {"nowhere", []int32{0}}, {"dirs", nil}, {"a b", []int32{0}}} {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Version = v
			t := kmsg.NewDescribeLogDirsRequestTopic()
			t.Topic, t.Partitions = row.topic, row.partitions
			req.Topics = append(req.Topics, t)
			ask[*kmsg.DescribeLogDirsResponse](cl, fmt.Sprint(row), req, sorted)
		}
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Version, req.Topics = v, []kmsg.DescribeLogDirsRequestTopic{}
		ask[*kmsg.DescribeLogDirsResponse](cl, "empty list", req, sorted)
		req.Topics = nil
		ask[*kmsg.DescribeLogDirsResponse](cl, "all", req, sorted)
	}
}
