package replication

import (
	"context"
	"slices"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage"
)

// FetchPartition is one partition of a fetch.
type FetchPartition struct {
	Topic              string
	TopicID            protocol.UUID // zero: the request went by name
	Partition          int32
	CurrentLeaderEpoch int32 // -1: do not check
	FetchOffset        int64
	LastFetchedEpoch   int32 // -1 none
	LogStartOffset     int64 // a follower's; -1 from consumers
	AwaitHighWatermark int64 // a follower is answered as soon as the high watermark has got there (KIP-1166); 0: it is not woken for that
	MaxBytes           int
	Err                error // decided by the caller already (unauthorized, unknown id): passed through
}

// FetchRequest is one fetch over many partitions, in the order in which they are to be served.
type FetchRequest struct {
	ReplicaID     int32       // -1 a consumer, -2 a debugging consumer that reads to the log end
	BrokerEpoch   int64       // of the follower, -1 unknown (KIP-903)
	Clock         *FetchClock // of the follower's fetch session, nil without one
	LeaderOnly    bool        // a consumer of a version that does not read from followers (before KIP-392)
	Rack          string      // of the consumer, "" unknown
	Listener      string      // by which the request came: consumers are sent to replicas that have it
	MaxWait       time.Duration
	MinBytes      int
	MaxBytes      int
	ReadCommitted bool
	// FirstBatchWhole lets the first partition with data exceed all limits by its first batch (KIP-74; Fetch v3 and later).
	FirstBatchWhole bool
	Partitions      []FetchPartition

	// Wake signals that More has something to add to the partitions. It takes the place of waiting on each of them: there are more, of which nothing is to be told now. nil: AwaitFetch waits
	// on what is listed.
	Wake <-chan struct{}
	More func() (partitions []FetchPartition, ok bool) // all that is to be read; ok is false if nothing is: the results do not matter any more

	again bool // the same request is looked at once more
}

// follower reports whether a replica fetches.
func (r *FetchRequest) follower() bool { return r.ReplicaID >= 0 }

// EpochEnd is a leader epoch, -1 none, and the offset at which it ends.
type EpochEnd struct {
	Epoch     int32
	EndOffset int64
}

// FetchResult is the answer for one partition. Offsets are -1 when Err is set.
type FetchResult struct {
	Err                                             error
	HighWatermark, LastStableOffset, LogStartOffset int64
	Aborted                                         []storage.AbortedTransaction // nil unless ReadCommitted
	DivergingEpoch                                  int32                        // -1 none (KIP-595)
	DivergingEndOffset                              int64
	PreferredReadReplica                            int32 // -1 none (KIP-392)
	LeaderID, LeaderEpoch                           int32 // hint with NotLeaderOrFollower and FencedLeaderEpoch, else -1 (KIP-951)
	Records                                         storage.Slice
	// Settled says that the reader has all that it may have, and is known to: until the partition changes there is nothing to tell but what this answer tells.
	Settled bool

	behind bool     // the follower knows a lower high watermark
	from   *traffic // of the replica that was read; nil if none was
}

// Fetch reads r's partitions and appends one result for each, in order, to dst. Below MinBytes it parks until enough is
// readable, a partition fails, MaxWait passes or ctx ends (Kafka's DelayedFetch). The caller releases every Records.
func (m *Manager) Fetch(ctx context.Context, r FetchRequest, dst []FetchResult) []FetchResult {
	first := len(dst)
	dst, enough := m.TryFetch(&r, dst)
	if enough {
		return dst
	}
	releaseAll(dst[first:])
	return m.AwaitFetch(ctx, &r, dst[:first])
}

// TryFetch is Fetch without the wait: enough is false if Fetch would park, and the results are what can be read by now.
func (m *Manager) TryFetch(r *FetchRequest, dst []FetchResult) (_ []FetchResult, enough bool) {
	dst, enough = m.read(r, dst)
	return dst, enough || r.MaxWait <= 0
}

// AwaitFetch is Fetch for a request of which TryFetch has found that it has to wait. It changes r.
func (m *Manager) AwaitFetch(ctx context.Context, r *FetchRequest, dst []FetchResult) []FetchResult {
	first := len(dst)
	r.again = true
	if r.Wake == nil {
		waiter := newFetchWaiter(r.follower())
		waiter.commits = slices.ContainsFunc(r.Partitions, func(f FetchPartition) bool { return f.AwaitHighWatermark > 0 })
		parked := m.park(r, waiter)
		defer func() {
			for _, p := range parked {
				p.waiters.unpark(waiter)
			}
		}()
		r.Wake = waiter.wake
	}
	deadline := time.NewTimer(r.MaxWait)
	defer deadline.Stop()
	// What was appended before the registration woke nobody: read before waiting.
	for last := false; ; {
		if r.More != nil {
			partitions, ok := r.More()
			if !ok {
				return dst
			}
			r.Partitions = partitions
		}
		var enough bool
		if dst, enough = m.read(r, dst); enough || last {
			return dst
		}
		select {
		case <-r.Wake:
		case <-deadline.C:
			last = true
		case <-ctx.Done():
			return dst
		}
		releaseAll(dst[first:])
		dst = dst[:first]
	}
}

// park registers w with every partition that can be read here.
func (m *Manager) park(r *FetchRequest, w *fetchWaiter) []*Partition {
	parked := make([]*Partition, 0, len(r.Partitions))
	for i := range r.Partitions {
		if p, err := m.Partition(r.Partitions[i].Topic, r.Partitions[i].Partition); err == nil {
			p.waiters.park(w)
			parked = append(parked, p)
		}
	}
	return parked
}

func releaseAll(results []FetchResult) {
	for i := range results {
		results[i].Records.Release()
		results[i] = FetchResult{}
	}
}

// read reads every partition once; enough says that the answer must not wait for more.
func (m *Manager) read(r *FetchRequest, dst []FetchResult) (_ []FetchResult, enough bool) {
	left, total := r.MaxBytes, 0
	whole := r.FirstBatchWhole
	enough = len(r.Partitions) == 0 && r.Wake == nil
	for i := range r.Partitions {
		f := &r.Partitions[i]
		result := m.readPartition(r, f, min(left, f.MaxBytes), whole)
		if n := result.Records.Len(); n > 0 {
			whole = false
			total += n
		}
		left = max(0, left-result.Records.Len())
		enough = enough || result.Err != nil || result.DivergingEpoch >= 0 || result.PreferredReadReplica >= 0 || result.behind
		dst = append(dst, result)
	}
	return dst, enough || total >= min(r.MinBytes, r.MaxBytes)
}

func (m *Manager) readPartition(r *FetchRequest, f *FetchPartition, limit int, whole bool) FetchResult {
	if f.Err != nil {
		return fetchError(f.Err)
	}
	p, err := m.Partition(f.Topic, f.Partition)
	if err != nil {
		return m.withHint(f, fetchError(err))
	}
	result := m.readReplica(p, r, f, limit, whole)
	p.traffic.reads.Add(1)
	if result.from = &p.traffic; result.Err != nil {
		p.traffic.failedReads.Add(1)
	}
	return result
}

func (m *Manager) readReplica(p *Partition, r *FetchRequest, f *FetchPartition, limit int, whole bool) FetchResult {
	if !f.TopicID.IsZero() && f.TopicID != p.topicID {
		return fetchError(protocol.InconsistentTopicID)
	}
	if r.follower() {
		return m.readForFollower(p, r, f, limit, whole)
	}
	if err := p.checkReader(r, f.CurrentLeaderEpoch); err != nil {
		return m.withHint(f, fetchError(err))
	}
	if r.Rack != "" && m.rackAware {
		if replica := p.preferredReplica(r, f); replica >= 0 {
			result := resultOf(p.Log().Offsets())
			result.PreferredReadReplica = replica
			return result
		}
	}
	result, err := p.read(r, f, limit, whole)
	if err != nil {
		return fetchError(err)
	}
	return result
}

// readForFollower notes what the fetch tells of the follower before it reads, so that the answer has the high watermark that this fetch has moved.
func (m *Manager) readForFollower(p *Partition, r *FetchRequest, f *FetchPartition, limit int, whole bool) FetchResult {
	diverging, inSync, err := p.fetchedBy(r, f)
	if err != nil {
		return m.withHint(f, fetchError(err))
	}
	if diverging.Epoch >= 0 {
		result := resultOf(p.Log().Offsets())
		result.DivergingEpoch, result.DivergingEndOffset = diverging.Epoch, diverging.EndOffset
		return result
	}
	if !inSync && p.leaderThrottled() {
		return resultOf(p.Log().Offsets())
	}
	result, err := p.read(r, f, limit, whole)
	if err != nil {
		return fetchError(err)
	}
	result.Settled = result.Settled && inSync // one that is not is asked for as long as it takes to join
	result.behind = f.AwaitHighWatermark > 0 && f.AwaitHighWatermark <= result.HighWatermark
	if n := result.Records.Len(); n > 0 && p.throttledAs(throttleLeader) {
		m.leaderThrottle.Record(n, time.Now())
	}
	return result
}

// checkReader is CheckEpoch for a consumer's fetch, which any replica answers unless it asks for the leader only.
func (p *Partition) checkReader(r *FetchRequest, epoch int32) error {
	err := p.CheckEpoch(epoch)
	if protocol.CodeOf(err) == protocol.NotLeaderOrFollower && !r.LeaderOnly && p.follows() {
		return nil
	}
	return err
}

// follows reports whether this replica follows a leader, or waits for one.
func (p *Partition) follows() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return !p.retired && p.state.leader != p.o.NodeID
}

// read reads the partition's log, and the next one if that was replaced meanwhile.
func (p *Partition) read(r *FetchRequest, f *FetchPartition, limit int, whole bool) (FetchResult, error) {
	var result FetchResult
	err := p.WithLog(func(log *storage.Log) (err error) {
		result, err = readLog(log, r, f, limit, whole)
		return err
	})
	return result, err
}

// resultOf is a result without records.
func resultOf(at storage.Offsets) FetchResult {
	return FetchResult{
		HighWatermark: at.HighWatermark, LastStableOffset: at.LastStable, LogStartOffset: at.LogStart,
		DivergingEpoch: -1, DivergingEndOffset: -1, PreferredReadReplica: -1, LeaderID: -1, LeaderEpoch: -1,
	}
}

func readLog(log *storage.Log, r *FetchRequest, f *FetchPartition, limit int, whole bool) (FetchResult, error) {
	at := log.Offsets()
	result := resultOf(at)
	if !r.follower() { // of a follower it is known already
		switch diverging, err := compareEpochs(log, at, f); {
		case err != nil:
			return result, err
		case diverging.Epoch >= 0:
			result.DivergingEpoch, result.DivergingEndOffset = diverging.Epoch, diverging.EndOffset
			return result, nil
		}
	}
	upper := at.HighWatermark
	switch {
	case r.ReplicaID != -1:
		upper = at.LogEnd
	case r.ReadCommitted:
		upper = at.LastStable
	}
	result.Settled = f.FetchOffset >= upper
	var records storage.Slice
	var err error
	if r.ReadCommitted && r.ReplicaID == -1 {
		records, result.Aborted, err = log.ReadCommitted(f.FetchOffset, upper, max(0, limit), whole)
	} else {
		records, err = log.Read(f.FetchOffset, upper, max(0, limit), whole)
	}
	if err != nil {
		return result, err
	}
	if limit < 0 && f.FetchOffset < upper { // which Kafka finds out where it would read the segment
		records.Release()
		return result, protocol.Errorf(protocol.UnknownServerError, "invalid max size %d for log read", limit)
	}
	result.Records = records
	return result, nil
}

func fetchError(err error) FetchResult {
	return FetchResult{
		Err: err, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1,
		DivergingEpoch: -1, DivergingEndOffset: -1, PreferredReadReplica: -1, LeaderID: -1, LeaderEpoch: -1,
	}
}

// withHint names the leader that the metadata knows, for the errors that mean "ask another broker" (KIP-951).
func (m *Manager) withHint(f *FetchPartition, result FetchResult) FetchResult {
	switch protocol.CodeOf(result.Err) { //nolint:exhaustive // two codes carry a hint
	case protocol.NotLeaderOrFollower, protocol.FencedLeaderEpoch:
		if known := m.Newest().Partition(f.Topic, f.Partition); known != nil {
			result.LeaderID, result.LeaderEpoch = known.Leader, known.LeaderEpoch
		}
	}
	return result
}
