// Command franztxn does what a transactional producer does, with franz-go. Arguments: BOOTSTRAP and one of
//
//	write TOPIC ID             commits c-0 to c-99, aborts a-0 to a-99, commits c-100 to c-199
//	fence TOPIC ID             a second producer of the id fences the first, whose transaction is aborted
//	timeout TOPIC ID           a transaction that lasts longer than its timeout cannot be committed
//	copy FROM TO ID GROUP N    copies N records, aborting every third transaction and reading again what it read
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var ctx = context.Background()

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func producer(id string, timeout time.Duration) *kgo.Client {
	cl, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]), kgo.TransactionalID(id), kgo.TransactionTimeout(timeout))
	must(err)
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
		must(cl.BeginTransaction())
		must(send(cl, topic, t.prefix, t.from, t.to))
		must(cl.EndTransaction(ctx, t.end))
	}
}

func expectFailure(what string, cl *kgo.Client, topic string) {
	err := send(cl, topic, "a-", 10, 20)
	if err == nil {
		err = cl.EndTransaction(ctx, kgo.TryCommit)
	}
	if err == nil {
		log.Fatalf("%s the transaction was committed", what)
	}
	fmt.Println(what, err)
}

func fence(topic, id string) {
	first, second := producer(id, time.Minute), producer(id, time.Minute)
	defer first.Close()
	defer second.Close()
	must(first.BeginTransaction())
	must(send(first, topic, "a-", 0, 10))
	must(second.BeginTransaction())
	must(send(second, topic, "c-", 0, 10))
	expectFailure("fenced:", first, topic)
	must(second.EndTransaction(ctx, kgo.TryCommit))
}

func timeout(topic, id string) {
	late := producer(id, time.Second)
	defer late.Close()
	must(late.BeginTransaction())
	must(send(late, topic, "a-", 0, 10))
	time.Sleep(4 * time.Second)
	expectFailure("too late:", late, topic)
	write(topic, id)
}

func copyRecords(from, to, id, group string, n int) {
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(os.Args[1]), kgo.TransactionalID(id), kgo.ConsumerGroup(group), kgo.ConsumeTopics(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets())
	must(err)
	defer s.Close()
	for turn := 0; n > 0; turn++ {
		fetches := s.PollRecords(ctx, 50)
		must(fetches.Err())
		must(s.Begin())
		records := fetches.Records()
		for _, r := range records {
			s.Produce(ctx, &kgo.Record{Topic: to, Key: r.Key, Value: r.Value}, func(_ *kgo.Record, err error) { must(err) })
		}
		must(s.Client().Flush(ctx))
		committed, err := s.End(ctx, kgo.TransactionEndTry(turn%3 != 0))
		must(err)
		if committed {
			n -= len(records)
		}
	}
}

func main() {
	args := os.Args[3:]
	switch os.Args[2] {
	case "write":
		write(args[0], args[1])
	case "fence":
		fence(args[0], args[1])
	case "timeout":
		timeout(args[0], args[1])
	case "copy":
		n, err := strconv.Atoi(args[4])
		must(err)
		copyRecords(args[0], args[1], args[2], args[3], n)
	default:
		log.Fatalf("unknown command %s", os.Args[2])
	}
	fmt.Println("done")
}
