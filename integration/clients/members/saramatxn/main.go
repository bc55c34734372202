// Command saramatxn does what a transactional producer does, with IBM/sarama. Arguments: BOOTSTRAP and one of
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

	"github.com/IBM/sarama"

	"github.com/ottla/ottla/integration/clients/members/report"
)

var bootstrap = []string{os.Args[1]}

func config(id string, timeout time.Duration) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Transaction.ID = id
	c.Producer.Transaction.Timeout = timeout
	c.Net.MaxOpenRequests = 1
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	return c
}

func producer(id string, timeout time.Duration) sarama.SyncProducer {
	p, err := sarama.NewSyncProducer(bootstrap, config(id, timeout))
	report.Must(err)
	return p
}

func send(p sarama.SyncProducer, topic, prefix string, from, to int) error {
	var messages []*sarama.ProducerMessage
	for i := from; i < to; i++ {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Key: sarama.StringEncoder(strconv.Itoa(i)), Value: sarama.StringEncoder(prefix + strconv.Itoa(i)),
		})
	}
	return p.SendMessages(messages)
}

func write(topic, id string) {
	p := producer(id, time.Minute)
	for _, t := range []struct {
		prefix   string
		from, to int
		end      func() error
	}{{"c-", 0, 100, p.CommitTxn}, {"a-", 0, 100, p.AbortTxn}, {"c-", 100, 200, p.CommitTxn}} {
		report.Must(p.BeginTxn())
		report.Must(send(p, topic, t.prefix, t.from, t.to))
		report.Must(t.end())
	}
	report.Must(p.Close())
}

func expectFailure(what string, p sarama.SyncProducer, topic string) {
	err := send(p, topic, "a-", 10, 20)
	if err == nil {
		err = p.CommitTxn()
	}
	if err == nil {
		report.Fail(what, "the transaction was committed")
	}
	report.Say(what, err)
}

func fence(topic, id string) {
	first := producer(id, time.Minute)
	report.Must(first.BeginTxn())
	report.Must(send(first, topic, "a-", 0, 10))
	second := producer(id, time.Minute)
	report.Must(second.BeginTxn())
	report.Must(send(second, topic, "c-", 0, 10))
	expectFailure("fenced:", first, topic)
	report.Must(second.CommitTxn())
	report.Must(second.Close())
}

func timeout(topic, id string) {
	late := producer(id, 5*time.Second)
	report.Must(late.BeginTxn())
	report.Must(send(late, topic, "a-", 0, 10))
	report.InputEnds() // when the transaction is over
	expectFailure("too late:", late, topic)
	write(topic, id)
}

// copier copies one claim at a time.
type copier struct {
	p      sarama.SyncProducer
	to     string
	group  string
	left   int
	turn   int
	cancel context.CancelFunc
}

// Setup begins a generation.
func (*copier) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup ends it.
func (*copier) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim copies the topic's only partition, up to 50 records in a transaction.
func (c *copier) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		var records []*sarama.ConsumerMessage
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			records = append(records, m)
		case <-s.Context().Done():
			return nil
		}
		for len(records) < 50 && len(claim.Messages()) > 0 {
			records = append(records, <-claim.Messages())
		}
		for {
			report.Must(c.p.BeginTxn())
			for _, m := range records {
				_, _, err := c.p.SendMessage(&sarama.ProducerMessage{Topic: c.to, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value)})
				report.Must(err)
			}
			report.Must(c.p.AddMessageToTxn(records[len(records)-1], c.group, nil))
			if c.turn++; c.turn%3 != 1 {
				break
			}
			report.Must(c.p.AbortTxn())
		}
		report.Must(c.p.CommitTxn())
		if c.left -= len(records); c.left <= 0 {
			c.cancel()
			return nil
		}
	}
}

func copyRecords(from, to, id, group string, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	consumer, err := sarama.NewConsumerGroup(bootstrap, group, config("", time.Minute))
	report.Must(err)
	c := &copier{p: producer(id, time.Minute), to: to, group: group, left: n, cancel: cancel}
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{from}, c); err != nil && ctx.Err() == nil {
			report.Fail(err)
		}
	}
	report.Must(consumer.Close())
	report.Must(c.p.Close())
}

func main() {
	report.Commands{Write: write, Fence: fence, Timeout: timeout, Copy: copyRecords}.Run()
}
