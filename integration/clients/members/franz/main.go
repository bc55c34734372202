// Command franz is a group member on franz-go that tells what happens to it, one JSON object a line. It commits after every
// poll, and leaves on SIGTERM. Arguments: BOOTSTRAP GROUP TOPIC-OR-^PATTERN [KEY=VALUE]..., the keys being session.timeout.ms,
// heartbeat.interval.ms, group.instance.id, group.protocol (classic, consumer) and partition.assignment.strategy (range,
// roundrobin, sticky, cooperative-sticky).
package main

import (
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/clients/members/report"
)

func options(args []string) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(args[0], ",")...), kgo.ConsumerGroup(args[1]), kgo.AlwaysRetryEOF(), kgo.ConsumeTopics(args[2]), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMaxAge(500 * time.Millisecond), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, p map[string][]int32) {
			_, generation := cl.GroupMetadata()
			report.Tell("assigned", map[string]any{"partitions": report.Partitions(p), "generation": generation})
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			report.Tell("revoked", map[string]any{"partitions": report.Partitions(p)})
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			report.Tell("lost", map[string]any{"partitions": report.Partitions(p)})
		}),
	}
	if strings.HasPrefix(args[2], "^") {
		opts = append(opts, kgo.ConsumeRegex())
	}
	balancers := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}
	for _, arg := range args[3:] {
		key, value, _ := strings.Cut(arg, "=")
		ms, _ := strconv.Atoi(value)
		switch key {
		case "session.timeout.ms":
			opts = append(opts, kgo.SessionTimeout(time.Duration(ms)*time.Millisecond))
		case "heartbeat.interval.ms":
			opts = append(opts, kgo.HeartbeatInterval(time.Duration(ms)*time.Millisecond))
		case "group.instance.id":
			opts = append(opts, kgo.InstanceID(value))
		case "partition.assignment.strategy":
			opts = append(opts, kgo.Balancers(balancers[value]))
		case "group.protocol":
			if value == "consumer" {
				opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
			}
		default:
			report.Fail("unknown setting", arg)
		}
	}
	return opts
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cl, err := kgo.NewClient(options(os.Args[1:])...)
	if err != nil {
		report.Fail(err)
	}
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		offsets := map[string]map[int32]kgo.EpochOffset{}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) == 0 {
				return
			}
			to := p.Records[len(p.Records)-1].Offset + 1
			report.Tell("consumed", map[string]any{"topic": p.Topic, "partition": p.Partition, "from": p.Records[0].Offset, "to": to})
			if offsets[p.Topic] == nil {
				offsets[p.Topic] = map[int32]kgo.EpochOffset{}
			}
			offsets[p.Topic][p.Partition] = kgo.EpochOffset{Epoch: -1, Offset: to}
		})
		if len(offsets) > 0 {
			commit(cl, offsets)
		}
		cl.AllowRebalance()
	}
	cl.CloseAllowingRebalance()
	report.Tell("left", nil)
}

func commit(cl *kgo.Client, offsets map[string]map[int32]kgo.EpochOffset) {
	cl.CommitOffsetsSync(context.Background(), offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			report.Tell("refused", map[string]any{"error": err.Error()})
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					report.Tell("refused", map[string]any{"error": err.Error()})
					continue
				}
				report.Tell("committed", map[string]any{"topic": t.Topic, "partition": p.Partition, "to": offsets[t.Topic][p.Partition].Offset})
			}
		}
	})
}
