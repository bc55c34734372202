package metadata

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol/record"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// settleFor lets the follower run for a while of the bubble's time.
func settleFor(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestFollowerCopiesTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTruth(t, 1)
		h.grow(50)
		q := newFakeQuorum(h, 1)
		q.controllers[0].catchUp(50, 0)
		n := newFollowingNode(t, q, nil)
		n.start()
		settleFor(time.Second)
		n.same(h)
		if len(n.deltas) != 1 {
			t.Errorf("%d deltas until the node had caught up", len(n.deltas))
		}
		h.grow(3)
		before := time.Now()
		q.controllers[0].catchUp(53, 0)
		synctest.Wait()
		if n.same(h); time.Since(before) != 0 || len(n.deltas) != 4 {
			t.Errorf("after %v there were %d deltas", time.Since(before), len(n.deltas))
		}
		n.stop()
		n.start()
		settleFor(0)
		if n.same(h); len(n.deltas) != 1 {
			t.Errorf("after a restart: %d deltas", len(n.deltas))
		}
	})
}

// An idle follower does nothing but wait for the controller.
func TestFollowerIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTruth(t, 1)
		h.grow(5)
		q := newFakeQuorum(h, 1)
		q.controllers[0].catchUp(5, 0)
		n := newFollowingNode(t, q, nil)
		n.start()
		settleFor(time.Second)
		q.counts()
		settleFor(100 * time.Second)
		if fetches, _ := q.counts(); fetches > 201 {
			t.Errorf("%d fetches in 100 s", fetches)
		}
		// nor does it hurry where a controller does not wait, or cannot be reached
		for name, spoil := range map[string]func(c *fakeController){
			"unreachable": func(c *fakeController) { c.down = errors.New("connection refused") },
			"an error":    func(c *fakeController) { c.spoil = func(p *kmsg.FetchResponseTopicPartition) { p.ErrorCode = 42 } },
			"rubbish": func(c *fakeController) {
				c.spoil = func(p *kmsg.FetchResponseTopicPartition) { p.RecordBatches = []byte("rubbish") }
			},
		} {
			c := q.controllers[0]
			c.change(spoil)
			c.catchUp(5, 0)
			settleFor(100 * time.Second)
			if fetches, _ := q.counts(); fetches > 420 || n.logs.Len() > 10 {
				t.Errorf("%s: %d fetches in 100 s, %d lines in the log", name, fetches, n.logs.Len())
			}
			c.change(func(c *fakeController) { c.down, c.spoil = nil, nil })
			settleFor(5 * time.Second)
			n.same(h)
		}
	})
}

func TestFollowerBeginsWithASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTruth(t, 2)
		h.grow(60)
		q := newFakeQuorum(h, 1)
		q.controllers[0].catchUp(60, 40)
		n := newFollowingNode(t, q, map[string]string{"controller.quorum.fetch.snapshot.max.bytes": "500"})
		n.start()
		settleFor(time.Second)
		n.same(h)
		if _, pieces := q.counts(); pieces < 2 || n.follower.Log().Offsets().LogStart != h.offset(40) {
			t.Errorf("%d pieces, log start %d", pieces, n.follower.Log().Offsets().LogStart)
		}
		// it falls behind what the controllers keep while it is stopped
		n.stop()
		h.grow(40)
		q.controllers[0].catchUp(100, 90)
		n.start()
		settleFor(time.Second)
		n.same(h)
		// and again while it runs
		q.controllers[0].change(func(c *fakeController) { c.down = errors.New("cut off") })
		settleFor(time.Minute)
		h.grow(20)
		q.controllers[0].catchUp(120, 115)
		q.controllers[0].change(func(c *fakeController) { c.down = nil })
		settleFor(10 * time.Second)
		if n.same(h); n.logs.FilterMessageSnippet("goes on from a snapshot").Len() != 2 {
			t.Errorf("log: %v", n.logs.All())
		}
	})
}

// What a broker had before its start is not in force until the leader was asked: it may be old, or not be there at all.
func TestNothingStaleIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTruth(t, 3)
		h.grow(30)
		q := newFakeQuorum(h, 3)
		for _, c := range q.controllers {
			c.catchUp(30, 0)
		}
		n := newFollowingNode(t, q, nil)
		n.start()
		settleFor(time.Second)
		n.stop()
		h.grow(30)
		q.controllers[1].catchUp(10, 0) // one lags, one was wiped, one is not there
		q.controllers[2].catchUp(0, 0)
		q.controllers[0].change(func(c *fakeController) { c.down = errors.New("no") })
		n.start()
		settleFor(time.Minute)
		if len(n.deltas) != 0 {
			t.Fatalf("published offset %d", n.deltas[0].Image.Offset())
		}
		q.controllers[0].change(func(c *fakeController) { c.down = nil })
		q.controllers[0].catchUp(60, 0)
		settleFor(5 * time.Second)
		if n.same(h); len(n.deltas) != 1 {
			t.Errorf("%d deltas", len(n.deltas))
		}
	})
}

// A controller that lags, or has lost its quorum, is left for another one, and nothing that was followed goes.
func TestFollowerLeavesAControllerThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTruth(t, 4)
		h.grow(30)
		q := newFakeQuorum(h, 2)
		q.controllers[0].catchUp(30, 0)
		q.controllers[1].catchUp(12, 0)
		n := newFollowingNode(t, q, nil)
		n.start()
		settleFor(time.Second)
		q.turn(1)
		h.grow(2)
		q.controllers[0].catchUp(32, 0)
		settleFor(5 * time.Second)
		n.same(h)
		q.controllers[1].catchUp(32, 0)
		q.controllers[1].change(func(c *fakeController) { c.lost = true })
		q.turn(1)
		h.grow(2)
		q.controllers[0].catchUp(34, 0)
		settleFor(5 * time.Second)
		if n.same(h); n.logs.Len() != 0 {
			t.Errorf("log: %v", n.logs.All())
		}
	})
}

// After `ottla recover` from a copy that lacked records, the broker loads everything anew, says so, and takes back what there no longer is.
func TestFollowerOfARecoveredCluster(t *testing.T) {
	for name, snapshot := range map[string]int{"from the beginning": 0, "by snapshot": 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTruth(t, 5)
				h.grow(40)
				q := newFakeQuorum(h, 1)
				q.controllers[0].catchUp(40, 0)
				n := newFollowingNode(t, q, nil)
				n.start()
				settleFor(time.Second)
				fork := h.fork(25, 7)
				fork.grow(3)
				c := newFakeQuorum(fork, 1).controllers[0]
				c.catchUp(28, snapshot)
				h.mu.Lock()
				q.controllers[0] = c
				h.mu.Unlock()
				settleFor(5 * time.Second)
				if n.same(fork); n.logs.FilterMessageSnippet("is loaded anew").Len() != 2 {
					t.Errorf("log: %v", n.logs.All())
				}
				fork.grow(30)
				c.catchUp(58, snapshot)
				settleFor(time.Second)
				n.same(fork)
				n.crash(1)
				n.start()
				settleFor(5 * time.Second)
				n.same(fork)
			})
		})
	}
}

// The follower takes checkpoints and drops what the retention does not keep.
func TestFollowerKeepsCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTruth(t, 6)
		q := newFakeQuorum(h, 1)
		n := newFollowingNode(t, q, map[string]string{
			"metadata.log.max.record.bytes.between.snapshots": "2000", "metadata.max.retention.bytes": "20000", "metadata.log.max.snapshot.interval.ms": "60000",
		})
		for i := range 40 {
			h.grow(10)
			q.controllers[0].catchUp(len(h.batches), 0)
			if i == 0 {
				n.start()
			}
			settleFor(time.Second)
		}
		all, err := n.follower.checkpoints.List()
		if err != nil || len(all) < 1 || len(all) > 12 {
			t.Errorf("checkpoints %v, %v", all, err)
		}
		if start := n.follower.Log().Offsets().LogStart; start == 0 || start != all[0].EndOffset {
			t.Errorf("log start %d with %v", start, all)
		}
		h.grow(1) // too little for a checkpoint, but an hour is over
		q.controllers[0].catchUp(len(h.batches), 0)
		settleFor(2 * time.Minute)
		if newest, _, _ := n.follower.checkpoints.Newest(); newest.EndOffset != h.image().Offset()+1 {
			t.Errorf("newest %v of %d", newest, h.image().Offset()+1)
		}
		n.crash(3)
		n.start()
		settleFor(time.Second)
		n.same(h)
	})
}

// Whatever happens to node and controllers, the node ends with what the cluster has.
func TestFollowerConverges(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			converge(t, seed)
		})
	}
}

func converge(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	h := newTruth(t, seed)
	h.grow(1 + rnd.IntN(20))
	q := newFakeQuorum(h, 3)
	q.controllers[0].catchUp(len(h.batches), 0)
	n := newFollowingNode(t, q, map[string]string{
		"metadata.log.max.record.bytes.between.snapshots": "1500", "metadata.max.retention.bytes": "6000", "controller.quorum.fetch.snapshot.max.bytes": "700",
	})
	n.start()
	for step := range 60 {
		switch rnd.IntN(9) {
		case 0, 1, 2:
			h.grow(rnd.IntN(30))
			if rnd.IntN(4) == 0 {
				h.mu.Lock()
				h.epoch++
				h.mu.Unlock()
			}
		case 3:
			down := []error{nil, nil, errors.New("down")}[rnd.IntN(3)]
			q.controllers[rnd.IntN(3)].change(func(c *fakeController) { c.down = down })
		case 4:
			n.stop()
			n.start()
		case 5:
			n.crash(int64(seed)*100 + int64(step))
			n.start()
		case 6:
			if cut := rnd.IntN(len(h.batches)) + 1; cut > 0 {
				for _, c := range q.controllers {
					c.catchUp(max(c.have, cut), cut)
				}
			}
		case 7:
			lost := rnd.IntN(2) == 0
			q.controllers[rnd.IntN(3)].change(func(c *fakeController) { c.lost = lost })
		case 8:
			q.turn(rnd.IntN(3))
		}
		for _, c := range q.controllers {
			if rnd.IntN(3) > 0 {
				c.catchUp(c.have+rnd.IntN(len(h.batches)-c.have+1), c.first)
			}
		}
		q.controllers[0].catchUp(len(h.batches), q.controllers[0].first)
		settleFor(time.Duration(rnd.IntN(3000)) * time.Millisecond)
	}
	for _, c := range q.controllers {
		c.change(func(c *fakeController) { c.down, c.lost = nil, false })
		c.catchUp(len(h.batches), c.first)
	}
	settleFor(30 * time.Second)
	n.same(h)
	for _, e := range n.logs.All() {
		if strings.Contains(e.Message, "loaded anew") || strings.Contains(e.Message, "fetched anew") {
			t.Errorf("what was committed was dropped: %v", e.ContextMap())
		}
	}
}

// A broker beside a controller that lags, or was wiped, waits for what the leader has.
func TestConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTruth(t, 9)
		h.grow(30)
		q := newFakeQuorum(h, 2)
		q.controllers[0].catchUp(30, 0)
		q.controllers[1].catchUp(4, 0)
		q.turn(1)
		f := newFollowed(t)
		leads := false
		confirmed := make(chan error, 1)
		ob := NewObserver(ObserverOptions{
			Log: f.log, FS: f.fs, Codecs: f.codecs, Wake: f.wake, Logger: zap.NewNop(), Publish: func(d *Delta) { f.deltas = append(f.deltas, d) },
			Confirm: func(ctx context.Context) error {
				err := Confirm(ctx, ConfirmOptions{Log: f.log, Source: q, Leads: func() (int32, bool) { return 1, leads }})
				confirmed <- err
				return err
			},
		})
		defer ob.Close()
		f.append(h.batches[:10]...)
		settleFor(10 * time.Second)
		if len(f.deltas) != 0 {
			t.Fatalf("published offset %d", f.deltas[0].Image.Offset())
		}
		f.append(h.batches[10:]...)
		settleFor(time.Second)
		if err := <-confirmed; err != nil || len(f.deltas) != 1 || ob.Image().Offset() != h.image().Offset() {
			t.Errorf("%v, published %d", err, len(f.deltas))
		}
		// without any leader only its own election, or the end, ends the wait
		for _, c := range q.controllers {
			c.change(func(c *fakeController) { c.lost = true })
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		if err := Confirm(ctx, ConfirmOptions{Log: f.log, Source: q, Leads: func() (int32, bool) { return 1, time.Since(begun) > 2*time.Minute }}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a leader: %v", err)
		}
		if err := Confirm(t.Context(), ConfirmOptions{Log: f.log, Source: q, Leads: func() (int32, bool) { return 1, true }}); err != nil {
			t.Errorf("as the leader: %v", err)
		}
	})
}

// Whatever a controller answers, the follower takes nothing that does not continue its log.
func FuzzFetchAnswer(f *testing.F) {
	h := newTruth(nil, 1)
	h.epoch = 3
	h.grow(6)
	var all []byte
	for _, b := range h.batches {
		all = append(all, b...)
	}
	f.Add(all, int64(0), int32(0))
	f.Add(all[:len(all)-7], int64(0), int32(0))
	f.Add([]byte(h.batches[2]), h.batches[2].BaseOffset(), int32(3))
	f.Add([]byte(h.batches[2]), h.batches[1].BaseOffset(), int32(4))
	f.Fuzz(func(t *testing.T, records []byte, next int64, epoch int32) {
		whole, end, last, err := check(records, next, epoch)
		if err != nil {
			return
		}
		if len(whole) == 0 {
			if end != next || last != nil {
				t.Fatalf("nothing takes the log from %d to %d", next, end)
			}
			return
		}
		for rest := whole; len(rest) > 0; {
			b, after, err := record.Split(rest)
			if err != nil || b.Check() != nil || b.BaseOffset() != next || b.NextOffset() <= next || b.LeaderEpoch() < epoch {
				t.Fatalf("a batch at %d of epoch %d was taken where %d of %d is next: %v", b.BaseOffset(), b.LeaderEpoch(), next, epoch, err)
			}
			next, epoch, rest = b.NextOffset(), b.LeaderEpoch(), after
		}
		if end != next {
			t.Fatalf("the end is %d, not %d", end, next)
		}
	})
}
