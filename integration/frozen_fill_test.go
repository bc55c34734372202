package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/ottla/ottla/integration/datadir"
	"github.com/ottla/ottla/server/servertest"
)

// fillFrozen leaves something of every kind at a broker: topics, transactions in every state, groups of both protocols with members that stay, configs and a feature.
func fillFrozen(ctx context.Context, t *testing.T, b *servertest.Broker) {
	t.Helper()
	client := newClient(t, b)
	steps := []func() error{
		func() error { return datadir.Create(ctx, b.Addr, true, true) },
		func() error { return datadir.Fill(ctx, b.Addr, 0, frozenTime, true) },
		func() error { return frozenClassicGroup(ctx, t, b) },
		func() error { return frozenConsumerGroup(ctx, client) },
		func() error { return frozenTxnOffsets(ctx, b) },
		func() error { return frozenCluster(ctx, client) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// frozenClassicGroup has a static member join, who stays when its client ends, and a group without members commit.
func frozenClassicGroup(ctx context.Context, t *testing.T, b *servertest.Broker) error {
	assigned := make(chan struct{}, 1)
	client := newClient(t, b, kgo.ConsumerGroup("frozen-classic"), kgo.InstanceID("static-classic"), kgo.ConsumeTopics("plain", "headers"), kgo.SessionTimeout(30*time.Minute),
		kgo.DisableAutoCommit(), kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { assigned <- struct{}{} }))
	select {
	case <-assigned:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := kadm.NewClient(client).CommitOffsets(ctx, "frozen-alone", frozenOffsets(3))
	return err
}

// frozenOffsets are those of a commit.
func frozenOffsets(at int64) kadm.Offsets {
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "plain", At: at, LeaderEpoch: 0, Metadata: "frozen"})
	return offsets
}

// frozenConsumerGroup has two members, one of them static, join until they have their partitions; they never leave.
func frozenConsumerGroup(ctx context.Context, client *kgo.Client) error {
	first, second := kmsg.NewPtrConsumerGroupHeartbeatRequest(), kmsg.NewPtrConsumerGroupHeartbeatRequest()
	first.MemberID, second.MemberID, second.InstanceID = "frozen-1", "frozen-2", kmsg.StringPtr("static-consumer")
	for _, req := range []*kmsg.ConsumerGroupHeartbeatRequest{first, second} {
		req.Group, req.RebalanceTimeoutMillis = "frozen-consumer", 60_000
		req.SubscribedTopicNames, req.Topics = []string{"plain", "headers", "segments"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{first.Group}
	for {
		for _, req := range []*kmsg.ConsumerGroupHeartbeatRequest{first, second} {
			resp, err := req.RequestWith(ctx, client)
			if err != nil {
				return err
			}
			if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
				if kerr.IsRetriable(err) {
					continue
				}
				return err
			}
			req.MemberEpoch = resp.MemberEpoch
			if resp.Assignment != nil {
				req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
				for _, topic := range resp.Assignment.Topics {
					req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topic.TopicID, Partitions: topic.Partitions})
				}
			}
		}
		resp, err := describe.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		if g := resp.Groups[0]; g.State == "Stable" && len(g.Members) == 2 {
			return nil
		}
	}
}

// frozenTxnOffsets commits offsets in one transaction that is committed, and in one that stays open.
func frozenTxnOffsets(ctx context.Context, b *servertest.Broker) error {
	for _, commit := range []bool{true, false} {
		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.MaxVersions(kversion.V3_7_0())) // which adds groups to transactions by themselves
		if err != nil {
			return err
		}
		err = frozenTxnOffset(ctx, client, fmt.Sprint("frozen-offsets-", commit), commit)
		client.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func frozenTxnOffset(ctx context.Context, client *kgo.Client, id string, commit bool) error {
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.TransactionalID, begin.TransactionTimeoutMillis = &id, 60_000
	producer, err := begin.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	group := "group-of-" + id
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = id, producer.ProducerID, producer.ProducerEpoch, group
	added, err := add.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(added.ErrorCode); err != nil {
		return err
	}
	write := kmsg.NewPtrTxnOffsetCommitRequest()
	write.TransactionalID, write.ProducerID, write.ProducerEpoch, write.Group, write.Generation = id, producer.ProducerID, producer.ProducerEpoch, group, -1
	write.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "plain", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: 5, LeaderEpoch: -1}}}}
	written, err := write.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(written.Topics[0].Partitions[0].ErrorCode); err != nil || !commit {
		return err
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = id, producer.ProducerID, producer.ProducerEpoch, true
	ended, err := end.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(ended.ErrorCode)
}

// frozenCluster sets a config of the broker and takes a feature down.
func frozenCluster(ctx context.Context, client *kgo.Client) error {
	changed, err := kadm.NewClient(client).AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "message.max.bytes", Value: kmsg.StringPtr("1000000")}}, 1)
	for _, c := range changed {
		err = errors.Join(err, c.Err)
	}
	if err != nil {
		return err
	}
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "transaction.version", MaxVersionLevel: 1, UpgradeType: 2}}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// frozenTransaction ends the transaction that was left open: its producer starts anew, and what it wrote is aborted.
func frozenTransaction(ctx context.Context, t *testing.T, b *servertest.Broker) {
	t.Helper()
	if err := datadir.EndOpen(ctx, b.Addr, 0); err != nil {
		t.Fatal(err)
	}
	got, err := datadir.Observe(ctx, b.Addr, datadir.OpenTopic)
	if err != nil {
		t.Fatal(err)
	}
	if p := got[datadir.OpenTopic+"-0"]; p.LastStable != p.LogEnd || len(p.Aborted) != 2 {
		t.Errorf("the transaction that was open: last stable offset %d, end %d, aborted %q", p.LastStable, p.LogEnd, p.Aborted)
	}
}
