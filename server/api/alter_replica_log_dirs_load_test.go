package api

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// busyMove is a partition that is used in every way while it moves to and fro.
type busyMove struct {
	*jbod
	stop atomic.Bool
	all  sync.WaitGroup

	mu    sync.Mutex       // guards what follows
	sent  map[int64]string // values that were acknowledged, by offset
	start int64            // records below were asked to be deleted
}

// Whoever uses a replica while it moves between log dirs notices nothing: no request fails, nothing is lost, no offset is given twice.
func TestRequestsWhileAReplicaMoves(t *testing.T) {
	b := &busyMove{jbod: newJBOD(t), sent: map[int64]string{}}
	for i := range 2 {
		b.repeat(func(n int) { b.send(fmt.Sprint("producer ", i, " record ", n)) })
		next := int64(0)
		b.repeat(func(int) { next = b.readFrom(next) })
	}
	b.repeat(func(n int) { b.list([]int64{-1, -2, -3, 1000}[n%4]) })
	b.repeat(func(int) { b.deleteSome() })
	const moves = 40
	for n := range moves {
		dir := []string{"/b", "/a"}[n%2]
		before := b.acknowledged()
		if code := b.move(2, dir, "t-0")["t-0"]; code != protocol.None {
			t.Errorf("move to %s: %v", dir, code)
		}
		retention := fmt.Sprint(1_000_000_000 + n) // config changes hit the swap, too
		for done := false; !done && !t.Failed(); done = b.log("t", 0).Dir() == dir+"/t-0" && b.acknowledged() > before {
			b.change(&schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: "t", Name: "retention.ms", Value: &retention})
			runtime.Gosched()
		}
		if got := b.log("t", 0).Config().RetentionMs; fmt.Sprint(got) != retention {
			t.Errorf("retention.ms is %d after the move, want %s", got, retention)
		}
		if t.Failed() {
			break
		}
	}
	b.stop.Store(true)
	b.all.Wait()
	b.verify()
}

// repeat calls fn until the end, on a goroutine.
func (b *busyMove) repeat(fn func(n int)) {
	b.all.Go(func() {
		for n := 0; !b.stop.Load() && !b.t.Failed(); n++ {
			fn(n)
			runtime.Gosched()
		}
	})
}

func (b *busyMove) acknowledged() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sent)
}

func (b *busyMove) send(value string) {
	req := produceTo(9, "t", 0, 0, batchOf(b.t, value))
	req.Acks = -1
	p := call[*kmsg.ProduceResponse](b.hosting, req).Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		b.t.Errorf("produce: %v", protocol.Code(p.ErrorCode))
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if other, taken := b.sent[p.BaseOffset]; taken {
		b.t.Errorf("%q and %q are both at %d", other, value, p.BaseOffset)
	}
	b.sent[p.BaseOffset] = value
}

// readFrom fetches once, and returns where to go on: offsets are dense from there on.
func (b *busyMove) readFrom(next int64) int64 {
	p := call[*kmsg.FetchResponse](b.hosting, fetchFrom(12, "t", 1, fetchPartition(0, next))).Topics[0].Partitions[0]
	switch code := protocol.Code(p.ErrorCode); code {
	case protocol.None:
	case protocol.OffsetOutOfRange: // deleted meanwhile
		b.mu.Lock()
		defer b.mu.Unlock()
		if next >= b.start {
			b.t.Errorf("offset %d is out of range, records were deleted up to %d", next, b.start)
		}
		return b.start
	default:
		b.t.Errorf("fetch: %v", code)
		return next
	}
	for rest := p.RecordBatches; len(rest) > 0 && !b.t.Failed(); {
		batch, after, err := record.Split(rest)
		if err != nil || batch.Check() != nil || batch.BaseOffset() != next {
			b.t.Errorf("a batch at %d where %d is next: %v", batch.BaseOffset(), next, err)
			break
		}
		next, rest = batch.NextOffset(), after
	}
	return next
}

func (b *busyMove) list(timestamp int64) {
	p := call[*kmsg.ListOffsetsResponse](b.hosting, listOffsetsRequest(7, timestamp)).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.Offset < 0 && timestamp != -3 && timestamp != 1000 {
		b.t.Errorf("timestamp %d: %v, offset %d", timestamp, protocol.Code(p.ErrorCode), p.Offset)
	}
}

// deleteSome deletes all but the newest thousand of what was acknowledged.
func (b *busyMove) deleteSome() {
	b.mu.Lock()
	b.start = max(b.start, int64(len(b.sent))-1000)
	start := b.start
	b.mu.Unlock()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = 2, 1000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: start}}}}
	p := call[*kmsg.DeleteRecordsResponse](b.hosting, req).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.LowWatermark < start {
		b.t.Errorf("records below %d: %v, low watermark %d", start, protocol.Code(p.ErrorCode), p.LowWatermark)
	}
}

// verify reads all that is left.
func (b *busyMove) verify() {
	at := b.log("t", 0).Offsets()
	if at.LogStart != b.start || at.LogEnd != int64(len(b.sent)) || at.HighWatermark != at.LogEnd {
		b.t.Errorf("%+v after %d records, deleted up to %d", at, len(b.sent), b.start)
	}
	next := at.LogStart
	err := b.log("t", 0).Batches(b.t.Context(), at.LogStart, func(batch record.Batch) error {
		return b.codecs.Records(batch, func(r *record.Record) error {
			if r.Offset != next || string(r.Value) != b.sent[next] {
				return fmt.Errorf("record %d holds %q, want %q at %d", r.Offset, r.Value, b.sent[next], next)
			}
			next++
			return nil
		})
	})
	if err != nil || next != at.LogEnd {
		b.t.Errorf("read up to %d of %d: %v", next, at.LogEnd, err)
	}
}
