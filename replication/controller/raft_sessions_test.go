package controller

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const (
	testSession   = 3 * time.Second
	testHeartbeat = 500 * time.Millisecond
)

// brokersBeside are the brokers of nodes that are controllers too: each tells whoever decides that it is alive, in its interval, and looks for another
// controller when that fails.
type brokersBeside struct {
	q       *quorum
	running sync.WaitGroup
	stop    map[int32]context.CancelFunc
}

// newBrokersBeside registers a broker for each controller and lets it live.
func newBrokersBeside(q *quorum) *brokersBeside {
	b := &brokersBeside{q: q, stop: map[int32]context.CancelFunc{}}
	leader := q.leader(5 * time.Second)
	var records []schema.MetadataRecord
	for id := range q.members {
		records = append(records, liveBroker(id))
	}
	if _, err := leader.do(q.t.Context(), func(*View) (Decision, error) { return Decision{Records: records}, nil }); err != nil {
		q.t.Fatal(err)
	}
	for id := range q.members {
		ctx, cancel := context.WithCancel(q.t.Context())
		b.stop[id] = cancel
		b.running.Go(func() { b.live(ctx, id) })
	}
	return b
}

func (b *brokersBeside) live(ctx context.Context, id int32) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		wait := testHeartbeat / 5
		for _, m := range b.q.members {
			c := m.running.Load()
			if c == nil {
				continue
			}
			req := kmsg.NewPtrBrokerHeartbeatRequest()
			req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = id, int64(100+id), c.Image().Offset()
			if answer, err := c.Handle(ctx, req, Caller{}); err == nil && answer.(*kmsg.BrokerHeartbeatResponse).ErrorCode == 0 {
				wait = testHeartbeat
				break
			}
		}
		tick.Reset(wait)
	}
}

// end lets the broker of a node die.
func (b *brokersBeside) end(id int32) { b.stop[id]() }

func (b *brokersBeside) endAll() {
	for id := range b.stop {
		b.end(id)
	}
	b.running.Wait()
}

func (q *quorum) fenced(at *member, id int32) bool { return at.Image().Broker(id).Fenced }

// TestALostLeaderIsMissedInTime: the broker beside an active controller that was killed is fenced as soon as any other, and no broker that lives is.
func TestALostLeaderIsMissedInTime(t *testing.T) {
	for _, alive := range []bool{false, true} {
		t.Run(fmt.Sprintf("its broker lives: %v", alive), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQuorum(t, 3, map[string]string{
					"broker.session.timeout.ms": fmt.Sprint(testSession.Milliseconds()), "broker.heartbeat.interval.ms": fmt.Sprint(testHeartbeat.Milliseconds()),
				})
				q.startAll()
				defer q.stopAll()
				brokers := newBrokersBeside(q)
				defer brokers.endAll()
				for round := range 3 {
					time.Sleep(2 * testSession)
					old := q.leader(5 * time.Second)
					begin := time.Now()
					if alive { // only its controller is away from the others
						old.isolate()
					} else {
						brokers.end(old.id)
						old.kill(int64(round))
					}
					next := q.leader(5*time.Second, old)
					if alive {
						time.Sleep(2 * testSession)
						q.net.heal()
						q.settled(10 * time.Second)
					} else {
						q.await("the lost broker is fenced", 3*testSession, func() bool { return q.fenced(next, old.id) })
						took := time.Since(begin)
						t.Logf("fenced after %v", took)
						if took < testSession-testHeartbeat || took > testSession+time.Second {
							t.Errorf("the broker of the lost controller was fenced after %v; its session lasts %v", took, testSession)
						}
					}
					for id := range q.members {
						if q.fenced(next, id) != (!alive && id == old.id) {
							t.Errorf("round %d, controller %d lost: fenced(%d) is %v", round, old.id, id, q.fenced(next, id))
						}
					}
					if !alive {
						return // the others are no majority without it
					}
				}
			})
		})
	}
}

// TestSightings: what a new leader makes of the last sign of the one before.
func TestSightings(t *testing.T) {
	const timeout, grace = 9 * time.Second, 4 * time.Second
	for _, test := range []struct {
		name  string
		heard time.Duration // before now
		ends  time.Duration // after now
	}{
		{"just heard", 0, timeout}, {"after an election", 2 * time.Second, 7 * time.Second}, {"long ago", time.Hour, grace}, {"at the bound", 5 * time.Second, grace},
		{"a clock that went back", -time.Second, timeout},
	} {
		v := newTestView(t, nil, liveBroker(1), liveBroker(2))
		v.Sessions.lapse(2, testNow.Add(-test.heard), testNow, grace)
		v.Sessions.lapse(7, testNow.Add(-test.heard), testNow, grace) // no broker
		for id, ends := range map[int32]time.Duration{1: timeout, 2: test.ends} {
			b := v.Image.Broker(id)
			if !v.Sessions.valid(b, testNow.Add(ends)) || v.Sessions.valid(b, testNow.Add(ends+1)) {
				t.Errorf("%s: the session of broker %d does not end after %v", test.name, id, ends)
			}
		}
	}
	v := newTestView(t, nil, liveBroker(1))
	v.Sessions.lapse(1, testNow.Add(-time.Hour), testNow, time.Hour)
	if !v.Sessions.valid(v.Image.Broker(1), testNow.Add(timeout)) {
		t.Error("a grace beyond the session makes it shorter")
	}
}

// TestALostPeerIsToldOfOnce: one line when a controller is lost, one when it is back, however long that takes.
func TestALostPeerIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.InfoLevel)
		q := newQuorum(t, 3, nil)
		q.logger = zap.New(core)
		q.startAll()
		defer q.stopAll()
		leader := q.leader(5 * time.Second)
		leader.must()
		var away *member
		for _, m := range q.up() {
			if m != leader {
				away = m
			}
		}
		lines.TakeAll()
		away.stop()
		time.Sleep(10 * time.Minute)
		leader.must()
		want := func(what string, level string, message string) {
			t.Helper()
			all := lines.TakeAll()
			if len(all) != 1 || all[0].Level.String() != level || all[0].Message != message || all[0].ContextMap()["controller"] != away.id {
				for _, l := range all {
					t.Logf("%v %s %v", l.Level, l.Message, l.ContextMap())
				}
				t.Errorf("%s: %d lines, want one, %s: %s", what, len(all), level, message)
			}
		}
		want("away", "warn", "a controller cannot be reached")
		away.start()
		q.settled(10 * time.Second)
		time.Sleep(time.Minute)
		want("back", "info", "a controller is reached again")
		// One that comes and goes is not told of each time.
		for range 10 {
			away.stop()
			time.Sleep(time.Second)
			away.start()
			q.settled(10 * time.Second)
		}
		if n := lines.Len(); n > 4 {
			t.Errorf("%d lines of ten restarts", n)
		}
		lines.TakeAll()
		// Without a majority, the one that is left says so, once.
		for _, m := range q.up() {
			if m != leader {
				m.stop()
			}
		}
		time.Sleep(10 * time.Minute)
		if n := lines.FilterMessageSnippet("no controller leads").Len(); n != 1 || lines.Len() > 8 {
			for _, l := range lines.All() {
				t.Logf("%v %s %v", l.Level, l.Message, l.ContextMap())
			}
			t.Errorf("%d lines about the missing majority, %d in all", n, lines.Len())
		}
		for _, l := range lines.All() {
			if l.Level > zap.WarnLevel {
				t.Errorf("%v %s %v", l.Level, l.Message, l.ContextMap())
			}
		}
	})
}
