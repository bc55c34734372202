package api

import (
	"context"
	"slices"
	"strconv"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs (32) shows the configs of topics, brokers, groups, client metrics subscriptions and loggers.
//
//	v0     a value is the default or not
//	v1     the source of a value, synonyms on request (KIP-226)
//	v3     types, documentation on request (KIP-569)
//	v4     flexible
//
// What is shown is config.Values.Describe's; a listed key that does not exist is left out, as in Kafka.

// malformed is how Kafka answers an unknown resource type: the general message of INVALID_REQUEST.
const malformed = "This most likely occurs because of a request being malformed by the client library or the message was sent to " +
	"an incompatible broker. See the broker logs for more details."

func handleDescribeConfigs(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for i := range req.Resources {
		resp.Resources = append(resp.Resources, describeResource(n, req, &req.Resources[i]))
	}
	return reply(resp)
}

// describeResource answers one resource.
func describeResource(n *Node, req *kmsg.DescribeConfigsRequest, asked *kmsg.DescribeConfigsRequestResource) kmsg.DescribeConfigsResponseResource {
	out := kmsg.NewDescribeConfigsResponseResource()
	out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
	empty := "" // not null: so Kafka answers success, and errors without a text
	out.ErrorMessage = &empty
	wanted := func(name string) bool { return len(asked.ConfigNames) == 0 || slices.Contains(asked.ConfigNames, name) }
	if asked.ResourceType == brokerLogger {
		if err := loggerResource(n, asked.ResourceName); err != nil {
			out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		} else {
			out.Configs = describeLoggers(n, wanted)
		}
		return out
	}
	all, err := describedOf(n, config.Scope(asked.ResourceType), asked.ResourceName)
	if err != nil {
		out.ErrorCode = int16(protocol.CodeOf(err))
		if message := protocol.MessageOf(err); message != nil {
			out.ErrorMessage = message
		}
		return out
	}
	for i := range all {
		if wanted(all[i].Key.Name) {
			out.Configs = append(out.Configs, describedConfig(req, &all[i]))
		}
	}
	return out
}

// describedOf returns all that can be shown of a resource.
func describedOf(n *Node, scope config.Scope, name string) ([]config.Described, error) {
	image := n.Image()
	switch scope {
	case config.Topic:
		if err := protocol.ValidateTopicName(name); err != nil {
			return nil, err
		}
		if image.Topic(name) == nil {
			return nil, protocol.UnknownTopicOrPartition
		}
		return n.Config().Topic(image.Config(scope, name)).DescribeAll(), nil
	case config.Broker:
		if name == "" {
			return n.Config().DescribeClusterDefaults(), nil
		}
		if err := thisBroker(n, name, "Unexpected broker id, expected %d or empty string, but received %s"); err != nil {
			return nil, err
		}
		return n.Config().DescribeAll(), nil
	case config.Group:
		if name == "" {
			return nil, protocol.Errorf(protocol.InvalidRequest, "Group name must not be empty")
		}
		return n.Config().Group(image.Config(scope, name)).DescribeAll(), nil
	case config.ClientMetrics:
		if name == "" {
			return nil, protocol.Errorf(protocol.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		return n.Config().ClientMetrics(image.Config(scope, name)).DescribeAll(), nil
	}
	return nil, protocol.Errorf(protocol.InvalidRequest, malformed)
}

// thisBroker requires a resource name that is this broker's id; format takes the id and the name.
func thisBroker(n *Node, name, format string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return protocol.Errorf(protocol.InvalidRequest, "Broker id must be an integer, but it is: %s", name)
	}
	if int32(id) != n.NodeID {
		return protocol.Errorf(protocol.InvalidRequest, format, n.NodeID, strconv.FormatInt(id, 10))
	}
	return nil
}

// describedConfig is one key in the form of the response.
func describedConfig(req *kmsg.DescribeConfigsRequest, d *config.Described) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ReadOnly, c.IsSensitive = d.Key.Name, d.Value, d.ReadOnly, d.Key.Sensitive()
	c.Source, c.ConfigType = kmsg.ConfigSource(d.Source), kmsg.ConfigType(d.Key.Type)
	c.IsDefault = d.Source == config.SourceDefault // v0
	if req.IncludeSynonyms {
		for _, s := range d.Synonyms {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: s.Name, Value: s.Value, Source: kmsg.ConfigSource(s.Source),
			})
		}
	}
	if doc := d.Key.Documentation(); req.IncludeDocumentation && doc != "" {
		c.Documentation = &doc
	}
	return c
}
