package replication

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// chaos is a cluster of three replicas of one partition to which things happen, at most so many that what was acknowledged must outlive them.
type chaos struct {
	*cluster
	rng   *rand.Rand
	isr   []int32
	lead  int32
	stale map[int32]bool // nodes that hear nothing of the metadata
	down  map[int32]vfs.FS

	next  int
	acked []string
	trace strings.Builder
}

func (x *chaos) note(format string, args ...any) { fmt.Fprintf(&x.trace, format+"\n", args...) }

// decide makes the metadata say who leads and who is in sync, and tells it to those that hear.
func (x *chaos) decide(leader int32, isr []int32) {
	x.note("leader %d isr %v", leader, isr)
	x.lead, x.isr = leader, isr
	deaf := map[int32]*node{}
	x.mu.Lock()
	for id := range x.stale {
		if n := x.nodes[id]; n != nil {
			deaf[id] = n
			delete(x.nodes, id)
		}
	}
	x.mu.Unlock()
	x.cluster.lead("t", leader, isr...)
	x.mu.Lock()
	for id, n := range deaf {
		x.nodes[id] = n
	}
	x.mu.Unlock()
}

// hear lets a node catch up with the metadata.
func (x *chaos) hear(id int32) {
	if n := x.node(id); n != nil && x.stale[id] {
		x.note("%d hears", id)
		n.Apply(metadata.Difference(n.Image(), x.image))
	}
	delete(x.stale, id)
}

// produce appends at a node that takes itself for the leader, and waits a while for the commit.
func (x *chaos) produce(id int32) {
	n := x.node(id)
	if n == nil {
		return
	}
	p, err := n.Partition("t", 0)
	if err != nil {
		x.t.Fatal(err)
	}
	value := fmt.Sprintf("%d.", x.next)
	x.next++
	r, err := p.Append(batch(value), ProduceOptions{Acks: -1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(x.rng.IntN(300))*time.Millisecond)
	defer cancel()
	if p.WaitCommitted(ctx, &r) == nil {
		x.note("%s acked by %d at %d", value, id, r.LastOffset)
		x.acked = append(x.acked, value)
	}
}

// step lets something happen.
func (x *chaos) step() {
	id, other := x.rng.Int32N(3), x.rng.Int32N(3)
	switch x.rng.IntN(12) {
	case 0:
		x.note("cut %d %d", id, other)
		x.separate(id, other, id != other)
	case 1, 2:
		x.separate(id, other, false)
	case 3: // an election, clean
		if slices.Contains(x.isr, id) && x.down[id] == nil && id != x.lead {
			x.decide(id, x.isr)
		}
	case 4: // one falls out of sync
		if len(x.isr) == 3 && id != x.lead {
			x.decide(x.lead, without(x.isr, id))
		}
	case 5:
		x.note("%d hears nothing", id)
		x.stale[id] = true
	case 6:
		x.hear(id)
	case 7: // a crash, of one at a time, while the others have all that counts
		if len(x.down) == 0 && len(x.isr) == 3 {
			x.note("%d crashes", id)
			x.down[id] = x.crash(id, x.rng.Int64())
			delete(x.stale, id)
			isr := without(x.isr, id)
			leader := x.lead
			if leader == id {
				leader = isr[0]
			}
			x.decide(leader, isr)
		}
	case 8:
		x.restart()
	case 9:
		x.rejoin()
	default:
		x.produce(x.rng.Int32N(3))
		x.produce(x.lead)
	}
	time.Sleep(time.Duration(x.rng.IntN(50)) * time.Millisecond)
}

func without(list []int32, id int32) []int32 {
	return slices.DeleteFunc(slices.Clone(list), func(v int32) bool { return v == id })
}

func (x *chaos) restart() {
	for id, fs := range x.down {
		x.note("%d starts", id)
		x.start(id, fs)
	}
	clear(x.down)
}

// rejoin takes replicas that have all that is committed into the ISR, as a leader that knows of it by then would ask for.
func (x *chaos) rejoin() {
	x.hear(x.lead)
	synctest.Wait()
	leader := x.node(x.lead)
	if leader == nil {
		return
	}
	at := x.offsets(x.lead, "t")
	for id := range int32(3) {
		if slices.Contains(x.isr, id) || x.node(id) == nil || x.stale[id] {
			continue
		}
		p := x.partition(id, "t", 0)
		if _, epoch := p.Leader(); epoch == leader.Image().Partition("t", 0).LeaderEpoch && x.offsets(id, "t").LogEnd >= at.LogEnd &&
			string(bytesOf(x.t, p.Log())) == string(bytesOf(x.t, x.partition(x.lead, "t", 0).Log())) {
			x.decide(x.lead, append(slices.Clone(x.isr), id))
			return
		}
	}
}

// check ends all trouble, and compares what is there with what was acknowledged.
func (x *chaos) check() {
	x.restart()
	for id := range int32(3) {
		x.hear(id)
		for other := range id {
			x.separate(id, other, false)
		}
	}
	x.decide(x.lead, x.isr)
	time.Sleep(2 * settled)
	x.same("t", 0, 0, 1)
	x.same("t", 0, 0, 2)
	var there []string
	log := x.partition(x.lead, "t", 0).Log()
	if err := log.Batches(context.Background(), 0, func(b record.Batch) error {
		return x.node(0).codecs.Records(b, func(r *record.Record) error {
			there = append(there, string(r.Value))
			return nil
		})
	}); err != nil {
		x.t.Fatal(err)
	}
	at := 0
	for _, value := range x.acked {
		i := slices.Index(there[at:], value)
		if i < 0 {
			x.t.Errorf("%s was acknowledged and is gone, or out of order: %v", value, there)
			break
		}
		at += i + 1
	}
	if x.t.Failed() {
		x.t.Log(x.trace.String())
	}
}

// TestAcknowledgedOutlives runs random elections, cuts and crashes (for as many seeds as OTTLA_SIM_SEEDS says): the replicas end equal, with all that was acknowledged.
func TestAcknowledgedOutlives(t *testing.T) {
	seeds := 30
	if s := os.Getenv("OTTLA_SIM_SEEDS"); s != "" {
		var err error
		if seeds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	acked := 0
	for seed := range seeds {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &chaos{
					cluster: newCluster(t, 3, map[string]string{"replica.fetch.wait.max.ms": "100"}), rng: rand.New(rand.NewPCG(uint64(seed), 1)),
					isr: []int32{0, 1, 2}, stale: map[int32]bool{}, down: map[int32]vfs.FS{},
				}
				x.delay = func() time.Duration { return time.Duration(rand.IntN(40)) * time.Millisecond }
				x.topic("t", 1, map[string]string{"min.insync.replicas": "2"}, 0, 1, 2)
				for range 200 {
					x.step()
				}
				x.check()
				acked += len(x.acked)
			})
		})
	}
	if acked < seeds*5 {
		t.Errorf("only %d records were acknowledged with %d seeds", acked, seeds)
	}
}
