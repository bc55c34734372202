package replication

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

func TestTruncationOffset(t *testing.T) {
	undefined := epochEnd{-1, -1}
	for _, c := range []struct {
		name                string
		leader, own         epochEnd
		fetchOffset, logEnd int64
		want                int64
	}{
		{"the leader ends earlier in the same epoch", epochEnd{3, 50}, epochEnd{3, 80}, 80, 80, 50},
		{"this log ends earlier in it", epochEnd{3, 90}, epochEnd{3, 70}, 80, 80, 70},
		{"the leader's epoch is not known here", epochEnd{3, 60}, epochEnd{2, 40}, 80, 80, 40},
		{"and the one before ends above the log", epochEnd{3, 60}, epochEnd{2, 90}, 80, 80, 80},
		{"this log has no epochs that low", epochEnd{3, 60}, undefined, 80, 80, 60},
		{"and ends below the leader's", epochEnd{3, 100}, undefined, 80, 80, 80},
		{"the leader knows no epoch", epochEnd{-1, 60}, epochEnd{2, 40}, 80, 80, 60},
		{"the leader knows nothing", undefined, epochEnd{2, 40}, 75, 80, 75},
	} {
		if got := truncationOffset(c.leader, c.own, c.fetchOffset, c.logEnd); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestResolveOutOfRange(t *testing.T) {
	for _, c := range []struct {
		name               string
		start, end, logEnd int64
		want               outOfRange
	}{
		{"an unclean leader ends earlier", 0, 40, 60, outOfRange{truncate: 40, restart: -1}},
		{"the leader has deleted what comes next", 50, 90, 30, outOfRange{truncate: -1, restart: 50, lag: 40}},
		{"in range again", 10, 90, 30, outOfRange{truncate: -1, restart: -1, lag: 60}},
		{"equal", 10, 30, 30, outOfRange{truncate: -1, restart: -1}},
	} {
		if got := resolveOutOfRange(c.start, c.end, c.logEnd); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestFetcherOf: what Java computes for Utils.abs(31 * topic.hashCode() + partition) % count.
func TestFetcherOf(t *testing.T) {
	for _, c := range []struct {
		topic     string
		partition int32
		count     int
		want      int32
	}{
		{"a", 0, 4, 3}, {"a", 1, 4, 0}, {"orders", 5, 8, 0}, {"__consumer_offsets", 49, 8, 6}, {"a-much-longer-name.of-a-topic", 7, 5, 0}, {"x", 3, 1, 0},
	} {
		if got := fetcherOf(c.topic, c.partition, c.count); got != c.want {
			t.Errorf("%s-%d of %d: %d, want %d", c.topic, c.partition, c.count, got, c.want)
		}
	}
}

func TestReactions(t *testing.T) {
	for code, want := range map[protocol.Code]fetchReaction{
		protocol.OffsetOutOfRange: fetchElsewhere, protocol.FencedLeaderEpoch: fetchNever, protocol.UnknownLeaderEpoch: fetchSoon,
		protocol.NotLeaderOrFollower: fetchSoon, protocol.UnknownTopicID: fetchSoon, protocol.InconsistentTopicID: fetchSoon,
		protocol.UnknownTopicOrPartition: fetchSoon, protocol.CorruptMessage: fetchLater, protocol.KafkaStorageError: fetchLater,
		protocol.UnknownServerError: fetchLater,
	} {
		if got := reactionTo(code); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
	if backoffAfter(0, time.Second) != 20*time.Millisecond || backoffAfter(3, time.Second) != 160*time.Millisecond || backoffAfter(500, time.Second) != time.Second {
		t.Error("the backoff does not double up to its limit")
	}
}

func TestFollowerCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		c.topic("t", 1, nil, 0, 1)
		c.separate(0, 1, true)
		for i := range 50 {
			c.produce(0, "t", fmt.Sprint(i), "x")
		}
		c.separate(0, 1, false)
		time.Sleep(3 * time.Second)
		c.same("t", 0, 0, 1)
		if end := c.partition(1, "t", 0).Log().Offsets().LogEnd; end != 100 {
			t.Errorf("the follower ends at %d", end)
		}
		c.produce(0, "t", "one more")
		time.Sleep(10 * time.Millisecond) // no poll is waited for
		c.same("t", 0, 0, 1)
	})
}

// TestFollowerLosesItsTail: a follower that crashed comes back with what was synced, and gets the rest again.
func TestFollowerLosesItsTail(t *testing.T) {
	for seed := range int64(20) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 2, nil)
			c.topic("t", 1, map[string]string{"segment.bytes": "1048576"}, 0, 1)
			for i := range 30 {
				c.produce(0, "t", fmt.Sprint(i))
			}
			time.Sleep(time.Second)
			fs := c.crash(1, seed)
			c.produce(0, "t", "while it was down")
			c.start(1, fs)
			time.Sleep(3 * time.Second)
			c.same("t", 0, 0, 1)
		})
	}
}

// TestFollowerOfAnEmptyDisk: a replica whose disk was replaced begins where its leader's log starts.
func TestFollowerOfAnEmptyDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		c.topic("t", 1, nil, 0, 1)
		for i := range 10 {
			c.produce(0, "t", fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		c.stop(1)
		log := c.partition(0, "t", 0).Log()
		log.AdvanceHighWatermark(10)
		if err := log.DeleteBefore(4); err != nil {
			t.Fatal(err)
		}
		c.start(1, vfs.NewMem())
		time.Sleep(3 * time.Second)
		c.same("t", 0, 0, 1)
	})
}
