package controller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
)

// seeds are what a test of faults runs with: as many as OTTLA_SIM_SEEDS says, from OTTLA_SIM_SEED on, else a few.
func seeds(t *testing.T, few int) []int64 {
	t.Helper()
	number := func(name string, otherwise int) int {
		text := os.Getenv(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	var all []int64
	first := number("OTTLA_SIM_SEED", 1)
	for i := range number("OTTLA_SIM_SEEDS", few) {
		all = append(all, int64(first+i))
	}
	return all
}

// tally is what the callers of count were told.
type tally struct {
	mu    sync.Mutex // guards the rest
	acked map[int]bool
	most  int
}

func (a *tally) note(t *testing.T, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.acked[n] {
		t.Errorf("two callers were told %d", n)
	}
	a.acked[n], a.most = true, max(a.most, n)
}

// TestFaults lets controllers be killed, stopped, cut off both ways and one way, while changes are decided by whoever leads: none that was
// acknowledged is lost or made twice, each is decided with all before it in view, and in the end all have the same bytes.
func TestFaults(t *testing.T) {
	for _, seed := range seeds(t, 4) {
		for _, n := range []int{3, 5} {
			t.Run(fmt.Sprintf("%d/%d", n, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { faults(t, n, seed) })
			})
		}
	}
}

func faults(t *testing.T, n int, seed int64) {
	r := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
	static := map[string]string{}
	if seed%2 == 0 {
		static["metadata.log.max.record.bytes.between.snapshots"] = "4000"
	}
	q := newQuorum(t, n, static)
	q.startAll()
	defer q.stopAll()
	told := &tally{acked: map[int]bool{}}
	var callers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		callers.Go(func() {
			for at := int32(1); ctx.Err() == nil; at = at%int32(n) + 1 {
				if c := q.members[at].running.Load(); c != nil {
					told.call(ctx, t, &member{Controller: c, q: q, id: at})
				}
				time.Sleep(time.Duration(20+10*at) * time.Millisecond)
			}
		})
	}
	var events []string
	for step := range 12 {
		time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		m := q.members[int32(1+r.IntN(n))]
		if leader := leadingNow(q); leader != nil && r.IntN(2) == 0 {
			m = leader
		}
		events = append(events, q.fault(r, m, seed*100+int64(step)))
	}
	q.net.heal()
	for _, m := range q.members {
		if !m.up {
			m.start()
		}
	}
	q.leader(20 * time.Second)
	time.Sleep(2 * time.Second)
	cancel()
	callers.Wait()
	q.settled(20 * time.Second)
	q.checkCounts(told)
	if t.Failed() {
		t.Logf("events: %v", events)
	}
	if told.most < 20 {
		t.Errorf("only %d changes came about", told.most)
	}
}

func leadingNow(q *quorum) *member {
	for _, m := range q.up() {
		if _, leads := m.Leads(); leads {
			return m
		}
	}
	return nil
}

// call counts once at m.
func (a *tally) call(ctx context.Context, t *testing.T, m *member) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	n, err := m.count(ctx)
	switch {
	case err == nil:
		a.note(t, n)
	case errors.Is(err, protocol.NotController), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	default:
		t.Errorf("controller %d: %v", m.id, err)
	}
}

// fault does one thing to m and says what.
func (q *quorum) fault(r *rand.Rand, m *member, seed int64) string {
	at := time.Now().Format("05.000")
	var what string
	switch k := r.IntN(6); {
	case !m.up:
		m.start()
		what = "start"
	case k == 0 && len(q.up()) > len(q.members)/2+1:
		m.stop()
		what = "stop"
	case k <= 2 && len(q.up()) > len(q.members)/2+1:
		m.kill(seed)
		what = "kill"
	case k == 3:
		m.isolate()
		what = "isolate"
	case k == 4:
		for id := range q.members {
			if r.IntN(2) == 0 {
				q.net.cut(address(m.id), address(id))
			}
		}
		what = "mute"
	default:
		q.net.heal()
		what = "heal"
	}
	return fmt.Sprintf("%s %s %d", at, what, m.id)
}

// checkCounts compares what callers were told with the log.
func (q *quorum) checkCounts(told *tally) {
	q.t.Helper()
	longest := q.up()[0]
	for _, m := range q.up() {
		if m.Log().Offsets().LogStart < longest.Log().Offsets().LogStart {
			longest = m
		}
	}
	counts := longest.counts()
	for i := 1; i < len(counts); i++ {
		if counts[i] != counts[i-1]+1 {
			q.t.Errorf("the counter went from %d to %d", counts[i-1], counts[i])
		}
	}
	if last := longest.counter(); last < told.most {
		q.t.Errorf("%d was acknowledged, and the counter is %d", told.most, last)
	}
	if len(counts) > 0 && counts[0] == 1 {
		for n := range told.acked {
			if !slices.Contains(counts, n) {
				q.t.Errorf("%d was acknowledged and is not in the log", n)
			}
		}
	}
}
