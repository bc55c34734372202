// Package crash kills the broker again and again under load, and looks whether anything acknowledged was lost.
package crash

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

const (
	topic      = "crash"
	partitions = 3
	// defaultCycles keeps `make test` short; CI runs twenty, `make soak` two hundred (OTTLA_CRASH_CYCLES).
	defaultCycles = 5
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(copierEnv); spec != "" {
		os.Exit(copier(spec))
	}
	process.Main(m)
}

// TestCrash kills the broker with SIGKILL while idempotent acks=all producers write to it, restarts it, and at the end
// reads everything: each acknowledged record is there once, at the offset it was acknowledged with, in order.
func TestCrash(t *testing.T) {
	cycles := crashCycles(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d cycles, seed %d", cycles, seed)
	random := rand.New(rand.NewPCG(seed, 0))

	broker := process.New(t, "log.segment.bytes=1048576", "num.partitions="+strconv.Itoa(partitions))
	broker.Start(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr), kgo.DefaultProduceTopic(topic), kgo.AllowAutoTopicCreation(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(1<<30), kgo.UnknownTopicRetries(-1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MaxBufferedRecords(2000), kgo.AlwaysRetryEOF())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}

	load := startLoad(t, client)
	for range cycles {
		time.Sleep(time.Duration(50+random.IntN(400)) * time.Millisecond)
		broker.Kill(t)
		broker.Start(t)
	}
	acked := load.stop()
	check(t, broker.Addr, acked)
}

// crashCycles is how often a test kills the broker.
func crashCycles(t *testing.T) int {
	t.Helper()
	text := os.Getenv("OTTLA_CRASH_CYCLES")
	if text == "" {
		return defaultCycles
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("OTTLA_CRASH_CYCLES: %v", err)
	}
	return n
}

// load produces to every partition until stopped, and remembers what was acknowledged.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	acked [partitions]map[uint64]int64 // guarded by mu: value to offset
}

func startLoad(t *testing.T, client *kgo.Client) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	for p := range l.acked {
		l.acked[p] = make(map[uint64]int64)
		l.done.Go(func() {
			for n := uint64(0); ctx.Err() == nil; n++ {
				l.produce(t, client, int32(p), n)
				if n%64 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	return l
}

func (l *load) produce(t *testing.T, client *kgo.Client, partition int32, n uint64) {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 200), n)
	r := &kgo.Record{Partition: partition, Value: value[:200]}
	l.done.Add(1)
	client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		defer l.done.Done()
		if err != nil {
			t.Errorf("record %d of partition %d failed for good: %v", n, partition, err)
			return
		}
		l.mu.Lock()
		l.acked[partition][n] = r.Offset
		l.mu.Unlock()
	})
}

// stop ends the load, waits for every record under way, and returns what was acknowledged.
func (l *load) stop() [partitions]map[uint64]int64 {
	l.cancel()
	l.done.Wait()
	return l.acked
}

func check(t *testing.T, addr string, acked [partitions]map[uint64]int64) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	ends, err := kadm.NewClient(consumer).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	total, read := 0, 0
	for p := range acked {
		end, _ := ends.Lookup(topic, int32(p))
		total += int(end.Offset)
		if len(acked[p]) == 0 {
			t.Errorf("nothing was acknowledged on partition %d: the test proves nothing", p)
		}
	}
	var next [partitions]int64  // the offset that must come next
	var value [partitions]int64 // the value before it
	for p := range value {
		value[p] = -1
	}
	for read < total {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", read, total, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			p, n := r.Partition, binary.BigEndian.Uint64(r.Value)
			if r.Offset != next[p] {
				t.Errorf("partition %d: offset %d follows %d", p, r.Offset, next[p]-1)
			}
			if int64(n) <= value[p] {
				t.Errorf("partition %d offset %d: record %d follows %d", p, r.Offset, n, value[p])
			}
			next[p], value[p] = r.Offset+1, int64(n)
			if offset, ok := acked[p][n]; ok && offset != r.Offset {
				t.Errorf("partition %d: record %d was acknowledged at %d and stands at %d", p, n, offset, r.Offset)
			}
			delete(acked[p], n)
		})
	}
	for p := range acked {
		for n, offset := range acked[p] {
			t.Errorf("partition %d: record %d, acknowledged at %d, is lost", p, n, offset)
		}
	}
	t.Logf("%d records read", read)
}
