package kafkatools

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/config"
)

const configsAbout = "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group"

// entityTypes are what --entity-type takes, as Kafka lists them.
var entityTypes = []string{"topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"}

// shortcuts are the options that name an entity type and an entity in one.
var shortcuts = map[string]string{
	"topic": "topics", "client": "clients", "user": "users", "broker": "brokers", "ip": "ips", "client-metrics": "client-metrics", "group": "groups", "broker-logger": "broker-loggers",
}

// defaultsOf are the options that name the default entity of a type.
var defaultsOf = map[string]string{"client-defaults": "clients", "user-defaults": "users", "broker-defaults": "brokers", "ip-defaults": "ips"}

// resource says how DescribeConfigs knows an entity type.
var resources = map[string]struct {
	kind   kmsg.ConfigResourceType
	source int8 // of what was set on an entity itself
}{
	"topics": {kmsg.ConfigResourceTypeTopic, 1}, "brokers": {kmsg.ConfigResourceTypeBroker, 2}, "broker-loggers": {kmsg.ConfigResourceTypeBrokerLogger, 6},
	"client-metrics": {16, 7}, "groups": {32, 8},
}

// sources are Kafka's names of where a value comes from.
var sources = map[int8]string{
	1: "DYNAMIC_TOPIC_CONFIG", 2: "DYNAMIC_BROKER_CONFIG", 3: "DYNAMIC_DEFAULT_BROKER_CONFIG", 4: "STATIC_BROKER_CONFIG", 5: "DEFAULT_CONFIG",
	6: "DYNAMIC_BROKER_LOGGER_CONFIG", 7: "DYNAMIC_CLIENT_METRICS_CONFIG", 8: "DYNAMIC_GROUP_CONFIG",
}

func configsTool() tool {
	return tool{
		name: "kafka-configs", about: configsAbout, bare: configsAbout,
		options: optionSet{
			text("bootstrap-server", "server to connect to", "The server to connect to."), text("bootstrap-controller", "controller to connect to", "The controller to connect to."),
			text("command-config", "command config property file", "A file of settings for the client."),
			flag("alter", "Change configs."), flag("describe", "Show configs."), flag("all", "Show all of them, not only those that were set."),
			text("entity-type", "", "topics, clients, users, brokers, ips, client-metrics, groups or broker-loggers."), text("entity-name", "", "The entity."),
			flag("entity-default", "The default entity of clients, users, brokers or ips."), flag("force", "Ask nothing."),
			text("add-config", "", "Configs to set: k1=v1,k2=[v1,v2],k3=v3."), text("add-config-file", "", "A properties file of configs to set."),
			{name: "delete-config", takes: oneValue, about: "Keys to remove: k1,k2.", split: true},
			text("topic", "", "The topic."), text("client", "", "The client id."), text("user", "", "The user."), text("broker", "", "The broker's id."), text("ip", "", "The address."),
			text("broker-logger", "", "The broker's id, for its log levels."), text("client-metrics", "", "The subscription of client metrics."), text("group", "", "The group."),
			flag("client-defaults", "The default of all clients."), flag("user-defaults", "The default of all users."), flag("broker-defaults", "The default of all brokers."),
			flag("ip-defaults", "The default of all addresses."),
		},
		run:  runConfigs,
		fail: failConfigs,
	}
}

// plainError is a mistake that kafka-configs prints as it is, without the options.
type plainError struct{ text string }

func (e *plainError) Error() string { return e.text }

func plainf(format string, args ...any) error { return &plainError{fmt.Sprintf(format, args...)} }

func failConfigs(c *call, err error) int {
	var plain *plainError
	var bad *optionError
	if errors.As(err, &plain) || errors.As(err, &bad) {
		c.errorf("%s\n", err)
		return 1
	}
	c.errorf("Error while executing config command with args '%s'\n", c.commandLine())
	var refused *connect.Refusal
	if errors.As(err, &refused) {
		c.errorf("java.util.concurrent.ExecutionException: ")
	}
	c.errorf("%s\n", full(err))
	return 1
}

// entity is one that configs are shown or changed of.
type entity struct {
	kind  string // one of entityTypes
	name  string // "" is the default entity
	named bool   // false: all of the type
}

func runConfigs(c *call) error {
	entities, err := checkConfigs(c)
	if err != nil {
		return err
	}
	if c.has("bootstrap-controller") {
		c.values["bootstrap-server"] = c.values["bootstrap-controller"]
	}
	if err := c.connect("command-config"); err != nil {
		return err
	}
	first := entities[0]
	switch first.kind {
	case "users", "clients", "ips":
		if c.has("alter") {
			return alterQuotas(c, entities)
		}
		return describeQuotas(c, entities)
	}
	if c.has("alter") {
		return alterConfigs(c, first)
	}
	return describeConfigs(c, first)
}

// entities are what the options name, in their order.
func (c *call) entities() ([]entity, error) {
	var kinds []string
	var named []entity // the names behind the types
	var all []entity
	next := map[string]int{}
	take := func(option string) string {
		next[option]++
		return c.values[option][next[option]-1]
	}
	for _, o := range c.order {
		switch kind, short := shortcuts[o]; {
		case short:
			all = append(all, entity{kind, take(o), true})
		case defaultsOf[o] != "":
			all = append(all, entity{defaultsOf[o], "", true})
		case o == "entity-type":
			kinds = append(kinds, take(o))
		case o == "entity-name":
			named = append(named, entity{name: take(o)})
		case o == "entity-default":
			named = append(named, entity{})
		}
	}
	for _, e := range all {
		if slices.Contains(kinds, e.kind) {
			return nil, plainf("Duplicate entity type(s) specified: %s", e.kind)
		}
	}
	if len(all) > 0 && (len(kinds) > 0 || len(named) > 0) {
		return nil, plainf("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
	}
	for i, k := range kinds {
		e := entity{kind: k}
		if i < len(named) {
			e.name, e.named = named[i].name, true
		}
		all = append(all, e)
	}
	return all, nil
}

func checkConfigs(c *call) ([]entity, error) {
	if c.count("alter", "describe") != 1 {
		return nil, usage("Command must include exactly one action: --describe, --alter")
	}
	if err := first(c.forbid("alter", "describe"), c.forbid("describe", "alter", "add-config", "delete-config")); err != nil {
		return nil, err
	}
	switch c.count("bootstrap-server", "bootstrap-controller") {
	case 0:
		return nil, plainf("Either --bootstrap-server or --bootstrap-controller must be specified.")
	case 2:
		return nil, plainf("Only one of --bootstrap-server or --bootstrap-controller can be specified.")
	}
	entities, err := c.entities()
	if err != nil {
		return nil, err
	}
	if len(entities) == 0 {
		return nil, plainf("At least one entity type must be specified")
	}
	for _, e := range entities {
		if !slices.Contains(entityTypes, e.kind) {
			return nil, plainf("Invalid entity type %s, the entity type must be one of %s with a --bootstrap-server or --bootstrap-controller argument", e.kind, strings.Join(entityTypes, ", "))
		}
	}
	if len(entities) > 1 && (len(entities) > 2 || entities[0].kind == entities[1].kind || !isQuotaPair(entities)) {
		return nil, plainf("Only 'users' and 'clients' entity types may be specified together")
	}
	for _, e := range entities {
		if _, err := strconv.Atoi(e.name); (e.kind == "brokers" || e.kind == "broker-loggers") && e.name != "" && err != nil {
			return nil, plainf("The entity name for %s must be a valid integer broker id, but it is: %s", e.kind, e.name)
		}
	}
	if c.has("alter") {
		for _, e := range entities {
			switch {
			case e.named && (e.name != "" || slices.Contains([]string{"users", "clients", "brokers", "ips"}, e.kind)):
			case slices.Contains([]string{"users", "clients", "brokers", "ips"}, e.kind):
				return nil, plainf("An entity-name or default entity must be specified with --alter of users, clients, brokers or ips")
			default:
				return nil, plainf("An entity name must be specified with --alter of %s", e.kind)
			}
		}
		if c.count("add-config", "add-config-file", "delete-config") == 0 {
			return nil, plainf("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter")
		}
		if c.has("add-config") && c.has("add-config-file") {
			return nil, plainf("Only one of --add-config or --add-config-file must be specified")
		}
	}
	return entities, nil
}

func isQuotaPair(all []entity) bool {
	return !slices.ContainsFunc(all, func(e entity) bool { return e.kind != "users" && e.kind != "clients" })
}

// setting is one key=value of --add-config.
type setting struct{ key, value string }

// additions are what --add-config or its file says.
func (c *call) additions() ([]setting, error) {
	if c.has("add-config-file") {
		file, err := c.one("add-config-file")
		if err != nil {
			return nil, err
		}
		values, err := config.ReadProperties(file)
		if err != nil {
			return nil, err
		}
		var all []setting
		for k, v := range values {
			all = append(all, setting{k, v})
		}
		slices.SortFunc(all, func(a, b setting) int { return cmp.Compare(a.key, b.key) })
		return all, nil
	}
	text, err := c.one("add-config")
	if err != nil || text == "" {
		return nil, err
	}
	var all []setting
	for _, kv := range splitOutside(text) {
		k, v, found := strings.Cut(kv, "=")
		if !found {
			return nil, plainf(`requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or  "key=[val1,val2]" to group values which contain commas.`)
		}
		all = append(all, setting{strings.TrimSpace(k), strings.TrimSpace(strings.NewReplacer("[", "", "]", "").Replace(v))})
	}
	return all, nil
}

// splitOutside splits at commas that are not in square brackets.
func splitOutside(text string) []string {
	var all []string
	depth, start := 0, 0
	for i, r := range text {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth <= 0 {
				all = append(all, text[start:i])
				start = i + 1
			}
		}
	}
	return append(all, text[start:])
}

// removals are the keys of --delete-config.
func (c *call) removals() []string {
	var all []string
	for _, k := range c.all("delete-config") {
		all = append(all, strings.TrimSpace(k))
	}
	return all
}

func alterConfigs(c *call, e entity) error {
	add, err := c.additions()
	if err != nil {
		return err
	}
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	one := kmsg.NewIncrementalAlterConfigsRequestResource()
	one.ResourceType, one.ResourceName = resources[e.kind].kind, e.name
	for _, s := range add {
		change := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		change.Name, change.Op, change.Value = s.key, kmsg.IncrementalAlterConfigOpSet, &s.value
		one.Configs = append(one.Configs, change)
	}
	for _, k := range c.removals() {
		change := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		change.Name, change.Op = k, kmsg.IncrementalAlterConfigOpDelete
		one.Configs = append(one.Configs, change)
	}
	r.Resources = append(r.Resources, one)
	response, err := request(c, r)
	if err != nil {
		return err
	}
	for _, got := range response.Resources {
		if err := connect.Check(got.ErrorCode, got.ErrorMessage); err != nil {
			return err
		}
	}
	c.updated(e)
	return nil
}

// updated says that the configs of an entity were changed.
func (c *call) updated(e entity) {
	if e.name == "" {
		c.printf("Completed updating default config for %s in the cluster.\n", e.kind)
		return
	}
	c.printf("Completed updating config for %s %s.\n", single(e.kind), e.name)
}

// single is the name of an entity type for one entity.
func single(kind string) string { return strings.TrimSuffix(kind, "s") }

func describeConfigs(c *call, e entity) error {
	all := []string{e.name}
	if e.named {
		there, err := c.exists(e)
		if err != nil {
			return err
		}
		if !there {
			c.printf("The %s '%s' doesn't exist and doesn't have dynamic config.\n", single(e.kind), e.name)
			return nil
		}
	} else {
		var err error
		if all, err = c.entityNames(e.kind); err != nil {
			return err
		}
		if e.kind == "brokers" {
			all = append(all, "")
		}
	}
	for _, name := range all {
		if err := c.describeEntity(e.kind, name); err != nil {
			return err
		}
	}
	return nil
}

// exists reports whether an entity is there, or has configs.
func (c *call) exists(e entity) (bool, error) {
	if e.name == "" {
		return true, nil
	}
	all, err := c.entityNames(e.kind)
	if err != nil || slices.Contains(all, e.name) || e.kind != "groups" {
		return slices.Contains(all, e.name), err
	}
	response, err := request(c, kmsg.NewPtrListGroupsRequest())
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(response.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group == e.name }), nil
}

// entityNames are the entities of a type.
func (c *call) entityNames(kind string) ([]string, error) {
	switch kind {
	case "topics":
		m, err := c.metadata(nil)
		if err != nil {
			return nil, err
		}
		return names(namesOf(m.Topics)), nil
	case "brokers", "broker-loggers":
		m, err := c.metadata([]string{})
		if err != nil {
			return nil, err
		}
		var all []string
		for _, b := range m.Brokers {
			all = append(all, strconv.Itoa(int(b.NodeID)))
		}
		slices.Sort(all)
		return all, nil
	}
	r := kmsg.NewPtrListConfigResourcesRequest()
	r.ResourceTypes = []int8{int8(resources[kind].kind)}
	response, err := request(c, r)
	if errors.Is(err, protocol.UnsupportedVersion) {
		return nil, nil
	}
	if err == nil {
		err = connect.Check(response.ErrorCode, nil)
	}
	if err != nil {
		return nil, err
	}
	var all []string
	for _, one := range response.ConfigResources {
		all = append(all, one.Name)
	}
	slices.Sort(all)
	return all, nil
}

func (c *call) describeEntity(kind, name string) error {
	r := kmsg.NewPtrDescribeConfigsRequest()
	r.IncludeSynonyms = true
	one := kmsg.NewDescribeConfigsRequestResource()
	one.ResourceType, one.ResourceName = resources[kind].kind, name
	r.Resources = append(r.Resources, one)
	which := "Dynamic"
	if c.has("all") {
		which = "All"
	}
	if name == "" {
		c.printf("Default configs for %s in the cluster are:\n", kind)
	} else {
		c.printf("%s configs for %s %s are:\n", which, single(kind), name)
	}
	response, err := request(c, r)
	if err != nil {
		return err
	}
	source := resources[kind].source
	if kind == "brokers" && name == "" {
		source = 3
	}
	for _, got := range response.Resources {
		if err := connect.Check(got.ErrorCode, got.ErrorMessage); err != nil {
			return err
		}
		slices.SortFunc(got.Configs, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int { return cmp.Compare(a.Name, b.Name) })
		for _, entry := range got.Configs {
			if !c.has("all") && int8(entry.Source) != source {
				continue
			}
			var synonyms []string
			for _, s := range entry.ConfigSynonyms {
				synonyms = append(synonyms, fmt.Sprintf("%s:%s=%s", sources[int8(s.Source)], s.Name, orNull(s.Value)))
			}
			c.printf("  %s=%s sensitive=%t synonyms={%s}\n", entry.Name, orNull(entry.Value), entry.IsSensitive, strings.Join(synonyms, ", "))
		}
	}
	return nil
}

// orNull is a text as Java prints it.
func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}
