package parity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// initProducer is InitProducerId of a transactional id, by a producer that says who it was (nil: nothing).
func initProducer(version int16, txn *string, timeout int32, as *producer) *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = version, txn, timeout, -1, -1
	if as != nil {
		req.ProducerID, req.ProducerEpoch = as.id, as.epoch
	}
	return req
}

func (p *producer) endTxn(version int16, commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = version, p.txn, p.id, p.epoch, commit
	return req
}

func (p *producer) addOffsets(version int16, group string) *kmsg.AddOffsetsToTxnRequest {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = version, p.txn, p.id, p.epoch, group
	return req
}

// addTo is AddPartitionsToTxn as brokers send it.
func (p *producer) addTo(version int16, verify bool, topics ...kmsg.AddPartitionsToTxnRequestTransactionTopic) kmsg.AddPartitionsToTxnRequestTransaction {
	return kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: p.txn, ProducerID: p.id, ProducerEpoch: p.epoch, VerifyOnly: verify, Topics: topics}
}

func addBatched(version int16, transactions ...kmsg.AddPartitionsToTxnRequestTransaction) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.Transactions = version, transactions
	return req
}

func addTopic(topic string, partitions ...int32) kmsg.AddPartitionsToTxnRequestTransactionTopic {
	return kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: topic, Partitions: partitions}
}

func describeTransactions(ids ...string) *kmsg.DescribeTransactionsRequest {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = ids
	return req
}

// producerNames gives producer ids numbers in the order in which a conversation sees them: each server has its own ids. It also sorts what has no order,
// makes times that are set 1, and of a list keeps the ids that begin with a prefix.
func producerNames(prefix string) option {
	names := map[int64]int64{}
	name := func(id int64) int64 {
		if id < 0 {
			return id
		}
		if _, ok := names[id]; !ok {
			names[id] = int64(len(names)) + 1_000_000
		}
		return names[id]
	}
	return func(_ server, answer kmsg.Response) {
		switch r := answer.(type) {
		case *kmsg.InitProducerIDResponse:
			r.ProducerID = name(r.ProducerID)
		case *kmsg.EndTxnResponse:
			r.ProducerID = name(r.ProducerID)
		case *kmsg.AddPartitionsToTxnResponse:
			sortAdded(r)
		case *kmsg.DescribeTransactionsResponse:
			for i := range r.TransactionStates {
				s := &r.TransactionStates[i]
				if s.ErrorCode == 0 {
					s.ProducerID = name(s.ProducerID)
				}
				s.StartTimestamp = min(s.StartTimestamp, 1)
				slices.SortFunc(s.Topics, func(a, b kmsg.DescribeTransactionsResponseTransactionStateTopic) int {
					return cmp.Compare(a.Topic, b.Topic)
				})
				for _, t := range s.Topics {
					slices.Sort(t.Partitions)
				}
			}
		case *kmsg.ListTransactionsResponse:
			slices.Sort(r.UnknownStateFilters)
			r.TransactionStates = slices.DeleteFunc(r.TransactionStates, func(s kmsg.ListTransactionsResponseTransactionState) bool {
				return !strings.HasPrefix(s.TransactionalID, prefix)
			})
			slices.SortFunc(r.TransactionStates, func(a, b kmsg.ListTransactionsResponseTransactionState) int {
				return cmp.Compare(a.TransactionalID, b.TransactionalID)
			})
			for i := range r.TransactionStates {
				r.TransactionStates[i].ProducerID = name(r.TransactionStates[i].ProducerID)
			}
		}
	}
}

func sortAdded(r *kmsg.AddPartitionsToTxnResponse) {
	slices.SortFunc(r.Transactions, func(a, b kmsg.AddPartitionsToTxnResponseTransaction) int {
		return cmp.Compare(a.TransactionalID, b.TransactionalID)
	})
	for _, txn := range r.Transactions {
		slices.SortFunc(txn.Topics, func(a, b kmsg.AddPartitionsToTxnResponseTransactionTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		for _, t := range txn.Topics {
			slices.SortFunc(t.Partitions, func(a, b kmsg.AddPartitionsToTxnResponseTransactionTopicPartition) int {
				return cmp.Compare(a.Partition, b.Partition)
			})
		}
	}
	slices.SortFunc(r.Topics, func(a, b kmsg.AddPartitionsToTxnResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	for _, t := range r.Topics {
		slices.SortFunc(t.Partitions, func(a, b kmsg.AddPartitionsToTxnResponseTopicPartition) int {
			return cmp.Compare(a.Partition, b.Partition)
		})
	}
}

// txnInit is FindCoordinator and InitProducerId of transactional ids.
func txnInit(c *conversation) {
	cl, names := c.dial("parity"), producerNames("init")
	cl.transactionalProducer("init-first")
	for _, v := range versions(1, 6) {
		ask[*kmsg.FindCoordinatorResponse](cl, "a transactional id", findCoordinator(v, 1, "init-first"))
		ask[*kmsg.FindCoordinatorResponse](cl, "empty", findCoordinator(v, 1, ""))
		if v >= 4 {
			ask[*kmsg.FindCoordinatorResponse](cl, "several", findCoordinator(v, 1, "b", "a", "b", "ä"))
		}
	}
	for _, v := range versions(0, 5) {
		txn := fmt.Sprintf("init-%d", v)
		try := func(label string, id *string, timeout int32, as *producer) producer {
			r := ask[*kmsg.InitProducerIDResponse](cl, label, initProducer(v, id, timeout, as), names)
			return producer{id: r.ProducerID, epoch: r.ProducerEpoch}
		}
		for _, timeout := range []int32{0, -1, 900_001, 1 << 30} {
			try(fmt.Sprintf("timeout %d", timeout), &txn, timeout, nil)
		}
		try("empty", ptr(""), 60_000, nil)
		try("empty, and a bad timeout", ptr(""), 0, nil)
		try("none, and a bad timeout", nil, 0, nil)
		p := try("first", &txn, 900_000, nil)
		try("second", &txn, 1, nil)
		if v < 3 {
			continue
		}
		one := func(id int64, epoch int16) *producer { return &producer{id: id, epoch: epoch} }
		try("an id without an epoch", &txn, 60_000, one(p.id, -1))
		try("an epoch without an id", &txn, 60_000, one(-1, 0))
		try("neither, without a transactional id", nil, 60_000, one(5, -1))
		try("fenced", &txn, 60_000, one(p.id, 0))
		try("another producer id", &txn, 60_000, one(p.id+100_000, 1))
		try("recovers", &txn, 60_000, one(p.id, 1))
		try("recovers, told twice", &txn, 60_000, one(p.id, 1))
		try("recovers again", &txn, 60_000, one(p.id, 2))
		try("of the epoch before the last", &txn, 60_000, one(p.id, 1))
		try("of a later epoch", &txn, 60_000, one(p.id, 9))
		try("of a new transactional id", ptr(txn+"-new"), 60_000, one(12345, 7))
		try("another instance", &txn, 60_000, nil)
		try("recovers after another instance", &txn, 60_000, one(p.id, 3))
		ask[*kmsg.DescribeTransactionsResponse](cl, "describe", describeTransactions(txn, txn+"-new"), names)
	}
}

// txnStates is every request of a producer in every state that stays.
func txnStates(c *conversation) {
	cl, names := c.dial("parity"), producerNames("states")
	cl.createTopic("states", 3)
	n := 0
	// in brings a new transactional id into a state; with the versions that bump the epoch of every transaction, or those that do not.
	in := func(state string, bump bool) *producer {
		n++
		p := cl.transactionalProducer(fmt.Sprintf("states-%d", n))
		version := int16(4)
		if bump {
			version = 5
		}
		if state != "Empty" {
			p.added("states", 0)
		}
		if kind, complete := strings.CutPrefix(state, "Complete"); complete {
			p.end(version, kind == "Commit")
		}
		return p
	}
	look := func(p *producer) {
		ask[*kmsg.DescribeTransactionsResponse](cl, "afterwards", describeTransactions(p.txn), names)
	}
	// each is the producer as it is, with the epoch before and after, with another id, and under an id that is not known.
	each := func(label string, state string, bump bool, request func(label string, p *producer)) {
		for _, as := range []string{"current", "before", "after", "another", "unknown"} {
			p := in(state, bump)
			q := *p
			switch as {
			case "before":
				q.epoch--
			case "after":
				q.epoch++
			case "another":
				q.id += 50_000
			case "unknown":
				q.txn = "states-unknown"
			}
			request(fmt.Sprintf("%s, %s, bump %v, %s", label, state, bump, as), &q)
			cl.noMarkersDue(p.txn)
			look(p)
		}
	}
	for _, state := range []string{"Empty", "Ongoing", "CompleteCommit", "CompleteAbort"} {
		for _, bump := range []bool{false, true} {
			if bump && !strings.HasPrefix(state, "Complete") {
				continue
			}
			for _, commit := range []bool{true, false} {
				for _, v := range []int16{1, 2, 4, 5} {
					each(fmt.Sprintf("end %v", commit), state, bump, func(label string, p *producer) {
						ask[*kmsg.EndTxnResponse](cl, label, p.endTxn(v, commit), names)
					})
				}
			}
			for _, v := range []int16{1, 3} {
				each("add", state, bump, func(label string, p *producer) {
					ask[*kmsg.AddPartitionsToTxnResponse](cl, label, p.add(v, "states", 1, 2), names)
				})
			}
			for _, v := range []int16{4, 5} {
				for _, verify := range []bool{true, false} {
					each(fmt.Sprintf("add from a broker, verify %v", verify), state, bump, func(label string, p *producer) {
						ask[*kmsg.AddPartitionsToTxnResponse](cl, label, addBatched(v, p.addTo(v, verify, addTopic("states", 0, 1))), names)
					})
				}
			}
			for _, v := range []int16{1, 4} {
				each("add offsets", state, bump, func(label string, p *producer) {
					ask[*kmsg.AddOffsetsToTxnResponse](cl, label, p.addOffsets(v, "states-group"))
				})
			}
			each("init", state, bump, func(label string, p *producer) {
				ask[*kmsg.InitProducerIDResponse](cl, label, initProducer(5, &p.txn, 30_000, p), names)
			})
		}
	}
}

// noMarkersDue waits until no markers of a transaction are on their way.
func (cl *client) noMarkersDue(txn string) {
	until(cl, "settled", describeTransactions(txn), func(r *kmsg.DescribeTransactionsResponse) bool {
		return !strings.HasPrefix(r.TransactionStates[0].State, "Prepare")
	})
}

// txnPartitions is AddPartitionsToTxn and AddOffsetsToTxn in every version.
func txnPartitions(c *conversation) {
	cl, names := c.dial("parity"), producerNames("added")
	cl.createTopic("added", 3)
	cl.coordinated("added")
	for _, v := range versions(0, 3) {
		p := cl.transactionalProducer(fmt.Sprintf("added-%d", v))
		add := func(label string, topics ...kmsg.AddPartitionsToTxnRequestTopic) {
			req := p.add(v, "added")
			req.Topics = topics
			ask[*kmsg.AddPartitionsToTxnResponse](cl, label, req, names)
		}
		topic := func(name string, partitions ...int32) kmsg.AddPartitionsToTxnRequestTopic {
			return kmsg.AddPartitionsToTxnRequestTopic{Topic: name, Partitions: partitions}
		}
		add("an unknown partition", topic("added", 0, 1, 9))
		add("an unknown topic", topic("added", 0), topic("nowhere-to-add", 0))
		add("an internal topic", topic("added", 0), topic("__consumer_offsets", 0))
		add("an illegal name", topic("added", 0), topic("a/b", 0))
		ask[*kmsg.DescribeTransactionsResponse](cl, "nothing added", describeTransactions(p.txn), names)
		add("one", topic("added", 0))
		add("again", topic("added", 0))
		add("more", topic("added", 2, 1))
		ask[*kmsg.AddOffsetsToTxnResponse](cl, "offsets", p.addOffsets(v, "added"))
		ask[*kmsg.AddOffsetsToTxnResponse](cl, "offsets of no group", p.addOffsets(v, ""))
		ask[*kmsg.DescribeTransactionsResponse](cl, "all added", describeTransactions(p.txn), names)
		p.txn = ""
		add("empty id", topic("added", 0))
		ask[*kmsg.AddOffsetsToTxnResponse](cl, "offsets, empty id", p.addOffsets(v, "added"))
		ask[*kmsg.EndTxnResponse](cl, "end, empty id", p.endTxn(v, true), names)
	}
	for _, v := range versions(4, 5) {
		p, q := cl.transactionalProducer(fmt.Sprintf("added-%d", v)), cl.transactionalProducer(fmt.Sprintf("added-%d-too", v))
		add := func(label string, transactions ...kmsg.AddPartitionsToTxnRequestTransaction) {
			ask[*kmsg.AddPartitionsToTxnResponse](cl, label, addBatched(v, transactions...), names)
		}
		add("verify before", p.addTo(v, true, addTopic("added", 0)))
		add("two", p.addTo(v, false, addTopic("added", 0, 1)), q.addTo(v, false, addTopic("added", 2), addTopic("__consumer_offsets", 1)))
		add("verify", p.addTo(v, true, addTopic("added", 0, 1, 2)), q.addTo(v, true, addTopic("added", 0, 2), addTopic("__consumer_offsets", 0, 1)))
		add("an unknown partition in one of two", p.addTo(v, false, addTopic("added", 2, 8)), q.addTo(v, true, addTopic("added", 2)))
		add("verify an unknown topic", p.addTo(v, true, addTopic("nowhere-to-add", 0), addTopic("added", 0)))
		ask[*kmsg.DescribeTransactionsResponse](cl, "all added", describeTransactions(p.txn, q.txn), names)
		empty := *p
		empty.txn = ""
		add("empty id", empty.addTo(v, false, addTopic("added", 0)))
		add("verify an empty id", empty.addTo(v, true, addTopic("added", 0)))
	}
}

// txnLists is DescribeTransactions and ListTransactions.
func txnLists(c *conversation) {
	cl, names := c.dial("parity"), producerNames("listed")
	cl.createTopic("listed", 2)
	cl.transactionalProducer("listed-empty")
	open := cl.transactionalProducer("listed-open")
	open.added("listed", 0, 1)
	done := cl.transactionalProducer("listed-done")
	done.added("listed", 0)
	done.end(5, true)
	ask[*kmsg.DescribeTransactionsResponse](cl, "several", describeTransactions("listed-open", "listed-unknown", "", "listed-empty", "listed-done", "listed-open"), names)
	ask[*kmsg.DescribeTransactionsResponse](cl, "none", describeTransactions(), names)
	for _, v := range versions(0, 2) {
		list := func(label string, set func(*kmsg.ListTransactionsRequest)) {
			req := kmsg.NewPtrListTransactionsRequest()
			req.Version = v
			set(req)
			ask[*kmsg.ListTransactionsResponse](cl, label, req, names)
		}
		list("all", func(*kmsg.ListTransactionsRequest) {})
		for _, states := range [][]string{
			{"Ongoing"}, {"Empty", "CompleteCommit"}, {"Nothing"}, {"Nothing", "Ongoing", "nothing"}, {"ongoing"}, {"Dead"}, {"PrepareEpochFence"}, {""}, {"Ongoing", "Ongoing"},
		} {
			list(fmt.Sprintf("states %q", states), func(r *kmsg.ListTransactionsRequest) { r.StateFilters = states })
		}
		for _, id := range []int64{open.id, -1, 1 << 40} {
			list("a producer id", func(r *kmsg.ListTransactionsRequest) { r.ProducerIDFilters = []int64{id} })
		}
		list("a producer id and a state", func(r *kmsg.ListTransactionsRequest) {
			r.ProducerIDFilters, r.StateFilters = []int64{open.id, done.id}, []string{"CompleteCommit"}
		})
		for _, ms := range []int64{-2, 0, 3_600_000} {
			list(fmt.Sprintf("%d ms", ms), func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = ms })
		}
		for _, pattern := range []string{"listed-.*", "listed", "listed-(open|done)", "(", "", ".*-empty", "[", "listed-open|x"} {
			list("pattern "+pattern, func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = &pattern })
		}
	}
}

// txnEpochs uses up the epochs of producers.
func txnEpochs(c *conversation) {
	cl, names := c.dial("parity"), producerNames("epochs")
	cl.createTopic("epochs", 1)
	for i, way := range []string{"end", "init", "recover", "fence"} {
		p := cl.transactionalProducer("epochs-" + way)
		for p.epoch < 32764 { // an abort of nothing takes an epoch
			r, outcome := cl.send("bump", p.endTxn(5, false)).read()
			if e, ok := r.(*kmsg.EndTxnResponse); !ok || (e.ErrorCode != 0 && e.ErrorCode != 51) {
				cl.abort("bump: %+v %s", r, outcome)
			} else if e.ErrorCode == 0 {
				p.epoch = e.ProducerEpoch
			}
		}
		cl.noMarkersDue(p.txn)
		for range 5 {
			switch i {
			case 0:
				p.added("epochs", 0)
				old := *p
				p.end(5, true)
				ask[*kmsg.EndTxnResponse](cl, "again", old.endTxn(5, true), names)
				ask[*kmsg.EndTxnResponse](cl, "the other way", old.endTxn(5, false), names)
				ask[*kmsg.InitProducerIDResponse](cl, "recovers with the old", initProducer(5, &p.txn, 60_000, &old), names)
				q := ask[*kmsg.InitProducerIDResponse](cl, "recovers", initProducer(5, &p.txn, 60_000, p), names)
				if q.ErrorCode == 0 {
					p.id, p.epoch = q.ProducerID, q.ProducerEpoch
				}
			case 1:
				q := ask[*kmsg.InitProducerIDResponse](cl, "init", initProducer(5, &p.txn, 60_000, nil), names)
				p.id, p.epoch = q.ProducerID, q.ProducerEpoch
			case 2:
				old := *p
				q := ask[*kmsg.InitProducerIDResponse](cl, "recovers", initProducer(5, &p.txn, 60_000, p), names)
				p.id, p.epoch = q.ProducerID, q.ProducerEpoch
				ask[*kmsg.InitProducerIDResponse](cl, "told twice", initProducer(5, &p.txn, 60_000, &old), names)
			case 3:
				p.added("epochs", 0)
				ask[*kmsg.InitProducerIDResponse](cl, "fences", initProducer(5, &p.txn, 60_000, nil), names)
				cl.noMarkersDue(p.txn)
				ask[*kmsg.DescribeTransactionsResponse](cl, "fenced", describeTransactions(p.txn), names)
				q := ask[*kmsg.InitProducerIDResponse](cl, "init", initProducer(5, &p.txn, 60_000, nil), names)
				p.id, p.epoch = q.ProducerID, q.ProducerEpoch
			}
			ask[*kmsg.DescribeTransactionsResponse](cl, "describe", describeTransactions(p.txn), names)
		}
	}
}
