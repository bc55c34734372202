package replication

import "sync/atomic"

// This file is pure: what a leader knows of its followers, without locks, clocks or I/O.

// Broker epochs of a follower that are none.
const (
	epochUnknown int64 = -2 // it has not fetched since the election
	epochNotTold int64 = -1 // it speaks a version without it
)

// progress is what a leader knows of one follower, by its fetches (Kafka's ReplicaState).
type progress struct {
	id               int32
	logStart, logEnd int64 // -1 unknown
	leaderEnd        int64 // the highest log end of the leader that a fetch of it has met, -1 none
	lastFetch        int64 // ms, 0 never
	lastCaughtUp     int64 // ms, 0 never
	brokerEpoch      int64
	clock            *FetchClock // of the fetch session by which it fetches; nil if by none
}

// FetchClock is when the follower of a fetch session has fetched last, ms. A session does not look at partitions in which nothing has changed, so a follower that has all of
// a partition is caught up by the time of its session's last fetch.
type FetchClock struct{ last atomic.Int64 }

// Set notes a fetch, after what it asks of all partitions is known.
func (c *FetchClock) Set(now int64) { c.last.Store(now) }

// clockAt is the time, ms, and the longest time that a follower may lag.
type clockAt struct{ now, maxLag int64 }

// followerFetch is what a fetch tells of its follower.
type followerFetch struct {
	offset, logStart int64
	brokerEpoch      int64
	clock            *FetchClock
}

// newProgress is that of a follower at an election: of members of the ISR it is assumed that they are caught up (Replica.resetReplicaState).
func newProgress(id int32, inISR bool, now int64) progress {
	f := progress{id: id, logStart: -1, logEnd: -1, leaderEnd: -1, brokerEpoch: epochUnknown}
	if inISR {
		f.lastCaughtUp = now
	}
	return f
}

// reelected is f where the same leader begins a new epoch at logEnd.
func (f progress) reelected(inISR bool, logEnd, now int64) progress {
	f.leaderEnd, f.lastFetch, f.lastCaughtUp, f.clock = logEnd, 0, 0, nil
	if inISR {
		f.lastFetch, f.lastCaughtUp = now, now
	}
	return f
}

// fetch notes a fetch at the time now, in ms, which met leaderEnd as the end of the leader's log. A follower that fetches from the leader's end is caught up; one that fetches from
// where the leader's log ended at its fetch before was so at that time.
func (f *progress) fetch(in followerFetch, leaderEnd, now int64) {
	before := f.fetchedAt()
	f.lastCaughtUp = f.caughtUpAt()
	switch {
	case in.offset >= leaderEnd:
		f.lastCaughtUp = max(f.lastCaughtUp, now)
	case in.offset >= f.leaderEnd:
		f.lastCaughtUp = max(f.lastCaughtUp, before)
	}
	f.logStart, f.logEnd, f.lastFetch = in.logStart, in.offset, now
	f.leaderEnd = max(f.leaderEnd, leaderEnd)
	f.brokerEpoch, f.clock = in.brokerEpoch, in.clock
}

// settled reports whether the newest fetch met a leader that has no more.
func (f *progress) settled() bool { return f.clock != nil && f.logEnd >= f.leaderEnd }

// fetchedAt is the time of the newest fetch, ms.
func (f *progress) fetchedAt() int64 {
	if f.settled() {
		return max(f.lastFetch, f.clock.last.Load())
	}
	return f.lastFetch
}

// caughtUpAt is when the follower is known to have been caught up last, ms.
func (f *progress) caughtUpAt() int64 {
	if f.settled() {
		return max(f.lastCaughtUp, f.clock.last.Load())
	}
	return f.lastCaughtUp
}

// caughtUp reports whether the follower has all, or had all a short time ago (ReplicaState.isCaughtUp).
func (f *progress) caughtUp(leaderEnd int64, c clockAt) bool {
	return f.logEnd == leaderEnd || c.now-f.caughtUpAt() <= c.maxLag
}
