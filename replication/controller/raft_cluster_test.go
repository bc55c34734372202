package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ottla/ottla/protocol"
)

func TestThreeElectOneAndAgree(t *testing.T) {
	for _, n := range []int{3, 5} {
		synctest.Test(t, func(t *testing.T) {
			q := newQuorum(t, n, nil)
			begin := time.Now()
			q.startAll()
			defer q.stopAll()
			leader := q.leader(5 * time.Second)
			t.Logf("%d controllers: a leader after %v", n, time.Since(begin))
			for _, m := range q.up() {
				id, err := m.Ready(t.Context())
				if err != nil || id != leader.ClusterID() || id == "" {
					t.Errorf("controller %d: cluster %q (%v), the leader's is %q", m.id, id, err, leader.ClusterID())
				}
				node, epoch, host, port := m.Leader()
				if _, want, _, _ := leader.Leader(); node != leader.id || epoch != want || host+":" != address(leader.id)[:3] || port != 9093 {
					t.Errorf("controller %d says that %d leads in epoch %d at %s:%d", m.id, node, epoch, host, port)
				}
				if m == leader {
					continue
				}
				if _, err := m.count(t.Context()); !errors.Is(err, protocol.NotController) {
					t.Errorf("a decision of controller %d, which does not lead: %v", m.id, err)
				}
			}
			for i := range 20 {
				if got := leader.must(); got != i+1 {
					t.Fatalf("the counter is %d, want %d", got, i+1)
				}
			}
			q.settled(5 * time.Second)
		})
	}
}

// TestFollowersHearOfACommitAtOnce: not only with the next change or heartbeat. It is known at once to whoever has made it one, and in any order to the others.
func TestFollowersHearOfACommitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 3, nil)
		q.startAll()
		defer q.stopAll()
		leader := q.leader(5 * time.Second)
		q.settled(5 * time.Second)
		leader.must()
		know := func() (n int) {
			for _, m := range q.up() {
				if m.counter() == 1 {
					n++
				}
			}
			return n
		}
		synctest.Wait()
		if n := know(); n < 2 {
			t.Errorf("%d controllers know of the change at once", n)
		}
		time.Sleep(2 * raft.DefaultConfig().CommitTimeout)
		synctest.Wait()
		if n := know(); n != 3 {
			t.Errorf("%d controllers know of the change after a while", n)
		}
	})
}

func TestAnotherLeads(t *testing.T) {
	cases := []struct {
		name  string
		lose  func(q *quorum, leader *member)
		limit time.Duration
	}{
		{"stopped", func(_ *quorum, l *member) { l.stop() }, 500 * time.Millisecond},
		{"killed", func(_ *quorum, l *member) { l.kill(1) }, 6 * time.Second},
		{"cut off", func(_ *quorum, l *member) { l.isolate() }, 6 * time.Second},
		{"cannot send", func(q *quorum, l *member) {
			for id := range q.members {
				q.net.cut(address(l.id), address(id))
			}
		}, 6 * time.Second},
		{"hears nothing", func(q *quorum, l *member) {
			for id := range q.members {
				q.net.cut(address(id), address(l.id))
			}
		}, 8 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQuorum(t, 3, nil)
				q.startAll()
				defer q.stopAll()
				old := q.leader(5 * time.Second)
				old.must()
				begin := time.Now()
				c.lose(q, old)
				next := q.leader(c.limit, old)
				t.Logf("another leads after %v", time.Since(begin))
				next.must()
				if old.up {
					// It cannot commit anything any more, and steps down by itself.
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					if n, err := old.count(ctx); !errors.Is(err, protocol.NotController) {
						t.Errorf("a decision of the old leader: %d, %v", n, err)
					}
					if _, leads := old.Leads(); leads {
						t.Error("the old leader still thinks that it leads")
					}
				}
				q.net.heal()
				if !old.up {
					old.start()
				}
				q.settled(10 * time.Second)
				if got := q.leader(time.Second).must(); got != 3 {
					t.Errorf("the counter is %d, want 3", got)
				}
			})
		})
	}
}

// TestAMinorityDecidesNothing, and a leader without a majority steps down.
func TestAMinorityDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 3, nil)
		q.startAll()
		defer q.stopAll()
		leader := q.leader(5 * time.Second)
		leader.must()
		for _, m := range q.up() {
			if m != leader {
				m.stop()
			}
		}
		q.await("the leader steps down", 3*time.Second, func() bool {
			_, leads := leader.Leads()
			return !leads
		})
		time.Sleep(time.Minute)
		if _, err := leader.count(t.Context()); !errors.Is(err, protocol.NotController) {
			t.Errorf("a decision without a majority: %v", err)
		}
		for _, m := range q.members {
			if !m.up {
				m.start()
			}
		}
		q.settled(10 * time.Second)
	})
}

// TestAWipedNodeComesBack with everything, from a snapshot where the log does not reach back.
func TestAWipedNodeComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 3, map[string]string{"metadata.log.max.record.bytes.between.snapshots": "3000"})
		q.startAll()
		defer q.stopAll()
		leader := q.leader(5 * time.Second)
		for range 300 {
			leader.must()
		}
		var wiped, behind *member
		for _, m := range q.up() {
			switch {
			case m == leader:
			case wiped == nil:
				wiped = m
			default:
				behind = m
			}
		}
		wiped.stop()
		q.members[wiped.id] = nil
		delete(q.members, wiped.id)
		wiped = q.add(wiped.id)
		wiped.start()
		q.settled(20 * time.Second)
		if wiped.Log().Offsets().LogStart == 0 {
			t.Error("the log of the wiped controller goes back to the beginning: no snapshot was sent")
		}
		if id, err := wiped.Ready(t.Context()); err != nil || id != leader.ClusterID() {
			t.Errorf("the wiped controller is of cluster %q (%v), not %q", id, err, leader.ClusterID())
		}
		// One that has an old log gets a snapshot too, and comes back from it after a restart.
		behind.stop()
		for range 300 {
			leader.must()
		}
		behind.start()
		q.settled(20 * time.Second)
		behind.stop()
		behind.start()
		q.settled(20 * time.Second)
		if behind.counter() != 600 {
			t.Errorf("the counter is %d after a restart, want 600", behind.counter())
		}
	})
}
