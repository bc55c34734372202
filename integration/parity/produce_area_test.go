package parity

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceVersions sends the same batches at every version, to good and bad places.
func produceVersions(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("produce", 2)
	now := c.now.UnixMilli()
	for _, v := range versions(3, 13) {
		for _, acks := range []int16{-1, 1} {
			ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("acks %d", acks), produce(v, acks, "produce", id, 0, of(now, "a", "b").bytes()))
		}
		ask[*kmsg.ProduceResponse](cl, "unknown partition", produce(v, -1, "produce", id, 7, of(now, "a").bytes()))
		ask[*kmsg.ProduceResponse](cl, "negative partition", produce(v, -1, "produce", id, -1, of(now, "a").bytes()))
		ask[*kmsg.ProduceResponse](cl, "unknown topic", produce(v, -1, "nowhere-to-produce", [16]byte{1, 2, 3}, 0, of(now, "a").bytes()))
		ask[*kmsg.ProduceResponse](cl, "bad name, no id", produce(v, -1, "a b", [16]byte{}, 0, of(now, "a").bytes()))
		for _, acks := range []int16{2, -2} {
			ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("acks %d", acks), produce(v, acks, "produce", id, 0, of(now, "a").bytes()))
		}
		empty := produce(v, -1, "produce", id, 0, nil)
		empty.Topics = nil
		ask[*kmsg.ProduceResponse](cl, "no topics", empty)
		mixed := produce(v, -1, "produce", id, 0, of(now, "a").bytes())
		bad := of(now, "x")
		bad.badCRC = true
		second := mixed.Topics[0].Partitions[0]
		second.Partition, second.Records = 1, bad.bytes()
		mixed.Topics[0].Partitions = append(mixed.Topics[0].Partitions, second)
		ask[*kmsg.ProduceResponse](cl, "one good and one bad partition", mixed, partitionsSorted)
		ask[*kmsg.ProduceResponse](cl, "zipped", produce(v, -1, "produce", id, 0, of(now, "a", "b", "c").with(1).bytes()))
		strange := of(now, "x")
		strange.magic = 3
		mixed.Topics[0].Partitions[1].Records = strange.bytes()
		ask[*kmsg.ProduceResponse](cl, "one good and one of an unknown format", mixed, partitionsSorted)
		txn := of(now, "t").by(5000, 0, 0).with(16)
		ask[*kmsg.ProduceResponse](cl, "transactional batch without an id", produce(v, -1, "produce", id, 0, txn.bytes()))
	}
	for _, v := range versions(4, 18) {
		ask[*kmsg.FetchResponse](cl, "what was produced", fetch(v, "produce", id, 0))
	}
	for _, v := range versions(0, 2) {
		c.try("a version that is advertised and not served", produce(v, 1, "produce", id, 0, nil))
	}
}

// partitionsSorted sorts the partitions of an answer: Kafka keeps no order.
func partitionsSorted(_ server, answer kmsg.Response) {
	for _, t := range answer.(*kmsg.ProduceResponse).Topics {
		if len(t.Partitions) == 2 && t.Partitions[0].Partition > t.Partitions[1].Partition {
			t.Partitions[0], t.Partitions[1] = t.Partitions[1], t.Partitions[0]
		}
	}
}

// producerID asks for a fresh producer id, which is there from some moment after the start.
func (cl *client) producerID() int64 {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = 4, 60000, -1, -1
	return until(cl, "producer id", req, func(r *kmsg.InitProducerIDResponse) bool { return r.ErrorCode == 0 }).ProducerID
}

func produceSequences(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("seq", 1)
	ids := []int64{cl.producerID(), cl.producerID()}
	c.note("ids grow", fmt.Sprint(ids[1] > ids[0]))
	for _, v := range versions(0, 5) {
		for _, row := range [][2]int64{{-1, -1}, {7, 3}, {-1, 3}, {7, -1}} {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.Version, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = v, -5, row[0], int16(row[1])
			ask[*kmsg.InitProducerIDResponse](cl, fmt.Sprint(row), req)
		}
	}
	now := c.now.UnixMilli()
	steps := []struct {
		label           string
		producer        int64
		epoch           int16
		sequence, count int32
	}{
		{"first", 1, 0, 0, 2}, {"next", 1, 0, 2, 3}, {"gap", 1, 0, 6, 1}, {"duplicate of the last", 1, 0, 2, 3}, {"duplicate of the first", 1, 0, 0, 2}, {"part of a duplicate", 1, 0, 2, 2}, {"overlap", 1, 0, 4, 3},
		{"3", 1, 0, 5, 1}, {"4", 1, 0, 6, 1}, {"5", 1, 0, 7, 1}, {"6", 1, 0, 8, 1}, {"out of the window", 1, 0, 0, 2}, {"edge of the window", 1, 0, 2, 3},
		{"new epoch, not 0", 1, 1, 9, 1}, {"new epoch", 1, 1, 0, 1}, {"old epoch", 1, 0, 9, 1}, {"old duplicate", 1, 0, 8, 1}, {"new epoch's duplicate", 1, 1, 0, 1}, {"two epochs on", 1, 3, 0, 1},
		{"unknown producer in the middle", 2, 4, 77, 1}, {"goes on", 2, 4, 78, 1}, {"no sequence", 3, 0, -1, 1}, {"no epoch", 3, -1, 0, 1}, {"near the end", 4, 0, 2147483645, 2}, {"the last", 4, 0, 2147483647, 1}, {"wrapped", 4, 0, 0, 1},
		{"close to the end", 5, 0, 2147483640, 6}, {"across the end", 5, 0, 2147483646, 4}, {"after the wrap", 5, 0, 2, 1}, {"duplicate across the end", 5, 0, 2147483646, 4}, {"sequence without producer", -1, -1, 5, 1}, {"epoch without producer", -1, 0, -1, 1},
		{"negative producer", -2, 0, 0, 1},
	}
	for _, v := range []int16{3, 7, 9, 13} {
		for _, s := range steps {
			values := make([]string, s.count)
			producer := s.producer
			if producer > 0 {
				producer += 100000 + 10*int64(v)
			}
			b := of(now, values...).by(producer, s.epoch, s.sequence)
			ask[*kmsg.ProduceResponse](cl, s.label, produce(v, -1, "seq", id, 0, b.bytes()))
		}
	}
	ask[*kmsg.FetchResponse](cl, "what was stored", fetch(12, "seq", id, 0))
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, partition := range []int32{0, 7, -1} {
		for _, topic := range []string{"seq", "nowhere", "a b"} {
			t := kmsg.NewDescribeProducersRequestTopic()
			t.Topic, t.Partitions = topic, []int32{partition}
			req.Topics = []kmsg.DescribeProducersRequestTopic{t}
			ask[*kmsg.DescribeProducersResponse](cl, fmt.Sprint(topic, partition), req, producersSorted)
		}
	}
	duplicatesAfterDelete(cl, id)
}

// duplicatesAfterDelete asks for a duplicate whose records are gone.
func duplicatesAfterDelete(cl *client, id [16]byte) {
	now := cl.now.UnixMilli()
	b := of(now, "a", "b").by(990000, 0, 0)
	ask[*kmsg.ProduceResponse](cl, "before", produce(9, -1, "seq", id, 0, b.bytes()))
	ask[*kmsg.DeleteRecordsResponse](cl, "all", deleteRecords(2, "seq", 0, -1))
	ask[*kmsg.ProduceResponse](cl, "duplicate of what is deleted", produce(9, -1, "seq", id, 0, b.bytes()))
	ask[*kmsg.ProduceResponse](cl, "next", produce(9, -1, "seq", id, 0, of(now, "c").by(990000, 0, 2).bytes()))
}

func deleteRecords(version int16, topic string, partition int32, offset int64) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = version, 10000
	t := kmsg.NewDeleteRecordsRequestTopic()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	t.Topic, t.Partitions = topic, []kmsg.DeleteRecordsRequestTopicPartition{p}
	req.Topics = append(req.Topics, t)
	return req
}

// producersSorted sorts by producer and removes the times of the last append.
func producersSorted(_ server, answer kmsg.Response) {
	for _, t := range answer.(*kmsg.DescribeProducersResponse).Topics {
		for _, p := range t.Partitions {
			slicesSortProducers(p.ActiveProducers)
		}
	}
}
