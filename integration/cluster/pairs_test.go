//go:build unix && !netns

package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pairsTopic has two partitions.
const pairsTopic = "pairs"

// fate is what is known of a transaction.
type fate int

const (
	inDoubt fate = iota // its end was not answered
	committed
	aborted
)

// pairs writes transactions of the same record to both partitions of a topic, and ends every fourth without a commit, until stop looks what is there.
type pairs struct {
	c       *cluster
	cancel  context.CancelFunc
	running sync.WaitGroup
	fates   map[string]fate // belongs to the goroutine until it has ended
}

func (c *cluster) pairs() *pairs {
	c.t.Helper()
	p := &pairs{c: c, fates: map[string]fate{}}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.running.Go(func() {
		for n := 0; ctx.Err() == nil; {
			n = p.write(ctx, n)
		}
	})
	return p
}

// write runs transactions from number n on until one fails.
func (p *pairs) write(ctx context.Context, n int) int {
	client := p.c.client(kgo.TransactionalID("pairs"), kgo.DefaultProduceTopic(pairsTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(10*time.Second))
	defer client.Close()
	for ; ctx.Err() == nil; n++ {
		value := fmt.Sprint("pair ", n)
		if err := client.BeginTransaction(); err != nil {
			return n + 1
		}
		// What has begun ends, so that at the end there is nothing in doubt but what failed.
		within, cancel := context.WithTimeout(context.Background(), limit)
		err := client.ProduceSync(within, &kgo.Record{Partition: 0, Value: []byte(value)}, &kgo.Record{Partition: 1, Value: []byte(value)}).FirstErr()
		end, as := kgo.TryCommit, committed
		if err != nil || n%4 == 3 {
			end, as = kgo.TryAbort, aborted
		}
		p.fates[value] = inDoubt
		err = client.EndTransaction(within, end)
		cancel()
		if err != nil {
			return n + 1
		}
		p.fates[value] = as
	}
	return n
}

// stop ends the transactions, and compares what is there with what became of them.
func (p *pairs) stop() {
	t := p.c.t
	t.Helper()
	p.cancel()
	p.running.Wait()
	seen := [2]map[string]int{{}, {}}
	client := p.c.client(kgo.ConsumeTopics(pairsTopic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	left := p.c.ends(ctx, client, pairsTopic)
	for len(left) > 0 {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				seen[r.Partition][string(r.Value)]++
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
		if ctx.Err() != nil {
			t.Fatalf("not read to the end: %v", left)
		}
	}
	counts := map[fate]int{}
	for value, is := range p.fates {
		counts[is]++
		a, b := seen[0][value], seen[1][value]
		if a != b || a > 1 || is == committed && a == 0 || is == aborted && a > 0 {
			t.Errorf("%s is there %d and %d times; what became of it is %d (0 in doubt, 1 committed, 2 aborted)", value, a, b, is)
		}
	}
	t.Logf("%d transactions were committed, %d aborted, %d are in doubt", counts[committed], counts[aborted], counts[inDoubt])
	if counts[committed] == 0 {
		t.Error("no transaction was committed")
	}
}
