package api

import (
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/server/meter"
	"github.com/ottla/ottla/storage"
)

// fetchEncoding is the encoded form of a fetch's answer.
type fetchEncoding struct {
	encoder protocol.FetchEncoder
	pieces  []protocol.FetchPart
}

// keepFetchPartitions is how many partitions a pooled fetch may keep room for.
const keepFetchPartitions = 4096

// newFetch takes an empty fetch from the pool. Release puts it back.
func (s *Sessions) newFetch() *fetch {
	if f, ok := s.fetches.Get().(*fetch); ok {
		return f
	}
	return new(fetch)
}

// gather encodes the response: f is the connection's from here on.
func (f *fetch) gather() Result {
	f.pieces = f.encoder.Encode(&f.response, f.version)
	return Result{Gather: f}
}

// Size implements Gather.
func (f *fetch) Size() int { return f.encoder.Size() }

// Parts implements Gather.
func (f *fetch) Parts(yield func(b []byte, s storage.Slice) bool) {
	for i := range f.pieces {
		var records storage.Slice
		if p := f.pieces[i].Payload; p != nil {
			records = *p.(*storage.Slice)
		}
		if !yield(f.pieces[i].Bytes, records) {
			return
		}
	}
}

// Codes implements Gather.
func (f *fetch) Codes(to *meter.Codes) {
	to.Add(f.response.ErrorCode)
	for i := range f.response.Topics {
		for k := range f.response.Topics[i].Partitions {
			to.Add(f.response.Topics[i].Partitions[k].ErrorCode)
		}
	}
}

// Release implements Gather: it gives back the slices and f itself.
func (f *fetch) Release() {
	f.releaseResults()
	sessions := f.node.Sessions
	f.encoder.Release()
	if cap(f.all) > keepFetchPartitions {
		return
	}
	clear(f.asked)
	clear(f.all)
	clear(f.reading)
	clear(f.parts[:cap(f.parts)])
	clear(f.response.Topics)
	clear(f.context.nodes)
	*f = fetch{
		asked: f.asked[:0], all: f.all[:0], reading: f.reading[:0], order: f.order[:0], results: f.results[:0], keep: f.keep[:0],
		parts: f.parts[:0], response: protocol.FetchResponse{Topics: f.response.Topics[:0]},
		fetchEncoding: fetchEncoding{encoder: f.encoder}, context: fetchContext{nodes: f.context.nodes[:0]},
	}
	sessions.fetches.Put(f)
}

// releaseResults gives back the slices.
func (f *fetch) releaseResults() {
	for i := range f.results {
		f.results[i].Records.Release()
	}
	clear(f.results)
	f.results = f.results[:0]
}

var _ Gather = (*fetch)(nil)

// noFetchResult is the result of a partition that was not read.
func noFetchResult(err error) replication.FetchResult {
	return replication.FetchResult{
		Err: err, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1,
		DivergingEpoch: -1, DivergingEndOffset: -1, PreferredReadReplica: -1, LeaderID: -1, LeaderEpoch: -1,
	}
}
