package parity

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnMarkers is WriteTxnMarkers by itself, as kafka-transactions sends it, and what partitions then say of producers.
func txnMarkers(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("markers", 2)
	cl.coordinated("markers")
	for _, v := range versions(1, 2) {
		one := 70_000 + int64(v)*100
		ask[*kmsg.WriteTxnMarkersResponse](cl, "nothing", &kmsg.WriteTxnMarkersRequest{Version: v}, markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "no data", markers(v, one, 3, 5, 0, true, "markers", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "unknown partition", markers(v, one, 3, 5, 0, true, "markers", 0, 7), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "unknown topic", markers(v, one, 3, 5, 0, true, "nowhere-to-mark", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "an old coordinator", markers(v, one, 3, 4, 0, false, "markers", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "an old epoch", markers(v, one, 2, 5, 0, false, "markers", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "a new epoch", markers(v, one, 4, 5, 0, false, "markers", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "again, version 2", markers(v, one, 4, 5, 2, false, "markers", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "an old epoch, version 2", markers(v, one, 3, 5, 2, false, "markers", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "a group's partition", markers(v, one, 4, 5, 2, true, "__consumer_offsets", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "a group's partition, an old coordinator", markers(v, one, 4, 4, 2, true, "__consumer_offsets", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "a group's partition, an old epoch", markers(v, one, 3, 5, 0, true, "__consumer_offsets", 0), markersSorted)
		ask[*kmsg.WriteTxnMarkersResponse](cl, "a group's partition that there is not", markers(v, one, 4, 5, 0, true, "__consumer_offsets", 99), markersSorted)
		several := markers(v, one+1, 0, 0, 0, true, "markers", 1)
		several.Markers = append(several.Markers, markers(v, one+2, 0, 0, 0, false, "markers", 1).Markers[0], markers(v, one+1, 0, 0, 0, false, "markers", 0).Markers[0])
		ask[*kmsg.WriteTxnMarkersResponse](cl, "several", several, markersSorted)
	}
	ask[*kmsg.FetchResponse](cl, "batches", fetch(12, "markers", id, 0), producersKnown())
	ask[*kmsg.DescribeProducersResponse](cl, "producers", describeProducers("markers", 0, 1), transactionsOf(&producer{cl: cl, id: -1}))
	idempotent := of(c.now.UnixMilli(), "a").by(70_100, 4, 0)
	ask[*kmsg.ProduceResponse](cl, "an idempotent producer, after its marker", produce(9, -1, "markers", id, 0, idempotent.bytes()))
	ask[*kmsg.ProduceResponse](cl, "an old epoch", produce(9, -1, "markers", id, 0, of(c.now.UnixMilli(), "a").by(70_100, 3, 0).bytes()))
}

// txnVerification is Produce with transactional records that the coordinator does not know of, in every version.
func txnVerification(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("verified", 3)
	p := cl.transactionalProducer("verification")
	for _, v := range versions(3, 11) {
		ask[*kmsg.ProduceResponse](cl, "not added", p.produce(v, "verified", id, 0, "a"))
		stranger := *p
		stranger.txn = "unknown-to-all"
		ask[*kmsg.ProduceResponse](cl, "another transactional id", stranger.produce(v, "verified", id, 0, "a"))
		old := *p
		old.epoch--
		ask[*kmsg.ProduceResponse](cl, "an old epoch", old.produce(v, "verified", id, 0, "a"))
		other := *p
		other.id += 50_000
		ask[*kmsg.ProduceResponse](cl, "another producer id", other.produce(v, "verified", id, 0, "a"))
		none := p.produce(v, "verified", id, 0, "a")
		none.TransactionID = nil
		ask[*kmsg.ProduceResponse](cl, "no transactional id", none)
		two := p.produce(v, "verified", id, 0, "a")
		two.Topics[0].Partitions = append(two.Topics[0].Partitions, old.produce(v, "verified", id, 1, "a").Topics[0].Partitions[0])
		ask[*kmsg.ProduceResponse](cl, "two epochs", two, partitionsSorted)
		unknown := p.produce(v, "verified", id, 9, "a")
		ask[*kmsg.ProduceResponse](cl, "no such partition", unknown)
		plain := produce(v, -1, "verified", id, 0, of(c.now.UnixMilli(), "plain").bytes())
		plain.TransactionID = &p.txn
		ask[*kmsg.ProduceResponse](cl, "a transactional id without a transaction", plain)
	}
	p.added("verified", 1)
	for _, v := range versions(3, 11) {
		ask[*kmsg.ProduceResponse](cl, "added", p.produce(v, "verified", id, 1, "b"))
		p.next[1]++
		both := p.produce(v, "verified", id, 1, "b")
		both.Topics[0].Partitions = append(both.Topics[0].Partitions, p.produce(v, "verified", id, 2, "b").Topics[0].Partitions[0])
		ask[*kmsg.ProduceResponse](cl, "one of two added", both, producedByPartition)
		p.next[1]++
		mixed := produce(v, -1, "verified", id, 1, of(c.now.UnixMilli(), "plain").by(p.id, p.epoch, p.next[1]).bytes())
		mixed.TransactionID = &p.txn
		ask[*kmsg.ProduceResponse](cl, "without the attribute, in a transaction", mixed)
	}
	p.end(3, false)
	for _, v := range []int16{12, 13} {
		first := p.produce(v, "verified", id, 2, "c")
		ask[*kmsg.ProduceResponse](cl, "joins by being written to", first)
		p.next[2]++
		stranger := *p
		stranger.txn = "unknown-to-all"
		ask[*kmsg.ProduceResponse](cl, "another transactional id", stranger.produce(v, "verified", id, 0, "a"))
		other := *p
		other.id += 50_000
		ask[*kmsg.ProduceResponse](cl, "another producer id", other.produce(v, "verified", id, 0, "a"))
		old := *p
		old.epoch--
		ask[*kmsg.ProduceResponse](cl, "an old epoch", old.produce(v, "verified", id, 0, "a"))
		gap := *p
		gap.next = map[int32]int32{0: 5}
		ask[*kmsg.ProduceResponse](cl, "a first sequence of 5", gap.produce(v, "verified", id, 0, "a"))
		p.end(5, true)
	}
}

// txnIsolation is what readers see of three producers whose transactions are interleaved, at every offset.
func txnIsolation(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("isolated", 1, "segment.bytes=1048576")
	a, b, o := cl.transactionalProducer("isolated-a"), cl.transactionalProducer("isolated-b"), cl.transactionalProducer("isolated-o")
	look := func(when string) {
		end := ask[*kmsg.ListOffsetsResponse](cl, when, listOffsets(7, 0, "isolated", 0, -1)).Topics[0].Partitions[0].Offset
		for _, at := range []int64{-1, -2, c.now.UnixMilli()} {
			ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("%s, time %d", when, at), listOffsets(7, 1, "isolated", 0, at), recentTimes)
		}
		for offset := range end + 1 {
			for _, level := range []int8{0, 1} {
				for _, limit := range []int32{1, 200, 1 << 20} {
					req := fetch(12, "isolated", id, offset)
					req.IsolationLevel, req.Topics[0].Partitions[0].PartitionMaxBytes = level, limit
					ask[*kmsg.FetchResponse](cl, fmt.Sprintf("%s, offset %d, level %d, %d bytes", when, offset, level, limit), req, wholeBatches, relevantAborts, producersKnown(a, b, o))
				}
			}
		}
		ask[*kmsg.DescribeProducersResponse](cl, when, describeProducers("isolated", 0), transactionsOf(a, b, o))
	}
	write := func(p *producer, value string) { p.write(12, "isolated", id, 0, value) }
	write(a, "a1")
	cl.put("isolated", of(c.now.UnixMilli(), "plain"))
	write(b, "b1")
	write(a, "a2")
	// Not later: which of the markers is the newest depends on how fast a server is.
	ask[*kmsg.ListOffsetsResponse](cl, "the newest record, committed or not", listOffsets(7, 0, "isolated", 0, -3), recentTimes)
	ask[*kmsg.ListOffsetsResponse](cl, "the newest committed record", listOffsets(7, 1, "isolated", 0, -3), recentTimes)
	look("two are open")
	a.end(5, false)
	look("the first was aborted")
	write(a, "a3")
	b.end(5, true)
	write(o, "o1")
	cl.put("isolated", of(c.now.UnixMilli(), "plain"))
	a.end(5, false)
	look("the second was committed, the first aborted again")
	o.end(5, false)
	write(b, "b2")
	b.end(5, false)
	cl.put("isolated", of(c.now.UnixMilli(), "plain"))
	look("all are over")
	ask[*kmsg.DeleteRecordsResponse](cl, "delete", deleteRecords(2, "isolated", 0, 5))
	look("the first records are gone")
}

// txnOffsets is TxnOffsetCommit in every version, and what readers of offsets see of it.
func txnOffsets(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("txn-offsets", 3)
	cl.coordinated("txn-offsets")
	member, generation := cl.joined("txn-members", nil, "range")
	for _, v := range versions(0, 5) {
		group := fmt.Sprintf("txn-offsets-%d", v)
		p := cl.transactionalProducer(group)
		at := func(groupID string, generation int32, member string, topic string, partitions ...int32) *kmsg.TxnOffsetCommitRequest {
			return txnCommit(v, p, groupID, generation, member, topic, partitions...)
		}
		seen := func(when string) {
			for _, stable := range []bool{false, true} {
				req := offsetFetch(7, group, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "txn-offsets", TopicID: id, Partitions: []int32{0, 1}}})
				req.RequireStable = stable
				ask[*kmsg.OffsetFetchResponse](cl, fmt.Sprintf("%s, stable %v", when, stable), req)
				req = offsetFetch(7, group, nil)
				req.RequireStable = stable
				ask[*kmsg.OffsetFetchResponse](cl, fmt.Sprintf("%s, all, stable %v", when, stable), req, groupsSorted)
			}
		}
		ask[*kmsg.TxnOffsetCommitResponse](cl, "empty group id", at("", -1, "", "txn-offsets", 0))
		if v < 5 {
			ask[*kmsg.TxnOffsetCommitResponse](cl, "not added", at(group, -1, "", "txn-offsets", 0))
			for _, g := range []string{group, "txn-members"} {
				add := kmsg.NewPtrAddOffsetsToTxnRequest()
				add.Version, add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = 3, p.txn, p.id, p.epoch, g
				ask[*kmsg.AddOffsetsToTxnResponse](cl, "add", add)
			}
		}
		ask[*kmsg.TxnOffsetCommitResponse](cl, "commit", at(group, -1, "", "txn-offsets", 0, 1))
		seen("open")
		ask[*kmsg.TxnOffsetCommitResponse](cl, "some unknown", at(group, -1, "", "txn-offsets", 0, 9))
		ask[*kmsg.TxnOffsetCommitResponse](cl, "unknown topic", at(group, -1, "", "nowhere-to-commit", 0))
		ask[*kmsg.TxnOffsetCommitResponse](cl, "no topics", at(group, -1, "", "txn-offsets"))
		ask[*kmsg.TxnOffsetCommitResponse](cl, "a generation without a group", at(group+"-none", 3, "", "txn-offsets", 0))
		ask[*kmsg.TxnOffsetCommitResponse](cl, "nobody in a group with members", at("txn-members", -1, "", "txn-offsets", 0))
		ask[*kmsg.TxnOffsetCommitResponse](cl, "member", at("txn-members", generation, member, "txn-offsets", 1))
		ask[*kmsg.TxnOffsetCommitResponse](cl, "wrong generation", at("txn-members", generation+1, member, "txn-offsets", 1))
		ask[*kmsg.TxnOffsetCommitResponse](cl, "unknown member", at("txn-members", generation, "ghost", "txn-offsets", 1))
		stale := *p
		stale.epoch--
		ask[*kmsg.TxnOffsetCommitResponse](cl, "an old epoch", txnCommit(v, &stale, group, -1, "", "txn-offsets", 0))
		ask[*kmsg.OffsetCommitResponse](cl, "outside, later", commit(7, group, -1, "", "txn-offsets", id, 77))
		end := int16(3)
		if v >= 5 {
			end = 5
		}
		p.end(end, v != 4)
		seen("over")
		ask[*kmsg.TxnOffsetCommitResponse](cl, "after the end, not added", txnCommit(v, p, group, -1, "", "txn-offsets", 0))
		if v >= 5 {
			p.end(end, false)
		}
		seen("aborted")
	}
}

func txnCommit(version int16, p *producer, group string, generation int32, member, topic string, partitions ...int32) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = version, p.txn, group, p.id, p.epoch
	req.Generation, req.MemberID = generation, member
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic = topic
	for _, id := range partitions {
		one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset, one.LeaderEpoch, one.Metadata = id, 5+int64(id), 3, ptr("m")
		t.Partitions = append(t.Partitions, one)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// producedByPartition puts partitions in order: Apache Kafka answers in that of a hash of the topic's id.
func producedByPartition(_ server, answer kmsg.Response) {
	for _, t := range answer.(*kmsg.ProduceResponse).Topics {
		slices.SortFunc(t.Partitions, func(a, b kmsg.ProduceResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	}
}
