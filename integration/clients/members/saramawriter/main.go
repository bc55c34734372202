// Command saramawriter is an idempotent producer on IBM/sarama that writes numbers until SIGTERM and tells which were acknowledged: "acked" with the number in "from" and
// the offset in "to". Arguments: BOOTSTRAP TOPIC PARTITIONS.
package main

import (
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"

	"github.com/ottla/ottla/integration/clients/members/report"
)

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Retry.Max = 1000
	c.Producer.Retry.Backoff = 50 * time.Millisecond
	c.Metadata.Retry.Max = 1000
	c.Metadata.Retry.Backoff = 50 * time.Millisecond
	c.Net.MaxOpenRequests = 1
	c.Net.DialTimeout = 2 * time.Second
	return c
}

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	topic := os.Args[2]
	partitions, err := strconv.Atoi(os.Args[3])
	report.Must(err)
	producer, err := sarama.NewAsyncProducer(strings.Split(os.Args[1], ","), config())
	report.Must(err)
	told := make(chan struct{})
	go func() { // ends when the producer has closed
		defer close(told)
		for m := range producer.Successes() {
			report.Tell("acked", map[string]any{"topic": topic, "partition": m.Partition, "from": m.Metadata, "to": m.Offset})
		}
	}()
	go func() { // as well
		for e := range producer.Errors() {
			report.Tell("failed", map[string]any{"error": strconv.Itoa(e.Msg.Metadata.(int)) + ": " + e.Err.Error()})
		}
	}()
	for n := 0; stop.Err() == nil; n++ {
		producer.Input() <- &sarama.ProducerMessage{Topic: topic, Partition: int32(n % partitions), Value: sarama.StringEncoder(strconv.Itoa(n)), Metadata: n}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-stop.Done():
		}
	}
	producer.AsyncClose()
	<-told
	report.Tell("left", nil)
}
