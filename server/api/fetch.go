package api

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
)

// Fetch (1) reads records.
//
//	v4     record batches as they are stored; isolation level, last stable offset and aborted transactions (KIP-98)
//	v5     log start offset
//	v6     clients know KAFKA_STORAGE_ERROR
//	v7     fetch sessions (KIP-227)
//	v9     the client's current leader epoch is checked (KIP-320)
//	v11    rack, preferred read replica (KIP-392)
//	v12    flexible; last fetched epoch and diverging epochs (KIP-595)
//	v13    topic ids instead of names (KIP-516)
//	v15    replica state in a tagged field (KIP-903)
//	v16    leader hints with node endpoints (KIP-951)
//	v17    replica directory id (KIP-853)
//	v18    the follower's high watermark (KIP-1166)
//
// Versions 0 to 3, which need records converted to older formats, are not served.

// fetch is one request on its way. It is pooled, and is the Gather that its answer goes out by.
type fetch struct {
	node     *Node
	version  int16
	listener string
	image    *metadata.Image
	context  fetchContext
	quota    Limits // of a consumer; nil: none

	asked    []replication.FetchPartition // what the request lists
	all      []replication.FetchPartition // what is to be answered, in order; Err is set where nothing is read
	read     replication.FetchRequest
	reading  []replication.FetchPartition // those of all that are read, if not all are
	order    []int                        // the positions in all of those that are read, and behind them of the others
	results  []replication.FetchResult    // by order
	keep     []bool                       // by order: is in the answer
	response protocol.FetchResponse
	parts    []protocol.FetchPartition // what response.Topics holds
	fetchEncoding
}

func handleFetch(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.FetchRequest)
	f := n.Sessions.newFetch()
	f.node, f.version, f.listener, f.image = n, req.Version, r.Listener, n.Image()
	f.list(req)
	now := time.Now().UnixMilli()
	f.context, f.all = n.Sessions.begin(req, f.asked, f.all, f.context.nodes, now)
	if f.context.code != protocol.None {
		f.response = protocol.FetchResponse{ErrorCode: f.context.code, Topics: f.response.Topics[:0]}
		return f.gather()
	}
	f.resolve()
	f.context.arm(n, f.all)
	f.limits(req, r)
	// What is there already is answered at once, without the way through another goroutine.
	if len(f.read.Partitions) > 0 || f.context.others {
		var enough bool
		if f.results, enough = n.Replicas.TryFetch(&f.read, f.results); !enough {
			f.releaseResults()
		}
		if f.read.Clock != nil {
			f.read.Clock.Set(now)
		}
		if !enough {
			return Result{Detached: true, Later: f.await}
		}
	}
	result := f.finish()
	result.Detached = true
	return result
}

// fetchReplica is the id of the broker that fetches; -1 for a consumer, -2 for a debugging one.
func fetchReplica(req *kmsg.FetchRequest) int32 {
	if req.Version >= 15 {
		return req.ReplicaState.ID
	}
	return req.ReplicaID
}

// list takes over what the request asks.
func (f *fetch) list(req *kmsg.FetchRequest) {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			f.asked = append(f.asked, replication.FetchPartition{
				Topic: t.Topic, TopicID: t.TopicID, Partition: p.Partition, CurrentLeaderEpoch: p.CurrentLeaderEpoch,
				FetchOffset: p.FetchOffset, LastFetchedEpoch: p.LastFetchedEpoch, LogStartOffset: p.LogStartOffset,
				MaxBytes: int(p.PartitionMaxBytes), AwaitHighWatermark: awaitedHighWatermark(p.HighWatermark),
			})
		}
	}
}

// awaitedHighWatermark is the one that is news to a follower that knows of known; 0 if it is not to be woken for one (KIP-1166).
func awaitedHighWatermark(known int64) int64 {
	if known == math.MaxInt64 {
		return 0
	}
	return known + 1
}

// resolve finds the names of topic ids, and puts aside the partitions that there are not: as in Kafka these have no part in how long the others are
// waited for, and come last in the answer.
func (f *fetch) resolve() {
	f.order, f.reading = f.order[:0], f.reading[:0]
	unknown := 0
	for i := range f.all {
		if f.all[i].Err = f.find(&f.all[i]); f.all[i].Err != nil {
			unknown++
			continue
		}
		f.order = append(f.order, i)
	}
	if unknown == 0 {
		return
	}
	for _, i := range f.order {
		f.reading = append(f.reading, f.all[i])
	}
	for _, byID := range []bool{true, false} { // Kafka looks for unknown ids first
		for i := range f.all {
			if err := f.all[i].Err; err != nil && errors.Is(err, protocol.UnknownTopicID) == byID {
				f.order = append(f.order, i)
			}
		}
	}
}

func (f *fetch) find(p *replication.FetchPartition) error {
	if f.context.byID {
		if t := f.image.TopicByID(p.TopicID); t != nil {
			p.Topic = t.Name
		} else if p.Topic == "" { // else the session found it once, and it is gone since
			return protocol.UnknownTopicID
		}
	}
	if f.image.Partition(p.Topic, p.Partition) == nil {
		return protocol.UnknownTopicOrPartition
	}
	return nil
}

// limits fills in what is read.
func (f *fetch) limits(req *kmsg.FetchRequest, r *Request) {
	maxBytes := min(int(req.MaxBytes), f.node.Config().Int("fetch.max.bytes"))
	if r.Limits != nil && fetchReplica(req) < 0 {
		f.quota = r.Limits
		maxBytes = min(maxBytes, f.quota.MaxFetch())
	}
	f.read = replication.FetchRequest{
		ReplicaID:       fetchReplica(req),
		BrokerEpoch:     -1,
		LeaderOnly:      req.Version < 11,
		Rack:            req.Rack,
		Listener:        r.Listener,
		MaxWait:         time.Duration(req.MaxWaitMillis) * time.Millisecond,
		MinBytes:        min(int(req.MinBytes), maxBytes),
		MaxBytes:        maxBytes,
		ReadCommitted:   req.IsolationLevel == 1,
		FirstBatchWhole: true,
		Partitions:      f.readable(),
	}
	if req.Version >= 15 {
		f.read.BrokerEpoch = req.ReplicaState.Epoch
	}
	if s := f.context.session; s != nil {
		f.read.Clock, f.read.Wake = s.clock, s.changed.Wake()
	}
}

// readable is what of all is read.
func (f *fetch) readable() []replication.FetchPartition {
	if n := len(f.order); n > 0 && f.all[f.order[n-1]].Err != nil {
		return f.reading
	}
	return f.all // as none was put aside
}

// await waits for enough to read, and answers.
func (f *fetch) await(ctx context.Context) Result {
	if f.context.session != nil {
		f.read.More = f.more
	}
	f.results = f.node.Replicas.AwaitFetch(ctx, &f.read, f.results)
	if ctx.Err() != nil {
		f.Release()
		return fail(ctx.Err())
	}
	return f.finish()
}

// more takes what has changed meanwhile into the fetch.
func (f *fetch) more() ([]replication.FetchPartition, bool) {
	changed, ok := f.context.more(f.node)
	if changed {
		f.image = f.node.Image()
		f.all = f.context.listed(f.all[:0])
		f.resolve()
		f.read.Partitions = f.readable()
	}
	return f.read.Partitions, ok
}

// finish answers with what was read.
func (f *fetch) finish() Result {
	if len(f.results) > 0 || len(f.read.Partitions) == 0 { // else the session was taken over by another request
		for _, i := range f.order[len(f.results):] {
			f.results = append(f.results, noFetchResult(f.all[i].Err))
		}
	}
	if f.quota != nil {
		if throttle := f.quota.Fetched(f.size()); throttle > 0 {
			return f.throttled(throttle)
		}
	}
	var code protocol.Code
	f.response.SessionID, code, f.keep = f.context.finish(f.all, f.order, f.results, time.Now().UnixMilli(), f.keep)
	f.response.ErrorCode = code
	if code == protocol.None {
		f.answer(f.read.ReadCommitted)
	}
	return f.gather()
}

// answer fills in the response.
func (f *fetch) answer(readCommitted bool) {
	f.parts = f.parts[:0]
	for i := range f.results {
		if f.keep[i] {
			f.results[i].Sent(f.read.ReplicaID >= 0)
			f.parts = append(f.parts, f.partition(&f.all[f.order[i]], &f.results[i], readCommitted))
		}
	}
	// Partitions of one topic that follow each other share an entry.
	at := 0
	var last *replication.FetchPartition
	for i := range f.results {
		if !f.keep[i] {
			continue
		}
		p := &f.all[f.order[i]]
		if last == nil || p.Topic != last.Topic || p.TopicID != last.TopicID {
			f.response.Topics = append(f.response.Topics, protocol.FetchTopic{Topic: p.Topic, TopicID: p.TopicID, Partitions: f.parts[at:at]})
		}
		last = p
		t := &f.response.Topics[len(f.response.Topics)-1]
		t.Partitions = t.Partitions[:len(t.Partitions)+1]
		at++
	}
}

// partition is the answer for one partition.
func (f *fetch) partition(p *replication.FetchPartition, r *replication.FetchResult, readCommitted bool) protocol.FetchPartition {
	if r.Err != nil {
		return f.failed(p, r)
	}
	out := protocol.FetchPartition{
		Partition: p.Partition, HighWatermark: r.HighWatermark, LastStableOffset: r.LastStableOffset, LogStartOffset: r.LogStartOffset,
		PreferredReadReplica: r.PreferredReadReplica,
	}
	if r.Records.Len() > 0 {
		out.Records = &r.Records
	}
	if readCommitted {
		out.AbortedTransactions = make([]protocol.AbortedTransaction, len(r.Aborted))
		for i, a := range r.Aborted {
			out.AbortedTransactions[i] = protocol.AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset}
		}
	}
	if r.DivergingEpoch >= 0 {
		out.DivergingEpoch = &protocol.EpochEndOffset{Epoch: r.DivergingEpoch, EndOffset: r.DivergingEndOffset}
	}
	return out
}

// failed is the answer for a partition with an error, with the leader to go to from version 16 on.
func (f *fetch) failed(p *replication.FetchPartition, r *replication.FetchResult) protocol.FetchPartition {
	code := protocol.CodeOf(r.Err)
	if code == protocol.KafkaStorageError && f.version < 6 {
		code = protocol.NotLeaderOrFollower
	}
	out := protocol.FetchError(p.Partition, code)
	if p.Err != nil {
		out.AbortedTransactions = []protocol.AbortedTransaction{} // not null where the log was not asked
	}
	if f.version >= 16 && r.LeaderEpoch >= 0 { // also where nobody leads
		out.CurrentLeader = &protocol.LeaderAndEpoch{LeaderID: r.LeaderID, LeaderEpoch: r.LeaderEpoch}
		if f.read.ReplicaID < 0 { // a broker knows where the others are
			f.hint(r.LeaderID)
		}
	}
	return out
}

// hint says where a leader is.
func (f *fetch) hint(leader int32) {
	for _, known := range f.response.NodeEndpoints {
		if known.NodeID == leader {
			return
		}
	}
	if e, ok := endpointOf(f.node.Replicas.Newest(), leader, f.listener); ok {
		f.response.NodeEndpoints = append(f.response.NodeEndpoints,
			protocol.NodeEndpoint{NodeID: e.NodeID, Host: e.Host, Port: e.Port, Rack: e.Rack})
	}
}

// partitionSize is about how many bytes a partition takes in an answer besides its records.
const partitionSize = 40

// size is about how many bytes the answer will have.
func (f *fetch) size() int {
	n := partitionSize
	for i := range f.results {
		if records := f.results[i].Records.Len(); records > 0 {
			n += partitionSize + records
		}
	}
	return n
}

// throttled answers with nothing, but how long the client is to wait. Its session goes on as if nothing had been read (FetchContext.getThrottledResponse).
func (f *fetch) throttled(d time.Duration) Result {
	f.releaseResults()
	f.response.ThrottleMs = int32(d.Milliseconds())
	f.response.SessionID, f.response.ErrorCode = f.context.untold()
	return f.gather()
}
