// Package config knows every configuration key of Kafka that a broker, a topic, a group or a client metrics subscription
// has, and the immutable sets of values over them.
//
// A key is one line of a table (topic.go, group.go, client_metrics.go, broker_*.go): its name, type, default, the rule for
// its values and the broker keys that it falls back on. Names, types, defaults and rules are Kafka's own, so that
// DescribeConfigs answers what Kafka answers.
//
// Values is a snapshot: layers of explicit values (dynamic for this broker, dynamic for the cluster, static, and for topics
// and groups their own overrides) over the defaults, parsed once when it is built. It is never changed afterwards, may be
// read by any number of goroutines, and reading it does not allocate. The package holds no mutable state and does no I/O:
// the properties file is server/config's, the dynamic values live in the metadata image.
//
// Files:
//
//	key.go              Key, Lookup, Keys and the lists that the tables are checked against
//	parse.go            text to typed values, as Kafka's ConfigDef reads it
//	allowed.go          the rules for values, in Kafka's words
//	nearest.go          the nearest known name of an unknown one
//	values.go           the layers
//	getters.go          typed reads
//	reasons.go          why keys are without effect
//	removed.go          keys of older releases, and what became of them
//	validate.go         what a change of configs must hold to, beyond each key's rule; validate_dynamic.go of a broker that runs
//	validate_broker.go  how a broker's keys fit together; validate_group.go those of consumer groups
//	describe.go         values as DescribeConfigs shows them, with source and synonyms
//	topic.go group.go client_metrics.go broker_*.go     the tables
package config
