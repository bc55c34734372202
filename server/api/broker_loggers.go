package api

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/logs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// BROKER_LOGGER resources, which DescribeConfigs shows and IncrementalAlterConfigs alters (KIP-412): the levels of the loggers of the node that is asked.
// As in Kafka (RuntimeLoggerManager) they are that node's alone, so nothing is passed on to the controller.

const (
	brokerLogger kmsg.ConfigResourceType = 8
	// sourceBrokerLogger is where the level of a logger comes from.
	sourceBrokerLogger kmsg.ConfigSource = 6
)

// loggerResource requires the name of a logger resource: this broker's id.
func loggerResource(n *Node, name string) error {
	if name == "" {
		return protocol.Errorf(protocol.InvalidRequest, "Broker id must not be empty")
	}
	return thisBroker(n, name, "Unexpected broker id, expected %d but received %s")
}

// describeLoggers shows the loggers whose names are wanted, with the levels in effect.
func describeLoggers(n *Node, wanted func(name string) bool) []kmsg.DescribeConfigsResponseResourceConfig {
	var all []kmsg.DescribeConfigsResponseResourceConfig
	doc := ""
	for _, l := range n.Loggers.All() {
		if !wanted(l.Name) {
			continue
		}
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.Source, c.Documentation = l.Name, &l.Level, sourceBrokerLogger, &doc
		all = append(all, c)
	}
	return all
}

// checkLoggers refuses a change of levels as a whole if a part of it cannot be made.
func (c *configChange) checkLoggers(n *Node) error {
	id, err := strconv.ParseInt(c.name, 10, 32)
	switch {
	case err != nil:
		return protocol.Errorf(protocol.InvalidRequest, "Node id must be an integer, but it is: %s", c.name)
	case int32(id) != n.NodeID:
		return protocol.Errorf(protocol.InvalidRequest, "Unexpected node id. Expected %d, but received %d", n.NodeID, id)
	case c.badOp:
		return protocol.UnknownServerError // so Kafka answers an operation that it does not know
	}
	for _, name := range c.keys {
		if _, edits := c.add[name]; edits {
			return protocol.Errorf(protocol.InvalidRequest, "%s operation is not allowed for the BROKER_LOGGER resource", c.editName(name))
		}
		level := c.set[name]
		switch {
		case !n.Loggers.Has(name):
			return protocol.Errorf(protocol.InvalidConfig, "Logger %s does not exist!", name)
		case level != nil && !slices.Contains(logs.ValidNames(), *level):
			return protocol.Errorf(protocol.InvalidConfig, "Cannot set the log level of %s to %s as it is not a supported log level. "+
				"Valid log levels are %s", name, *level, strings.Join(logs.ValidNames(), ", "))
		case level == nil && name == logs.Root:
			return protocol.Errorf(protocol.InvalidRequest, "Removing the log level of the root logger is not allowed")
		}
	}
	return nil
}

// alterLoggers makes a change that checkLoggers has let pass.
func (c *configChange) alterLoggers(n *Node) error {
	for _, name := range c.keys {
		name = strings.Clone(name) // it aliases the frame
		level := c.set[name]
		if level == nil {
			if err := n.Loggers.Unset(name); err != nil {
				return err
			}
			n.Logger.Warn("a log level was unset", zap.String("of", name))
			continue
		}
		if err := n.Loggers.Set(name, strings.Clone(*level)); err != nil {
			return err
		}
		n.Logger.Warn("a log level was changed", zap.String("of", name), zap.String("to", *level))
	}
	return nil
}
