package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// twoDirs is a broker with two log dirs and what a client says of where a topic's replicas are.
type twoDirs struct {
	*servertest.Broker
	t     *testing.T
	topic string
	dirs  [2]string
	admin *kadm.Client
}

func newTwoDirs(t *testing.T, topic string, partitions int32) *twoDirs {
	t.Helper()
	d := &twoDirs{t: t, topic: topic, dirs: [2]string{t.TempDir(), t.TempDir()}}
	d.Broker = servertest.Start(t, servertest.InDir(strings.Join(d.dirs[:], ",")))
	createTopic(t, d.Broker, topic, partitions)
	d.admin = kadm.NewClient(newClient(t, d.Broker))
	return d
}

// where returns the dir of a partition's replica, and the copy's dir if it moves.
func (d *twoDirs) where(partition int32) (dir, future string) {
	d.t.Helper()
	all, err := d.admin.DescribeAllLogDirs(d.t.Context(), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, broker := range all {
		for path, described := range broker {
			switch p, ok := described.Topics.Lookup(d.topic, partition); {
			case !ok:
			case p.IsFuture:
				future = path
			default:
				dir = path
			}
		}
	}
	return dir, future
}

// other is the dir that is not this one.
func (d *twoDirs) other(dir string) string {
	if dir == d.dirs[0] {
		return d.dirs[1]
	}
	return d.dirs[0]
}

// move asks for a move of all partitions to the dir.
func (d *twoDirs) move(dir string, partitions ...int32) {
	d.t.Helper()
	var req kadm.AlterReplicaLogDirsReq
	tps := make(kadm.TopicsSet)
	tps.Add(d.topic, partitions...)
	req.Add(dir, tps)
	all, err := d.admin.AlterAllReplicaLogDirs(d.t.Context(), req)
	if err != nil {
		d.t.Fatal(err)
	}
	all.Each(func(r kadm.AlterReplicaLogDirsResponse) {
		if r.Err != nil {
			d.t.Errorf("%s-%d: %v", r.Topic, r.Partition, r.Err)
		}
	})
}

// throttle sets how many bytes per second the broker's moves may copy.
func (d *twoDirs) throttle(rate string) {
	d.t.Helper()
	const key = "replica.alter.log.dirs.io.max.bytes.per.second"
	_, err := d.admin.AlterBrokerConfigs(d.t.Context(), []kadm.AlterConfig{{Name: key, Value: &rate}})
	if err != nil {
		d.t.Fatal(err)
	}
	for limit := time.After(clientLimit); ; { // the controller has decided; the broker applies it a moment later
		described, err := d.admin.DescribeBrokerConfigs(d.t.Context(), 1)
		if err == nil && slices.ContainsFunc(described[0].Configs, func(c kadm.Config) bool { return c.Key == key && c.MaybeValue() == rate }) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-limit:
			d.t.Fatalf("the broker does not say that %s is %s: %v", key, rate, err)
		}
	}
}

// await waits until the partition is in dir and does not move.
func (d *twoDirs) await(partition int32, dir string) {
	d.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(clientLimit); ; {
		at, future := d.where(partition)
		if at == dir && future == "" {
			return
		}
		select {
		case <-limit:
			d.t.Fatalf("partition %d is in %q and moves to %q", partition, at, future)
		case <-tick.C:
		}
	}
}

// A partition moves to and fro while it is written and read, and over a restart in the middle: clients notice nothing.
func TestReplicaMovesWhileItIsUsed(t *testing.T) {
	d := newTwoDirs(t, "moving", 2)
	first, _ := d.where(0)
	if second, _ := d.where(1); first == "" || second != d.other(first) {
		t.Fatalf("two partitions are in %q and %q", first, second)
	}
	producer := newClient(t, d.Broker, kgo.DefaultProduceTopic("moving"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	ctx, stop := context.WithCancel(t.Context())
	var written atomic.Int64
	produced := make(chan error, 1)
	go func() {
		padding := strings.Repeat(".", 20_000)
		for ctx.Err() == nil {
			record := &kgo.Record{Value: []byte(fmt.Sprint(written.Load(), " ", padding))}
			if err := producer.ProduceSync(t.Context(), record).FirstErr(); err != nil {
				produced <- err
				return
			}
			written.Add(1)
		}
		produced <- nil
	}()
	for range 3 {
		from, _ := d.where(0)
		d.move(d.other(from), 0)
		d.await(0, d.other(from))
	}

	for begin := time.Now(); written.Load() < 250 && time.Since(begin) < clientLimit; { // some pieces' worth
		if _, err := d.admin.ListBrokers(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// Now one that does not end by itself, and is cut off.
	d.throttle("1")
	from, _ := d.where(0)
	d.move(d.other(from), 0)
	if _, future := d.where(0); future != d.other(from) {
		t.Errorf("a slow move is not seen: %q", future)
	}
	stop()
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	d.Restart(t)
	if at, future := d.where(0); at != from || future != d.other(from) {
		t.Errorf("after a restart the replica is in %q and moves to %q", at, future)
	}
	d.throttle("1000000000")
	d.await(0, d.other(from))

	consumer := newClient(t, d.Broker, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"moving": {0: kgo.NewOffset().AtStart()}}))
	limit, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	for next := int64(0); next < written.Load(); {
		fetches := consumer.PollFetches(limit)
		if err := fetches.Err(); err != nil {
			t.Fatalf("at %d of %d: %v", next, written.Load(), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if number, _, _ := strings.Cut(string(r.Value), " "); r.Offset != next || number != fmt.Sprint(next) {
				t.Fatalf("offset %d has %s, want both to be %d", r.Offset, number, next)
			}
			next++
		})
	}
}

// A move back to where the replica is cancels, and leaves no copy.
func TestMoveIsCancelled(t *testing.T) {
	d := newTwoDirs(t, "staying", 1)
	produce(t, newClient(t, d.Broker, kgo.ProducerBatchCompression(kgo.NoCompression())), "staying", numbered(strings.Repeat(".", 20_000), 250)...) // a throttle lets the first piece pass
	d.throttle("1")
	from, _ := d.where(0)
	d.move(d.other(from), 0)
	if _, future := d.where(0); future != d.other(from) {
		t.Errorf("the move is not seen: %q", future)
	}
	d.move(from, 0)
	if at, future := d.where(0); at != from || future != "" {
		t.Errorf("after the cancellation the replica is in %q and moves to %q", at, future)
	}
}
