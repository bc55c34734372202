// Command sarama is a group member on IBM/sarama that tells what happens to it, one JSON object a line. It commits after
// every few records, and leaves on SIGTERM. Arguments: BOOTSTRAP GROUP TOPIC [KEY=VALUE]..., the keys being
// session.timeout.ms, heartbeat.interval.ms, group.instance.id and partition.assignment.strategy (range, roundrobin, sticky).
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

func config(args []string) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Metadata.RefreshFrequency = 500 * time.Millisecond
	strategies := map[string]sarama.BalanceStrategy{
		"range": sarama.NewBalanceStrategyRange(), "roundrobin": sarama.NewBalanceStrategyRoundRobin(), "sticky": sarama.NewBalanceStrategySticky(),
	}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		ms, _ := strconv.Atoi(value)
		switch key {
		case "session.timeout.ms":
			c.Consumer.Group.Session.Timeout = time.Duration(ms) * time.Millisecond
		case "heartbeat.interval.ms":
			c.Consumer.Group.Heartbeat.Interval = time.Duration(ms) * time.Millisecond
		case "group.instance.id":
			c.Consumer.Group.InstanceId = value
		case "partition.assignment.strategy":
			c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategies[value]}
		default:
			report.Fail("unknown setting", arg)
		}
	}
	return c
}

// member handles the sessions of a group.
type member struct{}

// Setup begins a generation.
func (member) Setup(s sarama.ConsumerGroupSession) error {
	report.Tell("assigned", map[string]any{"partitions": report.Partitions(s.Claims()), "generation": s.GenerationID()})
	return nil
}

// Cleanup ends it.
func (member) Cleanup(s sarama.ConsumerGroupSession) error {
	report.Tell("revoked", map[string]any{"partitions": report.Partitions(s.Claims())})
	return nil
}

// ConsumeClaim consumes one partition. A commit tells only the group's error channel of its failure, so none is told here.
func (member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			from, to := m.Offset, m.Offset+1
			for len(claim.Messages()) > 0 {
				if m = <-claim.Messages(); m == nil {
					break
				}
				to = m.Offset + 1
			}
			report.Tell("consumed", map[string]any{"topic": claim.Topic(), "partition": claim.Partition(), "from": from, "to": to})
			s.MarkOffset(claim.Topic(), claim.Partition(), to, "")
			s.Commit()
		case <-s.Context().Done():
			return nil
		}
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	group, err := sarama.NewConsumerGroup(strings.Split(args[0], ","), args[1], config(args[3:]))
	if err != nil {
		report.Fail(err)
	}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{args[2]}, member{}); err != nil && ctx.Err() == nil {
			report.Say(err)
		}
	}
	if err := group.Close(); err != nil {
		report.Say(err)
	}
	report.Tell("left", nil)
}
