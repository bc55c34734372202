package api

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

// replicated creates a topic whose partitions broker 1 leads, with broker 2 as the other member of the ISR.
func (h *hosting) replicated(name string, id byte, partitions int32) {
	h.t.Helper()
	records := []schema.MetadataRecord{&schema.TopicRecord{Name: name, TopicID: uid(id)}}
	for p := range partitions {
		records = append(records, partitionRecord(id, p, 1, 0, 1, 2))
	}
	h.change(records...)
}

// asReplica makes req that of broker 2.
func asReplica(req *kmsg.FetchRequest) *kmsg.FetchRequest {
	if req.Version < 15 {
		req.ReplicaID = 2
		return req
	}
	req.ReplicaState.ID, req.ReplicaState.Epoch = 2, 0
	return req
}

// replicaAt is a partition of a follower that has all up to an offset.
func replicaAt(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := fetchPartition(partition, offset)
	p.CurrentLeaderEpoch, p.LogStartOffset = 0, 0
	return p
}

func only(t *testing.T, resp *kmsg.FetchResponse) *kmsg.FetchResponseTopicPartition {
	t.Helper()
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("not one partition: %+v", resp)
	}
	return &resp.Topics[0].Partitions[0]
}

func TestFetchOfAReplica(t *testing.T) {
	for _, version := range []int16{12, 13, 15, 18} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			h := newHosting(t, nil)
			h.replicated("t", 1, 1)
			h.produce("t", batchOf(t, "a", "b"))
			if p := only(t, call[*kmsg.FetchResponse](h, fetchFrom(version, "t", 1, fetchPartition(0, 0)))); len(p.RecordBatches) != 0 || p.HighWatermark != 0 {
				t.Errorf("a consumer gets what is not committed: %+v", p)
			}
			if p := only(t, call[*kmsg.FetchResponse](h, asReplica(fetchFrom(version, "t", 1, replicaAt(0, 0))))); len(p.RecordBatches) == 0 || p.HighWatermark != 0 {
				t.Errorf("a replica does not get what is not committed: %+v", p)
			}
			if p := only(t, call[*kmsg.FetchResponse](h, asReplica(fetchFrom(version, "t", 1, replicaAt(0, 2))))); p.HighWatermark != 2 {
				t.Errorf("the answer lacks the high watermark that its request moved: %+v", p)
			}
			if p := only(t, call[*kmsg.FetchResponse](h, fetchFrom(version, "t", 1, fetchPartition(0, 0)))); len(p.RecordBatches) == 0 {
				t.Errorf("a consumer does not get what is committed: %+v", p)
			}
		})
	}
}

func TestFetchRefusesReplicas(t *testing.T) {
	h := newHosting(t, nil)
	h.replicated("t", 1, 1)
	h.produce("t", batchOf(t, "a"))
	h.change(&schema.RegisterBrokerRecord{BrokerID: 2, BrokerEpoch: 9})
	stranger, stale, fresh := asReplica(fetchFrom(18, "t", 1, replicaAt(0, 1))), asReplica(fetchFrom(18, "t", 1, replicaAt(0, 1))), asReplica(fetchFrom(18, "t", 1, replicaAt(0, 1)))
	stranger.ReplicaState.ID = 3
	fresh.ReplicaState.Epoch = 9
	beyond := asReplica(fetchFrom(18, "t", 1, replicaAt(0, 2)))
	beyond.ReplicaState.Epoch = 9
	for _, c := range []struct {
		what string
		req  *kmsg.FetchRequest
		code protocol.Code
		hw   int64
	}{
		{"no replica", stranger, protocol.NotLeaderOrFollower, -1},
		{"an epoch before the restart", stale, protocol.NotLeaderOrFollower, -1},
		{"beyond the end", beyond, protocol.OffsetOutOfRange, -1},
		{"the epoch of now", fresh, protocol.None, 1},
	} {
		resp := call[*kmsg.FetchResponse](h, c.req)
		if p := only(t, resp); protocol.Code(p.ErrorCode) != c.code || p.HighWatermark != c.hw || len(resp.Brokers) > 0 { // a broker knows where the leader is
			t.Errorf("%s: %v, high watermark %d, endpoints %v", c.what, protocol.Code(p.ErrorCode), p.HighWatermark, resp.Brokers)
		}
	}
}

// later runs a fetch that waits, and yields its answer with the time that it took.
func later(h *hosting, req *kmsg.FetchRequest) <-chan *kmsg.FetchResponse {
	result := h.result(req, "test")
	answered := make(chan *kmsg.FetchResponse, 1)
	go func() { answered <- finish[*kmsg.FetchResponse](context.Background(), h, req, result) }()
	synctest.Wait()
	return answered
}

// patient gives req a wait of a second.
func patient(req *kmsg.FetchRequest) *kmsg.FetchRequest {
	req.MaxWaitMillis = 1000
	return req
}

// TestFetchSessionIsWoken by what concerns its reader: appends for replicas, commits for consumers.
func TestFetchSessionIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosting(t, nil)
		h.replicated("t", 1, 3)
		all := func() []kmsg.FetchRequestTopicPartition {
			return []kmsg.FetchRequestTopicPartition{replicaAt(0, 0), replicaAt(1, 0), replicaAt(2, 0)}
		}
		replica := call[*kmsg.FetchResponse](h, asReplica(inSession(18, 0, 0, all()...))).SessionID
		consumer := call[*kmsg.FetchResponse](h, inSession(18, 0, 0, all()...)).SessionID
		begin := time.Now()
		step := func(what string, answered <-chan *kmsg.FetchResponse, want string, after time.Duration) {
			t.Helper()
			resp := <-answered
			if got := told(resp); got != want || time.Since(begin) != after || resp.ErrorCode != 0 {
				t.Errorf("%s: %q after %v, code %d; want %q after %v", what, got, time.Since(begin), resp.ErrorCode, want, after)
			}
			begin = time.Now()
		}
		step("an idle replica", later(h, patient(asReplica(inSession(18, replica, 1)))), "", time.Second)
		r := later(h, patient(asReplica(inSession(18, replica, 2))))
		c := later(h, patient(inSession(18, consumer, 1)))
		time.Sleep(100 * time.Millisecond)
		h.produce("t", batchOf(t, "a"))
		step("a replica, by an append", r, "0*", 100*time.Millisecond)
		r = later(h, patient(asReplica(inSession(18, replica, 3, replicaAt(0, 1)))))
		step("a consumer, by the commit", c, "0*", 0)
		step("a replica is told of the high watermark with its own fetch", r, "0", time.Second)
		step("and once", later(h, patient(asReplica(inSession(18, replica, 4)))), "", time.Second)

		knowing := replicaAt(0, 1)
		knowing.HighWatermark = 0
		step("a replica that knows less than the high watermark", later(h, patient(asReplica(inSession(18, replica, 5, knowing)))), "", 0)
		knowing.HighWatermark = 1
		r = later(h, patient(asReplica(inSession(18, replica, 6, knowing))))
		begin = time.Now()
		h.change(&schema.PartitionChangeRecord{TopicID: uid(1), PartitionID: 2, Leader: 2, LeaderRecoveryState: schema.NoLeaderRecoveryStateChange})
		step("an election, by the error", r, "2!", 0)
	})
}

// TestFetchSessionWatchesWhatIsNew has a replica begin with a partition in a session, by a fetch that commits something and stays.
func TestFetchSessionWatchesWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosting(t, nil)
		h.replicated("t", 1, 2)
		append1 := func() { call[*kmsg.ProduceResponse](h, produceTo(9, "t", 1, 1, batchOf(t, "x"))) }
		append1()
		id := call[*kmsg.FetchResponse](h, asReplica(inSession(18, 0, 0, replicaAt(0, 0)))).SessionID
		if got := told(<-later(h, patient(asReplica(inSession(18, id, 1, replicaAt(1, 1)))))); got != "1" {
			t.Errorf("told %q of the partition that is new", got)
		}
		waits := later(h, patient(asReplica(inSession(18, id, 2))))
		begin := time.Now()
		append1()
		if got := told(<-waits); got != "1*" || time.Since(begin) != 0 {
			t.Errorf("told %q after %v of an append to it", got, time.Since(begin))
		}
	})
}

// TestFetchSessionTakenOver by a second request, while the first one waits.
func TestFetchSessionTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosting(t, nil)
		h.topic("t", 1, 2, nil)
		id := call[*kmsg.FetchResponse](h, inSession(18, 0, 0, fetchPartition(0, 0), fetchPartition(1, 0))).SessionID
		first := later(h, patient(inSession(18, id, 1)))
		second := later(h, patient(inSession(18, id, 2)))
		begin := time.Now()
		h.produce("t", batchOf(t, "a"))
		if resp := <-second; told(resp) != "0*" || time.Since(begin) != 0 {
			t.Errorf("the second request is told %q after %v", told(resp), time.Since(begin))
		}
		if resp := <-first; protocol.Code(resp.ErrorCode) != protocol.InvalidFetchSessionEpoch {
			t.Errorf("the first request: %+v", resp)
		}
	})
}

// TestFetchSessionLooksAtWhatChanged and at nothing else.
func TestFetchSessionLooksAtWhatChanged(t *testing.T) {
	const partitions = 100
	h := newHosting(t, nil)
	h.replicated("t", 1, partitions)
	var all []kmsg.FetchRequestTopicPartition
	for i := range int32(partitions) {
		all = append(all, replicaAt(i, 0))
	}
	id := call[*kmsg.FetchResponse](h, asReplica(inSession(18, 0, 0, all...))).SessionID
	session := h.Sessions.get(id)
	epoch := int32(0)
	fetch := func(due int, want string, changed ...kmsg.FetchRequestTopicPartition) {
		t.Helper()
		epoch++
		if got := told(call[*kmsg.FetchResponse](h, asReplica(inSession(18, id, epoch, changed...)))); got != want || len(session.due) != due {
			t.Errorf("epoch %d: told %q, %d partitions are due; want %q, %d", epoch, got, len(session.due), want, due)
		}
	}
	fetch(0, "")
	h.produce("t", batchOf(t, "a"))
	call[*kmsg.ProduceResponse](h, produceTo(9, "t", 1, 7, batchOf(t, "x")))
	fetch(2, "0* 7*")
	fetch(1, "0 7*", replicaAt(0, 1))
	fetch(0, "7", replicaAt(7, 1))
	fetch(0, "")
	h.log("t", 0).AdvanceHighWatermark(1)
	if err := h.log("t", 0).DeleteBefore(1); err != nil {
		t.Fatal(err)
	}
	fetch(0, "") // nobody tells of it
	session.swept = 0
	fetch(0, "0") // but it is found in time
	forget := asReplica(inSession(18, id, epoch+1))
	for i := range int32(partitions) {
		if i != 5 {
			forget.ForgottenTopics = append(forget.ForgottenTopics, kmsg.FetchRequestForgottenTopic{TopicID: uid(1), Partitions: []int32{i}})
		}
	}
	epoch++
	call[*kmsg.FetchResponse](h, forget)
	h.produce("t", batchOf(t, "b"))
	fetch(0, "")
	call[*kmsg.ProduceResponse](h, produceTo(9, "t", 1, 5, batchOf(t, "x")))
	fetch(1, "5*")
}

// TestConsumersReadInTheirRack (KIP-392): the leader, which has no rack, sends them to broker 2.
func TestConsumersReadInTheirRack(t *testing.T) {
	h := newHosting(t, map[string]string{"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"})
	h.replicated("t", 1, 1)
	h.produce("t", batchOf(t, "a"))
	call[*kmsg.FetchResponse](h, asReplica(fetchFrom(18, "t", 1, replicaAt(0, 1))))
	preferred := func(version int16, rack string, offset int64) int32 {
		req := patient(fetchFrom(version, "t", 1, fetchPartition(0, offset)))
		req.Rack = rack
		p := only(t, call[*kmsg.FetchResponse](h, req))
		if p.PreferredReadReplica >= 0 && (len(p.RecordBatches) > 0 || p.ErrorCode != 0 || p.HighWatermark != 1) {
			t.Errorf("an answer that sends elsewhere: %+v", p)
		}
		return p.PreferredReadReplica
	}
	for _, c := range []struct {
		version int16
		rack    string
		offset  int64
		want    int32
	}{{11, "r2", 0, 2}, {18, "r2", 1, 2}, {18, "r1", 0, -1}, {18, "", 0, -1}} {
		if got := preferred(c.version, c.rack, c.offset); got != c.want {
			t.Errorf("v%d from rack %q at %d: replica %d, want %d", c.version, c.rack, c.offset, got, c.want)
		}
	}
	h.produce("t", batchOf(t, "b"))
	call[*kmsg.FetchResponse](h, asReplica(fetchFrom(18, "t", 1, replicaAt(0, 1))))
	out := schema.NewPartitionChangeRecord(uid(1), 0)
	out.ISR = []int32{1}
	h.change(out)
	if got := preferred(18, "r2", 0); got != -1 {
		t.Errorf("a replica that is out of sync is preferred: %d", got)
	}
}

// TestFetchFromAFollower, which serves consumers that know of it up to its own high watermark.
func TestFetchFromAFollower(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	h.produce("t", batchOf(t, "a", "b"))
	h.change(&schema.PartitionChangeRecord{TopicID: uid(1), Leader: 2, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, LeaderRecoveryState: schema.NoLeaderRecoveryStateChange})
	for _, c := range []struct {
		version int16
		offset  int64
		epoch   int32
		replica int32
		code    protocol.Code
		records bool
	}{
		{10, 0, 1, -1, protocol.NotLeaderOrFollower, false},
		{11, 0, 1, -1, protocol.None, true},
		{18, 2, 1, -1, protocol.None, false},
		{18, 3, 1, -1, protocol.OffsetOutOfRange, false},
		{18, 0, 0, -1, protocol.FencedLeaderEpoch, false},
		{18, 0, 2, -1, protocol.UnknownLeaderEpoch, false},
		{18, 0, 1, 2, protocol.NotLeaderOrFollower, false},
		{12, 0, 1, -2, protocol.None, true},
	} {
		p := fetchPartition(0, c.offset)
		p.CurrentLeaderEpoch = c.epoch
		req := fetchFrom(c.version, "t", 1, p)
		req.ReplicaID, req.ReplicaState.ID = c.replica, c.replica
		got := only(t, call[*kmsg.FetchResponse](h, req))
		if protocol.Code(got.ErrorCode) != c.code || (len(got.RecordBatches) > 0) != c.records {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// BenchmarkFetchSession is a replica's fetch of a session of many partitions, in one of which something has changed.
func BenchmarkFetchSession(b *testing.B) {
	for _, partitions := range []int32{10, 10000} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			h := newHosting(b, nil)
			h.replicated("t", 1, partitions)
			var all []kmsg.FetchRequestTopicPartition
			for i := range partitions {
				all = append(all, replicaAt(i, 0))
			}
			id := call[*kmsg.FetchResponse](h, asReplica(inSession(18, 0, 0, all...))).SessionID
			call[*kmsg.FetchResponse](h, asReplica(inSession(18, id, 1)))
			p, err := h.Replicas.Partition("t", 3)
			if err != nil {
				b.Fatal(err)
			}
			epoch, offset := int32(1), int64(0)
			row, whole := h.Routes.Get(1), batchOf(b, "x")
			sent := slices.Clone(whole)
			b.ReportAllocs()
			for b.Loop() {
				copy(sent, whole) // an append changes it
				h.append(b, p, sent)
				epoch, offset = epoch+1, offset+1
				req := asReplica(inSession(18, id, epoch, replicaAt(3, offset)))
				r := row.Handle(b.Context(), h.Node, &Request{Key: 1, Version: 18, Body: req, Listener: "PLAINTEXT", Conn: &Conn{}})
				r.Gather.Release()
			}
			if at := p.Log().Offsets(); at.HighWatermark < offset-1 || epoch == math.MaxInt32 {
				b.Errorf("%+v after %d fetches", at, offset)
			}
		})
	}
}
