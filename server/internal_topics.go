package server

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

const (
	// growTimeout bounds one request to the controller.
	growTimeout = 30 * time.Second
	// growRetry is the wait after one that failed.
	growRetry = 5 * time.Second
)

// internalTopics gives internal topics that were created while there were few brokers the replicas that they should have, as brokers come; only where
// the user did not set the key of their replication factor. The broker that leads partition 0 of a topic sees to it. Its goroutine is started by start
// and stopped by stop.
type internalTopics struct {
	node       int32
	config     func() config.Values
	image      func() *metadata.Image
	controller api.Controller
	logger     *zap.Logger

	wake    chan struct{} // has room for one
	running background
	grown   map[string]bool // topics that got replicas from here, whose min.insync.replicas is to follow; owned by run
}

func newInternalTopics(node int32, c func() config.Values, image func() *metadata.Image, controller api.Controller, l *zap.Logger) *internalTopics {
	return &internalTopics{
		node: node, config: c, image: image, controller: controller, logger: l,
		wake: make(chan struct{}, 1), running: newBackground(), grown: map[string]bool{},
	}
}

func (t *internalTopics) start() { t.running.start(t.run) }

// stop ends the goroutine. Without a start it does nothing.
func (t *internalTopics) stop() { t.running.stop() }

// applied notes a change: one of brokers or of internal topics may call for replicas.
func (t *internalTopics) applied(d *metadata.Delta) {
	concerns := len(d.Brokers) > 0
	for _, k := range factorKeys() {
		if topic := d.Image.Topic(k.topic); topic != nil && d.Topics[topic.ID] != nil {
			concerns = true
		}
	}
	if concerns {
		select {
		case t.wake <- struct{}{}:
		default: // it looks again in any case
		}
	}
}

func (t *internalTopics) run(ctx context.Context) {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-retry.C:
		}
		wait := time.Hour
		if err := t.grow(ctx); err != nil && ctx.Err() == nil {
			t.logger.Warn("internal topics could not get more replicas; trying again", zap.Error(err))
			wait = growRetry
		}
		retry.Reset(wait)
	}
}

// grow asks for what is missing now.
func (t *internalTopics) grow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, growTimeout)
	defer cancel()
	values, image := t.config(), t.image()
	if req := moreReplicas(values, image, t.node); req != nil {
		answer, err := t.controller.Handle(ctx, req)
		if err != nil {
			return err
		}
		resp := answer.(*kmsg.AlterPartitionAssignmentsResponse)
		if resp.ErrorCode != 0 {
			return protocol.Code(resp.ErrorCode)
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return protocol.Code(p.ErrorCode)
				}
			}
			t.grown[topic.Topic] = true
			t.logger.Info("an internal topic gets more replicas", zap.String("topic", topic.Topic), zap.Int("partitions", len(topic.Partitions)))
		}
	}
	for name := range t.grown {
		req, settled := higherMinISR(values, image.Topic(name), image.Config(config.Topic, name))
		if req != nil {
			if _, err := t.controller.Handle(ctx, req); err != nil {
				return err
			}
		}
		if settled {
			delete(t.grown, name)
		}
	}
	return nil
}

// factorKey names the keys that say how an internal topic is replicated.
type factorKey struct{ topic, factor, minISR string }

func factorKeys() []factorKey {
	return []factorKey{
		{protocol.GroupMetadataTopic, "offsets.topic.replication.factor", ""},
		{protocol.TransactionStateTopic, "transaction.state.log.replication.factor", "transaction.state.log.min.isr"},
		{protocol.ShareStateTopic, "share.coordinator.state.topic.replication.factor", "share.coordinator.state.topic.min.isr"},
	}
}

// moreReplicas is the request that adds the replicas which internal topics lack, of which node leads partition 0; nil if there is nothing to add. A
// partition that is being moved off a broker is left alone.
func moreReplicas(values config.Values, image *metadata.Image, node int32) *kmsg.AlterPartitionAssignmentsRequest {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.SetVersion(req.MaxVersion())
	req.AllowReplicationFactorChange, req.TimeoutMillis = true, int32(growTimeout/time.Millisecond)
	for _, k := range factorKeys() {
		t := image.Topic(k.topic)
		if t == nil || values.IsSet(k.factor) || t.Partitions[0].Leader != node {
			continue
		}
		s := newSpread(image, t)
		out := kmsg.AlterPartitionAssignmentsRequestTopic{Topic: t.Name}
		for _, p := range t.Partitions {
			replicas := slices.Clone(p.Replicas)
			for len(p.Removing) == 0 && len(replicas) < values.Int(k.factor) {
				id, ok := s.next(replicas)
				if !ok {
					break
				}
				replicas = append(replicas, id)
			}
			if len(replicas) > len(p.Replicas) {
				out.Partitions = append(out.Partitions, kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: p.ID, Replicas: replicas})
			}
		}
		if len(out.Partitions) > 0 {
			req.Topics = append(req.Topics, out)
		}
	}
	if len(req.Topics) == 0 {
		return nil
	}
	return req
}

// spread chooses brokers for more replicas of one topic: first of racks that have none, then those with the fewest.
type spread struct {
	brokers []*metadata.Broker // that can take replicas
	count   map[int32]int
	racks   map[int32]string
}

func newSpread(image *metadata.Image, t *metadata.Topic) *spread {
	s := &spread{count: map[int32]int{}, racks: map[int32]string{}}
	for b := range image.Brokers() {
		if b.Rack != nil {
			s.racks[b.ID] = *b.Rack
		}
		if active(b) && (len(b.Directories) == 0 || len(b.CordonedDirectories) < len(b.Directories)) {
			s.brokers = append(s.brokers, b)
		}
	}
	for _, p := range t.Partitions {
		for _, id := range p.Replicas {
			s.count[id]++
		}
	}
	return s
}

// next takes a broker beside replicas, false if there is none.
func (s *spread) next(replicas []int32) (int32, bool) {
	shares := func(b *metadata.Broker) int {
		rack, ok := s.racks[b.ID]
		if ok && slices.ContainsFunc(replicas, func(id int32) bool { return s.racks[id] == rack }) {
			return 1
		}
		return 0
	}
	var best *metadata.Broker
	for _, b := range s.brokers {
		if slices.Contains(replicas, b.ID) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(shares(b), shares(best)), cmp.Compare(s.count[b.ID], s.count[best.ID])) < 0 {
			best = b
		}
	}
	if best == nil {
		return 0, false
	}
	s.count[best.ID]++
	return best.ID, true
}

// higherMinISR is the request that gives a topic which has got its replicas the min.insync.replicas that it would have been created with; nil if it has
// it. settled is false while there may be more to do.
func higherMinISR(values config.Values, t *metadata.Topic, overrides map[string]string) (req *kmsg.IncrementalAlterConfigsRequest, settled bool) {
	if t == nil {
		return nil, true
	}
	i := slices.IndexFunc(factorKeys(), func(k factorKey) bool { return k.topic == t.Name })
	key := factorKeys()[i].minISR
	if key == "" || values.IsSet(key) {
		return nil, true
	}
	want := values.Int(key)
	for _, p := range t.Partitions {
		if len(p.Adding) > 0 {
			return nil, false
		}
		want = min(want, len(p.ISR))
	}
	settled = want == values.Int(key)
	if has, err := strconv.Atoi(overrides["min.insync.replicas"]); err != nil || has >= want {
		return nil, settled
	}
	req = kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.SetVersion(req.MaxVersion())
	value := strconv.Itoa(want)
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
		ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: t.Name,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "min.insync.replicas", Value: &value}},
	}}
	return req, settled
}
