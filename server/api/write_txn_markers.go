package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
)

// WriteTxnMarkers (27) ends transactions in partitions that this broker leads. It comes from transaction coordinators, and from kafka-transactions.
//
//	v1     flexible (v0 was dropped by Kafka 4.0)
//	v2     transaction version, by which the producer's epoch is checked (KIP-1228)
//
// Each partition has its own error. The answer comes when all markers are committed, after request.timeout.ms at the latest. Partitions of
// __consumer_offsets are written by the group coordinator, which then knows in order.

// markers is one request on its way.
type markers struct {
	node  *Node
	resp  *kmsg.WriteTxnMarkersResponse
	at    map[int64]int // by producer id: its place in the response
	waits []markerWait
}

// markerWait is a marker that is not committed yet: commit waits for it. The others are its place in the response.
type markerWait struct {
	marker, topic, partition int
	commit                   func(ctx context.Context) error
}

func handleWriteTxnMarkers(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.WriteTxnMarkersRequest)
	m := &markers{node: n, resp: req.ResponseKind().(*kmsg.WriteTxnMarkersResponse), at: make(map[int64]int, len(req.Markers))}
	for i := range req.Markers {
		m.write(&req.Markers[i])
	}
	if len(m.waits) == 0 {
		return reply(m.resp)
	}
	return Result{Later: m.await}
}

// write appends one marker to its partitions. Markers of one producer share an entry of the response.
func (m *markers) write(in *kmsg.WriteTxnMarkersRequestMarker) {
	at, again := m.at[in.ProducerID]
	if !again {
		at = len(m.resp.Markers)
		m.at[in.ProducerID] = at
		m.resp.Markers = append(m.resp.Markers, kmsg.WriteTxnMarkersResponseMarker{ProducerID: in.ProducerID})
	}
	marker := replication.TxnMarker{
		ProducerID: in.ProducerID, ProducerEpoch: in.ProducerEpoch, CoordinatorEpoch: in.CoordinatorEpoch, Commit: in.Committed,
		TransactionVersion: int16(in.TransactionVersion),
	}
	for i := range in.Topics {
		t := &in.Topics[i]
		topicAt := m.topic(at, t.Topic, again)
		out := &m.resp.Markers[at].Topics[topicAt]
		out.Partitions = slices.Grow(out.Partitions, len(t.Partitions))
		for _, id := range t.Partitions {
			commit, err := m.end(t.Topic, id, marker)
			if commit != nil {
				m.waits = append(m.waits, markerWait{at, topicAt, len(out.Partitions), commit})
			}
			out.Partitions = append(out.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: id, ErrorCode: int16(protocol.CodeOf(err))})
		}
	}
}

// topic is the place of a topic in a producer's entry, which may have it already if this is not the producer's first marker.
func (m *markers) topic(at int, name string, again bool) int {
	topics := &m.resp.Markers[at].Topics
	if again {
		known := slices.IndexFunc(*topics, func(t kmsg.WriteTxnMarkersResponseMarkerTopic) bool { return t.Topic == name })
		if known >= 0 {
			return known
		}
	}
	*topics = append(*topics, kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: name})
	return len(*topics) - 1
}

// end writes a marker to one partition. commit is nil if it is committed already.
func (m *markers) end(topic string, id int32, marker replication.TxnMarker) (commit func(context.Context) error, err error) {
	p, err := m.node.Replicas.Partition(topic, id)
	if err != nil {
		return nil, protocol.UnknownTopicOrPartition
	}
	if topic == protocol.GroupMetadataTopic {
		return m.endInGroups(id, marker)
	}
	result, err := p.AppendMarker(marker)
	if err != nil || result.Committed() {
		return nil, err
	}
	return func(ctx context.Context) error { return p.WaitCommitted(ctx, &result) }, nil
}

// endInGroups leaves the marker to the group coordinator. commit is nil if that is done already.
func (m *markers) endInGroups(partition int32, marker replication.TxnMarker) (commit func(context.Context) error, err error) {
	type outcome struct{ err error }
	done := runtime.NewFuture[outcome]()
	m.node.Groups.CompleteTransaction(partition, runtime.Marker(marker), func(err error) { done.Complete(outcome{err}) })
	if ended, ok := done.Value(); ok {
		return nil, ended.err
	}
	return func(ctx context.Context) error {
		ended, err := done.Wait(ctx)
		if err != nil {
			return err
		}
		return ended.err
	}, nil
}

// await fills in what became of the markers that are on their way.
func (m *markers) await(ctx context.Context) Result {
	waiting, cancel := context.WithTimeout(ctx, m.node.Config().Duration("request.timeout.ms"))
	defer cancel()
	for _, w := range m.waits {
		err := w.commit(waiting)
		if ctx.Err() != nil {
			return fail(ctx.Err())
		}
		if err != nil {
			m.resp.Markers[w.marker].Topics[w.topic].Partitions[w.partition].ErrorCode = int16(protocol.CodeOf(err))
		}
	}
	return reply(m.resp)
}
