package crash

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/process"
)

const (
	group      = "crash-group"
	groupTopic = "crash-group-topic"
	members    = 3
	// settleLimit is how long nothing new may be delivered after the last kill: a session timeout, a rebalance, and a margin.
	settleLimit = 3 * time.Minute
)

// TestGroupCrash kills the broker with SIGKILL while three members of a group consume, commit, leave and come back. No committed offset is ever
// lost, the group recovers, and every record is delivered.
func TestGroupCrash(t *testing.T) {
	cycles := crashCycles(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d cycles, seed %d", cycles, seed)
	random := rand.New(rand.NewPCG(seed, 0))

	broker := process.New(t, "num.partitions="+fmt.Sprint(partitions), "offsets.topic.num.partitions=5", "group.initial.rebalance.delay.ms=100")
	broker.Start(t)
	producer, err := kgo.NewClient(clientOptions(broker.Addr, kgo.DefaultProduceTopic(groupTopic), kgo.RecordRetries(1<<30), kgo.UnknownTopicRetries(-1),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if _, err := kadm.NewClient(producer).CreateTopic(t.Context(), partitions, 1, nil, groupTopic); err != nil {
		t.Fatal(err)
	}

	consumed := newDelivery(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for id := range members {
		running.Go(func() { consumed.member(ctx, broker.Addr, rand.New(rand.NewPCG(seed, uint64(id)+1))) })
	}
	produced := make(chan uint64, 1)
	producing, stopProducing := context.WithCancel(t.Context())
	go func() { produced <- produceNumbers(producing, t, producer) }()

	for range cycles {
		time.Sleep(time.Duration(100+random.IntN(1500)) * time.Millisecond)
		broker.Kill(t)
		broker.Start(t)
		consumed.checkCommitted(producer)
	}
	stopProducing()
	total := <-produced
	begin := time.Now()
	if !consumed.waitFor(total, settleLimit) {
		t.Errorf("%d of %d records were delivered", consumed.count(), total)
	}
	t.Logf("%d records, the last was delivered %v after the last kill", total, time.Since(begin).Round(time.Millisecond))
	stop()
	running.Wait()
	consumed.checkCommitted(producer)
	if consumed.commits == 0 {
		t.Error("nothing was committed: the test proves nothing")
	}
}

func clientOptions(addr string, more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.RequestRetries(10_000), // kgo's twenty last no longer than a coordinator loads on a busy machine
		kgo.AlwaysRetryEOF(),       // a broker that is killed before it answers the first request on a connection is no broker that wants SASL
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(2 * time.Second),
	}, more...)
}

// produceNumbers produces 0, 1, 2, ... until ctx ends, and returns how many were acknowledged: all.
func produceNumbers(ctx context.Context, t *testing.T, client *kgo.Client) uint64 {
	var under sync.WaitGroup
	n := uint64(0)
	for ; ctx.Err() == nil; n++ {
		under.Add(1)
		client.Produce(context.Background(), &kgo.Record{Value: binary.BigEndian.AppendUint64(nil, n)}, func(_ *kgo.Record, err error) {
			defer under.Done()
			if err != nil {
				t.Errorf("record %d failed for good: %v", n, err)
			}
		})
		time.Sleep(200 * time.Microsecond)
	}
	under.Wait()
	return n
}

// delivery is what the members of the group saw, and what they were told is committed.
type delivery struct {
	t *testing.T

	mu        sync.Mutex          // guards the rest
	seen      map[uint64]struct{} // values
	committed map[int32]int64     // by partition: the highest commit that was acknowledged
	commits   int
}

func newDelivery(t *testing.T) *delivery {
	return &delivery{t: t, seen: map[uint64]struct{}{}, committed: map[int32]int64{}}
}

// member consumes and commits until ctx ends. From time to time it leaves, and another member comes.
func (d *delivery) member(ctx context.Context, addr string, random *rand.Rand) {
	for ctx.Err() == nil {
		client, err := kgo.NewClient(clientOptions(addr,
			kgo.ConsumerGroup(group), kgo.ConsumeTopics(groupTopic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
			kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(200*time.Millisecond), kgo.RebalanceTimeout(10*time.Second),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		if err != nil {
			d.t.Error(err)
			return
		}
		life, end := context.WithTimeout(ctx, time.Duration(2000+random.IntN(6000))*time.Millisecond)
		for life.Err() == nil {
			d.poll(life, client)
		}
		end()
		client.CloseAllowingRebalance()
	}
}

func (d *delivery) poll(ctx context.Context, client *kgo.Client) {
	defer client.AllowRebalance()
	polling, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	fetches := client.PollRecords(polling, 500)
	offsets := map[int32]kgo.EpochOffset{}
	fetches.EachRecord(func(r *kgo.Record) {
		d.mu.Lock()
		d.seen[binary.BigEndian.Uint64(r.Value)] = struct{}{}
		d.mu.Unlock()
		offsets[r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
	})
	if len(offsets) == 0 {
		return
	}
	if err := commit(ctx, client, offsets); err != nil {
		return // the broker was killed, or a rebalance came: what was read is read again
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits++
	for p, o := range offsets {
		d.committed[p] = max(d.committed[p], o.Offset)
	}
}

// checkCommitted fetches the group's offsets: none is behind an acknowledged commit.
func (d *delivery) checkCommitted(client *kgo.Client) {
	d.t.Helper()
	d.mu.Lock()
	least := make(map[int32]int64, len(d.committed))
	for p, offset := range d.committed {
		least[p] = offset
	}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(d.t.Context(), settleLimit)
	defer cancel()
	got, err := kadm.NewClient(client).FetchOffsets(ctx, group)
	for err != nil && ctx.Err() == nil && protocolFree(err) { // the connection was one to the broker that was killed
		got, err = kadm.NewClient(client).FetchOffsets(ctx, group)
	}
	if err != nil {
		d.t.Errorf("fetch of the group's offsets: %v", err)
		return
	}
	for p, offset := range least {
		if o, ok := got.Lookup(groupTopic, p); !ok || o.At < offset {
			d.t.Errorf("partition %d: offset %d was committed, %d is there", p, offset, o.At)
		}
	}
}

// protocolFree reports whether err came from the network and not from a broker's answer.
func protocolFree(err error) bool {
	var answer *kerr.Error
	return !errors.As(err, &answer)
}

func (d *delivery) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.seen)
}

// waitFor waits until all is delivered, or for as long as limit nothing new.
func (d *delivery) waitFor(total uint64, limit time.Duration) bool {
	before := 0
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		now := d.count()
		if uint64(now) >= total {
			return true
		}
		if now > before {
			before, end = now, time.Now().Add(limit)
		}
	}
	return false
}

// commit commits as the member that client is.
func commit(ctx context.Context, client *kgo.Client, offsets map[int32]kgo.EpochOffset) error {
	var failed error
	answered := false
	client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{groupTopic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if answered, failed = true, err; err != nil {
				return
			}
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
				}
			}
		})
	if !answered {
		return context.Canceled
	}
	return failed
}
