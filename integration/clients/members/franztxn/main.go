// Command franztxn does what a transactional producer does, with franz-go. Arguments: BOOTSTRAP and one of
//
//	write TOPIC ID             commits c-0 to c-99, aborts a-0 to a-99, commits c-100 to c-199
//	fence TOPIC ID             a second producer of the id fences the first, whose transaction is aborted
//	timeout TOPIC ID           a transaction that lasts longer than its timeout, until standard input ends, cannot be committed
//	copy FROM TO ID GROUP N    copies N records, aborting every third transaction and reading again what it read
package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/clients/members/report"
)

var ctx = context.Background()

func producer(id string, timeout time.Duration) *kgo.Client {
	cl, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]), kgo.TransactionalID(id), kgo.TransactionTimeout(timeout))
	report.Must(err)
	return cl
}

func send(cl *kgo.Client, topic, prefix string, from, to int) error {
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(i)), Value: []byte(prefix + strconv.Itoa(i))})
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

func write(topic, id string) {
	cl := producer(id, time.Minute)
	defer cl.Close()
	for _, t := range []struct {
		prefix   string
		from, to int
		end      kgo.TransactionEndTry
	}{{"c-", 0, 100, kgo.TryCommit}, {"a-", 0, 100, kgo.TryAbort}, {"c-", 100, 200, kgo.TryCommit}} {
		report.Must(cl.BeginTransaction())
		report.Must(send(cl, topic, t.prefix, t.from, t.to))
		report.Must(cl.EndTransaction(ctx, t.end))
	}
}

func expectFailure(what string, cl *kgo.Client, topic string) {
	err := send(cl, topic, "a-", 10, 20)
	if err == nil {
		err = cl.EndTransaction(ctx, kgo.TryCommit)
	}
	if err == nil {
		report.Fail(what, "the transaction was committed")
	}
	report.Say(what, err)
}

func fence(topic, id string) {
	first, second := producer(id, time.Minute), producer(id, time.Minute)
	defer first.Close()
	defer second.Close()
	report.Must(first.BeginTransaction())
	report.Must(send(first, topic, "a-", 0, 10))
	report.Must(second.BeginTransaction())
	report.Must(send(second, topic, "c-", 0, 10))
	expectFailure("fenced:", first, topic)
	report.Must(second.EndTransaction(ctx, kgo.TryCommit))
}

func timeout(topic, id string) {
	late := producer(id, 5*time.Second)
	defer late.Close()
	report.Must(late.BeginTransaction())
	report.Must(send(late, topic, "a-", 0, 10))
	report.InputEnds() // when the transaction is over
	expectFailure("too late:", late, topic)
	write(topic, id)
}

func copyRecords(from, to, id, group string, n int) {
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(os.Args[1]), kgo.TransactionalID(id), kgo.ConsumerGroup(group), kgo.ConsumeTopics(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	report.Must(err)
	defer s.Close()
	for turn := 0; n > 0; turn++ {
		fetches := s.PollRecords(ctx, 50)
		report.Must(fetches.Err())
		report.Must(s.Begin())
		records := fetches.Records()
		for _, r := range records {
			s.Produce(ctx, &kgo.Record{Topic: to, Key: r.Key, Value: r.Value}, func(_ *kgo.Record, err error) { report.Must(err) })
		}
		report.Must(s.Client().Flush(ctx))
		committed, err := s.End(ctx, kgo.TransactionEndTry(turn%3 != 0))
		report.Must(err)
		if committed {
			n -= len(records)
		}
	}
}

func main() {
	report.Commands{Write: write, Fence: fence, Timeout: timeout, Copy: copyRecords}.Run()
}
