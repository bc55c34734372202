// Command franzwriter is an idempotent producer on franz-go that writes numbers until SIGTERM and tells which were acknowledged: "acked" with the number in "from" and
// the offset in "to". Arguments: BOOTSTRAP TOPIC PARTITIONS.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/clients/members/report"
)

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	partitions, err := strconv.Atoi(os.Args[3])
	report.Must(err)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Args[1], ",")...), kgo.DefaultProduceTopic(os.Args[2]), kgo.AlwaysRetryEOF(), kgo.UnknownTopicRetries(-1), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100*time.Millisecond))
	report.Must(err)
	for n := 0; stop.Err() == nil; n++ {
		r := &kgo.Record{Partition: int32(n % partitions), Value: []byte(strconv.Itoa(n))}
		client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			if err != nil {
				report.Tell("failed", map[string]any{"error": fmt.Sprintf("%d: %v", n, err)})
				return
			}
			report.Tell("acked", map[string]any{"topic": r.Topic, "partition": r.Partition, "from": n, "to": r.Offset})
		})
		select {
		case <-time.After(10 * time.Millisecond):
		case <-stop.Done():
		}
	}
	report.Must(client.Flush(context.Background()))
	client.Close()
	report.Tell("left", nil)
}
