package api

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// TopicCreator creates topics in the background because somebody asked for them (Kafka's AutoTopicCreationManager): Metadata for
// any topic, FindCoordinator for the coordinators' own. Each request to the controller has a goroutine, which Close stops. mu guards
// inflight and closed, and is not held during requests.
type TopicCreator struct {
	o      TopicCreatorOptions
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	inflight map[string]struct{}
	closed   bool
}

// TopicCreatorOptions is what a TopicCreator needs.
type TopicCreatorOptions struct {
	Controller Controller
	Config     func() config.Values   // broker values as of now
	Image      func() *metadata.Image // as last published
	Logger     *zap.Logger
}

// NewTopicCreator returns a creator; Close it.
func NewTopicCreator(o TopicCreatorOptions) *TopicCreator {
	ctx, cancel := context.WithCancel(context.Background())
	return &TopicCreator{o: o, ctx: ctx, cancel: cancel, inflight: map[string]struct{}{}}
}

// Create starts to create the topics for who asked and returns at once. Names whose creation is under way are passed over. The names must be valid;
// they are copied. What goes wrong is logged only: whoever asked asks again.
func (c *TopicCreator) Create(who controller.Caller, names ...string) {
	c.mu.Lock()
	var wanted []string
	for _, name := range names {
		if _, ok := c.inflight[name]; !ok && !c.closed {
			name = strings.Clone(name)
			c.inflight[name] = struct{}{}
			wanted = append(wanted, name)
		}
	}
	if len(wanted) > 0 {
		c.wg.Add(1)
	}
	c.mu.Unlock()
	if len(wanted) > 0 {
		who.ClientID, who.Principal = strings.Clone(who.ClientID), strings.Clone(who.Principal)
		go c.create(who, wanted)
	}
}

// Close ends requests under way and waits for their goroutines. Create does nothing afterwards.
func (c *TopicCreator) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

func (c *TopicCreator) create(who controller.Caller, names []string) {
	defer c.wg.Done()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, name := range names {
			delete(c.inflight, name)
		}
	}()
	values := c.o.Config()
	timeout := values.Duration("request.timeout.ms")
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = req.MaxVersion()
	req.TimeoutMillis = int32(timeout / time.Millisecond)
	for _, name := range names {
		req.Topics = append(req.Topics, creatableTopic(values, c.o.Image(), name))
	}
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	resp, err := c.o.Controller.Handle(controller.WithCaller(ctx, who), req)
	if err != nil {
		if c.ctx.Err() == nil {
			c.o.Logger.Warn("topics could not be created automatically", zap.Strings("topics", names), zap.Error(err))
		}
		return
	}
	created, ok := resp.(*kmsg.CreateTopicsResponse)
	if !ok {
		c.o.Logger.Error("the controller gave a wrong answer to CreateTopics", zap.Int16("key", resp.Key()))
		return
	}
	for _, t := range created.Topics {
		switch code := protocol.Code(t.ErrorCode); code {
		case protocol.None, protocol.TopicAlreadyExists:
		default:
			message := ""
			if t.ErrorMessage != nil {
				message = *t.ErrorMessage
			}
			c.o.Logger.Warn("topic could not be created automatically",
				zap.String("topic", t.Topic), zap.Stringer("code", code), zap.String("message", message))
		}
	}
}

// creatableTopic is how a topic is created by itself: an internal one with its own count and configs, any other with num.partitions
// and default.replication.factor.
func creatableTopic(values config.Values, image *metadata.Image, name string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic = name
	var configs map[string]string
	switch name {
	case protocol.GroupMetadataTopic:
		t.NumPartitions = int32(values.Int("offsets.topic.num.partitions"))
		t.ReplicationFactor = internalReplicas(values, image, "offsets.topic.replication.factor")
		configs = map[string]string{
			"cleanup.policy": "compact", "compression.type": "producer",
			"segment.bytes": strconv.Itoa(values.Int("offsets.topic.segment.bytes")),
		}
	case protocol.TransactionStateTopic:
		t.NumPartitions = int32(values.Int("transaction.state.log.num.partitions"))
		t.ReplicationFactor = internalReplicas(values, image, "transaction.state.log.replication.factor")
		configs = map[string]string{
			"cleanup.policy": "compact", "compression.type": "uncompressed", "unclean.leader.election.enable": "false",
			"min.insync.replicas": internalMinISR(values, t.ReplicationFactor, "transaction.state.log.min.isr"),
			"segment.bytes":       strconv.Itoa(values.Int("transaction.state.log.segment.bytes")),
		}
	case protocol.ShareStateTopic:
		t.NumPartitions = int32(values.Int("share.coordinator.state.topic.num.partitions"))
		t.ReplicationFactor = internalReplicas(values, image, "share.coordinator.state.topic.replication.factor")
		configs = map[string]string{
			"cleanup.policy": "delete", "compression.type": "producer", "retention.ms": "-1",
			"min.insync.replicas": internalMinISR(values, t.ReplicationFactor, "share.coordinator.state.topic.min.isr"),
			"segment.bytes":       strconv.Itoa(values.Int("share.coordinator.state.topic.segment.bytes")),
		}
	default:
		t.NumPartitions = int32(values.Int("num.partitions"))
		t.ReplicationFactor = int16(values.Int("default.replication.factor"))
	}
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		value := configs[key]
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
	}
	return t
}

// internalReplicas is the replication factor of an internal topic: as configured, but no more than there are brokers unless the user
// set the key, so that a small cluster works without configuration.
func internalReplicas(values config.Values, image *metadata.Image, key string) int16 {
	factor := values.Int(key)
	if !values.IsSet(key) {
		alive := 0
		for b := range image.Brokers() {
			if !b.Fenced {
				alive++
			}
		}
		factor = min(factor, max(alive, 1))
	}
	return int16(factor)
}

// internalMinISR is the min.insync.replicas of an internal topic, by the same rule.
func internalMinISR(values config.Values, replicas int16, key string) string {
	n := values.Int(key)
	if !values.IsSet(key) {
		n = min(n, int(replicas))
	}
	return strconv.Itoa(n)
}
