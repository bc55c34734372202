package api

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs (44) changes single configs of topics, brokers, groups and client metrics subscriptions (KIP-339), and levels of loggers.
//
//	v0
//	v1     flexible
//
// As in Kafka (ConfigAdminManager.preprocess), the broker that is asked refuses what is malformed and what its own values do
// not allow; the rest is decided by the controller. Each resource has its own outcome.

func handleIncrementalAlterConfigs(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	resp.Resources = make([]kmsg.IncrementalAlterConfigsResponseResource, len(req.Resources))
	onward := kmsg.NewPtrIncrementalAlterConfigsRequest()
	onward.Version, onward.ValidateOnly = req.Version, req.ValidateOnly
	changes := make([]configChange, len(req.Resources))
	for i := range req.Resources {
		changes[i] = incrementalChange(&req.Resources[i])
		changes[i].validateOnly = req.ValidateOnly
	}
	return decideConfigs(n, changes, onward, configAnswer{
		forward: func(i int) { onward.Resources = append(onward.Resources, req.Resources[i]) },
		set: func(i int, code int16, message *string) {
			resp.Resources[i] = kmsg.IncrementalAlterConfigsResponseResource{
				ResourceType: req.Resources[i].ResourceType, ResourceName: req.Resources[i].ResourceName,
				ErrorCode: code, ErrorMessage: message,
			}
		},
		decided: func(answer kmsg.Response) (outcomes []configOutcome) {
			for _, r := range answer.(*kmsg.IncrementalAlterConfigsResponse).Resources {
				outcomes = append(outcomes, configOutcome{r.ErrorCode, r.ErrorMessage})
			}
			return outcomes
		},
	}, resp)
}

// configOutcome is how one resource fared.
type configOutcome struct {
	code    int16
	message *string
}

// configAnswer is how decideConfigs handles the request and the responses of either API, by the place of a resource in the request.
type configAnswer struct {
	forward func(i int)                                // adds the resource to what goes to the controller
	set     func(i int, code int16, message *string)   // answers it
	decided func(answer kmsg.Response) []configOutcome // of the controller, in the order of forward
}

// decideConfigs answers what this broker refuses, and what concerns this node alone, and has the controller decide the rest.
func decideConfigs(n *Node, changes []configChange, onward kmsg.Request, a configAnswer, resp kmsg.Response) Result {
	var places []int // of the resources that go to the controller
	for i, err := range preprocess(n, changes) {
		if err == nil && changes[i].resource == brokerLogger {
			if !changes[i].validateOnly {
				err = changes[i].alterLoggers(n)
			}
		} else if err == nil {
			a.forward(i)
			places = append(places, i)
			continue
		}
		a.set(i, int16(protocol.CodeOf(err)), protocol.MessageOf(err))
	}
	if len(places) == 0 {
		return reply(resp)
	}
	return forwardConfigs(n, onward, func(answer kmsg.Response, err error) kmsg.Response {
		var outcomes []configOutcome
		if err == nil {
			if outcomes = a.decided(answer); len(outcomes) != len(places) {
				err = protocol.UnknownServerError
			}
		}
		for i, place := range places {
			if err != nil {
				a.set(place, int16(protocol.CodeOf(err)), protocol.MessageOf(err))
				continue
			}
			a.set(place, outcomes[i].code, outcomes[i].message)
		}
		return resp
	})
}

// forwardConfigs asks the controller and merges its answer, or why there is none, into the broker's own.
func forwardConfigs(n *Node, req kmsg.Request, merge func(answer kmsg.Response, err error) kmsg.Response) Result {
	failed := false
	onward := forward(n, req, func(err error) kmsg.Response {
		failed = true
		return merge(nil, err)
	})
	return Result{Later: func(ctx context.Context) Result {
		r := onward.Later(ctx)
		if r.Err != nil || failed {
			return r
		}
		return reply(merge(r.Response, nil))
	}}
}

// configChange is what a request wants to change of one resource, in the terms of both APIs.
type configChange struct {
	resource kmsg.ConfigResourceType
	name     string
	keys     []string
	set      map[string]*string // values to set; nil is null
	add      map[string]*string // items to append to or subtract from lists
	removed  []string
	// subtracts are the keys of add whose items go.
	subtracts []string
	replace   bool // what is not named goes (AlterConfigs)
	badOp     bool
	// validateOnly: nothing is to be changed. The controller is told so by the request.
	validateOnly bool
}

const (
	configSet int8 = iota
	configDelete
	configAppend
	configSubtract
)

func incrementalChange(r *kmsg.IncrementalAlterConfigsRequestResource) configChange {
	c := configChange{resource: r.ResourceType, name: r.ResourceName, set: map[string]*string{}, add: map[string]*string{}}
	for _, change := range r.Configs {
		c.keys = append(c.keys, change.Name)
		switch int8(change.Op) {
		case configSet:
			c.set[change.Name] = change.Value
		case configDelete:
			c.removed = append(c.removed, change.Name)
		case configSubtract:
			c.subtracts = append(c.subtracts, change.Name)
			c.add[change.Name] = change.Value
		case configAppend:
			c.add[change.Name] = change.Value
		default:
			if c.badOp = true; change.Value == nil {
				c.set[change.Name] = nil // which is refused before
			}
		}
	}
	return c
}

// preprocess returns the error of each change, nil for those that the controller decides.
func preprocess(n *Node, changes []configChange) []error {
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	count := map[resource]int{}
	for i := range changes {
		count[resource{changes[i].resource, changes[i].name}]++
	}
	errs := make([]error, len(changes))
	for i := range changes {
		c := &changes[i]
		if count[resource{c.resource, c.name}] > 1 {
			errs[i] = protocol.Errorf(protocol.InvalidRequest, "Each resource must appear at most once.")
			continue
		}
		errs[i] = c.check(n)
	}
	return errs
}

// check is what the broker that was asked can say.
func (c *configChange) check(n *Node) error {
	for i, name := range c.keys {
		if slices.Contains(c.keys[:i], name) {
			return protocol.Errorf(protocol.InvalidRequest, "Error due to duplicate config keys")
		}
	}
	var nulls []string
	for _, name := range c.keys {
		set, isSet := c.set[name]
		item, isItem := c.add[name]
		if isSet && set == nil || isItem && item == nil {
			nulls = append(nulls, name)
		}
	}
	if len(nulls) > 0 {
		return protocol.Errorf(protocol.InvalidRequest, "Null value not supported for : %s", strings.Join(nulls, ","))
	}
	switch c.resource {
	case kmsg.ConfigResourceType(config.Topic), kmsg.ConfigResourceType(config.Group), kmsg.ConfigResourceType(config.ClientMetrics):
	case kmsg.ConfigResourceType(config.Broker):
		return c.checkBroker(n)
	case brokerLogger:
		if c.replace {
			return protocol.Errorf(protocol.InvalidRequest, "Unknown resource type %d", int8(c.resource))
		}
		return c.checkLoggers(n)
	default:
		return protocol.Errorf(protocol.InvalidRequest, "Unknown resource type %d", int8(c.resource))
	}
	if c.badOp {
		return protocol.UnknownServerError // so Kafka answers an operation that it does not know
	}
	return nil
}

// checkBroker checks dynamic broker configs against this broker's own values.
func (c *configChange) checkBroker(n *Node) error {
	if c.name != "" {
		id, err := strconv.ParseInt(c.name, 10, 32)
		if err != nil {
			return protocol.Errorf(protocol.InvalidRequest, "Node id must be an integer, but it is: %s", c.name)
		}
		if int32(id) != n.NodeID {
			return protocol.Errorf(protocol.InvalidRequest, "Unexpected broker id, expected %d, but received %d", n.NodeID, id)
		}
	}
	if c.badOp {
		return protocol.UnknownServerError
	}
	next := map[string]string{}
	if !c.replace {
		maps.Copy(next, n.Image().Config(config.Broker, c.name))
	}
	for _, name := range c.removed {
		delete(next, name)
	}
	for name, value := range c.set {
		next[name] = *value
	}
	for name, items := range c.add {
		k := config.Lookup(config.Broker, name)
		if k == nil || k.Type != config.List {
			return protocol.Errorf(protocol.InvalidConfig, "Config value append is not allowed for config key: %s", name)
		}
		now, has := next[name]
		if !has {
			now = k.Default // whatever the properties file says
		}
		next[name] = config.EditList(now, *items, slices.Contains(c.subtracts, name))
	}
	now, perBroker := n.Config(), c.name != ""
	if err := now.ValidateDynamic(next, perBroker); err != nil || n.CheckListeners == nil {
		return err
	}
	return n.CheckListeners(now, now.AfterDynamic(next, perBroker))
}

// editName is what Kafka calls the change of a list.
func (c *configChange) editName(key string) string {
	if slices.Contains(c.subtracts, key) {
		return "SUBTRACT"
	}
	return "APPEND"
}
