package txn

import (
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// DescribeTransactions describes transactional ids, in the order of the request.
func (c *Coordinator) DescribeTransactions(req *kmsg.DescribeTransactionsRequest) *runtime.Future[*kmsg.DescribeTransactionsResponse] {
	future := runtime.NewFuture[*kmsg.DescribeTransactionsResponse]()
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	all := runtime.Gather(len(req.TransactionalIDs), func(states []kmsg.DescribeTransactionsResponseTransactionState) {
		resp.TransactionStates = states
		future.Complete(resp)
	})
	for i, id := range req.TransactionalIDs {
		id := strings.Clone(id)
		fail := func(err error) {
			state := kmsg.NewDescribeTransactionsResponseTransactionState()
			state.TransactionalID, state.ErrorCode = id, int16(runtime.CodeFor(err))
			all.Set(i, state)
		}
		if id == "" {
			fail(protocol.InvalidRequest)
			continue
		}
		c.runtime.Read(c.PartitionFor(id), func(s *shard, _ runtime.Env) {
			t := s.transactions[id]
			if t == nil {
				fail(protocol.TransactionalIDNotFound)
				return
			}
			all.Set(i, t.describe())
		}, fail)
	}
	return future
}

func (t *transaction) describe() kmsg.DescribeTransactionsResponseTransactionState {
	d := kmsg.NewDescribeTransactionsResponseTransactionState()
	d.TransactionalID, d.State = t.id, t.state.String()
	d.TimeoutMillis, d.StartTimestamp = t.timeout, t.start
	d.ProducerID, d.ProducerEpoch = t.producerID, t.producerEpoch
	for _, topic := range recordTopics(t.partitions) {
		d.Topics = append(d.Topics, kmsg.DescribeTransactionsResponseTransactionStateTopic{Topic: topic.Topic, Partitions: topic.Partitions})
	}
	return d
}

// listFilter says which transactional ids a ListTransactions asks for.
type listFilter struct {
	states      []state // that count where some were asked for
	byState     bool
	producerIDs []int64
	duration    int64          // ms; only longer ones, negative: all
	pattern     *regexp.Regexp // of the whole id; nil: all
}

func (f *listFilter) matches(t *transaction, now int64) bool {
	switch {
	case len(f.producerIDs) > 0 && !slices.Contains(f.producerIDs, t.producerID):
		return false
	case f.byState && !slices.Contains(f.states, t.state):
		return false
	case f.duration >= 0 && now-t.start <= f.duration: // an id without a transaction began before all time, as in Kafka
		return false
	default:
		return f.pattern == nil || f.pattern.MatchString(t.id)
	}
}

// ListTransactions lists the transactional ids that this broker coordinates: CoordinatorLoadInProgress while some of them are being loaded.
func (c *Coordinator) ListTransactions(req *kmsg.ListTransactionsRequest) *runtime.Future[*kmsg.ListTransactionsResponse] {
	future := runtime.NewFuture[*kmsg.ListTransactionsResponse]()
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	filter := &listFilter{byState: len(req.StateFilters) > 0, producerIDs: slices.Clone(req.ProducerIDFilters), duration: -1}
	var unknown []string
	for _, name := range req.StateFilters {
		if s, ok := stateNamed(name); ok {
			filter.states = append(filter.states, s)
		} else if !slices.Contains(unknown, name) {
			unknown = append(unknown, strings.Clone(name))
		}
	}
	if req.Version >= 1 {
		filter.duration = req.DurationFilterMillis
	}
	if p := req.TransactionalIDPattern; req.Version >= 2 && p != nil && *p != "" {
		var err error
		if filter.pattern, err = regexp.Compile("^(?:" + strings.Clone(*p) + ")$"); err != nil {
			resp.ErrorCode = int16(protocol.InvalidRegularExpression)
			future.Complete(resp)
			return future
		}
	}
	type part struct {
		states []kmsg.ListTransactionsResponseTransactionState
		err    error
	}
	partitions := c.runtime.Partitions()
	all := runtime.Gather(len(partitions), func(parts []part) {
		resp.UnknownStateFilters = unknown
		for _, p := range parts {
			if code := runtime.CodeFor(p.err); code != protocol.None && code != protocol.NotCoordinator {
				resp.TransactionStates, resp.UnknownStateFilters, resp.ErrorCode = nil, nil, int16(code)
				break
			}
			resp.TransactionStates = append(resp.TransactionStates, p.states...)
		}
		future.Complete(resp)
	})
	for i, partition := range partitions {
		c.runtime.Read(partition, func(s *shard, env runtime.Env) {
			all.Set(i, part{states: s.list(filter, env.Now.UnixMilli())})
		}, func(err error) { all.Set(i, part{err: err}) })
	}
	return future
}

func (s *shard) list(f *listFilter, now int64) []kmsg.ListTransactionsResponseTransactionState {
	var states []kmsg.ListTransactionsResponseTransactionState
	for _, t := range s.transactions {
		if f.matches(t, now) {
			states = append(states, kmsg.ListTransactionsResponseTransactionState{
				TransactionalID: t.id, ProducerID: t.producerID, TransactionState: t.state.String(),
			})
		}
	}
	return states
}
