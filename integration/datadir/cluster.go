package datadir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Cluster is what a broker knows beside the records: lines that are equal exactly if what they tell is equal.
type Cluster struct {
	Features     []string // what is finalized
	Configs      []string // those that were set, of topics and of the broker
	Groups       []string // of both protocols, with members and offsets
	Transactions []string // of all transactional ids
	Places       []string // which log dir, by its place in the list, has a partition, and which its copy
}

// ObserveCluster asks the broker at addr, the only one of its cluster, whose log dirs are dirs.
func ObserveCluster(ctx context.Context, addr string, dirs []string) (*Cluster, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	o := &clusterObserver{client: client, admin: kadm.NewClient(client), dirs: dirs}
	for _, step := range []func(context.Context) error{o.features, o.configs, o.groups, o.transactions, o.places} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	for _, lines := range o.found.lists() {
		sort.Strings(*lines)
	}
	return &o.found, nil
}

func (c *Cluster) lists() map[string]*[]string {
	return map[string]*[]string{"feature": &c.Features, "config": &c.Configs, "group": &c.Groups, "transaction": &c.Transactions, "place": &c.Places}
}

// DiffClusters tells how got differs from want, in at most a line for each kind.
func DiffClusters(got, want *Cluster) (out []string) {
	wanted := want.lists()
	for what, lines := range got.lists() {
		out = append(out, diffLines(what, *lines, *wanted[what])...)
	}
	return out
}

type clusterObserver struct {
	client *kgo.Client
	admin  *kadm.Client
	dirs   []string
	found  Cluster
}

func (o *clusterObserver) features(ctx context.Context) error {
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, o.client)
	if err != nil {
		return err
	}
	for _, f := range resp.FinalizedFeatures {
		o.found.Features = append(o.found.Features, fmt.Sprintf("%s %d", f.Name, f.MaxVersionLevel))
	}
	return nil
}

// configs reads those of the sources that somebody has set: topic, broker and all brokers.
func (o *clusterObserver) configs(ctx context.Context) error {
	topics, err := o.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	ofTopics, err := o.admin.DescribeTopicConfigs(ctx, topics.Names()...)
	if err != nil {
		return err
	}
	ofBrokers, err := o.admin.DescribeBrokerConfigs(ctx, 1)
	if err != nil {
		return err
	}
	for _, r := range append(ofTopics, ofBrokers...) {
		err = errors.Join(err, r.Err)
		for _, c := range r.Configs {
			if slices.Contains([]kmsg.ConfigSource{kmsg.ConfigSourceDynamicTopicConfig, kmsg.ConfigSourceDynamicBrokerConfig, kmsg.ConfigSourceDynamicDefaultBrokerConfig}, c.Source) {
				o.found.Configs = append(o.found.Configs, fmt.Sprintf("%s %s=%s", r.Name, c.Key, c.MaybeValue()))
			}
		}
	}
	return err
}

func (o *clusterObserver) groups(ctx context.Context) error {
	listed, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, o.client)
	if err != nil {
		return err
	}
	for _, g := range listed.Groups {
		if err := o.offsets(ctx, g.Group); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s %s %s", g.Group, g.GroupType, g.ProtocolType, g.GroupState)
		if g.GroupType == "consumer" {
			err = o.consumerGroup(ctx, line, g.Group)
		} else {
			err = o.classicGroup(ctx, line, g.Group)
		}
		if err != nil {
			return fmt.Errorf("group %s: %w", g.Group, err)
		}
	}
	return nil
}

func (o *clusterObserver) offsets(ctx context.Context, group string) error {
	all, err := o.admin.FetchOffsets(ctx, group)
	all.Each(func(r kadm.OffsetResponse) {
		o.found.Groups = append(o.found.Groups, fmt.Sprintf("%s committed %s-%d %d/%d %q", group, r.Topic, r.Partition, r.At, r.LeaderEpoch, r.Metadata))
	})
	return errors.Join(err, all.Error())
}

func (o *clusterObserver) classicGroup(ctx context.Context, line, group string) error {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(ctx, o.client)
	if err != nil {
		return err
	}
	g := resp.Groups[0]
	o.found.Groups = append(o.found.Groups, fmt.Sprintf("%s protocol %q", line, g.Protocol))
	for _, m := range g.Members {
		instance := "none"
		if m.InstanceID != nil {
			instance = *m.InstanceID
		}
		o.found.Groups = append(o.found.Groups, fmt.Sprintf("%s member %s instance %s client %s metadata %x assignment %x", group, m.MemberID, instance, m.ClientID, m.ProtocolMetadata, m.MemberAssignment))
	}
	return kerr.ErrorForCode(g.ErrorCode)
}

func (o *clusterObserver) consumerGroup(ctx context.Context, line, group string) error {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(ctx, o.client)
	if err != nil {
		return err
	}
	g := resp.Groups[0]
	o.found.Groups = append(o.found.Groups, fmt.Sprintf("%s epoch %d assignment epoch %d assignor %s", line, g.Epoch, g.AssignmentEpoch, g.AssignorName))
	for _, m := range g.Members {
		instance := "none"
		if m.InstanceID != nil {
			instance = *m.InstanceID
		}
		text := fmt.Sprintf("%s member %s instance %s epoch %d subscribed to %v has", group, m.MemberID, instance, m.MemberEpoch, m.SubscribedTopics)
		for _, t := range m.Assignment.TopicPartitions {
			text += fmt.Sprintf(" %s%v", t.Topic, t.Partitions)
		}
		o.found.Groups = append(o.found.Groups, text)
	}
	return kerr.ErrorForCode(g.ErrorCode)
}

func (o *clusterObserver) transactions(ctx context.Context) error {
	all, err := o.admin.DescribeTransactions(ctx)
	for _, x := range all.Sorted() {
		err = errors.Join(err, x.Err)
		text := fmt.Sprintf("%s %s producer %d/%d timeout %d began %d", x.TxnID, x.State, x.ProducerID, x.ProducerEpoch, x.TimeoutMillis, x.StartTimestamp)
		for _, topic := range x.Topics.Sorted() {
			partitions := slices.Sorted(slices.Values(topic.Partitions))
			text += fmt.Sprintf(" %s%v", topic.Topic, partitions)
		}
		o.found.Transactions = append(o.found.Transactions, text)
	}
	return err
}

func (o *clusterObserver) places(ctx context.Context) error {
	described, err := o.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return err
	}
	for _, broker := range described {
		for _, d := range broker {
			err = errors.Join(err, d.Err)
			d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
				if strings.HasPrefix(p.Topic, "__cluster_metadata") {
					return
				}
				what := "is"
				if p.IsFuture {
					what = "will be"
				}
				o.found.Places = append(o.found.Places, fmt.Sprintf("%s-%d %s in dir %d", p.Topic, p.Partition, what, slices.Index(o.dirs, d.Dir)))
			})
		}
	}
	return err
}
