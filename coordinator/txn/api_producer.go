package txn

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// The first versions whose clients know ProducerFenced; the others get InvalidProducerEpoch.
const (
	initFenced = 4
	addFenced  = 2
	endFenced  = 2
)

// codeFor is the code that a client of the version sees.
func codeFor(err error, version, fenced int16) int16 {
	code := runtime.CodeFor(err)
	if code == protocol.ProducerFenced && version < fenced {
		code = protocol.InvalidProducerEpoch
	}
	return int16(code)
}

// InitProducerID gives a transactional id, which the request must carry, its producer id and the next epoch. It is answered when that is durable.
func (c *Coordinator) InitProducerID(req *kmsg.InitProducerIDRequest) *runtime.Future[*kmsg.InitProducerIDResponse] {
	future := runtime.NewFuture[*kmsg.InitProducerIDResponse]()
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	reply := func(id int64, epoch int16, err error) {
		if err != nil {
			id, epoch = noProducerID, noEpoch
		}
		resp.ProducerID, resp.ProducerEpoch, resp.ErrorCode = id, epoch, codeFor(err, resp.Version, initFenced)
		future.Complete(resp)
	}
	fail := func(err error) { reply(noProducerID, noEpoch, err) }
	switch {
	case req.TransactionalID == nil || *req.TransactionalID == "":
		fail(protocol.InvalidRequest)
		return future
	case req.TransactionTimeoutMillis <= 0 || req.TransactionTimeoutMillis > c.settings.maxTimeout:
		fail(protocol.InvalidTransactionTimeout)
		return future
	}
	r := &initRequest{
		id: strings.Clone(*req.TransactionalID), timeout: req.TransactionTimeoutMillis, producerID: req.ProducerID, epoch: req.ProducerEpoch,
	}
	if req.Version < 3 { // has neither
		r.producerID, r.epoch = noProducerID, noEpoch
	}
	c.write(r.id, func(s *shard, env runtime.Env, newID idSource) (runtime.Result, error) {
		return s.initProducerID(env, r, newID, reply)
	}, fail)
	return future
}

// EndTxn commits or aborts a transaction. It is answered once the decision is durable; the markers follow.
func (c *Coordinator) EndTxn(req *kmsg.EndTxnRequest) *runtime.Future[*kmsg.EndTxnResponse] {
	future := runtime.NewFuture[*kmsg.EndTxnResponse]()
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	reply := func(id int64, epoch int16, err error) {
		if err != nil {
			id, epoch = noProducerID, noEpoch
		}
		resp.ProducerID, resp.ProducerEpoch, resp.ErrorCode = id, epoch, codeFor(err, resp.Version, endFenced)
		future.Complete(resp)
	}
	fail := func(err error) { reply(noProducerID, noEpoch, err) }
	if req.TransactionalID == "" {
		fail(protocol.InvalidRequest)
		return future
	}
	r := &endRequest{id: strings.Clone(req.TransactionalID), producerID: req.ProducerID, epoch: req.ProducerEpoch, commit: req.Commit}
	if req.Version >= 5 {
		r.clientVersion = epochBumpVersion
	}
	c.write(r.id, func(s *shard, env runtime.Env, newID idSource) (runtime.Result, error) {
		return s.endTxn(env, r, newID, reply)
	}, fail)
	return future
}

// AddOffsetsToTxn adds the partition of __consumer_offsets that holds the request's group to a transaction.
func (c *Coordinator) AddOffsetsToTxn(req *kmsg.AddOffsetsToTxnRequest, groupPartition int32) *runtime.Future[*kmsg.AddOffsetsToTxnResponse] {
	future := runtime.NewFuture[*kmsg.AddOffsetsToTxnResponse]()
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	c.add(&addRequest{
		id: strings.Clone(req.TransactionalID), producerID: req.ProducerID, epoch: req.ProducerEpoch,
		partitions: []protocol.TopicPartition{{Topic: protocol.GroupMetadataTopic, Partition: groupPartition}},
	}, func(err error) {
		resp.ErrorCode = codeFor(err, resp.Version, addFenced)
		future.Complete(resp)
	})
	return future
}

// AddPartitionsToTxn adds partitions to transactions; a transaction of version 4 and later that says VerifyOnly is only looked at. The results are in
// the order of the request.
func (c *Coordinator) AddPartitionsToTxn(req *kmsg.AddPartitionsToTxnRequest) *runtime.Future[*kmsg.AddPartitionsToTxnResponse] {
	future := runtime.NewFuture[*kmsg.AddPartitionsToTxnResponse]()
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	if req.Version < 4 {
		r := &addRequest{id: strings.Clone(req.TransactionalID), producerID: req.ProducerID, epoch: req.ProducerEpoch}
		for _, t := range req.Topics {
			r.partitions = c.appendPartitions(r.partitions, t.Topic, t.Partitions)
		}
		c.add(r, func(err error) {
			resp.Topics = addResults[kmsg.AddPartitionsToTxnResponseTopic](r, nil, codeFor(err, resp.Version, addFenced), v3Result)
			future.Complete(resp)
		})
		return future
	}
	all := runtime.Gather(len(req.Transactions), func(results []kmsg.AddPartitionsToTxnResponseTransaction) {
		resp.Transactions = results
		future.Complete(resp)
	})
	for i := range req.Transactions {
		txn := &req.Transactions[i]
		r := &addRequest{
			id: strings.Clone(txn.TransactionalID), producerID: txn.ProducerID, epoch: txn.ProducerEpoch, clientVersion: epochBumpVersion,
		}
		for _, t := range txn.Topics {
			r.partitions = c.appendPartitions(r.partitions, t.Topic, t.Partitions)
		}
		reply := func(codes []protocol.Code, err error) {
			result := kmsg.NewAddPartitionsToTxnResponseTransaction()
			result.TransactionalID = r.id
			result.Topics = addResults[kmsg.AddPartitionsToTxnResponseTransactionTopic](r, codes, codeFor(err, resp.Version, addFenced), v4Result)
			all.Set(i, result)
		}
		if txn.VerifyOnly {
			c.verify(r, reply)
		} else {
			c.add(r, func(err error) { reply(nil, err) })
		}
	}
	return future
}

func (c *Coordinator) add(r *addRequest, reply func(error)) {
	if r.id == "" {
		reply(protocol.InvalidRequest)
		return
	}
	c.write(r.id, func(s *shard, env runtime.Env, _ idSource) (runtime.Result, error) {
		return s.addPartitions(env, r, reply)
	}, reply)
}

func (c *Coordinator) verify(r *addRequest, reply func([]protocol.Code, error)) {
	fail := func(err error) { reply(nil, err) }
	if r.id == "" {
		fail(protocol.InvalidRequest)
		return
	}
	c.runtime.ReadHere(c.PartitionFor(r.id), func(s *shard, _ runtime.Env) { reply(s.verifyPartitions(r)) }, fail)
}

// appendPartitions adds partitions of a topic, under the metadata's own copy of its name where it has one.
func (c *Coordinator) appendPartitions(to []protocol.TopicPartition, topic string, partitions []int32) []protocol.TopicPartition {
	if known := c.o.Image().Topic(topic); known != nil {
		topic = known.Name
	} else {
		topic = strings.Clone(topic)
	}
	to = slices.Grow(to, len(partitions))
	for _, p := range partitions {
		to = append(to, protocol.TopicPartition{Topic: topic, Partition: p})
	}
	return to
}

// addResults makes the results of partitions, by topic: codes, or code for all.
func addResults[T any](r *addRequest, codes []protocol.Code, code int16, result func(to []T, r *addRequest, i int, code int16) []T) []T {
	var to []T
	for i := range r.partitions {
		if codes != nil {
			code = int16(codes[i])
		}
		to = result(to, r, i, code)
	}
	return to
}

func v3Result(to []kmsg.AddPartitionsToTxnResponseTopic, r *addRequest, i int, code int16) []kmsg.AddPartitionsToTxnResponseTopic {
	tp := r.partitions[i]
	if len(to) == 0 || to[len(to)-1].Topic != tp.Topic {
		to = append(to, kmsg.AddPartitionsToTxnResponseTopic{
			Topic: tp.Topic, Partitions: make([]kmsg.AddPartitionsToTxnResponseTopicPartition, 0, protocol.SameTopic(r.partitions[i:])),
		})
	}
	last := &to[len(to)-1]
	last.Partitions = append(last.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: tp.Partition, ErrorCode: code})
	return to
}

func v4Result(
	to []kmsg.AddPartitionsToTxnResponseTransactionTopic, r *addRequest, i int, code int16,
) []kmsg.AddPartitionsToTxnResponseTransactionTopic {
	tp := r.partitions[i]
	if len(to) == 0 || to[len(to)-1].Topic != tp.Topic {
		to = append(to, kmsg.AddPartitionsToTxnResponseTransactionTopic{
			Topic: tp.Topic, Partitions: make([]kmsg.AddPartitionsToTxnResponseTransactionTopicPartition, 0, protocol.SameTopic(r.partitions[i:])),
		})
	}
	last := &to[len(to)-1]
	last.Partitions = append(last.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: tp.Partition, ErrorCode: code})
	return to
}
