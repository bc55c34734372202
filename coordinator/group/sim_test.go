package group

import (
	"container/heap"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// The simulation runs one group of members of both protocols against a coordinator, in virtual time. The network loses, delays and repeats what they send;
// members crash and come back; the coordinator moves; topics appear and grow. Then all faults end, and the group has to come to rest. Everything
// that happens follows from the seed.

const (
	simSeeds     = 200 // OTTLA_SIM_SEEDS runs more
	simChaos     = 150 * time.Second
	simCalm      = 150 * time.Second // sessions of 45 s, rebalance timeouts of 30 s, regular expressions every 10 s
	simRebalance = 30 * time.Second
	simTimeout   = 3 * time.Second // of a member's request
)

func TestSimulation(t *testing.T) {
	seeds := simSeeds
	if s := os.Getenv("OTTLA_SIM_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		seeds = n
	}
	first := 0
	if s := os.Getenv("OTTLA_SIM_FIRST"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		first = n
	}
	const workers = 4
	for w := range workers {
		t.Run(fmt.Sprint("worker", w), func(t *testing.T) {
			t.Parallel()
			for seed := first + w; seed < first+seeds && !t.Failed(); seed += workers {
				simulate(t, uint64(seed))
			}
		})
	}
}

// simulate runs one seed.
func simulate(t *testing.T, seed uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := &sim{r: r, seed: seed, h: &harness{t: t, log: &runtimetest.Log{}, image: offsetsTopic(t, 1)}, end: time.Now().Add(simChaos)}
		s.h.newUUID = s.uuid
		codecs := record.NewCodecs()
		s.start(codecs)
		s.run()
		s.h.c.Close()
		codecs.Close()
	})
}

// sim is one run. It is one goroutine, which takes one event after the other and lets the coordinator finish in between.
type sim struct {
	h       *harness
	r       *rand.Rand
	seed    uint64
	events  eventQueue
	order   int
	calls   []call // delivered, and not answered yet
	members []*simMember
	topics  int
	end     time.Time // of all faults
	calm    bool
	trace   []string
	failed  bool

	shard     *shard // the live one
	epoch     int32  // of the partition's leader
	lastEpoch int32  // of the group
	dirty     bool   // something happened that check has not seen
	owners    map[simPartition]*simMember
	acked     map[offsetKey]int64
	committed map[offsetKey]int64
}

type event struct {
	at    time.Time
	order int
	run   func()
}

// eventQueue is a heap by time; of the same time, by when they were made.
type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].order < q[j].order
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *eventQueue) Push(x any) { *q = append(*q, x.(event)) }

// Pop implements heap.Interface.
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// call is a request that the coordinator has.
type call struct {
	completed func() bool
	answer    func()
}

func (s *sim) after(d time.Duration, run func()) {
	s.order++
	heap.Push(&s.events, event{time.Now().Add(d), s.order, run})
}

// chance is true with a probability in percent, and never once all faults are over.
func (s *sim) chance(percent float64) bool { return !s.calm && s.r.Float64()*100 < percent }

func (s *sim) upTo(d time.Duration) time.Duration { return time.Duration(s.r.Int64N(int64(d))) }

// delay is how long one way takes.
func (s *sim) delay() time.Duration {
	if s.chance(5) {
		return s.upTo(2 * time.Second)
	}
	return time.Millisecond + s.upTo(20*time.Millisecond)
}

// note remembers what happened, for a failure's message.
func (s *sim) note(format string, args ...any) {
	const keep = 120
	if len(s.trace) >= 2*keep {
		s.trace = append(s.trace[:0], s.trace[len(s.trace)-keep:]...)
	}
	s.trace = append(s.trace, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

func (s *sim) fail(format string, args ...any) {
	s.h.t.Helper()
	if !s.failed {
		s.failed = true
		s.h.t.Errorf("seed %d: %s\n%s", s.seed, fmt.Sprintf(format, args...), strings.Join(s.trace, "\n"))
	}
}

// start brings up the coordinator, the topics and the members, and plans the faults.
func (s *sim) start(codecs *record.Codecs) {
	s.owners = map[simPartition]*simMember{}
	s.acked, s.committed = map[offsetKey]int64{}, map[offsetKey]int64{}
	assignors := []string{"uniform,range", "range,uniform"}
	s.h.c = s.h.start(map[string]string{"group.consumer.assignors": assignors[s.r.IntN(2)]}, codecs, s.h.log)
	s.look()
	for range 2 {
		s.newTopic()
	}
	share := s.r.IntN(5) // how many of four members use the classic protocol
	for i := range 2 + s.r.IntN(6) {
		s.members = append(s.members, s.newMember(i, s.r.IntN(4) < share))
	}
	for _, m := range s.members {
		s.after(s.upTo(20*time.Second), m.start)
		s.after(s.upTo(time.Second), m.tick)
	}
	s.after(time.Second, s.fault)
	s.after(time.Second, s.audit)
}

// run takes events until the calm is over.
func (s *sim) run() {
	over := s.end.Add(simCalm)
	for len(s.events) > 0 && !s.failed {
		e := heap.Pop(&s.events).(event)
		if e.at.After(over) {
			break
		}
		if !s.calm && e.at.After(s.end) {
			s.calm = true
			s.h.log.Hold(false)
			s.h.log.Commit(s.h.log.LogEndOffset())
			s.note("the faults end")
		}
		pass(time.Until(e.at))
		e.run()
		synctest.Wait()
		s.poll()
		if s.dirty && s.shard != nil {
			s.inside(s.check)
		}
	}
	if !s.failed {
		s.inside(s.checkAtRest)
	}
}

// poll takes the answers that the coordinator gave.
func (s *sim) poll() {
	left := s.calls[:0]
	var answers []func()
	for _, c := range s.calls {
		if c.completed() {
			answers = append(answers, c.answer)
		} else {
			left = append(left, c)
		}
	}
	s.calls = left
	for _, answer := range answers {
		answer()
	}
}

// inside runs fn in the shard's loop, while nothing else runs.
func (s *sim) inside(fn func()) {
	s.h.c.runtime.Read(0, func(*shard, runtime.Env) { fn() }, func(err error) { s.fail("%v", err) })
	synctest.Wait()
}

// look finds the live shard.
func (s *sim) look() {
	s.shard = nil
	s.h.c.runtime.Read(0, func(shard *shard, _ runtime.Env) { s.shard = shard }, func(error) {})
	synctest.Wait()
	if s.shard != nil {
		ids := rand.New(rand.NewPCG(s.seed, uint64(s.epoch)+1)) // of the shard's goroutine
		s.shard.newID = func() string { return randomUUID(ids).String() }
		s.shard.newConsumerID = s.shard.newID
	}
}

// uuid is an id that follows from the seed.
func (s *sim) uuid() protocol.UUID { return randomUUID(s.r) }

func randomUUID(r *rand.Rand) (id protocol.UUID) {
	binary.BigEndian.PutUint64(id[:], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	return id
}

// newTopic makes the next topic.
func (s *sim) newTopic() {
	s.h.addTopic(fmt.Sprint("t", s.topics), int32(1+s.r.IntN(6)))
	s.topics++
}

// fault does something to everybody, again and again.
func (s *sim) fault() {
	if s.calm {
		return
	}
	switch n := s.r.IntN(100); {
	case n < 8 && s.shard != nil:
		s.moveCoordinator()
	case n < 14 && s.topics < 5:
		s.note("a new topic t%d", s.topics)
		s.newTopic()
	case n < 20:
		name := fmt.Sprint("t", s.r.IntN(s.topics))
		n := int32(len(s.h.image.Topic(name).Partitions))
		s.note("topic %s grows from %d", name, n)
		s.h.addTopic(name, n+1+int32(s.r.IntN(3)))
	case n < 28:
		s.note("commits are held")
		s.h.log.Hold(true)
		s.after(s.upTo(3*time.Second), func() {
			s.h.log.Hold(false)
			s.h.log.Commit(s.h.log.LogEndOffset())
		})
	case n < 60:
		m := s.members[s.r.IntN(len(s.members))]
		if m.alive {
			m.stop(s.r.IntN(2) == 0)
			s.after(s.upTo(70*time.Second), m.start)
		}
	case n < 65:
		if m := s.members[s.r.IntN(len(s.members))]; m.alive && !m.busy && (m.modern != nil || m.classic.phase == stablePhase) {
			d := s.upTo(80 * time.Second)
			s.note("%s stands still for %v", m.name, d)
			m.pause(d)
		}
	}
	s.dirty = true
	s.after(time.Second+s.upTo(4*time.Second), s.fault)
}

// moveCoordinator takes the partition away and gives it back: everything is loaded from the log. What is not committed yet is, by then.
func (s *sim) moveCoordinator() {
	s.note("the coordinator moves")
	s.h.log.Hold(false)
	s.h.log.Commit(s.h.log.LogEndOffset())
	synctest.Wait()
	var before, offsets string
	s.inside(func() { before, offsets = s.durable(), s.durableOffsets() })
	s.epoch++
	s.h.c.runtime.Resign(0, s.epoch)
	synctest.Wait()
	s.shard = nil
	s.after(s.upTo(2*time.Second), func() {
		s.epoch++
		s.h.c.runtime.Elect(0, s.epoch)
		synctest.Wait()
		s.look()
		if s.shard == nil {
			s.fail("the log could not be loaded")
			return
		}
		s.inside(func() {
			if after := s.durable(); before != "" && after != before {
				s.fail("loaded:\n%s\nbefore:\n%s", after, before)
			}
			if after := s.durableOffsets(); after != offsets {
				s.fail("loaded:\n%s\nbefore:\n%s", after, offsets)
			}
		})
	})
}

// simRequest sends a request. handle gets the answer; lost is called instead if none comes in time, or if the connection breaks, which loses the request or the
// answer. A member has one request under way; what its connection still holds when it gives up is gone.
func simRequest[T any](m *simMember, timeout time.Duration, do func() *runtime.Future[T], handle func(T), lost func()) {
	s := m.sim
	m.request++
	request := m.request
	m.busy = true
	finish := func(then func()) {
		if m.request == request {
			s.dirty = true
			m.busy = false
			then()
			m.act()
		}
	}
	s.after(timeout, func() { finish(lost) })
	broken := func() { s.after(s.upTo(time.Second), func() { finish(lost) }) }
	if s.chance(m.loss) {
		broken()
		return
	}
	s.after(s.delay(), func() {
		if m.request != request {
			return
		}
		if s.shard != nil {
			s.inside(s.checkEpoch) // what time alone changed
		}
		s.dirty = true
		f := do()
		if s.chance(3) { // it was sent twice; of a heartbeat the second answer would not repeat what is new
			if again := do(); m.classic != nil {
				f = again
			}
		}
		s.calls = append(s.calls, call{f.Completed, func() {
			if s.chance(m.loss) {
				broken()
				return
			}
			s.after(s.delay(), func() {
				v, err := f.Wait(context.Background())
				if err != nil {
					s.fail("%v", err)
				}
				finish(func() { handle(v) })
			})
		}})
	})
}

// audit reads all committed offsets, again and again.
func (s *sim) audit() {
	s.after(5*time.Second, s.audit)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = testGroup
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	f := s.h.c.OffsetFetch(req)
	s.calls = append(s.calls, call{f.Completed, func() {
		resp, _ := f.Wait(context.Background())
		if len(resp.Groups) != 1 || resp.Groups[0].ErrorCode != 0 {
			return
		}
		for _, t := range resp.Groups[0].Topics {
			for _, p := range t.Partitions {
				key := offsetKey{testGroup, t.Topic, p.Partition}
				if p.Offset < s.committed[key] {
					s.fail("%v: the committed offset goes back from %d to %d", key, s.committed[key], p.Offset)
				}
				s.committed[key] = p.Offset
			}
		}
	}})
}
