package replication

import (
	"bytes"
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// testSession is what a node remembers of who fetches from it.
type testSession struct {
	id    int32
	epoch int32
	order []followedKey
	asked map[followedKey]FetchPartition
	told  map[followedKey][2]int64 // high watermark and log start
}

// fetch answers as server/api does, as far as followers see it.
func (p *memPeer) fetch(ctx context.Context, n *node, req *kmsg.FetchRequest) *kmsg.FetchResponse {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	p.c.mu.Lock()
	s, code := n.session(req)
	p.c.mu.Unlock()
	if code != protocol.None {
		resp.ErrorCode = int16(code)
		return resp
	}
	r := FetchRequest{
		ReplicaID: req.ReplicaState.ID, BrokerEpoch: req.ReplicaState.Epoch, MaxWait: time.Duration(req.MaxWaitMillis) * time.Millisecond, MinBytes: int(req.MinBytes),
		MaxBytes: int(req.MaxBytes), FirstBatchWhole: true,
	}
	full := s.epoch == 0
	for _, key := range s.order {
		r.Partitions = append(r.Partitions, s.asked[key])
	}
	results := n.Fetch(ctx, r, nil)
	defer releaseAll(results)
	resp.SessionID = s.id
	s.epoch++
	var body bytes.Buffer
	body.Grow(cap(p.buf))
	for i := range results {
		result, key := &results[i], s.order[i]
		marks := [2]int64{result.HighWatermark, result.LogStartOffset}
		if !full && result.Records.Len() == 0 && s.told[key] == marks && result.Err == nil && result.DivergingEpoch < 0 {
			continue
		}
		if s.told[key] = marks; result.Err != nil {
			delete(s.told, key)
		}
		out := kmsg.NewFetchResponseTopicPartition()
		out.Partition, out.ErrorCode = key.partition, int16(protocol.CodeOf(result.Err))
		out.HighWatermark, out.LogStartOffset = result.HighWatermark, result.LogStartOffset
		out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = result.DivergingEpoch, result.DivergingEndOffset
		from := body.Len()
		if _, err := result.Records.WriteTo(&body); err != nil {
			out.ErrorCode = int16(protocol.CodeOf(err))
			body.Truncate(from)
		}
		out.RecordBatches = body.Bytes()[from:]
		resp.Topics = append(resp.Topics, kmsg.FetchResponseTopic{TopicID: key.topic, Partitions: []kmsg.FetchResponseTopicPartition{out}})
	}
	p.buf = body.Bytes()
	return resp
}

// session finds or makes the session of a request, and brings it up to date.
func (n *node) session(req *kmsg.FetchRequest) (*testSession, protocol.Code) {
	s := n.sessions[req.SessionID]
	switch {
	case req.SessionEpoch == 0:
		delete(n.sessions, req.SessionID)
		n.lastSession++
		s = &testSession{id: n.lastSession, asked: map[followedKey]FetchPartition{}, told: map[followedKey][2]int64{}}
		n.sessions[s.id] = s
	case s == nil:
		return nil, protocol.FetchSessionIDNotFound
	case req.SessionEpoch != s.epoch:
		return nil, protocol.InvalidFetchSessionEpoch
	}
	for _, t := range req.Topics {
		topic := n.Image().TopicByID(t.TopicID)
		for _, p := range t.Partitions {
			key := followedKey{t.TopicID, p.Partition}
			if _, ok := s.asked[key]; !ok {
				s.order = append(s.order, key)
			}
			f := FetchPartition{
				TopicID: t.TopicID, Partition: p.Partition, CurrentLeaderEpoch: p.CurrentLeaderEpoch, FetchOffset: p.FetchOffset,
				LastFetchedEpoch: p.LastFetchedEpoch, LogStartOffset: p.LogStartOffset, MaxBytes: int(p.PartitionMaxBytes),
				AwaitHighWatermark: p.HighWatermark + 1,
			}
			if topic == nil {
				f.Err = protocol.UnknownTopicID
			} else {
				f.Topic = topic.Name
			}
			s.asked[key] = f
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			key := followedKey{t.TopicID, p}
			delete(s.asked, key)
			for i, k := range s.order {
				if k == key {
					s.order = append(s.order[:i], s.order[i+1:]...)
					break
				}
			}
		}
	}
	return s, protocol.None
}

func listOffsets(n *node, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	t := req.Topics[0]
	out := kmsg.NewListOffsetsResponseTopicPartition()
	out.Partition = t.Partitions[0].Partition
	p, err := n.Partition(t.Topic, out.Partition)
	if err == nil {
		err = p.CheckEpoch(t.Partitions[0].CurrentLeaderEpoch)
	}
	if out.ErrorCode = int16(protocol.CodeOf(err)); err == nil {
		at := p.Log().Offsets()
		if out.Offset = at.LogEnd; t.Partitions[0].Timestamp == earliestOffset {
			out.Offset = at.LogStart
		}
	}
	resp.Topics = []kmsg.ListOffsetsResponseTopic{{Topic: t.Topic, Partitions: []kmsg.ListOffsetsResponseTopicPartition{out}}}
	return resp
}
