package replication

import (
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ottla/ottla/protocol/config"
)

// Throttle measures the bytes per second of throttled replicas, and says when they are too many (Kafka's ReplicationQuotaManager): a mean over
// replication.quota.window.num samples of replication.quota.window.size.seconds each. The zero value is not usable; see NewThrottle. It is safe for
// concurrent use. Time is given by the caller.
type Throttle struct {
	samples int
	width   time.Duration

	mu   sync.Mutex
	ring []throttleSample // guarded by mu: by number of the sample, modulo its length
}

// throttleSample is what was counted in one stretch of time.
type throttleSample struct {
	number int64 // of the stretch, since 1970
	bytes  int64
}

// NoThrottle is the rate that throttles nothing, the default of leader.replication.throttled.rate and its brothers.
const NoThrottle = math.MaxInt64

// NewThrottle returns a throttle that remembers samples stretches of width each; samples is at least 1, width at least a millisecond.
func NewThrottle(samples int, width time.Duration) *Throttle {
	samples, width = max(samples, 1), max(width, time.Millisecond)
	return &Throttle{samples: samples, width: width, ring: make([]throttleSample, samples)}
}

// Record counts bytes of throttled replicas.
func (t *Throttle) Record(bytes int, now time.Time) {
	number := now.UnixNano() / int64(t.width)
	t.mu.Lock()
	defer t.mu.Unlock()
	at := &t.ring[number%int64(len(t.ring))]
	if at.number != number {
		*at = throttleSample{number: number}
	}
	at.bytes += int64(bytes)
}

// Exceeded reports whether the mean rate is over limit, in bytes per second. A window that has only begun counts as one that is full but for its
// newest sample, so that a first burst is not taken for a high rate (Kafka's Rate).
func (t *Throttle) Exceeded(limit int64, now time.Time) bool {
	if limit >= NoThrottle {
		return false
	}
	number := now.UnixNano() / int64(t.width)
	var bytes int64
	t.mu.Lock()
	for i := range t.ring {
		if t.ring[i].number > number-int64(t.samples) {
			bytes += t.ring[i].bytes
		}
	}
	t.mu.Unlock()
	newest := time.Duration(now.UnixNano() % int64(t.width))
	window := time.Duration(t.samples-1)*t.width + max(newest, time.Millisecond)
	return float64(bytes) > float64(limit)*window.Seconds()
}

// The sides of a replica that may be throttled.
const (
	throttleLeader   uint32 = 1 << iota // it sends to followers
	throttleFollower                    // it fetches from its leader
)

// throttledSides are the sides of node's replica of a partition that a topic's config names: replicas are listed as partition:broker, or all of them by *.
func throttledSides(topic config.Values, partition, node int32) (sides uint32) {
	replica := strconv.Itoa(int(partition)) + ":" + strconv.Itoa(int(node))
	for key, side := range map[string]uint32{
		"leader.replication.throttled.replicas": throttleLeader, "follower.replication.throttled.replicas": throttleFollower,
	} {
		if list := topic.List(key); slices.Contains(list, "*") || slices.Contains(list, replica) {
			sides |= side
		}
	}
	return sides
}

// throttledAs reports whether a side of the replica is throttled.
func (p *Partition) throttledAs(side uint32) bool { return p.throttled.Load()&side != 0 }

// leaderThrottled reports whether this replica may not send to a follower that is out of sync, now.
func (p *Partition) leaderThrottled() bool {
	return p.throttledAs(throttleLeader) && p.m.leaderThrottle.Exceeded(p.o.Config().Int64("leader.replication.throttled.rate"), time.Now())
}
