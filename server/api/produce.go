package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
)

// Produce (0) appends records. Advertised from version 0, without which librdkafka does not compress (KAFKA-18659); served from 3.
//
//	v3     transactional id, record batches of magic 2 only (KIP-98)
//	v4     clients know KAFKA_STORAGE_ERROR
//	v5     log start offset
//	v7     zstd (KIP-110)
//	v8     record errors and an error message (KIP-467)
//	v9     flexible
//	v10    leader hints (KIP-951)
//	v11    clients know TRANSACTION_ABORTABLE (KIP-890)
//	v12    as v11; partitions join transactions by it (KIP-890 part 2)
//	v13    topic ids instead of names (KIP-516)
//
// Transactional records are in produce_txn.go.

// adminClientID is the client id by which Kafka lets its own tools write to internal topics.
const adminClientID = "__admin_client"

// produce is one request on its way.
type produce struct {
	node    *Node
	req     *kmsg.ProduceRequest
	resp    *kmsg.ProduceResponse
	image   *metadata.Image
	request *Request
	waits   []produceWait
	failed  bool // some partition has an error

	transactional int            // partitions with transactional records
	verifies      bool           // these are verified before they are appended
	later         []produceLater // partitions that wait for that
}

// produceWait is an append that is to be durable (flush.messages), or with acks=all committed, before the answer.
type produceWait struct {
	partition          *replication.Partition
	result             replication.ProduceResult
	topic, partitionAt int // in the response
}

func handleProduce(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ProduceRequest)
	p := &produce{node: n, req: req, resp: req.ResponseKind().(*kmsg.ProduceResponse), image: n.Image(), request: r}
	refused := p.refuse()
	if refused != nil && req.Acks == 0 {
		return fail(fmt.Errorf("a produce request with acks=0 failed: %w", refused))
	}
	p.resp.Topics = make([]kmsg.ProduceResponseTopic, 0, len(req.Topics))
	for i := range req.Topics {
		p.topic(&req.Topics[i], refused)
	}
	if len(p.later) > 0 {
		return Result{Later: func(ctx context.Context) Result {
			p.appendVerified(ctx)
			if ctx.Err() != nil {
				return fail(ctx.Err())
			}
			return p.answer()
		}}
	}
	return p.answer()
}

// answer answers a request whose records are appended.
func (p *produce) answer() Result {
	switch {
	case p.req.Acks == 0 && p.failed:
		p.node.Logger.Debug("an unacknowledged produce request failed", zap.Stringer("remote", p.request.Remote))
		return fail(errors.New("a partition of a produce request with acks=0 failed"))
	case p.req.Acks == 0 && !p.flushed():
		return fail(errors.New("records of a produce request with acks=0 did not reach the disk"))
	case p.req.Acks == 0:
		return Result{None: true}
	case len(p.waits) == 0:
		p.addEndpoints()
		return reply(p.resp)
	}
	acks, timeout := p.req.Acks, time.Duration(p.req.TimeoutMillis)*time.Millisecond
	p.req, p.request.Body = nil, nil // the records need not stay while their copies are awaited
	return Result{Detached: true, Later: func(ctx context.Context) Result { return p.await(ctx, acks, timeout) }}
}

// topicName is the name of a topic of the request, "" if it is not known, and what its partitions are answered then.
func (p *produce) topicName(t *kmsg.ProduceRequestTopic) (name string, unknown protocol.Code) {
	if p.req.Version < 13 {
		return t.Topic, protocol.UnknownTopicOrPartition
	}
	if known := p.image.TopicByID(t.TopicID); known != nil {
		return known.Name, protocol.UnknownTopicOrPartition
	}
	return "", protocol.UnknownTopicID
}

func (p *produce) topic(t *kmsg.ProduceRequestTopic, refused error) {
	name, unknown := p.topicName(t)
	out := kmsg.ProduceResponseTopic{
		Topic: t.Topic, TopicID: t.TopicID, Partitions: make([]kmsg.ProduceResponseTopicPartition, len(t.Partitions)),
	}
	at := len(p.resp.Topics)
	for i := range t.Partitions {
		in, answer := &t.Partitions[i], &out.Partitions[i]
		answer.Default()
		answer.Partition = in.Partition
		answer.BaseOffset = -1 // the other two are so by default
		if refused != nil {
			answer.ErrorCode = int16(protocol.CodeOf(refused))
			if p.req.Version >= 8 {
				answer.ErrorMessage = protocol.MessageOf(refused)
			}
			continue
		}
		if code := p.check(name, in, unknown); code != protocol.None {
			p.failed = true
			answer.ErrorCode = int16(code)
			continue
		}
		p.append(name, in, answer, at, i)
	}
	p.resp.Topics = append(p.resp.Topics, out)
}

// check finds what is wrong with one partition and its records before the log is asked, in Kafka's order.
func (p *produce) check(topic string, in *kmsg.ProduceRequestTopicPartition, unknown protocol.Code) protocol.Code {
	if p.image.Partition(topic, in.Partition) == nil {
		return unknown
	}
	if code := checkRecords(in.Records, p.req.Version); code != protocol.None {
		return code
	}
	switch {
	case p.req.Acks < -1 || p.req.Acks > 1:
		return protocol.InvalidRequiredAcks
	case protocol.IsInternalTopic(topic) && (p.request.ClientID == nil || *p.request.ClientID != adminClientID):
		return protocol.InvalidTopicException
	}
	return protocol.None
}

// checkRecords wants one whole batch of magic 2, whose codec the version knows (ProduceRequest.validateRecords).
func checkRecords(records []byte, version int16) protocol.Code {
	first, rest, err := record.NextBatch(records)
	switch {
	case errors.Is(err, protocol.CorruptMessage):
		return protocol.CorruptMessage
	case err != nil || first.Magic() != record.Magic2:
		return protocol.InvalidRecord
	case version < 7 && first.Codec() == record.CodecZstd:
		return protocol.UnsupportedCompressionType
	}
	switch _, _, err := record.NextBatch(rest); {
	case err == nil:
		return protocol.InvalidRecord
	case errors.Is(err, protocol.CorruptMessage):
		return protocol.CorruptMessage
	}
	return protocol.None // what remains is no whole batch: it is cut off
}

func (p *produce) append(topic string, in *kmsg.ProduceRequestTopicPartition, out *kmsg.ProduceResponseTopicPartition, topicAt, partitionAt int) {
	partition, err := p.node.Replicas.Partition(topic, in.Partition)
	if err != nil {
		p.appendFailed(topic, out, err)
		return
	}
	l := produceLater{topic, in, topicAt, partitionAt}
	switch wait, err := p.startVerification(partition, in); {
	case err != nil:
		p.verificationFailed(topic, out, err)
	case wait:
		if p.later == nil {
			p.later = make([]produceLater, 0, p.transactional)
		}
		p.later = append(p.later, l)
	default:
		p.appendTo(partition, l, out, 0)
	}
}

// appendTo appends the records of one partition under the guard that they were verified with.
func (p *produce) appendTo(partition *replication.Partition, l produceLater, out *kmsg.ProduceResponseTopicPartition, guard storage.VerificationGuard) {
	result, err := partition.Append(l.in.Records, replication.ProduceOptions{
		Acks: p.req.Acks, Origin: storage.OriginClient, ProduceVersion: p.req.Version, LeaderEpoch: -1, Guard: guard, Deferred: true,
	})
	out.LogStartOffset = result.LogStartOffset
	if err != nil {
		out.LogStartOffset = partition.Log().Offsets().LogStart
		p.appendFailed(l.topic, out, err)
		return
	}
	out.BaseOffset, out.LogAppendTime = result.BaseOffset, result.LogAppendTime
	if result.Flushing() || p.req.Acks == -1 && !result.Committed() {
		p.waits = append(p.waits, produceWait{partition, result, l.topicAt, l.partitionAt})
	}
}

// appendFailed fills in an answer as Kafka's ReplicaManager does: the log start offset is left out for the errors that come before the
// log is asked, a message is sent only with record errors.
func (p *produce) appendFailed(topic string, out *kmsg.ProduceResponseTopicPartition, err error) {
	p.failed = true
	p.setError(topic, out, err)
	switch protocol.Code(out.ErrorCode) { //nolint:exhaustive // the others keep it
	case protocol.UnknownTopicOrPartition, protocol.NotLeaderOrFollower, protocol.MessageTooLarge, protocol.RecordListTooLarge,
		protocol.CorruptMessage, protocol.KafkaStorageError, protocol.UnknownTopicID:
		out.LogStartOffset = -1
	}
	var invalid *record.ValidationError
	if !errors.As(err, &invalid) || len(invalid.Records) == 0 || p.resp.Version < 8 {
		return
	}
	out.ErrorMessage = protocol.MessageOf(err)
	out.ErrorRecords = make([]kmsg.ProduceResponseTopicPartitionErrorRecord, len(invalid.Records))
	for i, bad := range invalid.Records {
		out.ErrorRecords[i].RelativeOffset = bad.Index
		out.ErrorRecords[i].ErrorMessage = &bad.Message
	}
}

// setError fills in the code of err as the version knows it, and the leader to go to.
func (p *produce) setError(topic string, out *kmsg.ProduceResponseTopicPartition, err error) {
	code := protocol.CodeOf(err)
	if code == protocol.KafkaStorageError && p.resp.Version < 4 {
		code = protocol.NotLeaderOrFollower
	}
	out.ErrorCode = int16(code)
	if code == protocol.NotLeaderOrFollower && p.resp.Version >= 10 {
		out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = leaderHint(p.node.Replicas.Newest(), topic, out.Partition)
	}
}

// flushed waits until all appends of the request are durable that have to be: their fsyncs run side by side. It answers those that fail and
// reports whether none has.
func (p *produce) flushed() bool {
	all := len(p.waits)
	p.waits = slices.DeleteFunc(p.waits, func(w produceWait) bool {
		err := w.partition.WaitFlushed(&w.result)
		if err != nil {
			out := &p.resp.Topics[w.topic].Partitions[w.partitionAt]
			out.BaseOffset, out.LogAppendTime = -1, -1
			p.appendFailed(w.partition.TopicPartition().Topic, out, err)
		}
		return err != nil
	})
	return len(p.waits) == all
}

// await waits for every append of the request. A partition that is not committed in time keeps its offsets, with REQUEST_TIMED_OUT.
func (p *produce) await(ctx context.Context, acks int16, timeout time.Duration) Result {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p.flushed()
	for i := range p.waits {
		w := &p.waits[i]
		if acks != -1 {
			break
		}
		err := w.partition.WaitCommitted(waiting, &w.result)
		if ctx.Err() != nil {
			return fail(ctx.Err())
		}
		if err != nil {
			out := &p.resp.Topics[w.topic].Partitions[w.partitionAt]
			p.setError(w.partition.TopicPartition().Topic, out, err)
		}
	}
	p.addEndpoints()
	return reply(p.resp)
}

// addEndpoints says where the hinted leaders are (v10+).
func (p *produce) addEndpoints() {
	if p.resp.Version < 10 {
		return
	}
	image := p.node.Replicas.Newest()
	for i := range p.resp.Topics {
		for j := range p.resp.Topics[i].Partitions {
			leader := p.resp.Topics[i].Partitions[j].CurrentLeader.LeaderID
			if leader < 0 || slices.ContainsFunc(p.resp.Brokers, func(b kmsg.ProduceResponseBroker) bool { return b.NodeID == leader }) {
				continue
			}
			if e, ok := endpointOf(image, leader, p.request.Listener); ok {
				p.resp.Brokers = append(p.resp.Brokers, kmsg.ProduceResponseBroker{NodeID: e.NodeID, Host: e.Host, Port: e.Port, Rack: e.Rack})
			}
		}
	}
}
