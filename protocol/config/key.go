package config

import (
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// Scope is the kind of resource a key belongs to; values are Kafka's ConfigResource types.
type Scope int8

// The scopes.
const (
	Topic         Scope = 2
	Broker        Scope = 4
	ClientMetrics Scope = 16
	Group         Scope = 32
)

// Type is Kafka's wire id of a config type.
type Type int8

// The types, as DescribeConfigs numbers them.
const (
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	Class    Type = 8
	Password Type = 9
)

// String returns Kafka's name of the type: BOOLEAN, STRING, ...
func (t Type) String() string {
	names := [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}
	if t < 0 || int(t) >= len(names) {
		return names[0]
	}
	return names[t]
}

// Source is Kafka's wire id of where a value comes from.
type Source int8

// The sources, as DescribeConfigs numbers them.
const (
	SourceTopic         Source = 1
	SourceBroker        Source = 2
	SourceBrokerDefault Source = 3
	SourceStatic        Source = 4
	SourceDefault       Source = 5
	SourceClientMetrics Source = 7
	SourceGroup         Source = 8
)

// Update says when a broker key may change.
type Update int8

// The update modes: only at start; at run time for one broker; at run time for one broker or for all of them.
const (
	ReadOnly Update = iota
	PerBroker
	ClusterWide
)

// Key is one config key: one line of a table. It is never changed.
type Key struct {
	Name, Default string
	NoDefault     bool // the default is null
	Type          Type
	Scope         Scope
	Update        Update   // broker keys only
	Synonyms      []string // broker keys that give the value, first wins (topic keys; log.retention.ms over minutes over hours ...)
	Allowed       string   // text of what is allowed, for errors; also the rule itself, see allowed.go
	NoEffect      string   // reason why the key is accepted without effect in Ottla; "" if it is read
	Doc           string
	Internal      bool // not shown by DescribeConfigs unless it is set
	DynamicOnly   bool // not a key of server.properties: exists only as a dynamic broker config (the replication throttles)

	check    rule
	fallback value // the parsed default
}

// Sensitive reports whether the key's value is never shown: a password's, and that of a key that no table has.
func (k *Key) Sensitive() bool { return k.Type == Password || k.Type == 0 }

// Documentation is what DescribeConfigs says of the key: what it is for, and that it has no effect where it has none. It is ""
// for keys of one listener and unknown ones.
func (k *Key) Documentation() string {
	if k.NoEffect == "" || k.Doc == "" {
		return k.Doc
	}
	return k.Doc + " No effect in Ottla: " + k.NoEffect + "."
}

// Check reports whether value is good for the key: nil, or an InvalidConfig error in Kafka's words.
func (k *Key) Check(value string) error {
	_, err := k.parse(value)
	return err
}

// parse reads and checks text.
func (k *Key) parse(text string) (value, error) {
	v, problem := parseValue(k.Type, text)
	if problem != "" {
		return value{}, k.invalid(text, problem)
	}
	if k.Type == List {
		v = k.tidy(v)
	}
	if k.check != nil {
		if err := k.check(k, v); err != nil {
			return value{}, err
		}
	}
	return v, nil
}

// tidy takes out what a list says twice, as Kafka does with a warning, except from the lists of throttled replicas. Of the two
// lists of listeners it also takes the empty items, which Kafka refuses: tools that put lists together leave a comma at the end.
func (k *Key) tidy(v value) value {
	if k.Allowed == throttledReplicas {
		return v
	}
	list := make([]string, 0, len(v.list))
	for _, item := range v.list {
		if item == "" && (k.Name == "listeners" || k.Name == "advertised.listeners") || slices.Contains(list, item) {
			continue
		}
		list = append(list, item)
	}
	if len(list) != len(v.list) {
		v.list, v.text = list, strings.Join(list, ",")
	}
	return v
}

// invalid is Kafka's ConfigException.
func (k *Key) invalid(shown, problem string) error {
	if k.Sensitive() {
		shown = hidden
	}
	return protocol.Errorf(protocol.InvalidConfig, "Invalid value %s for configuration %s: %s", shown, k.Name, problem)
}

// table is the keys of one scope, sorted by name, and their places.
type table struct {
	keys  []*Key
	index map[string]int
}

var (
	topics  = newTable(Topic, topicKeys)
	groups  = newTable(Group, groupKeys)
	metrics = newTable(ClientMetrics, clientMetricsKeys)
	brokers = newTable(Broker, brokerNodeKeys, brokerNetworkKeys, brokerLogKeys, brokerReplicationKeys, brokerGroupKeys,
		brokerShareKeys, brokerTransactionKeys, brokerQuotaKeys, brokerRemoteKeys, brokerSslKeys, brokerSaslKeys)
)

// newTable completes the rows: scope, rule and parsed default.
func newTable(scope Scope, parts ...[]Key) *table {
	t := &table{index: map[string]int{}}
	for _, part := range parts {
		for i := range part {
			k := part[i]
			k.Scope = scope
			k.check = ruleFor(&k)
			k.fallback = value{null: true}
			if !k.NoDefault {
				k.fallback, _ = parseValue(k.Type, k.Default)
			}
			t.keys = append(t.keys, &k)
		}
	}
	slices.SortFunc(t.keys, func(a, b *Key) int { return strings.Compare(a.Name, b.Name) })
	for i, k := range t.keys {
		t.index[k.Name] = i
	}
	return t
}

func (t *table) lookup(name string) *Key {
	if i, ok := t.index[name]; ok {
		return t.keys[i]
	}
	return nil
}

func tableOf(s Scope) *table {
	switch s {
	case Topic:
		return topics
	case Broker:
		return brokers
	case ClientMetrics:
		return metrics
	case Group:
		return groups
	}
	return nil
}

// Lookup returns the key of that name, or nil if it is unknown. In the broker scope it also resolves
// listener.name.<listener>.<key> and, for SASL keys, listener.name.<listener>.<mechanism>.<key>, to a key with the full name
// and the plain key as its synonym.
func Lookup(s Scope, name string) *Key {
	t := tableOf(s)
	if t == nil {
		return nil
	}
	if k := t.lookup(name); k != nil || s != Broker {
		return k
	}
	return prefixed(name)
}

// Keys returns the keys of a scope, sorted by name. The caller must not change them.
func Keys(s Scope) []*Key {
	if t := tableOf(s); t != nil {
		return slices.Clone(t.keys)
	}
	return nil
}

// listenerPrefix starts the name of a broker key that is for one listener only.
const listenerPrefix = "listener.name."

// mechanismKeys may have the SASL mechanism between the listener's name and their own.
var mechanismKeys = []string{
	"sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class", "sasl.server.callback.handler.class",
	"connections.max.reauth.ms",
}

// prefixed resolves a broker key that is for one listener, nil if it is none.
func prefixed(name string) *Key {
	rest, ok := strings.CutPrefix(name, listenerPrefix)
	if !ok {
		return nil
	}
	listener, base, ok := strings.Cut(rest, ".")
	if !ok || listener == "" {
		return nil
	}
	k := brokers.lookup(base)
	if k == nil {
		for _, m := range mechanismKeys {
			if strings.HasSuffix(base, "."+m) {
				k = brokers.lookup(m)
			}
		}
	}
	if k == nil {
		return nil
	}
	own := *k
	own.Name, own.Doc = name, ""
	own.Synonyms = []string{k.Name}
	own.Update = listenerUpdate(k)
	return &own
}

// listenerUpdate is the update mode of a key with a listener prefix: security keys change per broker, and three others do
// cluster-wide (Kafka's DynamicBrokerConfig); the rest keep their own.
func listenerUpdate(k *Key) Update {
	switch {
	case k.Name == "num.network.threads", k.Name == "max.connections", k.Name == "max.connection.creation.rate":
		return ClusterWide
	case k.Update == ReadOnly && !slices.Contains(mechanismKeys, k.Name):
		return ReadOnly
	}
	return PerBroker
}
