package txn

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

const (
	// markersAtOnce bounds the transactions whose markers go into one request.
	markersAtOnce = 1000
	// Wait before markers are sent again: the first, and the longest.
	minMarkerRetry = 20 * time.Millisecond
	maxMarkerRetry = time.Second
)

// markers has the markers of decided transactions written by the leaders of their partitions (Kafka's TransactionMarkerChannelManager). One goroutine
// for each broker that something is to be sent to has one request under way; what is decided meanwhile goes with the next.
type markers struct {
	image      func() *metadata.Image
	registered func(*metadata.Image) bool
	sender     Markers
	complete   func(*completion) // all markers are written; does not block
	logger     *zap.Logger
	ctx        context.Context // ends with close
	cancel     context.CancelFunc
	senders    sync.WaitGroup

	mu     sync.Mutex // guards the rest, and what completion says
	queues map[int32][]*markerEntry
	parked []*markerEntry // without a leader, or to be sent again
	retry  *time.Timer    // for what is parked
	wait   time.Duration  // of the next retry
	closed bool
}

// markerEntry is some partitions of one transaction, which may be the transaction's own list.
type markerEntry struct {
	of         *completion
	partitions []protocol.TopicPartition
}

func newMarkers(o *Options, complete func(*completion)) *markers {
	ctx, cancel := context.WithCancel(context.Background())
	return &markers{
		image: o.Image, registered: o.Registered, sender: o.Markers, complete: complete, logger: o.Logger, ctx: ctx, cancel: cancel,
		queues: map[int32][]*markerEntry{}, wait: minMarkerRetry,
	}
}

// start has the markers of a transaction written to its partitions; complete is told when they all are.
func (m *markers) start(d *completion, partitions []protocol.TopicPartition) {
	d.missing = len(partitions)
	if d.missing == 0 {
		m.complete(d)
		return
	}
	m.route(m.image(), &markerEntry{of: d, partitions: partitions})
}

// Destinations that are no broker.
const (
	toNobody  int32 = -1 // the partition is gone
	toUnknown int32 = -2 // nobody is known to lead the partition now
)

// destination is the broker that leads a partition. Of partitions that the metadata does not know those are gone that it must know of: an image from
// before this start of the broker may be too old.
func (m *markers) destination(image *metadata.Image, tp protocol.TopicPartition) int32 {
	p := image.Partition(tp.Topic, tp.Partition)
	switch {
	case p == nil && m.registered(image):
		return toNobody
	case p == nil || p.Leader < 0:
		return toUnknown
	}
	if b := image.Broker(p.Leader); b == nil || b.Fenced {
		return toUnknown
	}
	return p.Leader
}

// route puts partitions into the queues of their leaders.
func (m *markers) route(image *metadata.Image, e *markerEntry) {
	if e.of.shard.gone.Load() {
		return
	}
	for len(e.partitions) > 0 {
		node := m.destination(image, e.partitions[0])
		if !slices.ContainsFunc(e.partitions[1:], func(tp protocol.TopicPartition) bool { return m.destination(image, tp) != node }) {
			m.enqueue(node, &markerEntry{of: e.of, partitions: e.partitions})
			return
		}
		var here, rest []protocol.TopicPartition
		for i, tp := range e.partitions {
			if i == 0 || m.destination(image, tp) == node {
				here = append(here, tp)
			} else {
				rest = append(rest, tp)
			}
		}
		m.enqueue(node, &markerEntry{of: e.of, partitions: here})
		e.partitions = rest
	}
}

func (m *markers) enqueue(node int32, e *markerEntry) {
	if node == toNobody {
		m.logger.Info("partitions of a transaction are gone, and need no marker", zap.String("transactional id", e.of.transaction.id))
		m.written(e.of, len(e.partitions))
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
	case node == toUnknown:
		m.park(e)
	default:
		queue, running := m.queues[node]
		m.queues[node] = append(queue, e)
		if !running {
			m.senders.Add(1)
			go m.send(node)
		}
	}
}

// park needs mu held. What is parked is routed again after a while, or when the metadata changes.
func (m *markers) park(e *markerEntry) {
	m.parked = append(m.parked, e)
	if m.retry == nil {
		m.retry = time.AfterFunc(m.wait, m.retryParked)
		m.wait = min(2*m.wait, maxMarkerRetry)
	}
}

func (m *markers) retryParked() {
	m.mu.Lock()
	parked := m.parked
	m.parked = nil
	if m.retry != nil {
		m.retry.Stop()
		m.retry = nil
	}
	if m.closed || len(parked) == 0 {
		m.wait = minMarkerRetry
		parked = nil
	}
	m.mu.Unlock()
	image := m.image()
	for _, e := range parked {
		m.route(image, e)
	}
}

// imageChanged looks for the leaders again that were not known, or did not answer.
func (m *markers) imageChanged() {
	m.mu.Lock()
	m.wait = minMarkerRetry // what failed before says nothing of who leads now
	some := len(m.parked) > 0
	m.mu.Unlock()
	if some {
		m.retryParked()
	}
}

// written notes that n more partitions of a transaction have their marker.
func (m *markers) written(d *completion, n int) {
	m.mu.Lock()
	d.missing -= n
	complete := n > 0 && d.missing == 0 && !d.cancelled
	if n > 0 {
		m.wait = minMarkerRetry
	}
	m.mu.Unlock()
	if complete {
		m.complete(d)
	}
}

// send sends what is in the queue of one broker until there is nothing more.
func (m *markers) send(node int32) {
	defer m.senders.Done()
	for {
		batch := m.take(node)
		if batch == nil {
			return
		}
		resp, err := m.sender.WriteTxnMarkers(m.ctx, node, markersRequest(batch))
		if err != nil {
			m.logger.Debug("markers were not answered", zap.Int32("broker", node), zap.Error(err))
		}
		m.settle(node, batch, resp)
	}
}

// take empties a queue as far as one request goes; nil ends the sender. Answers are told apart by producer id, so each comes once.
func (m *markers) take(node int32) []*markerEntry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var batch, rest []*markerEntry
	producers := map[int64]bool{}
	for _, e := range m.queues[node] {
		switch {
		case e.of.shard.gone.Load():
		case len(batch) == markersAtOnce || producers[e.of.producerID]:
			rest = append(rest, e)
		default:
			batch = append(batch, e)
			producers[e.of.producerID] = true
		}
	}
	if m.closed || len(batch) == 0 {
		delete(m.queues, node)
		return nil
	}
	m.queues[node] = rest
	return batch
}

func markersRequest(batch []*markerEntry) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Version = req.MaxVersion()
	for _, e := range batch {
		marker := kmsg.NewWriteTxnMarkersRequestMarker()
		marker.ProducerID, marker.ProducerEpoch, marker.Committed = e.of.producerID, e.of.producerEpoch, e.of.commit
		marker.CoordinatorEpoch, marker.TransactionVersion = e.of.epoch, int8(e.of.clientVersion)
		for _, t := range recordTopics(e.partitions) {
			marker.Topics = append(marker.Topics, kmsg.WriteTxnMarkersRequestMarkerTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
		req.Markers = append(req.Markers, marker)
	}
	return req
}

// settle takes a broker's answer; nil: there was none.
func (m *markers) settle(node int32, batch []*markerEntry, resp *kmsg.WriteTxnMarkersResponse) {
	answers := map[int64]*kmsg.WriteTxnMarkersResponseMarker{}
	if resp != nil {
		for i := range resp.Markers {
			answers[resp.Markers[i].ProducerID] = &resp.Markers[i]
		}
	}
	for _, e := range batch {
		if answer := answers[e.of.producerID]; e.writtenBy(answer) {
			m.written(e.of, len(e.partitions))
		} else {
			m.settleEntry(node, e, codesOf(answer))
		}
	}
}

// writtenBy reports whether an answer says that all markers are written, in the order of the request, as it mostly does.
func (e *markerEntry) writtenBy(answer *kmsg.WriteTxnMarkersResponseMarker) bool {
	if answer == nil {
		return false
	}
	left := e.partitions
	for i := range answer.Topics {
		for _, p := range answer.Topics[i].Partitions {
			if len(left) == 0 || p.ErrorCode != 0 || left[0].Partition != p.Partition || left[0].Topic != answer.Topics[i].Topic {
				return false
			}
			left = left[1:]
		}
	}
	return len(left) == 0
}

// codesOf is what an answer, which may be nil, says of each partition.
func codesOf(answer *kmsg.WriteTxnMarkersResponseMarker) map[protocol.TopicPartition]protocol.Code {
	codes := map[protocol.TopicPartition]protocol.Code{}
	if answer == nil {
		return codes
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			codes[protocol.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = protocol.Code(p.ErrorCode)
		}
	}
	return codes
}

// settleEntry takes the answer for one transaction (Kafka's TransactionMarkerRequestCompletionHandler): what is not answered, and what may go better
// later, is sent again.
func (m *markers) settleEntry(node int32, e *markerEntry, codes map[protocol.TopicPartition]protocol.Code) {
	done := 0
	var again []protocol.TopicPartition
	for _, tp := range e.partitions {
		code, answered := codes[tp]
		switch {
		case !answered:
			again = append(again, tp)
		case code == protocol.None:
			done++
		default:
			switch m.verdict(node, e, tp, code) {
			case markerDone:
				done++
			case markerAgain:
				again = append(again, tp)
			case markerRefused:
				m.mu.Lock()
				e.of.cancelled = true
				m.mu.Unlock()
				return
			}
		}
	}
	m.again(node, &markerEntry{of: e.of, partitions: again})
	m.written(e.of, done)
}

// again sends what a broker has not written again: to those who took its place at once, to itself after a while.
func (m *markers) again(node int32, e *markerEntry) {
	image, moved := m.image(), &markerEntry{of: e.of}
	e.partitions = slices.DeleteFunc(e.partitions, func(tp protocol.TopicPartition) bool {
		if m.destination(image, tp) == node {
			return false
		}
		moved.partitions = append(moved.partitions, tp)
		return true
	})
	if len(e.partitions) > 0 {
		m.mu.Lock()
		if !m.closed {
			m.park(e)
		}
		m.mu.Unlock()
	}
	m.route(image, moved)
}

// verdict is what becomes of a partition whose marker was not written.
type verdict uint8

const (
	markerAgain verdict = iota
	markerDone
	markerRefused // for good: the transaction stays prepared
)

func (m *markers) verdict(node int32, e *markerEntry, tp protocol.TopicPartition, code protocol.Code) verdict {
	fields := []zap.Field{
		zap.String("transactional id", e.of.transaction.id), zap.Stringer("partition", tp), zap.Int32("broker", node), zap.Stringer("code", code),
	}
	switch code {
	case protocol.UnsupportedForMessageFormat, protocol.UnsupportedVersion:
		m.logger.Info("a partition does not take the marker of a transaction, which ends without it", fields...)
		return markerDone
	case protocol.InvalidProducerEpoch, protocol.TransactionCoordinatorFenced:
		m.logger.Warn("the end of a transaction was refused for good: another coordinator or producer has gone on", fields...)
		return markerRefused
	case protocol.UnknownTopicOrPartition, protocol.NotLeaderOrFollower, protocol.NotEnoughReplicas, protocol.NotEnoughReplicasAfterAppend,
		protocol.RequestTimedOut, protocol.KafkaStorageError:
		m.logger.Debug("a marker is sent again", fields...)
	default:
		m.logger.Error("a marker could not be written, and is sent again", fields...)
	}
	return markerAgain
}

// close stops the senders and waits for them.
func (m *markers) close() {
	m.mu.Lock()
	m.closed = true
	if m.retry != nil {
		m.retry.Stop()
	}
	m.mu.Unlock()
	m.cancel()
	m.senders.Wait()
}
