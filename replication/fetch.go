package replication

import (
	"context"
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
	MaxBytes           int
	Err                error // decided by the caller already (unauthorized, unknown id): passed through
}

// FetchRequest is one fetch over many partitions, in the order in which they are to be served.
type FetchRequest struct {
	ReplicaID     int32 // -1 a consumer, -2 a debugging consumer that reads to the log end
	MaxWait       time.Duration
	MinBytes      int
	MaxBytes      int
	ReadCommitted bool
	// FirstBatchWhole lets the first partition with data exceed all limits by its first batch (KIP-74; Fetch v3 and later).
	FirstBatchWhole bool
	Partitions      []FetchPartition
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
}

// Fetch reads r's partitions and appends one result for each, in order, to dst. Below MinBytes it parks until enough is
// readable, a partition fails, MaxWait passes or ctx ends (Kafka's DelayedFetch). The caller releases every Records.
func (m *Manager) Fetch(ctx context.Context, r FetchRequest, dst []FetchResult) []FetchResult {
	first := len(dst)
	dst, enough := m.TryFetch(r, dst)
	if enough {
		return dst
	}
	releaseAll(dst[first:])
	return m.AwaitFetch(ctx, r, dst[:first])
}

// TryFetch is Fetch without the wait: enough is false if Fetch would park, and the results are what can be read by now.
func (m *Manager) TryFetch(r FetchRequest, dst []FetchResult) (_ []FetchResult, enough bool) {
	dst, enough = m.read(r, dst)
	return dst, enough || r.MaxWait <= 0
}

// AwaitFetch is Fetch for a request of which TryFetch has found that it has to wait.
func (m *Manager) AwaitFetch(ctx context.Context, r FetchRequest, dst []FetchResult) []FetchResult {
	first := len(dst)
	waiter := newFetchWaiter()
	parked := m.park(r, waiter)
	defer func() {
		for _, p := range parked {
			p.waiters.unpark(waiter)
		}
	}()
	deadline := time.NewTimer(r.MaxWait)
	defer deadline.Stop()
	// What was appended before the registration woke nobody: read before waiting.
	for last := false; ; {
		var enough bool
		if dst, enough = m.read(r, dst); enough || last {
			return dst
		}
		select {
		case <-waiter.wake:
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
func (m *Manager) park(r FetchRequest, w *fetchWaiter) []*Partition {
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
func (m *Manager) read(r FetchRequest, dst []FetchResult) (_ []FetchResult, enough bool) {
	left, total := r.MaxBytes, 0
	whole := r.FirstBatchWhole
	enough = len(r.Partitions) == 0
	for i := range r.Partitions {
		f := &r.Partitions[i]
		result := m.readPartition(&r, f, min(left, f.MaxBytes), whole)
		if n := result.Records.Len(); n > 0 {
			whole = false
			total += n
		}
		left = max(0, left-result.Records.Len())
		enough = enough || result.Err != nil || result.DivergingEpoch >= 0
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
	if !f.TopicID.IsZero() && f.TopicID != p.topicID {
		return fetchError(protocol.InconsistentTopicID)
	}
	if err := p.CheckEpoch(f.CurrentLeaderEpoch); err != nil {
		return m.withHint(f, fetchError(err))
	}
	result, err := p.read(r, f, limit, whole)
	if err != nil {
		return fetchError(err)
	}
	return result
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

func readLog(log *storage.Log, r *FetchRequest, f *FetchPartition, limit int, whole bool) (FetchResult, error) {
	at := log.Offsets()
	result := FetchResult{
		HighWatermark: at.HighWatermark, LastStableOffset: at.LastStable, LogStartOffset: at.LogStart,
		DivergingEpoch: -1, DivergingEndOffset: -1, PreferredReadReplica: -1, LeaderID: -1, LeaderEpoch: -1,
	}
	if f.LastFetchedEpoch >= 0 {
		epoch, end := log.EndOffsetForEpoch(f.LastFetchedEpoch)
		switch {
		case epoch < 0 || f.FetchOffset < at.LogStart:
			return result, protocol.OffsetOutOfRange
		case epoch < f.LastFetchedEpoch || end < f.FetchOffset:
			result.DivergingEpoch, result.DivergingEndOffset = epoch, end
			return result, nil
		}
	}
	upper := at.HighWatermark
	switch {
	case r.ReplicaID >= 0 || r.ReplicaID == -2:
		upper = at.LogEnd
	case r.ReadCommitted:
		upper = at.LastStable
	}
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
		if known := m.Image().Partition(f.Topic, f.Partition); known != nil {
			result.LeaderID, result.LeaderEpoch = known.Leader, known.LeaderEpoch
		}
	}
	return result
}
