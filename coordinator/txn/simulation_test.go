package txn

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

func schemaOf(records ...schema.MetadataRecord) []schema.MetadataRecord { return records }

// told is what a client knows of a transaction of its own.
type told uint8

const (
	neverCommitted told = iota // it did not ask for a commit
	askedToCommit              // it did, and was not told that it was done
	committed
)

// simClient is one producer that repeats its requests until it has an answer.
type simClient struct {
	w       *world
	id      string
	old     bool // keeps its epoch
	is      producer
	written map[string][]protocol.TopicPartition // by transaction
	knows   map[string]told
}

func newSimClient(w *world, id string, old bool) *simClient {
	return &simClient{w: w, id: id, old: old, written: map[string][]protocol.TopicPartition{}, knows: map[string]told{}}
}

// ask repeats a request until the answer is one that does not go away.
func ask[R any](s *simClient, request func(*Coordinator) *runtime.Future[R], code func(R) int16) (R, protocol.Code) {
	for start := time.Now(); ; {
		resp, err := request(s.w.coordinator()).Wait(s.w.t.Context())
		if err != nil || time.Since(start) > 3*time.Minute {
			s.w.t.Errorf("%s: no good answer, last %v, %v", s.id, protocol.Code(code(resp)), err)
			return resp, protocol.UnknownServerError
		}
		s.w.mu.Lock()
		lost, wait := s.w.chance(s.w.faults.lost), time.Duration(1+s.w.rand.IntN(20))*time.Millisecond
		s.w.mu.Unlock()
		switch c := protocol.Code(code(resp)); {
		case c == protocol.ConcurrentTransactions, c == protocol.NotCoordinator, c == protocol.CoordinatorLoadInProgress, c == protocol.CoordinatorNotAvailable:
		case !lost:
			return resp, c
		}
		time.Sleep(wait)
	}
}

func (s *simClient) init() {
	resp, code := ask(s, func(c *Coordinator) *runtime.Future[*kmsg.InitProducerIDResponse] {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 5, &s.id, 2000
		return c.InitProducerID(req)
	}, func(r *kmsg.InitProducerIDResponse) int16 { return r.ErrorCode })
	if code != protocol.None {
		s.w.t.Errorf("%s: init: %v", s.id, code)
	}
	s.is = producer{resp.ProducerID, resp.ProducerEpoch}
}

// add adds a partition, and says whether the producer may go on.
func (s *simClient) add(tp protocol.TopicPartition) bool {
	var code protocol.Code
	if s.old {
		_, code = ask(s, func(c *Coordinator) *runtime.Future[*kmsg.AddPartitionsToTxnResponse] {
			req := kmsg.NewPtrAddPartitionsToTxnRequest()
			req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 3, s.id, s.is.id, s.is.epoch
			req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: tp.Topic, Partitions: []int32{tp.Partition}}}
			return c.AddPartitionsToTxn(req)
		}, func(r *kmsg.AddPartitionsToTxnResponse) int16 { return r.Topics[0].Partitions[0].ErrorCode })
	} else {
		_, code = ask(s, func(c *Coordinator) *runtime.Future[*kmsg.AddPartitionsToTxnResponse] {
			req := kmsg.NewPtrAddPartitionsToTxnRequest()
			req.Version = 5
			req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
				TransactionalID: s.id, ProducerID: s.is.id, ProducerEpoch: s.is.epoch,
				Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: tp.Topic, Partitions: []int32{tp.Partition}}},
			}}
			return c.AddPartitionsToTxn(req)
		}, func(r *kmsg.AddPartitionsToTxnResponse) int16 {
			return r.Transactions[0].Topics[0].Partitions[0].ErrorCode
		})
	}
	return s.mayGoOn(code)
}

// mayGoOn wants an answer that is fine, or that tells a producer that it is fenced.
func (s *simClient) mayGoOn(code protocol.Code) bool {
	switch code {
	case protocol.None:
		return true
	case protocol.ProducerFenced, protocol.InvalidProducerIDMapping, protocol.InvalidTxnState:
		return false
	default:
		s.w.t.Errorf("%s: %v", s.id, code)
		return false
	}
}

func (s *simClient) end(commit bool) bool {
	resp, code := ask(s, func(c *Coordinator) *runtime.Future[*kmsg.EndTxnResponse] {
		req := kmsg.NewPtrEndTxnRequest()
		req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 5, s.id, s.is.id, s.is.epoch, commit
		if s.old {
			req.Version = 4
		}
		return c.EndTxn(req)
	}, func(r *kmsg.EndTxnResponse) int16 { return r.ErrorCode })
	if code == protocol.None && !s.old {
		s.is = producer{resp.ProducerID, resp.ProducerEpoch}
	}
	return s.mayGoOn(code)
}

// transact runs one transaction over partitions, and says whether the producer may go on.
func (s *simClient) transact(name string, partitions []protocol.TopicPartition, commit bool) bool {
	for _, tp := range partitions {
		if !s.add(tp) {
			return false
		}
		if !s.w.produce(tp, s.is, name) {
			return false
		}
		s.written[name] = append(s.written[name], tp)
	}
	if commit {
		s.knows[name] = askedToCommit
	}
	if !s.end(commit) {
		return false
	}
	if commit {
		s.knows[name] = committed
	}
	return true
}

// run runs transactions of random shape; now and then the client forgets who it was.
func (s *simClient) run(rounds int) {
	all := []protocol.TopicPartition{{Topic: "a"}, {Topic: "a", Partition: 1}, {Topic: "a", Partition: 2}, {Topic: "a", Partition: 3}, {Topic: "b"}}
	s.init()
	for i := range rounds {
		s.w.mu.Lock()
		r := s.w.rand
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		partitions, commit, forgets, idles := slices.Clone(all[:1+r.IntN(len(all))]), r.IntN(10) < 7, r.IntN(20) == 0, r.IntN(30) == 0
		s.w.mu.Unlock()
		name := fmt.Sprintf("%s.%d", s.id, i)
		if idles { // its transaction takes too long
			if s.add(partitions[0]) && s.w.produce(partitions[0], s.is, name) {
				s.written[name] = partitions[:1]
			}
			time.Sleep(15 * time.Second)
		}
		if !s.transact(name, partitions, commit) || forgets {
			s.init()
		}
	}
}

// check holds the invariants: nothing is open, a transaction is seen in all its partitions or in none, and as its client was told.
func (w *world) check(clients ...*simClient) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[string]int{}
	for tp, p := range w.partitions {
		open := map[int64][]string{}
		for _, e := range p.entries {
			if !e.marker {
				open[e.producerID] = append(open[e.producerID], e.transaction)
				continue
			}
			if e.commit {
				for _, name := range open[e.producerID] {
					seen[name]++
				}
			}
			delete(open, e.producerID)
		}
		if len(open) > 0 {
			w.t.Errorf("%v: transactions that nobody ended: %v", tp, open)
		}
	}
	for _, c := range clients {
		for name, partitions := range c.written {
			knows, n := c.knows[name], seen[name]
			if n != 0 && n != len(partitions) {
				w.t.Errorf("%s is seen %d times in %d partitions", name, n, len(partitions))
			}
			if knows == neverCommitted && n != 0 {
				w.t.Errorf("%s was not committed, and is seen", name)
			}
			if knows == committed && n == 0 {
				w.t.Errorf("%s was committed, and is not seen", name)
			}
		}
	}
}

// settle lets everything come to its end without further faults.
func (w *world) settle() {
	w.t.Helper()
	w.mu.Lock()
	w.faults = faults{}
	w.mu.Unlock()
	if w.isDead() {
		w.restart()
	}
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	req := kmsg.NewPtrListTransactionsRequest()
	for _, s := range runtimetest.Now(w.t, w.coordinator().ListTransactions(req)).TransactionStates {
		if st, _ := stateNamed(s.TransactionState); !st.idle() {
			w.t.Errorf("%s is %s in the end", s.TransactionalID, s.TransactionState)
		}
	}
}

// TestADeathAtEachStep runs two transactions, and lets the coordinator die at each append and each marker in turn: before it has its effect, and after.
func TestADeathAtEachStep(t *testing.T) {
	partitions := []protocol.TopicPartition{{Topic: "a"}, {Topic: "a", Partition: 1}, {Topic: "a", Partition: 2}, {Topic: "b"}}
	for _, old := range []bool{false, true} {
		for _, dieAfter := range []bool{false, true} {
			steps := 1
			for die := 1; die <= steps; die++ {
				t.Run(fmt.Sprintf("old client %v, step %d, after %v", old, die, dieAfter), func(t *testing.T) {
					inWorld(t, uint64(die), faults{dieAt: die, dieAfter: dieAfter}, func(w *world) {
						c := newSimClient(w, "tx", old)
						var done sync.WaitGroup
						done.Go(func() {
							c.init()
							for i, commit := range []bool{true, false, true} {
								if !c.transact(fmt.Sprint("transaction ", i), partitions, commit) {
									t.Errorf("transaction %d: the producer was fenced", i)
								}
							}
						})
						w.keepAlive(done.Wait)
						w.settle()
						w.check(c)
						steps = max(steps, min(w.steps, 40))
						for i, want := range []told{committed, neverCommitted, committed} {
							if got := c.knows[fmt.Sprint("transaction ", i)]; got != want {
								t.Errorf("transaction %d: %v, want %v", i, got, want)
							}
						}
					})
				})
			}
			if steps < 20 {
				t.Errorf("only %d steps", steps)
			}
		}
	}
}

// keepAlive elects a coordinator after each death, until wait returns.
func (w *world) keepAlive(wait func()) {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		case <-time.After(5 * time.Millisecond):
			if w.isDead() {
				w.restart()
			}
		}
	}
}

// preload gives ids a producer whose epochs are nearly used up.
func (w *world) preload(ids ...string) {
	w.t.Helper()
	b := record.NewBuilder()
	for i, id := range ids {
		r := transactionRecord(id, &snapshot{
			producerID: int64(10 + i), previousProducerID: int64(10 + i), nextProducerID: noProducerID, producerEpoch: lastEpoch - 15, state: empty,
			start: noStart, timeout: 2000,
		}, 2)
		b.Add(0, r.Key, r.Value)
	}
	if err := w.log.Put(b); err != nil {
		w.t.Fatal(err)
	}
	w.log.Commit(-1)
	w.restart()
}

// TestSimulation runs many clients (for as many seeds as OTTLA_SIM_SEEDS says, from OTTLA_SIM_FIRST on) while the coordinator dies at random steps and leaders answer with errors or not at all.
func TestSimulation(t *testing.T) {
	first, seeds := uint64(0), uint64(12)
	for name, value := range map[string]*uint64{"OTTLA_SIM_FIRST": &first, "OTTLA_SIM_SEEDS": &seeds} {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			*value = n
		}
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, seed, faults{refused: 100, lost: 50, dies: 8}, func(w *world) {
				w.preload("tx1", "tx2")
				var clients []*simClient
				var done sync.WaitGroup
				for i := range 6 {
					c := newSimClient(w, fmt.Sprint("tx", i), i%3 == 2)
					clients = append(clients, c)
					done.Go(func() { c.run(40) })
				}
				w.keepAlive(done.Wait)
				w.settle()
				w.check(clients...)
				if w.epoch < 6 {
					t.Errorf("the coordinator died only %d times", w.epoch-1)
				}
			})
		})
	}
}
