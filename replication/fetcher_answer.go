package replication

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage"
)

// take does what an answer brings: first all records, while the connection's buffer has them, then what needs the disk or the leader again.
func (f *fetcher) take(resp *kmsg.FetchResponse) {
	now := time.Now()
	f.quiet = true
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if x := f.parts[followedKey{t.TopicID, p.Partition}]; x != nil && x.ready {
				f.answer(x, p, now)
			}
		}
	}
	f.awaitFlushes()
	for _, d := range f.diverged {
		at, err := d.x.p.truncateToLeader(d.x.epoch, d.leader, d.x.at.logEnd)
		f.settle(d.x, at, err)
	}
	clear(f.diverged)
	f.diverged = f.diverged[:0]
	for _, x := range f.outside {
		f.relocate(x)
	}
	clear(f.outside)
	f.outside = f.outside[:0]
}

// answer does what the leader tells of one partition.
func (f *fetcher) answer(x *followed, p *kmsg.FetchResponseTopicPartition, now time.Time) {
	switch code := protocol.Code(p.ErrorCode); {
	case code != protocol.None:
		f.react(x, code)
	case p.DivergingEpoch.Epoch >= 0:
		x.failures = 0
		f.diverged = append(f.diverged, divergence{x, epochEnd{p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset}})
	default:
		f.append(x, p, now)
	}
}

// append gives the records to the replica.
func (f *fetcher) append(x *followed, p *kmsg.FetchResponseTopicPartition, now time.Time) {
	r, err := x.p.appendAsFollower(x.epoch, fetched{
		offset: x.at.logEnd, records: p.RecordBatches, highWatermark: p.HighWatermark, logStart: p.LogStartOffset,
	})
	switch {
	case errors.Is(err, errMoved): // a move between log dirs, or who else touched the log: go on where it ends
		f.settle(x, r.position, nil)
		return
	case err != nil:
		f.failed(x, err)
		return
	}
	x.failures = 0
	if r.bytes > 0 || x.lag < 0 {
		x.lag = max(0, p.HighWatermark-r.logEnd)
		x.p.lag.Store(x.lag)
		x.p.traffic.replicationIn.Add(int64(r.bytes))
	}
	if r.flush.Pending() {
		f.flushes = append(f.flushes, flushing{x, r.flush})
	}
	f.settle(x, r.position, nil)
	if r.bytes == 0 {
		return
	}
	f.quiet = false
	if f.all.throttled(x.p) {
		f.all.throttle.Record(r.bytes, now)
	}
	f.hold(x, now)
}

// awaitFlushes waits for the fsyncs that flush.messages asked for: with the next fetch the leader takes the records for written.
func (f *fetcher) awaitFlushes() {
	for _, w := range f.flushes {
		if err := w.x.p.awaitFlush(w.flush); err != nil {
			f.failed(w.x, err)
		}
	}
	clear(f.flushes)
	f.flushes = f.flushes[:0]
}

// awaitFlush waits for f, of the log that was appended to.
func (p *Partition) awaitFlush(f storage.Flush) error {
	first := true
	return p.WithLog(func(log *storage.Log) error {
		if first {
			first = false
			return f.Wait()
		}
		return log.Flush().Wait() // moved to another dir meanwhile, with all it had
	})
}

// react does what is to be done about an error of a partition.
func (f *fetcher) react(x *followed, code protocol.Code) {
	switch reactionTo(code) {
	case fetchElsewhere:
		f.outside = append(f.outside, x)
	case fetchNever:
		f.logger.Debug("a leader has a later epoch: waiting for the metadata", zap.Stringer("partition", x.p.tp), zap.Int32("epoch", x.epoch))
		f.suspend(x)
	case fetchSoon:
		f.delay(x, backoffAfter(x.failures, f.backoff()))
	case fetchLater:
		if x.failures == 0 {
			f.complain("a leader cannot be fetched from: trying again", x, code)
		}
		f.delay(x, f.backoff())
	}
}

// relocate goes on after the leader does not have the offset that was asked for.
func (f *fetcher) relocate(x *followed) {
	leader, err := f.rangeOf(x)
	if err != nil {
		if code := protocol.CodeOf(err); reactionTo(code) == fetchElsewhere {
			f.delay(x, f.backoff())
		} else {
			f.react(x, code)
		}
		return
	}
	before := x.at
	at, lag, err := x.p.enterRange(x.epoch, leader)
	f.settle(x, at, err)
	if x.lag = lag; err == nil && at == before { // it would only be told so again: Kafka asks on and on
		f.delay(x, f.backoff())
	}
}

// rangeOf asks the leader where its log of x begins and ends.
func (f *fetcher) rangeOf(x *followed) (r rangeOfLeader, err error) {
	if r.end, err = f.offsetOf(x, latestOffset); err != nil {
		return r, err
	}
	r.start, err = f.offsetOf(x, earliestOffset)
	return r, err
}

// The special timestamps of ListOffsets.
const (
	latestOffset   = -1
	earliestOffset = -2
)

func (f *fetcher) offsetOf(x *followed, timestamp int64) (int64, error) {
	c := f.all.o.Config()
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(protocol.ReplicaListOffsetsVersion(f.all.image.Load().FeatureLevel("metadata.version")))
	req.ReplicaID = f.all.o.NodeID
	req.TimeoutMillis = int32(min(c.Duration("replica.socket.timeout.ms").Milliseconds(), math.MaxInt32))
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.Timestamp = x.key.partition, x.epoch, timestamp
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: x.p.tp.Topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	ctx, cancel := context.WithTimeout(f.ctx, c.Duration("replica.socket.timeout.ms"))
	defer cancel()
	answer, err := f.peer.Do(ctx, req)
	if err != nil {
		return 0, err
	}
	resp, ok := answer.(*kmsg.ListOffsetsResponse)
	if !ok || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("an answer to ListOffsets that is none: key %d", answer.Key())
	}
	if code := protocol.Code(resp.Topics[0].Partitions[0].ErrorCode); code != protocol.None {
		return 0, code
	}
	return resp.Topics[0].Partitions[0].Offset, nil
}
