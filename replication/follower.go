package replication

import (
	"time"

	"github.com/ottla/ottla/protocol"
)

// This file is pure: the rules by which a follower decides, without locks, clocks or I/O.

// epochEnd is a leader epoch and the offset at which it ends; (-1, -1) is undefined.
type epochEnd struct {
	epoch int32
	end   int64
}

// truncationOffset is where a follower cuts its log after its leader has said that they diverge: the leader's largest epoch that is not above the follower's last
// one, and where that ends. own is what the follower's log answers for the leader's epoch (AbstractFetcherThread.getOffsetTruncationState). logEnd and fetchOffset are the
// follower's. If the two do not agree by then, the leader tells so again.
func truncationOffset(leader, own epochEnd, fetchOffset, logEnd int64) int64 {
	switch {
	case leader.end < 0:
		return fetchOffset
	case leader.epoch < 0 || own.epoch < 0:
		return min(leader.end, logEnd)
	case own.epoch != leader.epoch: // the leader's epoch is not known here: what follows the one before goes
		return min(own.end, logEnd)
	default:
		return min(own.end, leader.end, logEnd)
	}
}

// outOfRange is what a follower does whose fetch offset its leader does not have.
type outOfRange struct {
	truncate int64 // cut the log here, -1 no
	restart  int64 // begin an empty log here, -1 no
	lag      int64 // records, as of now
}

// resolveOutOfRange decides it from where the logs end and the leader's begins (AbstractFetcherThread.fetchOffsetAndTruncate). A leader that ends before its follower was elected unclean. One
// that begins behind its follower's end has deleted what comes next.
func resolveOutOfRange(leaderStart, leaderEnd, logEnd int64) outOfRange {
	switch {
	case leaderEnd < logEnd:
		return outOfRange{truncate: leaderEnd, restart: -1}
	case leaderStart > logEnd:
		return outOfRange{truncate: -1, restart: leaderStart, lag: leaderEnd - leaderStart}
	default:
		return outOfRange{truncate: -1, restart: -1, lag: leaderEnd - logEnd}
	}
}

// fetchReaction is what a follower does about an error that its leader gives for a partition.
type fetchReaction uint8

const (
	fetchLater     fetchReaction = iota // again after replica.fetch.backoff.ms
	fetchSoon                           // leader and follower do not know the same metadata yet: again after a moment, which grows
	fetchElsewhere                      // ask where the leader's log begins and ends
	fetchNever                          // the leader has a later epoch: until the metadata says more
)

// reactionTo is the table of errors (AbstractFetcherThread.processFetchRequest). Kafka waits for the whole backoff in any case; while leaders change the followers often learn of
// it before the leader does, and a partition without its followers cannot commit.
func reactionTo(code protocol.Code) fetchReaction {
	switch code {
	case protocol.OffsetOutOfRange:
		return fetchElsewhere
	case protocol.FencedLeaderEpoch:
		return fetchNever
	case protocol.NotLeaderOrFollower, protocol.UnknownLeaderEpoch, protocol.UnknownTopicOrPartition, protocol.UnknownTopicID, protocol.InconsistentTopicID:
		return fetchSoon
	default:
		return fetchLater
	}
}

// firstBackoff is how long a follower waits at first where it does not begin with replica.fetch.backoff.ms.
const firstBackoff = 20 * time.Millisecond

// backoffAfter is the wait after that many failures in a row: it doubles up to limit.
func backoffAfter(failures int, limit time.Duration) time.Duration {
	return min(firstBackoff<<min(failures, 16), limit)
}

// fetcherOf is the fetcher, of count, that a partition goes to (AbstractFetcherManager.getFetcherId).
func fetcherOf(topic string, partition int32, count int) int32 {
	var hash int32 // of Java's strings; names of topics are ASCII
	for i := range len(topic) {
		hash = 31*hash + int32(topic[i])
	}
	id := 31*hash + partition
	if id < 0 {
		id = max(-id, 0) // the least one has no opposite
	}
	return id % int32(max(count, 1))
}
