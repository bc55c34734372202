package replication

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self = int32(1)

// host is a manager over a store in memory, with the metadata that the test writes.
type host struct {
	*Manager
	t     testing.TB
	store *storage.Store
	image *metadata.Image
}

func newHost(t testing.TB) *host {
	t.Helper()
	return newHostThatLogs(t, zap.NewNop())
}

func newHostThatLogs(t testing.TB, logger *zap.Logger) *host {
	t.Helper()
	values := config.Defaults()
	codecs := record.NewCodecs()
	store, err := storage.Open(storage.Options{
		FS: vfs.NewMem(), Dirs: []string{"/data"}, NodeID: self, Config: values, Codecs: codecs, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SetClusterID("cluster"); err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, store: store, image: metadata.Empty()}
	h.Manager = NewManager(Options{
		NodeID: self, Store: store, Codecs: codecs, Config: func() config.Values { return values }, Logger: logger,
	})
	t.Cleanup(func() {
		h.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		codecs.Close()
	})
	return h
}

// change applies metadata records as one batch.
func (h *host) change(records ...schema.MetadataRecord) {
	h.t.Helper()
	image, delta, err := h.image.With(h.image.Offset()+int64(len(records)), 1, records)
	if err != nil {
		h.t.Fatal(err)
	}
	h.image = image
	h.Apply(delta)
}

// topic creates a topic whose single partition this broker leads.
func (h *host) topic(name string, settings map[string]string) *Partition {
	h.t.Helper()
	id := protocol.NewUUID()
	records := []schema.MetadataRecord{
		&schema.TopicRecord{Name: name, TopicID: id},
		&schema.PartitionRecord{TopicID: id, Replicas: []int32{self}, ISR: []int32{self}, Leader: self},
	}
	for key, value := range settings {
		records = append(records, &schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: name, Name: key, Value: &value})
	}
	h.change(records...)
	p, err := h.Partition(name, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func batch(values ...string) []byte {
	w := record.NewBuilder()
	for _, v := range values {
		w.Add(time.Now().UnixMilli(), []byte("key"), []byte(v))
	}
	b, err := w.Build(nil)
	if err != nil {
		panic(err)
	}
	return b
}

var acksAll = ProduceOptions{Acks: -1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1}

func (h *host) append(p *Partition, values ...string) ProduceResult {
	h.t.Helper()
	result, err := p.Append(batch(values...), acksAll)
	if err != nil {
		h.t.Fatal(err)
	}
	return result
}

func TestAppendCommitsAtOnceWhenAlone(t *testing.T) {
	h := newHost(t)
	p := h.topic("t", nil)
	if got := h.append(p, "a", "b"); got.BaseOffset != 0 || got.LastOffset != 1 || got.LogAppendTime != -1 {
		t.Errorf("the first append went to %+v", got)
	}
	if got := h.append(p, "c"); got.BaseOffset != 2 {
		t.Errorf("the second append went to %+v", got)
	}
	if at := p.Log().Offsets(); at.HighWatermark != 3 || at.LogEnd != 3 {
		t.Errorf("offsets are %+v", at)
	}
	if err := p.WaitCommitted(t.Context(), &ProduceResult{LastOffset: 2}); err != nil {
		t.Errorf("committed, and yet %v", err)
	}
}

func TestUnknownAndForeignPartitions(t *testing.T) {
	h := newHost(t)
	id := protocol.NewUUID()
	h.change(
		&schema.TopicRecord{Name: "foreign", TopicID: id},
		&schema.PartitionRecord{TopicID: id, Replicas: []int32{2}, ISR: []int32{2}, Leader: 2, LeaderEpoch: 4})
	for topic, want := range map[string]protocol.Code{"foreign": protocol.NotLeaderOrFollower, "unknown": protocol.UnknownTopicOrPartition} {
		if _, err := h.Partition(topic, 0); protocol.CodeOf(err) != want {
			t.Errorf("%s: %v, want %v", topic, err, want)
		}
	}
	results := h.Fetch(t.Context(), FetchRequest{
		ReplicaID: -1, MaxWait: time.Hour, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{{Topic: "foreign", CurrentLeaderEpoch: -1, MaxBytes: 1000}},
	}, nil)
	if r := results[0]; r.LeaderID != 2 || r.LeaderEpoch != 4 || r.HighWatermark != -1 {
		t.Errorf("the answer does not point to the leader: %+v", r)
	}
}

func TestEpochs(t *testing.T) {
	h := newHost(t)
	p := h.topic("t", nil)
	h.change(reelection(p))
	if _, epoch := p.Leader(); epoch != 1 {
		t.Fatalf("epoch %d after a re-election, want 1", epoch)
	}
	for epoch, want := range map[int32]protocol.Code{-1: protocol.None, 0: protocol.FencedLeaderEpoch, 1: protocol.None, 2: protocol.UnknownLeaderEpoch} {
		if got := protocol.CodeOf(p.CheckEpoch(epoch)); got != want {
			t.Errorf("epoch %d: %v, want %v", epoch, got, want)
		}
	}
}

func TestMinISRIsBoundedByReplicas(t *testing.T) {
	h := newHost(t)
	p := h.topic("t", map[string]string{"min.insync.replicas": "2"})
	if got := h.append(p, "a"); got.BaseOffset != 0 {
		t.Errorf("one replica cannot satisfy its own minimum: %+v", got)
	}
	if !(&role{replicas: []int32{1, 2}, isr: []int32{1}}).belowMinISR(2) {
		t.Error("an ISR of one of two satisfies a minimum of two")
	}
}

func TestFetchLimits(t *testing.T) {
	h := newHost(t)
	for _, name := range []string{"a", "b"} {
		h.append(h.topic(name, nil), "first")
	}
	whole := len(batch("first"))
	read := func(limit int, firstWhole bool) (a, b int) {
		results := h.Fetch(t.Context(), FetchRequest{
			ReplicaID: -1, MaxBytes: 1 << 20, MinBytes: 1, FirstBatchWhole: firstWhole, Partitions: []FetchPartition{
				{Topic: "a", CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: limit},
				{Topic: "b", CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: limit},
			},
		}, nil)
		defer releaseAll(results)
		return results[0].Records.Len(), results[1].Records.Len()
	}
	if a, b := read(1000, true); a != whole || b != whole {
		t.Errorf("within the limits: %d and %d bytes, want %d", a, b, whole)
	}
	if a, b := read(1, true); a != whole || b != 0 {
		t.Errorf("only the first batch of the request exceeds its limit: %d and %d bytes", a, b)
	}
	if a, b := read(1, false); a != 0 || b != 0 {
		t.Errorf("before v3 nothing exceeds a limit: %d and %d bytes", a, b)
	}
}

func TestFetchParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		p := h.topic("t", nil)
		request := FetchRequest{
			ReplicaID: -1, MaxWait: time.Second, MinBytes: 1, MaxBytes: 1 << 20, FirstBatchWhole: true,
			Partitions: []FetchPartition{{Topic: "t", CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1 << 20}},
		}
		begin := time.Now()
		results := h.Fetch(t.Context(), request, nil)
		if took := time.Since(begin); took != time.Second || results[0].Records.Len() != 0 {
			t.Errorf("an idle fetch took %v and brought %d bytes", took, results[0].Records.Len())
		}

		fetched := make(chan []FetchResult)
		go func() { fetched <- h.Fetch(t.Context(), request, nil) }()
		synctest.Wait()
		begin = time.Now()
		h.append(p, "woken")
		results = <-fetched
		if took := time.Since(begin); took != 0 || results[0].Records.Len() == 0 || results[0].HighWatermark != 1 {
			t.Errorf("an append woke the fetch after %v with %+v", took, results[0])
		}
		releaseAll(results)

		ctx, cancel := context.WithCancel(t.Context())
		request.Partitions[0].FetchOffset = 1
		go func() { fetched <- h.Fetch(ctx, request, nil) }()
		synctest.Wait()
		cancel()
		if releaseAll(<-fetched); time.Since(begin) != 0 {
			t.Error("a fetch outlived its connection")
		}

		go func() { fetched <- h.Fetch(t.Context(), request, nil) }()
		synctest.Wait()
		h.change(&schema.RemoveTopicRecord{TopicID: p.TopicID()})
		if results = <-fetched; results[0].Err == nil {
			t.Errorf("a fetch of a deleted topic brought %+v", results[0])
		}
	})
}

func TestCommitWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		p := h.topic("t", nil)
		// Nobody acknowledges offset 5: the wait ends with the deadline, the connection, or the leadership.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.WaitCommitted(ctx, &ProduceResult{LastOffset: 5}); !errors.Is(err, protocol.RequestTimedOut) {
			t.Errorf("the deadline gave %v", err)
		}
		waited := make(chan error)
		go func() { waited <- p.WaitCommitted(t.Context(), &ProduceResult{LastOffset: 5}) }()
		synctest.Wait()
		h.change(reelection(p)) // in its place: the log goes on, and so does the wait
		synctest.Wait()
		select {
		case err := <-waited:
			t.Fatalf("a new epoch of the same leader gave %v", err)
		default:
		}
		deposed := schema.NewPartitionChangeRecord(p.TopicID(), p.TopicPartition().Partition)
		deposed.Leader = -1
		h.change(deposed)
		if err := <-waited; !errors.Is(err, protocol.NotLeaderOrFollower) {
			t.Errorf("the end of the leadership gave %v", err)
		}
		h.change(reelection(p))
		go func() { waited <- p.WaitCommitted(t.Context(), &ProduceResult{LastOffset: 1, term: 1}) }()
		synctest.Wait()
		h.append(p, "a", "b")
		if err := <-waited; err != nil {
			t.Errorf("committed, and yet %v", err)
		}
	})
}

func TestCommitListeners(t *testing.T) {
	h := newHost(t)
	p := h.topic("t", nil)
	var seen []int64
	cancel := p.OnCommit(func(hw int64) { seen = append(seen, hw) })
	h.append(p, "a")
	h.append(p, "b", "c")
	cancel()
	h.append(p, "d")
	if len(seen) != 2 || seen[0] != 1 || seen[1] != 3 {
		t.Errorf("the listener saw %v", seen)
	}
	p.OnCommit(func(hw int64) { seen = append(seen, hw) })
	h.change(&schema.RemoveTopicRecord{TopicID: p.TopicID()})
	if seen[len(seen)-1] != -1 {
		t.Errorf("the end of leadership was not told: %v", seen)
	}
}

func TestDeleteRecords(t *testing.T) {
	h := newHost(t)
	p := h.topic("t", nil)
	h.append(p, "a", "b", "c")
	for _, step := range []struct {
		offset, want int64
		code         protocol.Code
	}{
		{4, -1, protocol.OffsetOutOfRange}, {-2, -1, protocol.OffsetOutOfRange}, {2, 2, protocol.None}, {1, 2, protocol.None},
		{-1, 3, protocol.None},
	} {
		got, err := p.DeleteRecords(step.offset)
		if err == nil {
			got, err = p.WaitDeleted(t.Context(), got)
		}
		if got != step.want || protocol.CodeOf(err) != step.code {
			t.Errorf("to %d: %d, %v; want %d, %v", step.offset, got, err, step.want, step.code)
		}
	}
	compacted := h.topic("compacted", map[string]string{"cleanup.policy": "compact"})
	if _, err := compacted.DeleteRecords(0); protocol.CodeOf(err) != protocol.PolicyViolation {
		t.Errorf("a compacted topic: %v", err)
	}
}

func TestRecreatedTopicStartsEmpty(t *testing.T) {
	h := newHost(t)
	old := h.topic("t", nil)
	h.append(old, "old")
	h.change(&schema.RemoveTopicRecord{TopicID: old.TopicID()})
	if _, err := old.Append(batch("late"), acksAll); protocol.CodeOf(err) != protocol.NotLeaderOrFollower {
		t.Errorf("an append to the deleted topic: %v", err)
	}
	// Who found the replica before it went away, and reads its log after that, is sent elsewhere: nothing is wrong with a disk.
	request := FetchRequest{ReplicaID: -1, MaxBytes: 1000, FirstBatchWhole: true}
	if _, err := old.read(&request, &FetchPartition{CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1000}, 1000, true); protocol.CodeOf(err) != protocol.NotLeaderOrFollower {
		t.Errorf("a read of the deleted topic: %v", err)
	}
	if p := h.topic("t", nil); p.Log().Offsets().LogEnd != 0 || p.TopicID() == old.TopicID() {
		t.Errorf("the new topic has the old one's records or id")
	}
}

func TestConfigReachesLogs(t *testing.T) {
	h := newHost(t)
	p := h.topic("t", nil)
	h.change(&schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: "t", Name: "max.message.bytes", Value: ptr("100")})
	if _, err := p.Append(batch("a value that makes the batch longer than that"), acksAll); protocol.CodeOf(err) != protocol.MessageTooLarge {
		t.Errorf("a batch over the new limit: %v", err)
	}
}

// reelection makes this broker the leader again, in the next epoch.
func reelection(p *Partition) schema.MetadataRecord {
	r := schema.NewPartitionChangeRecord(p.TopicID(), 0)
	r.Leader = self
	return r
}

func ptr[T any](v T) *T { return &v }
