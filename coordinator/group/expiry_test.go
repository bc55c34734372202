package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// retention is short, so that tests stay fast; the check runs every 10 minutes.
var oneHour = map[string]string{"offsets.retention.minutes": "60"}

const check = 10 * time.Minute

// keepAlive lets time pass while the clients send heartbeats.
func keepAlive(d time.Duration, clients ...*client) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		pass(session / 2)
		for _, c := range clients {
			c.heartbeat()
		}
	}
}

func TestSimpleOffsetsExpireAfterTheirCommit(t *testing.T) {
	run(t, oneHour, func(h *harness) {
		c := h.client()
		c.commit(1)
		pass(30 * time.Minute)
		other := c.commitRequest(9, 2)
		other.Topics[0].Topic = "other"
		runtimetest.Now(t, h.c.OffsetCommit(other))
		pass(30*time.Minute + check)
		if a, b := h.fetch(testGroup), h.fetchFrom(h.c, testGroup, "other"); a != -1 || b != 2 {
			t.Errorf("topic has %d, other has %d", a, b)
		}
		pass(time.Hour)
		if got := h.list(nil, nil); len(got) != 0 {
			t.Errorf("a group without offsets and members stays: %v", got)
		}
	})
}

func TestTheRetentionOfAGroupBeginsWhenItIsEmpty(t *testing.T) {
	run(t, oneHour, func(h *harness) {
		c := h.client()
		h.stable(c)
		c.commit(1)
		keepAlive(3*time.Hour, c)
		if got := h.fetch(testGroup); got != 1 {
			t.Fatalf("the offset of a live group is %d", got)
		}
		wantCode(t, "LeaveGroup", int16(c.leave()), protocol.None)
		pass(time.Hour - check)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("expired too early: %d", got)
		}
		pass(2*check + time.Minute)
		if got := h.fetch(testGroup); got != -1 {
			t.Errorf("not expired: %d", got)
		}
		if got := h.list(nil, nil); len(got) != 0 {
			t.Errorf("the group stays: %v", got)
		}
	})
}

func TestALiveGroupLosesTopicsThatItDoesNotRead(t *testing.T) {
	run(t, oneHour, func(h *harness) {
		c := h.client()
		h.stable(c)
		c.commit(1)
		other := c.commitRequest(9, 2)
		other.Topics[0].Topic = "other"
		runtimetest.Now(t, h.c.OffsetCommit(other))
		keepAlive(time.Hour+check, c)
		if a, b := h.fetch(testGroup), h.fetchFrom(h.c, testGroup, "other"); a != 1 || b != -1 {
			t.Errorf("topic has %d, other has %d", a, b)
		}
	})
}

func TestOffsetsOfAnUnreadableGroupStay(t *testing.T) {
	for name, change := range map[string]func(c *client){
		"broken subscription": func(c *client) { c.protocols[0].Metadata = []byte{0, 1, 0} },
		"other protocol type": func(c *client) { c.kind = "connect" },
	} {
		run(t, oneHour, func(h *harness) {
			c := h.client()
			change(c)
			h.stable(c)
			c.commit(1)
			keepAlive(2*time.Hour, c)
			if got := h.fetch(testGroup); got != 1 {
				t.Errorf("%s: %d", name, got)
			}
		})
	}
}

func TestAnExpiryThatWasAskedForCounts(t *testing.T) {
	for _, retention := range []time.Duration{time.Minute, 24 * time.Hour} {
		run(t, oneHour, func(h *harness) {
			req := h.client().commitRequest(2, 1)
			req.RetentionTimeMillis = retention.Milliseconds()
			runtimetest.Now(t, h.c.OffsetCommit(req))
			pass(2*time.Hour + time.Minute)
			if expired := h.fetch(testGroup) == -1; expired != (retention == time.Minute) {
				t.Errorf("retention %v: expired %v", retention, expired)
			}
			pass(24 * time.Hour)
			if got := h.fetch(testGroup); got != -1 {
				t.Errorf("retention %v: still %d", retention, got)
			}
		})
	}
}

func TestTheRetentionSurvivesAReload(t *testing.T) {
	run(t, oneHour, func(h *harness) {
		c := h.client()
		h.empty(c)
		simple := h.client()
		simple.commit(1)
		for epoch := int32(1); epoch <= 5; epoch++ {
			pass(20*time.Minute + time.Second) // each coordinator lives long enough for a check
			h.c.runtime.Resign(0, 2*epoch-1)
			h.c.runtime.Elect(0, 2*epoch)
			synctest.Wait()
		}
		if got := h.fetch(testGroup); got != -1 {
			t.Errorf("offset %d", got)
		}
	})
}

func TestOffsetsGoWithTheirTopic(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		h.stable(c)
		c.commit(1)
		keep := c.commitRequest(10, 2)
		keep.Topics[0].Topic, keep.Topics[0].TopicID = "again", protocol.NewUUID()
		stay := c.commitRequest(9, 3)
		stay.Topics[0].Topic = "other"
		for _, req := range []*kmsg.OffsetCommitRequest{keep, stay} {
			runtimetest.Now(t, h.c.OffsetCommit(req))
		}
		old := protocol.NewUUID()
		h.c.Apply(&metadata.Delta{Image: h.image, Deleted: map[protocol.UUID]*metadata.Topic{
			protocol.NewUUID(): {Name: "topic"}, old: {Name: "again", ID: old}, // an older topic of that name
		}})
		synctest.Wait()
		if a, b, d := h.fetch(testGroup), h.fetchFrom(h.c, testGroup, "again"), h.fetchFrom(h.c, testGroup, "other"); a != -1 || b != 2 || d != 3 {
			t.Errorf("offsets %d, %d, %d", a, b, d)
		}
	})
}
