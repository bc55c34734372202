package meter

import (
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol"
)

// Kind is a part of the time that a request takes.
type Kind int

// The parts, as Kafka's RequestMetrics name them.
const (
	Total  Kind = iota // from the whole frame to the answer that was passed to the system
	Queue              // waiting for earlier requests of the connection: RequestQueueTimeMs
	Local              // in the handler
	Remote             // waiting for others: a commit, new records, the members of a group
	Send               // encoding and sending the answer: ResponseSendTimeMs
	kinds
)

// Keys is how many API keys are counted: from 0 on.
const Keys = 128

const (
	shards      = 8 // a power of two
	maxVersions = 32
)

// Times are what one request took. They have no order: the total is their sum.
type Times struct{ Queue, Local, Remote, Send time.Duration }

// Requests counts requests. The zero Requests is ready.
type Requests struct {
	shards [shards]Shard
	next   atomic.Uint32
}

// Shard is what some of the connections count in.
type Shard struct {
	apis [Keys]atomic.Pointer[apiShard]
	_    [64]byte // of another cache line than the next
}

// apiShard is what a shard knows of one API.
type apiShard struct {
	versions [maxVersions]atomic.Uint64
	bytes    atomic.Uint64
	times    [kinds]histogram
	codes    codeCounts
	waiting  atomic.Int64
}

// Shard returns the one that a new connection is to count in.
func (r *Requests) Shard() *Shard { return &r.shards[r.next.Add(1)%shards] }

// Record counts a request that was answered. size is that of its frame, in bytes; codes are those in its answer. Keys and versions that no API has are not counted.
func (s *Shard) Record(key, version int16, size int, t Times, codes *Codes) {
	a := s.of(key)
	if a == nil || version < 0 || version >= maxVersions {
		return
	}
	a.codes.add(codes)
	a.versions[version].Add(1)
	a.bytes.Add(uint64(max(0, size)))
	a.times[Total].observe(t.Queue + t.Local + t.Remote + t.Send)
	a.times[Queue].observe(t.Queue)
	a.times[Local].observe(t.Local)
	a.times[Remote].observe(t.Remote)
	a.times[Send].observe(t.Send)
}

// Waiting adds n to the requests of an API that wait for others at this time.
func (s *Shard) Waiting(key int16, n int64) {
	if a := s.of(key); a != nil {
		a.waiting.Add(n)
	}
}

// of returns what is known of an API, nil if there is no such key.
func (s *Shard) of(key int16) *apiShard {
	if key < 0 || key >= Keys {
		return nil
	}
	a := s.apis[key].Load()
	if a == nil {
		if a = new(apiShard); !s.apis[key].CompareAndSwap(nil, a) {
			a = s.apis[key].Load()
		}
	}
	return a
}

// API is what was counted of one API.
type API struct {
	Key      int16
	Waiting  int64                    // requests that wait for others at this time
	Codes    map[protocol.Code]uint64 // error codes in answers, by code, NONE among them
	Versions []uint64                 // requests, by version
	Count    uint64                   // of all versions
	Bytes    uint64                   // of their frames
	Times    [kinds]Durations
}

// APIs returns what was counted, by key, of the APIs of which there was a request.
func (r *Requests) APIs() []API {
	var all []API
	for key := range Keys {
		a := API{Key: int16(key)}
		for i := range r.shards {
			if shard := r.shards[i].apis[key].Load(); shard != nil {
				a.add(shard)
			}
		}
		if a.Count == 0 && a.Waiting == 0 {
			continue
		}
		for k := range a.Times {
			t := &a.Times[k]
			t.Count = a.Count
			long := uint64(0)
			for _, n := range t.by[1:] {
				long += n
			}
			t.by[0] = a.Count - min(long, a.Count)
		}
		all = append(all, a)
	}
	return all
}

// add adds a shard's counts. The times are read first, so that there are no more of them than requests.
func (a *API) add(s *apiShard) {
	for k := range s.times {
		h, t := &s.times[k], &a.Times[k]
		t.Sum += time.Duration(h.sum.Load())
		for i := range h.count {
			t.by[i] += h.count[i].Load()
		}
	}
	a.Waiting += s.waiting.Load()
	for at := range s.codes {
		if n := s.codes[at].Load(); n > 0 {
			if a.Codes == nil {
				a.Codes = map[protocol.Code]uint64{}
			}
			a.Codes[protocol.Code(at-1)] += n
		}
	}
	a.Bytes += s.bytes.Load()
	if a.Versions == nil {
		a.Versions = make([]uint64, maxVersions)
	}
	for v := range s.versions {
		n := s.versions[v].Load()
		a.Versions[v] += n
		a.Count += n
	}
}
