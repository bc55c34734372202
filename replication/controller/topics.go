package controller

import (
	"math"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// createTopics creates topics, each on its own terms: one that cannot be created does not hinder the others
// (ControllerApis.createTopics, ReplicationControlManager.createTopics).
func createTopics(v *View, req *kmsg.CreateTopicsRequest, resp *kmsg.CreateTopicsResponse) (Decision, error) {
	if err := checkPartitionCount(v, req); err != nil {
		return Decision{}, err
	}
	count := map[string]int{}
	for i := range req.Topics {
		count[req.Topics[i].Topic]++
	}
	var d Decision
	leaders := map[int32]struct{}{}
	for i := range req.Topics {
		t := &req.Topics[i]
		if count[t.Topic] != 1 || t.Topic == protocol.ClusterMetadataTopic {
			continue
		}
		out := newTopicResult(t.Topic)
		made, err := createTopic(v, t, &out)
		if err != nil {
			out = newTopicResult(t.Topic)
			out.ErrorCode, out.ErrorMessage = codeAndMessage(err)
		} else {
			d.Records = append(d.Records, made.records...)
			for _, l := range made.leaders {
				leaders[l] = struct{}{}
			}
		}
		resp.Topics = append(resp.Topics, out)
	}
	for i := range req.Topics {
		name, message := req.Topics[i].Topic, ""
		switch {
		case count[name] > 1:
			message, count[name] = "Duplicate topic name.", 0
		case count[name] == 1 && name == protocol.ClusterMetadataTopic:
			message = "Creation of internal topic " + protocol.ClusterMetadataTopic + " is prohibited."
		default:
			continue
		}
		out := newTopicResult(name)
		out.ErrorCode, out.ErrorMessage = int16(protocol.InvalidRequest), &message
		resp.Topics = append(resp.Topics, out)
	}
	if req.ValidateOnly {
		return Decision{}, nil
	}
	for id := range leaders {
		d.Await = append(d.Await, id)
	}
	return d, nil
}

func newTopicResult(name string) kmsg.CreateTopicsResponseTopic {
	out := kmsg.NewCreateTopicsResponseTopic()
	out.Topic, out.NumPartitions, out.ReplicationFactor = strings.Clone(name), -1, -1
	out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	return out
}

// checkPartitionCount refuses a request for more new partitions than one operation may make.
func checkPartitionCount(v *View, req *kmsg.CreateTopicsRequest) error {
	total := int64(0)
	for i := range req.Topics {
		switch t := &req.Topics[i]; {
		case len(t.ReplicaAssignment) > 0:
			total += int64(len(t.ReplicaAssignment))
		case t.NumPartitions == -1:
			total += v.Config().Int64("num.partitions")
		case t.NumPartitions > 0:
			total += int64(t.NumPartitions)
		}
	}
	if total > maxRecords {
		return protocol.Errorf(protocol.PolicyViolation, "Excessively large number of partitions per request.")
	}
	return nil
}

// newTopic is what one topic takes to be created.
type newTopic struct {
	records []schema.MetadataRecord
	leaders []int32
}

// createTopic decides one topic and fills its result.
func createTopic(v *View, t *kmsg.CreateTopicsRequestTopic, out *kmsg.CreateTopicsResponseTopic) (newTopic, error) {
	if err := checkNewName(v, t.Topic); err != nil {
		return newTopic{}, err
	}
	overrides, err := creationConfigs(v, t)
	if err != nil {
		return newTopic{}, err
	}
	assignments, err := assignTopic(v, t)
	if err != nil {
		return newTopic{}, err
	}
	if err := v.charge(len(assignments)); err != nil {
		return newTopic{}, err
	}
	name, id := strings.Clone(t.Topic), protocol.NewUUID()
	made := newTopic{records: []schema.MetadataRecord{&schema.TopicRecord{Name: name, TopicID: id}}}
	for _, o := range overrides {
		made.records = append(made.records, &schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: name, Name: o.name, Value: &o.value})
	}
	for i, replicas := range assignments {
		p := newPartition(v, id, int32(i), replicas)
		made.records = append(made.records, p)
		made.leaders = append(made.leaders, p.Leader)
	}
	out.TopicID = id
	out.NumPartitions, out.ReplicationFactor = int32(len(assignments)), int16(len(assignments[0]))
	out.Configs = describeTopic(v, overrides)
	return made, nil
}

// checkNewName requires a valid name that is free.
func checkNewName(v *View, name string) error {
	err := protocol.ValidateTopicName(name)
	if v.Image.Topic(name) != nil {
		return protocol.Errorf(protocol.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if err != nil {
		return err
	}
	if strings.ContainsAny(name, "._") {
		if other := v.names.colliding(name); other != "" {
			return protocol.Errorf(protocol.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, other)
		}
	}
	return nil
}

// override is one config of a new topic.
type override struct{ name, value string }

// creationConfigs checks the configs of a new topic and returns them, each key once.
func creationConfigs(v *View, t *kmsg.CreateTopicsRequestTopic) ([]override, error) {
	var overrides []override
	var nulls []string
	for _, c := range t.Configs {
		if c.Value == nil {
			nulls = append(nulls, c.Name)
			continue
		}
		if err := checkSize(*c.Value); err != nil {
			return nil, err
		}
		o := override{strings.Clone(c.Name), strings.Clone(*c.Value)}
		if i := slices.IndexFunc(overrides, func(x override) bool { return x.name == o.name }); i >= 0 {
			overrides[i] = o
		} else {
			overrides = append(overrides, o)
		}
	}
	if len(nulls) > 0 {
		return nil, protocol.Errorf(protocol.InvalidConfig, "Null value not supported for topic configs: %s", strings.Join(nulls, ","))
	}
	all := map[string]string{}
	for _, o := range overrides {
		all[o.name] = o.value
	}
	return overrides, v.Config().ValidateTopic(all)
}

// describeTopic lists the configs of a new topic as DescribeConfigs would, but for the text of those that the request sets.
func describeTopic(v *View, overrides []override) []kmsg.CreateTopicsResponseTopicConfig {
	all := map[string]string{}
	for _, o := range overrides {
		all[o.name] = o.value
	}
	values := v.Config().Topic(all)
	out := []kmsg.CreateTopicsResponseTopicConfig{}
	for _, k := range config.Keys(config.Topic) {
		if _, set := all[k.Name]; k.Internal && !set {
			continue
		}
		d := values.Describe(k)
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.ReadOnly, c.Source, c.IsSensitive = k.Name, d.Value, d.ReadOnly, int8(d.Source), k.Sensitive()
		if value, set := all[k.Name]; set && !k.Sensitive() {
			c.Value = &value // as it came; DescribeConfigs would say what it means
		}
		out = append(out, c)
	}
	return out
}

// assignTopic chooses the replicas of a new topic, or takes those that the request names.
func assignTopic(v *View, t *kmsg.CreateTopicsRequestTopic) ([][]int32, error) {
	if len(t.ReplicaAssignment) > 0 {
		return manualAssignment(v, t)
	}
	if t.ReplicationFactor < -1 || t.ReplicationFactor == 0 {
		return nil, protocol.Errorf(protocol.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	}
	if t.NumPartitions < -1 || t.NumPartitions == 0 {
		return nil, protocol.Errorf(protocol.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	partitions, replicas := int(t.NumPartitions), int(t.ReplicationFactor)
	if partitions == -1 {
		partitions = v.Config().Int("num.partitions")
	}
	if replicas == -1 {
		replicas = v.Config().Int("default.replication.factor")
	}
	out, err := place(usableBrokers(v.Image), partitions, replicas, v.Rand)
	if err == nil {
		err = checkActive(v, out, replicas)
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): %s", replicas, *protocol.MessageOf(err))
	}
	return out, nil
}

// checkActive requires that each partition can have a leader.
func checkActive(v *View, assignments [][]int32, replicas int) error {
	for _, a := range assignments {
		if !slices.ContainsFunc(a, v.active) {
			return protocol.Errorf(protocol.InvalidReplicationFactor, "All brokers are currently fenced or in controlled shutdown.")
		}
	}
	return nil
}

// manualAssignment takes the replicas from the request.
func manualAssignment(v *View, t *kmsg.CreateTopicsRequestTopic) ([][]int32, error) {
	if t.ReplicationFactor != -1 {
		return nil, protocol.Errorf(protocol.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if t.NumPartitions != -1 {
		return nil, protocol.Errorf(protocol.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	given := map[int32][]int32{}
	replicas := -1
	for _, a := range t.ReplicaAssignment {
		if _, twice := given[a.Partition]; twice {
			return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		if err := checkManual(v, a.Partition, a.Replicas, replicas); err != nil {
			return nil, err
		}
		replicas = len(a.Replicas)
		given[a.Partition] = slices.Clone(a.Replicas)
	}
	out := make([][]int32, len(given))
	for i := range out {
		a, ok := given[int32(i)]
		if !ok {
			return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		out[i] = a
	}
	return out, nil
}

// checkReplicas checks the replicas that a request names; replicas is how many there have to be, -1 for any number
// (ReplicationControlManager.validateManualPartitionAssignment).
func checkReplicas(v *View, assigned []int32, replicas int) error {
	invalid := func(format string, args ...any) error {
		return protocol.Errorf(protocol.InvalidReplicaAssignment, format, args...)
	}
	if len(assigned) == 0 {
		return invalid("The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(assigned))
	for i, id := range sorted {
		if v.Image.Broker(id) == nil {
			return invalid("The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return invalid("The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if replicas >= 0 && len(assigned) != replicas {
		return invalid("The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous "+
			"partitions, which have %d replica(s).", len(assigned), replicas)
	}
	if len(assigned) > math.MaxInt16 {
		return invalid("The manual partition assignment includes a partition with %d replicas.", len(assigned))
	}
	return nil
}

// checkManual checks the replicas that a request names for a new partition.
func checkManual(v *View, partition int32, assigned []int32, replicas int) error {
	if err := checkReplicas(v, assigned, replicas); err != nil {
		return err
	}
	if !slices.ContainsFunc(assigned, v.active) {
		return protocol.Errorf(protocol.InvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", partition)
	}
	return nil
}

// newPartition is the record of a new partition: its ISR are the active replicas, its leader is the first of them.
func newPartition(v *View, topic protocol.UUID, id int32, replicas []int32) *schema.PartitionRecord {
	p := &schema.PartitionRecord{PartitionID: id, TopicID: topic, Replicas: replicas, Removing: []int32{}, Adding: []int32{}, Leader: noBroker}
	for _, r := range replicas {
		if v.active(r) {
			p.ISR = append(p.ISR, r)
		}
		p.Directories = append(p.Directories, defaultDirectory(v.Image.Broker(r)))
	}
	if len(p.ISR) > 0 {
		p.Leader = p.ISR[0]
	}
	return p
}

// defaultDirectory is the directory of a new replica (ClusterControlManager.defaultDir): a broker with several chooses itself.
func defaultDirectory(b *metadata.Broker) protocol.UUID {
	switch {
	case b == nil || len(b.Directories) > 1:
		return metadata.DirectoryUnassigned
	case len(b.Directories) == 1:
		return b.Directories[0]
	}
	return metadata.DirectoryMigrating
}

// deleteTopics removes topics by name or id (ControllerApis.deleteTopics).
func deleteTopics(v *View, req *kmsg.DeleteTopicsRequest, resp *kmsg.DeleteTopicsResponse) (Decision, error) {
	if !v.Config().Bool("delete.topic.enable") {
		if req.Version < 3 {
			return Decision{}, protocol.Errorf(protocol.InvalidRequest, "Topic deletion is disabled.")
		}
		return Decision{}, protocol.TopicDeletionDisabled
	}
	n := naming{names: map[string]int{}, ids: map[protocol.UUID]int{}, resp: resp}
	n.collect(req)
	var d Decision
	for _, t := range n.resolve(v) {
		if err := v.charge(len(t.Partitions)); err != nil {
			n.answer(&t.Name, t.ID, err)
			continue
		}
		d.Records = append(d.Records, &schema.RemoveTopicRecord{TopicID: t.ID})
		n.answer(&t.Name, t.ID, nil)
		for _, p := range t.Partitions {
			if p.Leader != noBroker && !slices.Contains(d.Await, p.Leader) {
				d.Await = append(d.Await, p.Leader)
			}
		}
	}
	return d, nil
}

// naming sorts out how a request names topics.
type naming struct {
	names map[string]int
	ids   map[protocol.UUID]int
	resp  *kmsg.DeleteTopicsResponse

	nameOrder []string // each once
	idOrder   []protocol.UUID
}

func (n *naming) answer(name *string, id protocol.UUID, err error) {
	out := kmsg.NewDeleteTopicsResponseTopic()
	if name != nil {
		own := strings.Clone(*name)
		out.Topic = &own
	}
	out.TopicID = id
	out.ErrorCode, out.ErrorMessage = codeAndMessage(err)
	n.resp.Topics = append(n.resp.Topics, out)
}

func (n *naming) collect(req *kmsg.DeleteTopicsRequest) {
	name := func(s string) {
		if n.names[s]++; n.names[s] == 1 {
			n.nameOrder = append(n.nameOrder, s)
		}
	}
	for _, s := range req.TopicNames {
		name(s)
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		id := protocol.UUID(t.TopicID)
		switch {
		case t.Topic == nil && id.IsZero():
			n.answer(nil, id, protocol.Errorf(protocol.InvalidRequest, "Neither topic name nor id were specified."))
		case t.Topic == nil:
			if n.ids[id]++; n.ids[id] == 1 {
				n.idOrder = append(n.idOrder, id)
			}
		case id.IsZero():
			name(*t.Topic)
		default:
			n.answer(t.Topic, id, protocol.Errorf(protocol.InvalidRequest, "You may not specify both topic name and topic id."))
		}
	}
}

// resolve answers what names no topic, or names it twice, and returns the others.
func (n *naming) resolve(v *View) []*metadata.Topic {
	for _, s := range n.nameOrder {
		if n.names[s] > 1 {
			n.answer(&s, protocol.UUID{}, protocol.Errorf(protocol.InvalidRequest, "Duplicate topic name."))
		}
	}
	var found []*metadata.Topic
	for _, id := range n.idOrder {
		t := v.Image.TopicByID(id)
		switch {
		case n.ids[id] > 1:
			n.answer(nil, id, protocol.Errorf(protocol.InvalidRequest, "Duplicate topic id."))
		case t == nil:
			n.answer(nil, id, protocol.Errorf(protocol.UnknownTopicID, "This server does not host this topic ID."))
		default:
			found = append(found, t)
		}
	}
	for _, s := range n.nameOrder {
		if n.names[s] > 1 {
			continue
		}
		t := v.Image.Topic(s)
		switch {
		case t == nil:
			n.answer(&s, protocol.UUID{}, protocol.Errorf(protocol.UnknownTopicOrPartition, "This server does not host this topic-partition."))
		case n.ids[t.ID] > 0:
			found = slices.DeleteFunc(found, func(o *metadata.Topic) bool { return o.ID == t.ID })
			n.answer(&s, t.ID, protocol.Errorf(protocol.InvalidRequest, "The provided topic name maps to an ID that was already supplied."))
		default:
			found = append(found, t)
		}
	}
	return found
}
