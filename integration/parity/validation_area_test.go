package parity

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func slicesSortProducers(all []kmsg.DescribeProducersResponseTopicPartitionActiveProducer) {
	slices.SortFunc(all, func(a, b kmsg.DescribeProducersResponseTopicPartitionActiveProducer) int {
		return cmp.Compare(a.ProducerID, b.ProducerID)
	})
}

// odd is a batch of the validation rows.
type oddBatch struct {
	label string
	data  []byte
}

func oddBatches(now int64) []oddBatch {
	changed := func(change func(*batch)) []byte {
		b := of(now, "a", "b")
		change(&b)
		return b.bytes()
	}
	good := of(now, "a", "b").bytes()
	patched := func(at int, v byte) []byte {
		b := slices.Clone(good)
		b[at] = v
		return b
	}
	legacy := func(magic byte) []byte {
		b := make([]byte, 8, 40)
		b = binary.BigEndian.AppendUint32(b, 14)
		return append(b, 0, 0, 0, 0, magic, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	}
	return []oddBatch{
		{"good", good}, {"0 bytes", []byte{}}, {"two batches", append(slices.Clone(good), good...)}, {"truncated", good[:len(good)-1]}, {"half a header", good[:30]}, {"10 bytes", good[:10]},
		{"a batch and a bit", append(slices.Clone(good), good[:20]...)}, {"magic 0", legacy(0)}, {"magic 1", legacy(1)}, {"magic 3", changed(func(b *batch) { b.magic = 3 })}, {"magic -1", changed(func(b *batch) { b.magic = -1 })},
		{"bad CRC", changed(func(b *batch) { b.badCRC = true })}, {"codec 7", changed(func(b *batch) { b.attributes = 7 })}, {"codec 5", changed(func(b *batch) { b.attributes = 5 })}, {"gzip that is none", changed(func(b *batch) { b.attributes = 0 })},
		{"count 0", changed(func(b *batch) { b.count, b.lastDelta = ptr(int32(0)), ptr(int32(-1)) })}, {"count -1", changed(func(b *batch) { b.count = ptr(int32(-1)) })}, {"count too high", changed(func(b *batch) { b.count, b.lastDelta = ptr(int32(3)), ptr(int32(2)) })},
		{"count too low", changed(func(b *batch) { b.count, b.lastDelta = ptr(int32(1)), ptr(int32(0)) })}, {"last delta too high", changed(func(b *batch) { b.lastDelta = ptr(int32(5)) })}, {"last delta too low", changed(func(b *batch) { b.lastDelta = ptr(int32(0)) })}, {"last delta negative", changed(func(b *batch) { b.lastDelta = ptr(int32(-3)) })},
		{"control batch", changed(func(b *batch) { b.attributes = 32 })}, {"control batch of a producer", changed(func(b *batch) { b.attributes, b.producer, b.epoch, b.sequence = 32, 77, 0, 0 })},
		{"no records", changed(func(b *batch) { b.records = nil })}, {"LogAppendTime set", changed(func(b *batch) { b.attributes = 8 })}, {"timestamp -1", changed(func(b *batch) { b.first = -1 })}, {"timestamp -2", changed(func(b *batch) { b.first = -2 })}, {"timestamp 0", changed(func(b *batch) { b.first = 0 })},
		{"far future", changed(func(b *batch) { b.first = 1 << 45 })}, {"one of the future", changed(func(b *batch) { b.records[1].delta = 1 << 42 })}, {"half an hour ahead", changed(func(b *batch) { b.first = 1800000 })}, {"deltas go back", changed(func(b *batch) { b.records[1].delta = -5000 })},
		{"delete horizon bit", changed(func(b *batch) { b.attributes = 64 })}, {"unused attribute bits", changed(func(b *batch) { b.attributes = 0x0f80 })},
		{"length negative", patched(8, 0xff)}, {"length 0", append(slices.Clone(good[:8]), append([]byte{0, 0, 0, 0}, good[12:]...)...)}, {"base offset 9", patched(7, 9)}, {"leader epoch 3", patched(15, 3)}, {"wrong length", patched(11, good[11]-1)},
	}
}

func produceValidation(c *conversation) {
	cl := c.dial("parity")
	now := c.now.UnixMilli()
	id := cl.createTopic("valid", 1)
	compact := cl.createTopic("valid-compact", 1, "cleanup.policy=compact")
	small := cl.createTopic("valid-small", 1, "max.message.bytes=200")
	strict := cl.createTopic("valid-strict", 1, "message.timestamp.before.max.ms=1000", "message.timestamp.after.max.ms=1000")
	segment := cl.createTopic("valid-segment", 1, "segment.bytes=1048576", "max.message.bytes=3000000")
	for _, v := range []int16{3, 7, 8, 9, 12, 13} {
		for _, odd := range oddBatches(now) {
			ask[*kmsg.ProduceResponse](cl, odd.label, produce(v, -1, "valid", id, 0, odd.data), relativeTime)
		}
		nulls := of(now, "a", "b", "c")
		nulls.records[1].key = []byte("k")
		keyed := of(now, "a")
		keyed.records[0].key = []byte{}
		ask[*kmsg.ProduceResponse](cl, "null keys on a compacted topic", produce(v, -1, "valid-compact", compact, 0, nulls.bytes()))
		ask[*kmsg.ProduceResponse](cl, "null keys on a compacted topic, zipped", produce(v, -1, "valid-compact", compact, 0, nulls.with(1).bytes()))
		ask[*kmsg.ProduceResponse](cl, "empty key on a compacted topic", produce(v, -1, "valid-compact", compact, 0, keyed.bytes()))
		ask[*kmsg.ProduceResponse](cl, "too large", produce(v, -1, "valid-small", small, 0, of(now, strings.Repeat("x", 300)).bytes()))
		ask[*kmsg.ProduceResponse](cl, "zipped small enough", produce(v, -1, "valid-small", small, 0, of(now, strings.Repeat("x", 300)).with(1).bytes()))
		fits := of(now, strings.Repeat("y", 200-69)) // a batch of one record has 61+8 bytes around so long a value
		for trim := range 4 {
			fits.records[0].value = fits.records[0].value[:len(fits.records[0].value)-min(trim, 1)]
			ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("%d bytes", len(fits.bytes())), produce(v, -1, "valid-small", small, 0, fits.bytes()))
		}
		ask[*kmsg.ProduceResponse](cl, "larger than a segment", produce(v, -1, "valid-segment", segment, 0, of(now, strings.Repeat("x", 2000000)).bytes()))
		for _, at := range []int64{now - 3600000, now + 3600000, -1} {
			late := of(at, "a", "b")
			late.records[1].delta = 50
			ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("%d ms from now", at-now), produce(v, -1, "valid-strict", strict, 0, late.bytes()), relativeTime)
		}
		zstd := of(now, "a").with(4)
		ask[*kmsg.ProduceResponse](cl, "zstd that is none", produce(v, -1, "valid", id, 0, zstd.bytes()))
		for codec := int16(2); codec <= 3; codec++ {
			ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("codec %d that is none", codec), produce(v, -1, "valid", id, 0, of(now, "a").with(codec).bytes()))
		}
	}
	until(cl, "offsets topic", findCoordinator(4, 0, "valid-any"), func(r *kmsg.FindCoordinatorResponse) bool { return r.Coordinators[0].ErrorCode == 0 })
	ask[*kmsg.ProduceResponse](cl, "internal topic", produce(9, -1, "__consumer_offsets", [16]byte{}, 0, of(now, "a").bytes()))
	ask[*kmsg.FetchResponse](cl, "what was stored", fetch(12, "valid", id, 0))
	ask[*kmsg.FetchResponse](cl, "what was stored", fetch(12, "valid-compact", id, 0))
	ask[*kmsg.FetchResponse](cl, "what was stored", fetch(12, "valid-small", id, 0))
}

// relativeTime removes the broker's own clock from the messages of timestamp errors.
func relativeTime(_ server, answer kmsg.Response) {
	for _, t := range answer.(*kmsg.ProduceResponse).Topics {
		for i := range t.Partitions {
			for j := range t.Partitions[i].ErrorRecords {
				if m := t.Partitions[i].ErrorRecords[j].ErrorMessage; m != nil {
					*m = clock.ReplaceAllString(*m, "within <range>")
				}
			}
			if m := t.Partitions[i].ErrorMessage; m != nil {
				*m = clock.ReplaceAllString(*m, "within <range>")
			}
		}
	}
}
