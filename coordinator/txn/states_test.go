package txn

import (
	"fmt"
	"testing"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// load puts the record of testID into the log and starts again.
func (h *harness) load(s snapshot) {
	h.t.Helper()
	b := record.NewBuilder()
	r := transactionRecord(testID, &s, 2)
	b.Add(0, r.Key, r.Value)
	if err := h.log.Put(b); err != nil {
		h.t.Fatal(err)
	}
	h.log.Commit(-1)
	h.restart()
}

// inState is the transactional id in a state, with producer 7 of epoch 5 on a-0. Where markers are due they are not answered.
func (h *harness) inState(s state) {
	h.t.Helper()
	at := snapshot{producerID: 7, previousProducerID: 7, nextProducerID: noProducerID, producerEpoch: 5, timeout: 60_000, state: s, start: 1, lastUpdate: 1}
	switch {
	case s == empty:
		at.start = noStart
	case s == ongoing || s.preparing():
		at.partitions = []protocol.TopicPartition{{Topic: "a"}}
	}
	if s.preparing() {
		h.leaders.block()
	}
	h.load(at)
}

// TestEveryRequestInEveryState holds the table of answers by state, client and epoch. The epochs are the current one and the one before.
func TestEveryRequestInEveryState(t *testing.T) {
	const (
		ok         = protocol.None
		mapping    = protocol.InvalidProducerIDMapping
		fenced     = protocol.ProducerFenced
		concurrent = protocol.ConcurrentTransactions
		state48    = protocol.InvalidTxnState
	)
	type row struct {
		request string
		// by state: Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort
		want [6]protocol.Code
	}
	current, before, other := producer{7, 5}, producer{7, 4}, producer{8, 5}
	all := func(c protocol.Code) [6]protocol.Code { return [6]protocol.Code{c, c, c, c, c, c} }
	for _, p := range []struct {
		name string
		producer
	}{{"current", current}, {"before", before}, {"other", other}} {
		rows := map[string][]row{
			"current": {
				{"init", [6]protocol.Code{ok, concurrent, concurrent, concurrent, ok, ok}},
				{"recover", [6]protocol.Code{ok, concurrent, concurrent, concurrent, ok, ok}},
				{"add", [6]protocol.Code{ok, ok, concurrent, concurrent, ok, ok}},
				{"verify", [6]protocol.Code{120, ok, concurrent, concurrent, 120, 120}},
				{"commit4", [6]protocol.Code{state48, ok, concurrent, concurrent, ok, state48}},
				{"abort4", [6]protocol.Code{state48, ok, concurrent, concurrent, state48, ok}},
				{"commit5", [6]protocol.Code{state48, ok, concurrent, concurrent, state48, state48}},
				{"abort5", [6]protocol.Code{ok, ok, concurrent, concurrent, ok, ok}},
			},
			"before": {
				{"recover", [6]protocol.Code{fenced, concurrent, concurrent, concurrent, fenced, fenced}},
				{"add", [6]protocol.Code{fenced, fenced, concurrent, concurrent, fenced, fenced}},
				{"verify", all(fenced)},
				{"commit4", all(fenced)},
				{"abort4", all(fenced)},
				{"commit5", [6]protocol.Code{fenced, fenced, concurrent, concurrent, ok, state48}},
				{"abort5", [6]protocol.Code{fenced, fenced, concurrent, concurrent, state48, ok}},
			},
			"other": {
				{"recover", [6]protocol.Code{fenced, fenced, concurrent, concurrent, fenced, fenced}},
				{"add", [6]protocol.Code{mapping, mapping, concurrent, concurrent, mapping, mapping}},
				{"verify", all(mapping)},
				{"commit4", all(mapping)},
				{"abort4", all(mapping)},
				{"commit5", [6]protocol.Code{mapping, mapping, concurrent, concurrent, mapping, mapping}},
				{"abort5", [6]protocol.Code{mapping, mapping, concurrent, concurrent, mapping, mapping}},
			},
		}[p.name]
		for _, r := range rows {
			for s := empty; s <= completeAbort; s++ {
				t.Run(fmt.Sprintf("%s of the %s producer when %v", r.request, p.name, s), func(t *testing.T) {
					run(t, nil, func(h *harness) {
						h.inState(s)
						if got := h.request(r.request, p.producer); got != r.want[s] {
							t.Errorf("%v, want %v", got, r.want[s])
						}
					})
				})
			}
		}
	}
}

// request makes one of the table's requests.
func (h *harness) request(what string, p producer) protocol.Code {
	h.t.Helper()
	switch what {
	case "init":
		return protocol.Code(runtimetest.Now(h.t, h.initAs(5, testID, nil, 60_000)).ErrorCode)
	case "recover":
		return protocol.Code(runtimetest.Now(h.t, h.initAs(5, testID, &p, 60_000)).ErrorCode)
	case "add":
		return h.add(5, p, 0)
	case "verify":
		return h.verify(p, 0)[0]
	case "commit4", "abort4":
		code, _ := h.end(4, p, what == "commit4")
		return code
	default:
		code, _ := h.end(5, p, what == "commit5")
		return code
	}
}

func TestAnIDThatIsNotKnown(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := producer{7, 5}
		for what, want := range map[string]protocol.Code{
			"add": protocol.InvalidProducerIDMapping, "verify": protocol.InvalidProducerIDMapping, "commit4": protocol.InvalidProducerIDMapping,
			"abort5": protocol.InvalidProducerIDMapping, "recover": protocol.None,
		} {
			if what != "recover" {
				if got := h.request(what, p); got != want {
					t.Errorf("%s: %v, want %v", what, got, want)
				}
			}
		}
		h.expect("TRANSACTIONAL_ID_NOT_FOUND")
		if got := h.request("recover", p); got != protocol.None {
			t.Errorf("recover: %v", got)
		}
		h.expect("Empty 101/0 []")
	})
}

func TestCodesOfOldVersions(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.inState(ongoing)
		old := producer{7, 4}
		for version := int16(0); version <= 3; version++ {
			want := protocol.InvalidProducerEpoch
			if version >= 2 {
				want = protocol.ProducerFenced
			}
			if got := h.add(version, old, 0); got != want {
				t.Errorf("AddPartitionsToTxn v%d: %v, want %v", version, got, want)
			}
			if got, _ := h.end(version, old, true); got != want {
				t.Errorf("EndTxn v%d: %v, want %v", version, got, want)
			}
		}
		stranger := producer{8, 4}
		for version := int16(3); version <= 5; version++ {
			want := protocol.InvalidProducerEpoch
			if version >= 4 {
				want = protocol.ProducerFenced
			}
			if got := protocol.Code(runtimetest.Now(t, h.initAs(version, testID, &stranger, 60_000)).ErrorCode); got != want {
				t.Errorf("InitProducerId v%d: %v, want %v", version, got, want)
			}
		}
	})
}

func TestWhichStateFollowsWhich(t *testing.T) {
	want := map[state][]state{
		empty:          {empty, completeCommit, completeAbort},
		ongoing:        {ongoing, empty, completeCommit, completeAbort},
		prepareCommit:  {ongoing},
		prepareAbort:   {ongoing, empty, completeCommit, completeAbort},
		completeCommit: {prepareCommit},
		completeAbort:  {prepareAbort},
		dead:           {empty, completeCommit, completeAbort},
	}
	for next := empty; next <= prepareEpochFence; next++ {
		for previous := empty; previous <= prepareEpochFence; previous++ {
			allowed := false
			for _, s := range want[next] {
				allowed = allowed || s == previous
			}
			if next.follows(previous) != allowed {
				t.Errorf("%v after %v: %v, want %v", next, previous, !allowed, allowed)
			}
		}
	}
}
