package txn

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// imageFrom tells images from offset on from older ones.
func imageFrom(offset int64) func(*metadata.Image) bool {
	return func(i *metadata.Image) bool { return i.Offset() >= offset }
}

func TestATransactionThatTakesTooLong(t *testing.T) {
	for _, version := range []int16{0, 1, 2} {
		run(t, nil, func(h *harness) {
			h.setVersion(version)
			p := h.init()
			h.must("add", h.add(3, p, 0))
			sleep(60 * time.Second)
			h.expect("Ongoing 101/0 [a-0]")
			sleep(10*time.Second + time.Millisecond)
			h.expect("CompleteAbort 101/1 []")
			if got := h.leaders.markers(); !slices.Equal(got, []string{"1 101/1 ABORT a-0"}) {
				t.Errorf("markers %v", got)
			}
			if code, _ := h.end(4, p, true); code != protocol.ProducerFenced {
				t.Errorf("commit: %v", code)
			}
		})
	}
}

func TestTheTimeRunsFromTheFirstPartition(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		sleep(time.Hour)
		h.must("add", h.add(5, p, 0))
		sleep(50 * time.Second)
		h.must("add", h.add(5, p, 1))
		sleep(20*time.Second + time.Millisecond)
		h.expect("CompleteAbort 101/1 []")
	})
}

func TestTransactionsTimeOutAfterALoad(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.must("add", h.add(5, h.init(), 0))
		h.restart()
		sleep(70*time.Second + time.Millisecond)
		h.expect("CompleteAbort 101/1 []")
	})
}

func TestATransactionOfTwoPhasesNeverTimesOut(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.load(snapshot{
			producerID: 7, previousProducerID: 7, nextProducerID: noProducerID, producerEpoch: 3, state: ongoing, start: 1, timeout: twoPhaseTimeout,
			partitions: []protocol.TopicPartition{{Topic: "a"}},
		})
		sleep(1000 * time.Hour)
		h.expect("Ongoing 7/3 [a-0]")
	})
}

func TestManyTransactionsTimeOutAtOnce(t *testing.T) {
	run(t, nil, func(h *harness) {
		const ids = 50
		for i := range ids {
			id := fmt.Sprint("tx", i)
			resp := runtimetest.Now(t, h.initAs(5, id, nil, 60_000))
			add := kmsg.NewPtrAddPartitionsToTxnRequest()
			add.Version, add.TransactionalID, add.ProducerID, add.Topics = 3, id, resp.ProducerID, []kmsg.AddPartitionsToTxnRequestTopic{
				{Topic: "b", Partitions: []int32{0}},
			}
			runtimetest.Now(t, h.c.AddPartitionsToTxn(add))
		}
		sleep(71 * time.Second)
		if got := h.leaders.markers(); len(got) != ids {
			t.Errorf("%d markers", len(got))
		}
		if got := h.list(0, nil); len(got) != ids {
			t.Errorf("%d ids", len(got))
		}
	})
}

func TestIDsThatNobodyUsesAreForgotten(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		const week = 7 * 24 * time.Hour
		sleep(week - 10*time.Minute)
		h.must("add", h.add(5, p, 0))
		ended, _ := h.end(5, p, true)
		h.must("commit", ended)
		runtimetest.Now(t, h.initAs(5, "unused", nil, 1000))
		sleep(week - time.Hour)
		h.expect("CompleteCommit 101/1 []")
		sleep(2 * time.Hour)
		h.expect("TRANSACTIONAL_ID_NOT_FOUND")
		if got := h.list(0, nil); len(got) != 0 {
			t.Errorf("left %v", got)
		}
		h.restart()
		if got := h.list(0, nil); len(got) != 0 {
			t.Errorf("left in the log: %v", got)
		}
		h.expectInit("a producer", nil, protocol.None, producer{103, 0})
	})
}

func TestNothingExpiresInATransaction(t *testing.T) {
	run(t, map[string]string{"transactional.id.expiration.ms": "1000", "transaction.remove.expired.transaction.cleanup.interval.ms": "1000"}, func(h *harness) {
		p := h.init()
		h.must("add", h.add(5, p, 0))
		sleep(10 * time.Second)
		h.expect("Ongoing 101/0 [a-0]")
		release := h.leaders.block()
		ended, _ := h.end(5, p, true)
		h.must("commit", ended)
		sleep(10 * time.Second)
		h.expect("PrepareCommit 101/1 [a-0]")
		release()
		sleep(3 * time.Second)
		h.expect("TRANSACTIONAL_ID_NOT_FOUND")
	})
}

func TestExpiryThatCannotBeWritten(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.init()
		h.log.Refuse(protocol.NotEnoughReplicas)
		sleep(8 * 24 * time.Hour)
		h.expect("Empty 101/0 []")
		h.log.Refuse(nil)
		sleep(2 * time.Hour)
		h.expect("TRANSACTIONAL_ID_NOT_FOUND")
	})
}

func TestManyIDsExpire(t *testing.T) {
	run(t, nil, func(h *harness) {
		const ids = 2*expiredAtOnce + 10
		for i := range ids {
			h.initAs(5, fmt.Sprint("tx", i), nil, 1000)
		}
		synctest.Wait()
		if got := h.list(0, nil); len(got) != ids {
			t.Errorf("%d ids", len(got))
		}
		sleep(7*24*time.Hour + 2*time.Hour)
		if got := h.list(0, nil); len(got) != 0 {
			t.Errorf("%d ids are left", len(got))
		}
	})
}

// list is the listed ids with their states, sorted.
func (h *harness) list(version int16, filter func(*kmsg.ListTransactionsRequest)) []string {
	h.t.Helper()
	req := kmsg.NewPtrListTransactionsRequest()
	req.Version = version
	if filter != nil {
		filter(req)
	}
	resp := runtimetest.Now(h.t, h.c.ListTransactions(req))
	if resp.ErrorCode != 0 {
		return []string{protocol.Code(resp.ErrorCode).String()}
	}
	var listed []string
	for _, s := range resp.TransactionStates {
		listed = append(listed, fmt.Sprint(s.TransactionalID, " ", s.TransactionState, " ", s.ProducerID))
	}
	slices.Sort(listed)
	return append(listed, resp.UnknownStateFilters...)
}

func TestListing(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		sleep(10 * time.Second)
		h.must("add", h.add(5, p, 0))
		runtimetest.Now(t, h.initAs(5, "other", nil, 1000))
		sleep(time.Second)
		const tx, other = "tx Ongoing 101", "other Empty 102"
		for name, c := range map[string]struct {
			filter func(*kmsg.ListTransactionsRequest)
			want   []string
		}{
			"all":             {nil, []string{other, tx}},
			"a state":         {func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Ongoing"} }, []string{tx}},
			"an unknown one":  {func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"What", "What"} }, []string{"What"}},
			"a producer":      {func(r *kmsg.ListTransactionsRequest) { r.ProducerIDFilters = []int64{102, 7} }, []string{other}},
			"a duration":      {func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 999 }, []string{other, tx}},
			"a longer one":    {func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 1000 }, []string{other}},
			"a pattern":       {func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = kmsg.StringPtr("t.") }, []string{tx}},
			"no pattern":      {func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = kmsg.StringPtr("") }, []string{other, tx}},
			"a broken one":    {func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = kmsg.StringPtr("(") }, []string{"INVALID_REGULAR_EXPRESSION"}},
			"part of an id":   {func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = kmsg.StringPtr("x|other") }, []string{other}},
			"a state of code": {func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"PrepareEpochFence", "Dead"} }, nil},
		} {
			if got := h.list(2, c.filter); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		h.c.Close()
		release := h.log.BlockLoads()
		h.start()
		if got := h.list(2, nil); !slices.Equal(got, []string{"COORDINATOR_LOAD_IN_PROGRESS"}) {
			t.Errorf("during the load: %v", got)
		}
		release()
	})
}
