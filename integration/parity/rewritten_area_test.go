package parity

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clock is what depends on the broker's clock in the messages of timestamp errors.
var clock = regexp.MustCompile(`within \[-?\d+, \d+\]`)

// produceRewritten is what the broker changes in batches: LogAppendTime and compression.type.
func produceRewritten(c *conversation) {
	cl := c.dial("parity")
	now := c.now.UnixMilli()
	for _, kind := range []string{"LogAppendTime", "CreateTime"} {
		name := "stamp-" + kind
		id := cl.createTopic(name, 1, "message.timestamp.type="+kind)
		for _, v := range []int16{3, 9, 13} {
			for _, codec := range []int16{0, 1, 8} {
				b := of(now-1000, "a", "b").with(codec)
				b.records[1].delta = 7
				before := time.Now().Add(-time.Second)
				ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("attributes %d to %s", codec, kind), produce(v, -1, name, id, 0, b.bytes()), appendTimeSince(before))
			}
			ask[*kmsg.ProduceResponse](cl, "long ago", produce(v, -1, name, id, 0, of(5, "a").bytes()), appendTimeSince(time.Now().Add(-time.Second)))
			ask[*kmsg.ProduceResponse](cl, "no time", produce(v, -1, name, id, 0, of(-1, "a").bytes()), appendTimeSince(time.Now().Add(-time.Second)))
			dup := of(now, "a").by(424242, v, 0)
			ask[*kmsg.ProduceResponse](cl, "a producer's", produce(v, -1, name, id, 0, dup.bytes()), appendTimeSince(time.Now().Add(-time.Second)))
			ask[*kmsg.ProduceResponse](cl, "its duplicate", produce(v, -1, name, id, 0, dup.bytes()), appendTimeSince(time.Now().Add(-2*time.Second)))
		}
		ask[*kmsg.FetchResponse](cl, "stored as "+kind, fetch(12, name, id, 0), batchesOpened)
		for _, at := range []int64{-1, -2, 5, now} {
			ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("%s at %d", kind, at-now), listOffsets(7, 0, name, 0, at), recentTimes)
		}
	}
	for _, codec := range []string{"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		name := "codec-" + codec
		id := cl.createTopic(name, 1, "compression.type="+codec)
		for _, attributes := range []int16{0, 1} {
			b := of(now, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "b").with(attributes)
			b.records[1].delta = 9
			ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("attributes %d to %s", attributes, codec), produce(9, -1, name, id, 0, b.bytes()))
			ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("a producer's with attributes %d to %s", attributes, codec), produce(9, -1, name, id, 0, b.by(3000+int64(attributes), 2, 0).bytes()))
		}
		ask[*kmsg.FetchResponse](cl, "stored as "+codec, fetch(12, name, id, 0), batchesOpened)
	}
	zstd := "codec-zstd"
	for _, v := range []int16{4, 9, 10} {
		ask[*kmsg.FetchResponse](cl, "zstd", fetch(v, zstd, [16]byte{}, 0), batchesOpened)
	}
}

// appendTimeSince replaces a log append time that is plausible by 1.
func appendTimeSince(before time.Time) option {
	return func(_ server, answer kmsg.Response) {
		for _, t := range answer.(*kmsg.ProduceResponse).Topics {
			for i := range t.Partitions {
				if at := t.Partitions[i].LogAppendTime; at >= before.UnixMilli() && at < before.Add(time.Minute).UnixMilli() {
					t.Partitions[i].LogAppendTime = 1
				}
			}
		}
	}
}

// recentTimes replaces timestamps of this run by 1.
func recentTimes(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.ListOffsetsResponse)
	for _, t := range r.Topics {
		for i := range t.Partitions {
			if time.Since(time.UnixMilli(t.Partitions[i].Timestamp)).Abs() < time.Minute {
				t.Partitions[i].Timestamp = 1
			}
		}
	}
}

// batchesOpened replaces batches by their header fields, with what they hold when it can be opened here: two encoders of one
// codec need not write the same bytes, and clocks differ.
func batchesOpened(_ server, answer kmsg.Response) {
	for _, t := range answer.(*kmsg.FetchResponse).Topics {
		for i := range t.Partitions {
			t.Partitions[i].RecordBatches = []byte(opened(t.Partitions[i].RecordBatches))
		}
	}
}

func opened(all []byte) string {
	out := ""
	for len(all) > 12 {
		size := 12 + int(binary.BigEndian.Uint32(all[8:]))
		if size > len(all) {
			return out + fmt.Sprintf("%d bytes of a batch", len(all))
		}
		b := kmsg.NewRecordBatch()
		if err := b.ReadFrom(all[:size]); err != nil {
			return out + err.Error()
		}
		payload := b.Records
		switch b.Attributes & 7 {
		case 0:
		case 1:
			if r, err := gzip.NewReader(bytes.NewReader(payload)); err == nil {
				payload, _ = io.ReadAll(r)
			}
		default:
			payload = nil
		}
		stamp := b.MaxTimestamp
		if b.Attributes&8 != 0 && time.Since(time.UnixMilli(stamp)) < time.Minute {
			stamp = 1
		}
		out += fmt.Sprintf("[offset %d epoch %d attributes %d last %d first %d max %d producer %d/%d/%d count %d: %x]\n", b.FirstOffset, b.PartitionLeaderEpoch,
			b.Attributes, b.LastOffsetDelta, b.FirstTimestamp, stamp, b.ProducerID, b.ProducerEpoch, b.FirstSequence, b.NumRecords, payload)
		all = all[size:]
	}
	return out
}

func produceAcks(c *conversation) {
	cl := c.dial("parity")
	now := c.now.UnixMilli()
	id := cl.createTopic("acks", 1)
	for _, v := range []int16{3, 9, 13} {
		cl.write(cl.frame(produce(v, 0, "acks", id, 0, of(now, "a").bytes())))
		ask[*kmsg.MetadataResponse](cl, "behind acks 0", metadata(12, "acks"))
		bad := of(now, "a")
		bad.badCRC = true
		c.raw(fmt.Sprintf("v%d acks 0 with a bad batch", v), c.dial("parity").frame(produce(v, 0, "acks", id, 0, bad.bytes())))
		c.raw(fmt.Sprintf("v%d acks 0 to an unknown partition", v), c.dial("parity").frame(produce(v, 0, "acks", id, 7, of(now, "a").bytes())))
	}
	cl.createTopic("acks-isr", 1, "min.insync.replicas=2")
	for _, acks := range []int16{-1, 1} { // more than there are replicas is as many as there are
		ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("acks %d below min.insync.replicas", acks), produce(9, acks, "acks-isr", id, 0, of(now, "a").bytes()))
	}
	cl.createTopic("stamp-one", 1, "message.timestamp.type=LogAppendTime")
	ask[*kmsg.ProduceResponse](cl, "one batch", produce(9, -1, "stamp-one", id, 0, of(now, "a", "b", "c").bytes()), appendTimeSince(time.Now().Add(-time.Second)))
	for _, at := range []int64{-3, 1} {
		ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("LogAppendTime at %d", at), listOffsets(7, 0, "stamp-one", 0, at), recentTimes)
	}
	ask[*kmsg.FetchResponse](cl, "stored", fetch(12, "acks", id, 0))
	ask[*kmsg.FetchResponse](cl, "stored", fetch(12, "acks-isr", id, 0))
}
