package controller

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// configOp is one change of one key; the numbers are Kafka's (AlterConfigOp.OpType).
type configOp struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

const (
	opSet      kmsg.IncrementalAlterConfigOp = 0
	opDelete   kmsg.IncrementalAlterConfigOp = 1
	opAppend   kmsg.IncrementalAlterConfigOp = 2
	opSubtract kmsg.IncrementalAlterConfigOp = 3
)

// configTarget is one resource of a request and what is to change in it.
type configTarget struct {
	scope config.Scope
	name  string
	ops   []configOp
	// replace: what ops do not name is deleted (AlterConfigs).
	replace bool
}

// incrementalAlterConfigs changes configs key by key. Each resource is all or nothing, on its own terms
// (ConfigAdminManager, ConfigurationControlManager.incrementalAlterConfigs).
func incrementalAlterConfigs(v *View, req *kmsg.IncrementalAlterConfigsRequest, resp *kmsg.IncrementalAlterConfigsResponse) (Decision, error) {
	targets := make([]configTarget, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		targets[i] = configTarget{scope: config.Scope(r.ResourceType), name: r.ResourceName}
		for _, c := range r.Configs {
			targets[i].ops = append(targets[i].ops, configOp{c.Name, c.Op, c.Value})
		}
	}
	records, errs := alterConfigs(v, targets)
	for i := range targets {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(errs[i])), protocol.MessageOf(errs[i])
		out.ResourceType, out.ResourceName = req.Resources[i].ResourceType, strings.Clone(req.Resources[i].ResourceName)
		resp.Resources = append(resp.Resources, out)
	}
	if req.ValidateOnly {
		return Decision{}, nil
	}
	return Decision{Records: records}, nil
}

// replaceConfigs sets the configs of resources to exactly what the request lists (the older AlterConfigs).
func replaceConfigs(v *View, req *kmsg.AlterConfigsRequest, resp *kmsg.AlterConfigsResponse) (Decision, error) {
	targets := make([]configTarget, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		targets[i] = configTarget{scope: config.Scope(r.ResourceType), name: r.ResourceName, replace: true}
		for _, c := range r.Configs {
			targets[i].ops = append(targets[i].ops, configOp{c.Name, opSet, c.Value})
		}
	}
	records, errs := alterConfigs(v, targets)
	for i := range targets {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(errs[i])), protocol.MessageOf(errs[i])
		out.ResourceType, out.ResourceName = req.Resources[i].ResourceType, strings.Clone(req.Resources[i].ResourceName)
		resp.Resources = append(resp.Resources, out)
	}
	if req.ValidateOnly {
		return Decision{}, nil
	}
	return Decision{Records: records}, nil
}

// alterConfigs decides each target; the errors are by index.
func alterConfigs(v *View, targets []configTarget) ([]schema.MetadataRecord, []error) {
	type resource struct {
		scope config.Scope
		name  string
	}
	count := map[resource]int{}
	for _, t := range targets {
		count[resource{t.scope, t.name}]++
	}
	var records []schema.MetadataRecord
	errs := make([]error, len(targets))
	for i, t := range targets {
		if count[resource{t.scope, t.name}] > 1 {
			errs[i] = protocol.Errorf(protocol.InvalidRequest, "Each resource must appear at most once.")
			continue
		}
		made, err := alterResource(v, t)
		records, errs[i] = append(records, made...), err
	}
	return records, errs
}

// alterResource decides one resource.
func alterResource(v *View, t configTarget) ([]schema.MetadataRecord, error) {
	if err := checkOps(t.ops); err != nil {
		return nil, err
	}
	if err := checkResource(v, t); err != nil {
		return nil, err
	}
	current := v.Image.Config(t.scope, t.name)
	next := maps.Clone(current)
	if next == nil || t.replace {
		next = map[string]string{}
	}
	for _, op := range t.ops {
		if err := applyOp(v, t, current, next, op); err != nil {
			return nil, err
		}
	}
	for _, op := range t.ops {
		if err := checkSize(next[op.name]); err != nil {
			return nil, err
		}
	}
	if err := checkConfig(v, t, next); err != nil {
		return nil, err
	}
	if t.scope == config.Topic && v.Image.Topic(t.name) == nil {
		return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "The topic '%s' does not exist.", t.name)
	}
	return followMinISR(v, t, configRecords(t, current, next))
}

// followMinISR adds to changes of configs what follows of another min.insync.replicas while eligible leader replicas are kept: who was one by the old
// minimum is none by the new, so the lists start again (ConfigurationControlManager.createClearElrRecordsAsNeeded). A broker's own minimum is
// refused, as is a cluster without one: the controller could not know what brokers count by.
func followMinISR(v *View, t configTarget, records []schema.MetadataRecord) ([]schema.MetadataRecord, error) {
	if !v.elrEnabled() {
		return records, nil
	}
	at := slices.IndexFunc(records, func(r schema.MetadataRecord) bool { return r.(*schema.ConfigRecord).Name == minISR })
	if at < 0 {
		return records, nil
	}
	switch {
	case t.scope == config.Topic:
		return append(records, &schema.ClearELRRecord{TopicName: t.name}), nil
	case t.scope == config.Broker && t.name != "":
		return nil, protocol.Errorf(protocol.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
	case t.scope == config.Broker && records[at].(*schema.ConfigRecord).Value == nil:
		return nil, protocol.Errorf(protocol.InvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
	case t.scope == config.Broker:
		return append(records, &schema.ClearELRRecord{}), nil
	}
	return records, nil
}

// checkSize refuses a value that Kafka's tools could not show (ConfigurationControlManager).
func checkSize(value string) error {
	if utf16Length(value) > math.MaxInt16 {
		return protocol.Errorf(protocol.InvalidConfig, "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.")
	}
	return nil
}

// utf16Length is what Java takes for the length of s.
func utf16Length(s string) int {
	if len(s) <= math.MaxInt16 {
		return len(s) // at most; that is all that is asked
	}
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// checkOps refuses keys that are named twice, and values that are missing.
func checkOps(ops []configOp) error {
	seen := map[string]bool{}
	var nulls []string
	for _, op := range ops {
		if seen[op.name] {
			return protocol.Errorf(protocol.InvalidRequest, "Error due to duplicate config keys")
		}
		seen[op.name] = true
		if op.op != opDelete && op.value == nil {
			nulls = append(nulls, op.name)
		}
	}
	if len(nulls) > 0 {
		return protocol.Errorf(protocol.InvalidRequest, "Null value not supported for : %s", strings.Join(nulls, ", "))
	}
	return nil
}

// checkResource requires a resource that can have configs.
func checkResource(v *View, t configTarget) error {
	switch t.scope {
	case config.Topic:
		if t.name == "" {
			return protocol.Errorf(protocol.InvalidRequest, "Default topic resources are not allowed.")
		}
		return protocol.ValidateTopicName(t.name)
	case config.Broker:
		if t.name == "" {
			return nil
		}
		id, err := strconv.ParseInt(t.name, 10, 32)
		if err != nil {
			return protocol.Errorf(protocol.InvalidRequest, "Node id must be an integer, but it is: %s", t.name)
		}
		if v.Image.Broker(int32(id)) == nil {
			return protocol.Errorf(protocol.BrokerIDNotRegistered, "No broker with id %d found.", id)
		}
		return nil
	case config.Group:
		if t.name == "" {
			return protocol.Errorf(protocol.InvalidRequest, "Default group resources are not allowed.")
		}
		return nil
	case config.ClientMetrics:
		if t.name == "" {
			return protocol.Errorf(protocol.InvalidRequest, "Subscription name can't be empty")
		}
		return nil
	}
	return protocol.Errorf(protocol.InvalidRequest, "Unknown resource type %d", int8(t.scope))
}

// applyOp makes one change to next.
func applyOp(v *View, t configTarget, current, next map[string]string, op configOp) error {
	switch op.op {
	case opSet:
		next[strings.Clone(op.name)] = strings.Clone(*op.value)
	case opDelete:
		delete(next, op.name)
	case opAppend, opSubtract:
		k := config.Lookup(t.scope, op.name)
		if k == nil || k.Type != config.List || t.scope == config.ClientMetrics { // whose types Kafka's controller does not know
			return notAList(t.scope, op)
		}
		value, set := current[op.name]
		if !set {
			value = inherited(v, t.scope, k)
		}
		next[strings.Clone(op.name)] = config.EditList(value, *op.value, op.op == opSubtract)
	default:
		return protocol.Errorf(protocol.InvalidRequest, "Unknown operations type %d", int8(op.op))
	}
	return nil
}

func notAList(scope config.Scope, op configOp) error {
	verb, word := "APPEND", "append"
	if op.op == opSubtract {
		verb, word = "SUBTRACT", "subtract"
	}
	if scope == config.Broker {
		return protocol.Errorf(protocol.InvalidConfig, "Config value %s is not allowed for config key: %s", word, op.name)
	}
	return protocol.Errorf(protocol.InvalidConfig, "Can't %s to key %s because its type is not LIST.", verb, op.name)
}

// inherited is what a list has without an override, which is what APPEND starts from.
func inherited(v *View, scope config.Scope, k *config.Key) string {
	if scope == config.Topic {
		return v.Config().Topic(nil).String(k.Name)
	}
	return k.Default
}

// checkConfig checks the whole of what a resource would have.
func checkConfig(v *View, t configTarget, next map[string]string) error {
	switch t.scope {
	case config.Topic:
		return v.Config().ValidateTopic(next)
	case config.Group:
		return v.Config().ValidateGroup(next)
	case config.ClientMetrics:
		return config.ValidateClientMetrics(next)
	case config.Broker:
	}
	return config.CheckDynamic(next, t.name != "")
}

// configRecords are the records from current to next. A broker's are written even where nothing changes, as that makes it reload
// what the value points to (KAFKA-14136).
func configRecords(t configTarget, current, next map[string]string) []schema.MetadataRecord {
	var records []schema.MetadataRecord
	put := func(name string, value *string) {
		records = append(records, &schema.ConfigRecord{
			ResourceType: int8(t.scope), ResourceName: strings.Clone(t.name), Name: strings.Clone(name), Value: value,
		})
	}
	for _, op := range t.ops {
		value, set := next[op.name]
		old, had := current[op.name]
		switch {
		case set && (!had || old != value || t.scope == config.Broker):
			put(op.name, &value)
		case !set && (had || t.scope == config.Broker):
			put(op.name, nil)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(current)) {
		named := slices.ContainsFunc(t.ops, func(op configOp) bool { return op.name == name })
		if _, stays := next[name]; !stays && !named {
			put(name, nil)
		}
	}
	return records
}
